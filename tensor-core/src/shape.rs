//! Shapes and axes: small `Copy` values, checked where they enter.

use std::fmt;
use std::ops::Deref;

use crate::{Error, Result};

/// The largest number of dimensions of a tensor. Shapes, strides and axis sets of this rank live inline.
pub const MAX_RANK: usize = 8;

/// The sizes of a tensor's dimensions, outermost first; dereferences to `[usize]`.
#[derive(Clone, Copy, Eq)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    // (A word: see `DType`.)
    rank: usize,
}

impl Shape {
    /// The shape of a zero-dimensional tensor: one element.
    pub const SCALAR: Shape = Shape { dims: [0; MAX_RANK], rank: 0 };

    /// A shape from its dimensions.
    ///
    /// # Errors
    /// More than [`MAX_RANK`] dimensions, or more elements than memory can address.
    pub fn new(dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(Error::Rank { rank: dims.len(), dims: dims.to_vec() });
        }
        let shape = Self::trusted(dims);
        shape.check()?;
        Ok(shape)
    }

    /// Whether memory can address that many elements of any dtype.
    #[inline]
    pub(crate) fn check(&self) -> Result<()> {
        let mut bytes: usize = 16; // no element is larger; strides are isize
        for &d in self.dims() {
            bytes = bytes
                .checked_mul(d.max(1))
                .filter(|&b| b <= isize::MAX as usize)
                .ok_or_else(|| Error::TooLarge { dims: self.dims().to_vec() })?;
        }
        Ok(())
    }

    /// A shape whose rank and size are known to be within bounds, e.g. taken from existing shapes.
    pub(crate) fn trusted(dims: &[usize]) -> Self {
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len() };
        shape.dims[..dims.len()].copy_from_slice(dims);
        shape
    }

    /// The number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The number of elements: the product of the dimensions, 1 for a scalar.
    #[inline]
    pub fn numel(&self) -> usize {
        // Only a shape put together by `with_dim` can saturate; no buffer has that many elements.
        self.iter().fold(1, |n, &d| n.saturating_mul(d))
    }

    /// The dimensions as a slice.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// This shape with the size of one dimension replaced. Axes out of range are ignored. Not checked: for the outputs
    /// of ops, which are checked when they are made.
    pub(crate) fn with_dim(mut self, axis: usize, size: usize) -> Self {
        if axis < self.rank() {
            self.dims[axis] = size;
        }
        self
    }

    /// This shape with every axis in `axes` set to size 1: what a reduction leaves.
    pub fn reduced(mut self, axes: AxisSet) -> Self {
        let rank = self.rank();
        for axis in axes.iter().take_while(|&a| a < rank) {
            self.dims[axis] = 1;
        }
        self
    }

    /// The strides of a contiguous (row-major) tensor of this shape, in elements.
    #[inline]
    pub fn contiguous_strides(&self) -> [isize; MAX_RANK] {
        let mut strides = [0; MAX_RANK];
        let mut step = 1isize;
        // Axes beyond the rank too (their sizes are 0): with a number of them that the compiler knows, nothing is written
        // before it is complete, and copies do not wait for parts.
        for axis in (0..MAX_RANK).rev() {
            strides[axis] = if axis < self.rank { step } else { 0 };
            step = step.saturating_mul(isize::try_from(self.dims[axis].max(1)).unwrap_or(isize::MAX));
        }
        strides
    }

    /// The shape two shapes broadcast to: aligned at the last axis, sizes equal or 1.
    /// `None` if they do not fit, or the result has more elements than memory can address.
    pub fn broadcast(&self, other: &Shape) -> Option<Shape> {
        if self == other {
            return Some(*self);
        }
        let rank = self.rank().max(other.rank());
        let mut out = Shape { dims: [0; MAX_RANK], rank };
        for k in 1..=rank {
            let a = if k <= self.rank() { self.dims[self.rank() - k] } else { 1 };
            let b = if k <= other.rank() { other.dims[other.rank() - k] } else { 1 };
            out.dims[rank - k] = match (a, b) {
                (a, b) if a == b => a,
                (1, b) => b,
                (a, 1) => a,
                _ => return None,
            };
        }
        Shape::new(&out).ok()
    }
}

impl PartialEq for Shape {
    /// A loop instead of the derived comparison of all bytes, which is a call and takes several times as long.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank && (0..self.rank()).all(|axis| self.dims[axis] == other.dims[axis])
    }
}

impl std::hash::Hash for Shape {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.dims().hash(state);
    }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        self.dims()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.dims(), f)
    }
}

impl<const N: usize> PartialEq<[usize; N]> for Shape {
    fn eq(&self, other: &[usize; N]) -> bool {
        self.dims() == other
    }
}

/// Anything that names a shape: arrays, slices and vectors of `usize`, `()` for a scalar, a [`Shape`].
pub trait IntoShape {
    /// The shape, if its rank and size are within bounds.
    fn into_shape(self) -> Result<Shape>;
}

