//! Functions of one number that the compiler can vectorize.

pub(crate) mod half;
pub(crate) mod real;
