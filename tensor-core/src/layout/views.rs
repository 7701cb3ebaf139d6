//! The view operations: layouts from layouts.

use super::Layout;
use crate::shape::MAX_RANK;
use crate::{Error, Result, Shape};

impl Layout {
    fn metas(&self) -> [crate::Meta; 0] {
        []
    }

    fn check_axis(&self, axis: usize, op: &'static str) -> Result<()> {
        if axis < self.rank() {
            Ok(())
        } else {
            Err(Error::Axis { op, axis: isize::try_from(axis).unwrap_or(isize::MAX), rank: self.rank() })
        }
    }

    fn with_shape(&self, shape: Shape, strides: [isize; MAX_RANK]) -> Layout {
        Layout { shape, strides, offset: self.offset }
    }

    /// The same elements in the same order under another shape, if strides can express it.
    ///
    /// # Errors
    /// The number of elements differs.
    pub fn reshape(&self, shape: Shape) -> Result<Option<Layout>> {
        if shape.numel() != self.numel() {
            return Err(Error::shape(
                "reshape",
                &self.metas(),
                format!(
                    "cannot reshape {} ({} elements) to {shape} ({} elements)",
                    self.shape,
                    self.numel(),
                    shape.numel()
                ),
            ));
        }
        if self.is_contiguous() {
            return Ok(Some(self.with_shape(shape, shape.contiguous_strides())));
        }
        // Match runs of old axes that can be merged with runs of new axes of the same product.
        let mut old = [(0usize, 0isize); MAX_RANK];
        let mut n = 0;
        for axis in 0..self.rank() {
            if self.shape[axis] != 1 {
                old[n] = (self.shape[axis], self.strides[axis]);
                n += 1;
            }
        }
        let mut strides = [0isize; MAX_RANK];
        let (mut i, mut j) = (0, 0);
        while i < n {
            let (mut size_old, start) = (old[i].0, i);
            i += 1;
            let new_start = j;
            let mut size_new = 1;
            while size_new != size_old || (j < shape.rank() && shape[j] == 1) {
                if size_new < size_old || (size_new == size_old && shape[j] == 1) {
                    size_new *= shape[j];
                    j += 1;
                } else {
                    size_old *= old[i].0;
                    i += 1;
                }
            }
            for k in start..i - 1 {
                if old[k].1 != old[k + 1].1 * old[k + 1].0 as isize {
                    return Ok(None);
                }
            }
            let mut step = old[i - 1].1;
            for axis in (new_start..j).rev() {
                strides[axis] = step;
                step *= shape[axis] as isize;
            }
        }
        Ok(Some(self.with_shape(shape, strides)))
    }

    /// Axis `i` of the result is axis `order[i]` of this layout.
    ///
    /// # Errors
    /// `order` is not a permutation of all axes.
    pub fn permute(&self, order: &[usize]) -> Result<Layout> {
        let mut seen = [false; MAX_RANK];
        let ok = order.len() == self.rank()
            && order.iter().all(|&a| a < self.rank() && !std::mem::replace(&mut seen[a], true));
        if !ok {
            return Err(Error::argument(
                "permute",
                format!("{order:?} is not a permutation of the {} axes of {}", self.rank(), self.shape),
            ));
        }
        let (mut dims, mut strides) = ([0; MAX_RANK], [0; MAX_RANK]);
        for (to, &from) in order.iter().enumerate() {
            dims[to] = self.shape[from];
            strides[to] = self.strides[from];
        }
        Ok(self.with_shape(Shape::trusted(&dims[..order.len()]), strides))
    }