impl IntoShape for Shape {
    fn into_shape(self) -> Result<Shape> {
        Ok(self)
    }
}
impl IntoShape for &Shape {
    fn into_shape(self) -> Result<Shape> {
        Ok(*self)
    }
}
impl IntoShape for () {
    fn into_shape(self) -> Result<Shape> {
        Ok(Shape::SCALAR)
    }
}
impl IntoShape for usize {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&[self])
    }
}
impl<const N: usize> IntoShape for [usize; N] {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&self)
    }
}
impl<const N: usize> IntoShape for &[usize; N] {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}
impl IntoShape for &[usize] {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}
impl IntoShape for Vec<usize> {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(&self)
    }
}
impl IntoShape for &Vec<usize> {
    fn into_shape(self) -> Result<Shape> {
        Shape::new(self)
    }
}

/// An axis as users write it: an integer, negative counting from the last.
pub trait Axis: Copy {
    /// The axis as a signed integer.
    fn signed(self) -> isize;

    /// The axis counted from 0, checked against `rank`; `op` names the caller in the error.
    fn resolve(self, rank: usize, op: &'static str) -> Result<usize> {
        let axis = self.signed();
        let resolved = if axis < 0 { axis + rank as isize } else { axis };
        if (0..rank as isize).contains(&resolved) {
            Ok(resolved as usize)
        } else {
            Err(Error::Axis { op, axis, rank })
        }
    }
}

macro_rules! axis_from {
    ($($t:ty),*) => {$(
        impl Axis for $t {
            fn signed(self) -> isize { isize::try_from(self).unwrap_or(isize::MAX) }
        }
        impl IntoAxes for $t {
            fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
                AxisSet::EMPTY.insert(self.resolve(rank, op)?, op)
            }
        }
    )*};
}
axis_from!(usize, isize, i32, i64);

/// A set of axes, as a bit mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct AxisSet(u8);

impl AxisSet {
    /// No axis.
    pub const EMPTY: AxisSet = AxisSet(0);

    /// Every axis of a tensor of that rank (at most [`MAX_RANK`]).
    pub fn all(rank: usize) -> Self {
        AxisSet(((1u16 << rank.min(MAX_RANK)) - 1) as u8)
    }

    /// The set of one axis; axes beyond [`MAX_RANK`] give the empty set.
    pub fn single(axis: usize) -> Self {
        AxisSet(if axis < MAX_RANK { 1 << axis } else { 0 })
    }

    /// This set and one more axis.
    ///
    /// # Errors
    /// The axis is already in the set, or no tensor has it.
    pub fn insert(self, axis: usize, op: &'static str) -> Result<Self> {
        if axis >= MAX_RANK {
            let axis = isize::try_from(axis).unwrap_or(isize::MAX);
            return Err(Error::Axis { op, axis, rank: MAX_RANK });
        }
        if self.contains(axis) {
            return Err(Error::Argument { op, message: format!("axis {axis} is named twice") });
        }
        Ok(AxisSet(self.0 | AxisSet::single(axis).0))
    }

    /// The union of both sets.
    pub fn union(self, other: AxisSet) -> Self {
        AxisSet(self.0 | other.0)
    }

    /// Whether the axis is in the set.
    pub fn contains(self, axis: usize) -> bool {
        axis < MAX_RANK && self.0 & (1 << axis) != 0
    }

    /// Whether no axis is in the set.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The number of axes in the set.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// The axes in ascending order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = usize> {
        (0..MAX_RANK).filter(move |&a| self.contains(a))
    }
}

/// Anything that names axes: one integer, an array or slice of integers, or `..` for all of them.
pub trait IntoAxes {
    /// The axes, checked against `rank` and for repetition; `op` names the caller in errors.
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet>;
}

impl IntoAxes for AxisSet {
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
        match self.iter().next_back() {
            Some(axis) if axis >= rank => Err(Error::Axis { op, axis: axis as isize, rank }),
            _ => Ok(self),
        }
    }
}
impl IntoAxes for std::ops::RangeFull {
    fn into_axes(self, rank: usize, _op: &'static str) -> Result<AxisSet> {
        Ok(AxisSet::all(rank))
    }
}
impl<A: Axis> IntoAxes for &[A] {
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
        self.iter().try_fold(AxisSet::EMPTY, |set, axis| set.insert(axis.resolve(rank, op)?, op))
    }
}
impl<A: Axis, const N: usize> IntoAxes for [A; N] {
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
        self.as_slice().into_axes(rank, op)
    }
}
impl<A: Axis, const N: usize> IntoAxes for &[A; N] {
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
        self.as_slice().into_axes(rank, op)
    }
}
impl<A: Axis> IntoAxes for &Vec<A> {
    fn into_axes(self, rank: usize, op: &'static str) -> Result<AxisSet> {
        self.as_slice().into_axes(rank, op)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_is_replaced_if_there_is_one_and_whatever_its_size() {
        let shape = Shape::trusted(&[2, 3]);
        assert_eq!(shape.with_dim(1, 5), [2, 5]);
        assert_eq!(shape.with_dim(2, 5), [2, 3]);
        for size in [0, 1 << 63, usize::MAX] {
            let changed = shape.with_dim(0, size);
            assert_eq!(changed.numel(), size.saturating_mul(3));
            assert_eq!(changed.contiguous_strides()[..2], [3, 1]);
        }
    }
}
