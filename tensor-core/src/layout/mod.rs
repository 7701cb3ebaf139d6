//! Layouts: how a tensor reads its buffer.
//!
//! Element `[i0, i1, …]` of a tensor lies at position `offset + i0 * stride0 + i1 * stride1 + …` of its
//! buffer. Every view operation (reshape, permute, narrow, expand, flip, windows, diagonal, …) is
//! arithmetic on shape, strides and offset; it moves no data and runs no op, so no backend ever
//! implements one, and autograd needs no rule for one. All index arithmetic of the project lives here.
//!
//! A layout is only ever made from a contiguous one by the verbs below, each of which keeps every
//! reachable position inside the buffer. [`Layout::span`] states that invariant: a tensor is only made where it
//! holds, and a backend whose kernels rely on it checks it once per call, as the CPU's does.

mod iter;
mod views;

pub use iter::{Positions, Runs};

use crate::shape::MAX_RANK;
use crate::{Meta, Shape};

/// A shape, a signed stride per axis and an offset, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)] // See `Meta`.
pub struct Layout {
    shape: Shape,
    // Entries at and beyond the rank are zero, so that derived equality is right.
    strides: [isize; MAX_RANK],
    offset: usize,
}

impl Layout {
    /// The row-major layout of a shape, from position 0.
    #[inline]
    pub fn contiguous(shape: Shape) -> Self {
        Self { shape, strides: shape.contiguous_strides(), offset: 0 }
    }

    /// The sizes of the dimensions.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The step in the buffer, per axis, in elements; negative when flipped, 0 when expanded.
    #[inline]
    pub fn strides(&self) -> &[isize] {
        &self.strides[..self.shape.rank()]
    }

    /// The position of the first element.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.shape.rank()
    }

    /// The number of elements that are read (an expanded element counts each time).
    #[inline]
    pub fn numel(&self) -> usize {
        self.shape.numel()
    }

    /// Whether the elements lie in row-major order without gaps, from whatever offset.
    #[inline]
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1isize;
        for axis in (0..self.rank()).rev() {
            let size = self.shape[axis];
            if size != 1 && self.strides[axis] != step {
                return size == 0 || self.shape.numel() == 0;
            }
            step *= size as isize;
        }
        true
    }

    /// Whether this is [`Layout::contiguous`] of the shape, to the last stride.
    #[inline]
    pub(crate) fn is_row_major(&self, shape: &Shape) -> bool {
        let mut step = 1isize;
        self.offset == 0
            && self.shape == *shape
            && (0..self.rank()).rev().all(|axis| {
                let expected = step;
                step = step.saturating_mul(self.shape[axis].max(1) as isize);
                self.strides[axis] == expected
            })
    }

    /// The range of positions of the elements if they are contiguous.
    #[inline]
    pub fn contiguous_range(&self) -> Option<std::ops::Range<usize>> {
        self.is_contiguous().then(|| {
            let n = self.numel();
            if n == 0 { 0..0 } else { self.offset..self.offset + n }
        })
    }

    /// Whether this is the whole of a contiguous buffer of `len` elements.
    #[inline]
    pub fn covers(&self, len: usize) -> bool {
        self.offset == 0 && self.numel() == len && self.is_contiguous()
    }

    /// The positions touched, as a half-open range: `0..0` if there are no elements.
    pub fn span(&self) -> std::ops::Range<usize> {
        if self.numel() == 0 {
            return 0..0;
        }
        let (mut low, mut high) = (self.offset as isize, self.offset as isize);
        for axis in 0..self.rank() {
            let reach = self.strides[axis] * (self.shape[axis] as isize - 1);
            if reach < 0 { low += reach } else { high += reach }
        }
        debug_assert!(low >= 0, "a layout reaches before its buffer");
        low.max(0) as usize..high as usize + 1
    }

    /// Whether no two index tuples name the same position, as far as strides can tell: `false` means
    /// "maybe they do" (expanded axes, overlapping windows).
    pub fn is_injective(&self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        let mut axes = [(0usize, 0usize); MAX_RANK];
        let mut n = 0;
        for axis in 0..self.rank() {
            match self.shape[axis] {
                0 => return true,
                1 => {}
                size => {
                    axes[n] = (self.strides[axis].unsigned_abs(), size);
                    n += 1;
                }
            }
        }
        axes[..n].sort_unstable();
        let mut reach = 0usize; // the largest distance the finer axes can cover
        for &(stride, size) in &axes[..n] {
            if stride <= reach {
                return false;
            }
            reach += stride * (size - 1);
        }
        true
    }

    /// The axes along which the same element repeats: stride 0 with a size above 1.
    pub fn broadcast_axes(&self) -> crate::AxisSet {
        let mut set = crate::AxisSet::EMPTY;
        for axis in 0..self.rank() {
            if self.strides[axis] == 0 && self.shape[axis] > 1 {
                set = set.union(crate::AxisSet::single(axis));
            }
        }
        set
    }

    /// If this layout visits every element of a contiguous buffer of `len` elements exactly once with
    /// positive strides, the order of its axes from outermost to innermost in the buffer.
    pub fn permutation_of(&self, len: usize) -> Option<[usize; MAX_RANK]> {
        if self.offset != 0 || self.numel() != len {
            return None;
        }
        let mut order = [0; MAX_RANK];
        for (i, slot) in order.iter_mut().enumerate() {
            *slot = i;
        }
        let rank = self.rank();
        // Size-1 axes go wherever they are: their stride means nothing.
        order[..rank]
            .sort_by_key(|&a| std::cmp::Reverse(if self.shape[a] == 1 { 0 } else { self.strides[a] }));
        let mut step = 1isize;
        for &axis in order[..rank].iter().rev() {
            if self.shape[axis] != 1 {
                if self.strides[axis] != step {
                    return None;
                }
                step *= self.shape[axis] as isize;
            }
        }
        Some(order)
    }

    /// The meta of a tensor read through this layout.
    pub fn meta(&self, dtype: crate::DType) -> Meta {
        Meta::new(self.shape, dtype)
    }
}
