use crate::{Dataset, Result, Sample, SampleRng, Transform};

/// A data set whose samples are changed by a [`Transform`]. Made by [`Dataset::transform`].
///
/// `get` gives the draw of epoch 0 with seed 0.
#[derive(Clone, Debug)]
pub struct Transformed<D, T> {
    inner: D,
    transform: T,
}

/// A data set whose samples' inputs are changed by a [`Transform`]. Made by [`Dataset::transform_input`].
///
/// `get` gives the draw of epoch 0 with seed 0.
#[derive(Clone, Debug)]
pub struct TransformInput<D, T> {
    inner: D,
    transform: T,
}

impl<D, T> Transformed<D, T> {
    pub(super) fn new(inner: D, transform: T) -> Self {
        Self { inner, transform }
    }
}

impl<D, T> TransformInput<D, T> {
    pub(super) fn new(inner: D, transform: T) -> Self {
        Self { inner, transform }
    }
}

/// The stream of `get`, which is given none.
fn fixed(index: usize) -> SampleRng {
    SampleRng::new(0, 0, index as u64)
}

impl<D, T> Dataset for Transformed<D, T>
where
    D: Dataset,
    T: Transform<D::Item>,
    T::Output: Send,
{
    type Item = T::Output;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        self.draw(index, &mut fixed(index))
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        self.transform.apply(self.inner.draw(index, rng)?, rng)
    }
}

impl<D, T, I, A> Dataset for TransformInput<D, T>
where
    D: Dataset<Item = Sample<I, A>>,
    T: Transform<I>,
    T::Output: Send,
    A: Send,
{
    type Item = Sample<T::Output, A>;

    fn len(&self) -> usize {
        self.inner.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        self.draw(index, &mut fixed(index))
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        let Sample { input, target } = self.inner.draw(index, rng)?;
        Ok(Sample { input: self.transform.apply(input, rng)?, target })
    }
}
