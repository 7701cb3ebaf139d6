//! What is made of each operand, without a vector to put it in.

use smallvec::SmallVec;

use crate::{Error, Result};

/// Calls a function with a value made of each item. Ops have one or two operands most of the time, and then the
/// values are an array: growing a vector would cost more than they do.
#[inline(always)]
pub(super) fn with_each<'a, T, U, R>(
    items: &'a [T],
    make: impl Fn(&'a T) -> U,
    then: impl FnOnce(&[U]) -> R,
) -> R {
    match items {
        [a] => then(&[make(a)]),
        [a, b] => then(&[make(a), make(b)]),
        items => then(&items.iter().map(make).collect::<SmallVec<[U; 4]>>()),
    }
}

/// [`with_each`] for values that may not be there. (Options and not results: what a function may write an error into has
/// to lie in memory, and a value would be copied from there.)
#[inline(always)]
pub(super) fn try_with_each<'a, T, U, R>(
    items: &'a [T],
    make: impl Fn(&'a T) -> Option<U>,
    missing: impl Fn(&'a T) -> Error,
    then: impl FnOnce(&[U]) -> Result<R>,
) -> Result<R> {
    match items {
        [a] => match make(a) {
            Some(one) => then(&[one]),
            None => Err(missing(a)),
        },
        [a, b] => match (make(a), make(b)) {
            (Some(one), Some(other)) => then(&[one, other]),
            (None, _) => Err(missing(a)),
            (_, None) => Err(missing(b)),
        },
        items => {
            let all = items.iter().map(|item| make(item).ok_or_else(|| missing(item)));
            then(&all.collect::<Result<SmallVec<[U; 4]>>>()?)
        }
    }
}
