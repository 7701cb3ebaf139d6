//! One number for all spatial axes, or one for each.

/// A kernel size, stride, padding, … of a layer over `D` spatial axes: one number for all of them, or an
/// array.
pub trait IntoSpatial<const D: usize> {
    /// One number per axis.
    fn into_spatial(self) -> [usize; D];
}

impl<const D: usize> IntoSpatial<D> for usize {
    fn into_spatial(self) -> [usize; D] {
        [self; D]
    }
}

impl<const D: usize> IntoSpatial<D> for [usize; D] {
    fn into_spatial(self) -> [usize; D] {
        self
    }
}

/// The same numbers in the ops' arrays of three; axes beyond are not read.
pub(super) fn three<const D: usize>(values: [usize; D], rest: usize) -> [usize; 3] {
    let mut out = [rest; 3];
    for (to, from) in out.iter_mut().zip(values) {
        *to = from;
    }
    out
}
