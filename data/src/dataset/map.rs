use std::fmt;

use crate::{Dataset, Result, SampleRng};

/// A data set whose samples are changed by a function. Made by [`Dataset::map`].
pub struct Map<D, F> {
    inner: D,
    function: F,
}

impl<D, F> Map<D, F> {
    pub(super) fn new(inner: D, function: F) -> Self {
        Self { inner, function }
    }
}

impl<D: fmt::Debug, F> fmt::Debug for Map<D, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<D, F, O> Dataset for Map<D, F>
where
    D: Dataset,
    F: Fn(D::Item) -> Result<O> + Send + Sync,
    O: Send,
{
    type Item = O;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn get(&self, index: usize) -> Result<O> {
        (self.function)(self.inner.get(index)?)
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<O> {
        (self.function)(self.inner.draw(index, rng)?)
    }
}