    /// Swaps two axes.
    ///
    /// # Errors
    /// An axis is out of range.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Layout> {
        self.check_axis(a, "transpose")?;
        self.check_axis(b, "transpose")?;
        let mut out = *self;
        out.strides.swap(a, b);
        out.shape = self.shape.with_dim(a, self.shape[b]).with_dim(b, self.shape[a]);
        Ok(out)
    }

    /// Repeats axes of size 1, and new leading axes, up to `shape`.
    ///
    /// # Errors
    /// An axis has another size than 1 and the one asked for.
    pub fn expand(&self, shape: Shape) -> Result<Layout> {
        if shape == self.shape {
            return Ok(*self);
        }
        let lead = shape.rank().checked_sub(self.rank());
        let mut strides = [0; MAX_RANK];
        let fits = lead.is_some_and(|lead| {
            (0..self.rank()).all(|axis| {
                let (from, to) = (self.shape[axis], shape[axis + lead]);
                strides[axis + lead] = if from == to { self.strides[axis] } else { 0 };
                from == to || from == 1
            })
        });
        if !fits {
            return Err(Error::shape(
                "expand",
                &self.metas(),
                format!(
                    "cannot broadcast {} to {shape}; sizes must be equal or 1, aligned at the last axis",
                    self.shape
                ),
            ));
        }
        Ok(self.with_shape(shape, strides))
    }

    /// Every `step`-th position of `axis` from `start` up to, not including, `end`.
    ///
    /// # Errors
    /// The axis or the range is out of range, or `step` is 0.
    pub fn slice(&self, axis: usize, start: usize, end: usize, step: usize) -> Result<Layout> {
        self.check_axis(axis, "slice")?;
        let size = self.shape[axis];
        if start > end || end > size || step == 0 {
            return Err(Error::argument(
                "slice",
                format!(
                    "range {start}..{end} with step {step} does not fit axis {axis} of {} (size {size})",
                    self.shape
                ),
            ));
        }
        // A longer step reaches nothing more, and its stride might not be a number.
        let step = step.min(size.max(1));
        let mut out = *self;
        out.shape = self.shape.with_dim(axis, (end - start).div_ceil(step));
        out.strides[axis] = self.strides[axis] * step as isize;
        out.move_to(axis, start, self.strides[axis]);
        Ok(out)
    }

    /// `len` positions of `axis` from `start`.
    ///
    /// # Errors
    /// The axis or the range is out of range.
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Layout> {
        self.check_axis(axis, "narrow")?;
        match start.checked_add(len) {
            Some(end) if end <= self.shape[axis] => self.slice(axis, start, end, 1),
            _ => Err(Error::argument(
                "narrow",
                format!(
                    "{len} positions from {start} do not fit axis {axis} of {} (size {})",
                    self.shape, self.shape[axis]
                ),
            )),
        }
    }

    /// One position of `axis`, which disappears.
    ///
    /// # Errors
    /// The axis or the index is out of range.
    pub fn select(&self, axis: usize, index: usize) -> Result<Layout> {
        self.check_axis(axis, "select")?;
        if index >= self.shape[axis] {
            let index = i64::try_from(index).unwrap_or(i64::MAX);
            return Err(Error::Index { op: "select", index, size: self.shape[axis] });
        }
        self.narrow(axis, index, 1)?.squeeze(axis)
    }

    /// Reverses an axis.
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn flip(&self, axis: usize) -> Result<Layout> {
        self.check_axis(axis, "flip")?;
        let mut out = *self;
        out.move_to(axis, self.shape[axis].saturating_sub(1), self.strides[axis]);
        out.strides[axis] = -self.strides[axis];
        Ok(out)
    }

    /// Sliding windows: `axis` becomes the number of windows and a new last axis walks inside one.
    /// Windows are `size` long, start every `step`, and their elements are `dilation` apart.
    ///
    /// # Errors
    /// The axis is out of range, a parameter is 0, no window fits, or the rank would exceed the maximum.
    pub fn unfold(&self, axis: usize, size: usize, step: usize, dilation: usize) -> Result<Layout> {
        self.check_axis(axis, "unfold")?;
        let len = self.shape[axis];
        let reach = size.checked_sub(1).and_then(|n| n.checked_mul(dilation)).and_then(|n| n.checked_add(1));
        let (Some(reach), true) = (reach, step > 0 && dilation > 0) else {
            return Err(Error::argument(
                "unfold",
                format!("size {size}, step {step} and dilation {dilation} must be at least 1"),
            ));
        };
        if reach > len {
            return Err(Error::argument(
                "unfold",
                format!("a window of {reach} positions does not fit axis {axis} of {}", self.shape),
            ));
        }
        // Beyond the axis, steps and dilations reach nothing, and their strides might not be numbers.
        let (step, dilation) = (step.min(len), dilation.min(len));
        let mut dims = self.shape.to_vec();
        dims[axis] = (len - reach) / step + 1;
        dims.push(size);
        let mut out = *self;
        out.shape = Shape::new(&dims)?;
        out.strides[self.rank()] = self.strides[axis] * dilation as isize;
        out.strides[axis] = self.strides[axis] * step as isize;
        Ok(out)
    }

    /// The diagonal of axes `a` and `b`, which disappear; it becomes the last axis. Positive offsets lie
    /// above the main diagonal.
    ///
    /// # Errors
    /// An axis is out of range, or both are the same.
    pub fn diagonal(&self, offset: isize, a: usize, b: usize) -> Result<Layout> {
        self.check_axis(a, "diagonal")?;
        self.check_axis(b, "diagonal")?;
        if a == b {
            return Err(Error::argument("diagonal", format!("axes {a} and {b} are the same")));
        }
        let (skip_a, skip_b) = if offset < 0 { (offset.unsigned_abs(), 0) } else { (0, offset as usize) };
        let len = self.shape[a].saturating_sub(skip_a).min(self.shape[b].saturating_sub(skip_b));
        let mut out = *self;
        if len > 0 {
            out.move_to(a, skip_a, self.strides[a]);
            out.move_to(b, skip_b, self.strides[b]);
        }
        let (mut dims, mut strides, mut n) = ([0; MAX_RANK], [0; MAX_RANK], 0);
        for axis in (0..self.rank()).filter(|&x| x != a && x != b) {
            dims[n] = self.shape[axis];
            strides[n] = self.strides[axis];
            n += 1;
        }
        dims[n] = len;
        strides[n] = self.strides[a] + self.strides[b];
        out.shape = Shape::trusted(&dims[..n + 1]);
        out.strides = strides;
        Ok(out)
    }

    /// Removes an axis of size 1.
    ///
    /// # Errors
    /// The axis is out of range or its size is not 1.
    pub fn squeeze(&self, axis: usize) -> Result<Layout> {
        self.check_axis(axis, "squeeze")?;
        if self.shape[axis] != 1 {
            return Err(Error::argument(
                "squeeze",
                format!("axis {axis} of {} has size {}, not 1", self.shape, self.shape[axis]),
            ));
        }
        let (mut dims, mut strides, mut n) = ([0; MAX_RANK], [0; MAX_RANK], 0);
        for other in (0..self.rank()).filter(|&x| x != axis) {
            dims[n] = self.shape[other];
            strides[n] = self.strides[other];
            n += 1;
        }
        Ok(self.with_shape(Shape::trusted(&dims[..n]), strides))
    }

    /// Inserts an axis of size 1 before `axis` (which may be the rank: a new last axis).
    ///
    /// # Errors
    /// The axis is out of range or the rank would exceed the maximum.
    pub fn unsqueeze(&self, axis: usize) -> Result<Layout> {
        let rank = self.rank();
        if axis > rank {
            let axis = isize::try_from(axis).unwrap_or(isize::MAX);
            return Err(Error::Axis { op: "unsqueeze", axis, rank: rank + 1 });
        }
        let mut dims = self.shape.to_vec();
        dims.insert(axis, 1);
        let shape = Shape::new(&dims)?;
        let mut strides = self.strides;
        strides.copy_within(axis..rank, axis + 1);
        strides[axis] = if axis < rank { self.strides[axis] * self.shape[axis] as isize } else { 1 };
        Ok(self.with_shape(shape, strides))
    }

    /// Keeps one element of every axis in `axes`: the layout of one repetition of an expanded tensor.
    pub fn collapse(&self, axes: crate::AxisSet) -> Layout {
        let mut out = *self;
        for axis in axes.iter().take_while(|&a| a < self.rank()) {
            if self.shape[axis] > 1 {
                out.shape = out.shape.with_dim(axis, 1);
            }
        }
        out
    }

    /// Moves the first element by `index` positions along an axis, if there are elements at all.
    fn move_to(&mut self, axis: usize, index: usize, stride: isize) {
        debug_assert!(axis < self.rank());
        let offset = self.offset as isize + index as isize * stride;
        // An empty view may name a start one past the end; it reads nothing, so any offset will do.
        if self.numel() > 0 || (offset >= 0 && index == 0) {
            self.offset = offset.max(0) as usize;
        }
    }
}
