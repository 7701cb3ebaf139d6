//! View operations on explicit indices: slow, and obviously right.

/// The shape of a view, and for each of its elements, in row-major order, which element of the buffer it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub dims: Vec<usize>,
    pub at: Vec<usize>,
}

impl Model {
    pub fn new(dims: &[usize]) -> Self {
        Model { dims: dims.to_vec(), at: (0..dims.iter().product()).collect() }
    }

    fn get(&self, index: &[usize]) -> usize {
        let flat = index.iter().zip(&self.dims).fold(0, |flat, (&i, &n)| {
            assert!(i < n, "{index:?} is outside of {:?}", self.dims);
            flat * n + i
        });
        self.at[flat]
    }

    /// The view of `dims` whose element at an index is this one's at `from(index)`.
    fn map(&self, dims: Vec<usize>, from: impl Fn(&[usize]) -> Vec<usize>) -> Model {
        let at = (0..dims.iter().product())
            .map(|mut flat: usize| {
                let mut index = vec![0; dims.len()];
                for axis in (0..dims.len()).rev() {
                    index[axis] = flat % dims[axis];
                    flat /= dims[axis];
                }
                self.get(&from(&index))
            })
            .collect();
        Model { dims, at }
    }

    pub fn permute(&self, order: &[usize]) -> Model {
        let dims = order.iter().map(|&a| self.dims[a]).collect();
        self.map(dims, |index| {
            let mut from = vec![0; index.len()];
            order.iter().zip(index).for_each(|(&a, &i)| from[a] = i);
            from
        })
    }

    pub fn transpose(&self, a: usize, b: usize) -> Model {
        let mut order: Vec<usize> = (0..self.dims.len()).collect();
        order.swap(a, b);
        self.permute(&order)
    }

    pub fn slice(&self, axis: usize, start: usize, end: usize, step: usize) -> Model {
        let mut dims = self.dims.clone();
        dims[axis] = (start..end).step_by(step).count();
        self.map(dims, |index| {
            let mut from = index.to_vec();
            from[axis] = start + index[axis] * step;
            from
        })
    }

    pub fn select(&self, axis: usize, at: usize) -> Model {
        let mut dims = self.dims.clone();
        dims.remove(axis);
        self.map(dims, |index| {
            let mut from = index.to_vec();
            from.insert(axis, at);
            from
        })
    }

    pub fn flip(&self, axis: usize) -> Model {
        self.map(self.dims.clone(), |index| {
            let mut from = index.to_vec();
            from[axis] = self.dims[axis] - 1 - index[axis];
            from
        })
    }

    pub fn unfold(&self, axis: usize, size: usize, step: usize, dilation: usize) -> Model {
        let mut dims = self.dims.clone();
        let fits = |start: &usize| start + (size - 1) * dilation < self.dims[axis];
        dims[axis] = (0..self.dims[axis]).step_by(step).filter(fits).count();
        dims.push(size);
        self.map(dims, |index| {
            let (within, outer) = index.split_last().unwrap();
            let mut from = outer.to_vec();
            from[axis] = outer[axis] * step + within * dilation;
            from
        })
    }

    pub fn diagonal(&self, offset: isize, a: usize, b: usize) -> Model {
        let (down, right) = ((-offset).max(0) as usize, offset.max(0) as usize);
        let mut dims: Vec<usize> =
            (0..self.dims.len()).filter(|&x| x != a && x != b).map(|x| self.dims[x]).collect();
        dims.push((0..).take_while(|i| i + down < self.dims[a] && i + right < self.dims[b]).count());
        self.map(dims, |index| {
            let (&along, mut others) = index.split_last().unwrap();
            (0..self.dims.len())
                .map(|axis| {
                    if axis == a {
                        along + down
                    } else if axis == b {
                        along + right
                    } else {
                        let (&first, rest) = others.split_first().unwrap();
                        others = rest;
                        first
                    }
                })
                .collect()
        })
    }

    pub fn unsqueeze(&self, axis: usize) -> Model {
        let mut dims = self.dims.clone();
        dims.insert(axis, 1);
        Model { dims, at: self.at.clone() }
    }

    pub fn expand(&self, dims: &[usize]) -> Model {
        let lead = dims.len() - self.dims.len();
        self.map(dims.to_vec(), |index| {
            index[lead..].iter().zip(&self.dims).map(|(&i, &n)| if n == 1 { 0 } else { i }).collect()
        })
    }

    /// Whether some strides and offset visit exactly these elements in this order.
    pub fn has_strides(&self) -> bool {
        if self.at.is_empty() {
            return true;
        }
        let first = self.at[0] as isize;
        // The stride of an axis can only be the distance of its first two elements.
        let mut strides = vec![0; self.dims.len()];
        let mut block = 1;
        for axis in (0..self.dims.len()).rev() {
            if self.dims[axis] > 1 {
                strides[axis] = self.at[block] as isize - first;
            }
            block *= self.dims[axis];
        }
        self.at.iter().enumerate().all(|(mut flat, &at)| {
            let mut position = first;
            for axis in (0..self.dims.len()).rev() {
                position += (flat % self.dims[axis]) as isize * strides[axis];
                flat /= self.dims[axis];
            }
            position == at as isize
        })
    }
}
