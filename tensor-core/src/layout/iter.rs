//! Walking a layout: single positions, or runs of equal stride.

use super::Layout;
use crate::shape::MAX_RANK;

/// The buffer positions of a layout's elements in row-major order.
#[derive(Clone, Debug)]
pub struct Positions {
    layout: Layout,
    index: [usize; MAX_RANK],
    position: isize,
    left: usize,
}

impl Iterator for Positions {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let here = self.position as usize;
        for axis in (0..self.layout.rank()).rev() {
            self.index[axis] += 1;
            self.position += self.layout.strides[axis];
            if self.index[axis] < self.layout.shape[axis] {
                break;
            }
            self.position -= self.layout.strides[axis] * self.index[axis] as isize;
            self.index[axis] = 0;
        }
        Some(here)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Positions {}

/// The layout's innermost run: how many elements follow each other at one stride, after merging axes.
#[derive(Clone, Debug)]
pub struct Runs {
    /// Elements per run.
    pub len: usize,
    /// The step from one element of a run to the next; 1 for a contiguous run, 0 for a repeated element.
    pub stride: isize,
    /// The first position of every run, in order.
    pub starts: Positions,
}

impl Layout {
    /// The positions of the elements in row-major order.
    pub fn positions(&self) -> Positions {
        Positions { layout: *self, index: [0; MAX_RANK], position: self.offset as isize, left: self.numel() }
    }

    /// The position of the element at a flat row-major index.
    #[inline]
    pub fn position(&self, mut flat: usize) -> usize {
        let mut position = self.offset as isize;
        for axis in (0..self.rank()).rev() {
            let size = self.shape[axis].max(1);
            position += (flat % size) as isize * self.strides[axis];
            flat /= size;
        }
        position as usize
    }

    /// The same elements in the same order over as few axes as possible: neighbouring axes that step
    /// evenly are merged and axes of size 1 dropped. Kernels call this before they loop.
    pub fn simplified(&self) -> Layout {
        merge::<1>([self])[0]
    }

    /// Simplifies layouts of one shape together: an axis is merged only where every one of them allows,
    /// so that the results still have one shape in common. Layouts of different shapes stay as they are.
    pub fn simplify_together<const N: usize>(layouts: [&Layout; N]) -> [Layout; N] {
        merge(layouts)
    }

    /// The elements as runs of one stride.
    pub fn runs(&self) -> Runs {
        let simple = self.simplified();
        match simple.rank() {
            0 => Runs { len: simple.numel(), stride: 1, starts: simple.positions() },
            rank => {
                let (len, stride) = (simple.shape[rank - 1], simple.strides[rank - 1]);
                let mut outer = simple;
                outer.shape = crate::Shape::trusted(&simple.shape[..rank - 1]);
                outer.strides[rank - 1] = 0;
                let starts = if len == 0 {
                    Layout::contiguous(outer.shape.with_dim(0, 0)).positions()
                } else {
                    outer.positions()
                };
                Runs { len, stride, starts }
            }
        }
    }
}

fn merge<const N: usize>(layouts: [&Layout; N]) -> [Layout; N] {
    let shape = match layouts.first() {
        Some(first) if layouts.iter().all(|l| l.shape == first.shape) => first.shape,
        _ => return layouts.map(|l| *l),
    };
    if shape.numel() == 0 {
        return layouts.map(|l| *l);
    }
    let mut dims = [0usize; MAX_RANK];
    let mut strides = [[0isize; MAX_RANK]; N];
    let mut n = 0;
    for axis in 0..shape.rank() {
        if shape[axis] == 1 {
            continue;
        }
        let joins =
            n > 0 && (0..N).all(|k| strides[k][n - 1] == layouts[k].strides[axis] * shape[axis] as isize);
        if joins {
            dims[n - 1] *= shape[axis];
        } else {
            dims[n] = shape[axis];
            n += 1;
        }
        for k in 0..N {
            strides[k][n - 1] = layouts[k].strides[axis];
        }
    }
    let shape = crate::Shape::trusted(&dims[..n]);
    let mut k = 0;
    layouts.map(|l| {
        let out = Layout { shape, strides: strides[k], offset: l.offset };
        k += 1;
        out
    })
}
