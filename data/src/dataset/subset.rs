use crate::{Dataset, Error, Result, SampleRng};

/// Some samples of a data set, in an order of their own. Made by [`Dataset::subset`].
#[derive(Clone, Debug)]
pub struct Subset<D> {
    inner: D,
    indices: Vec<usize>,
}

impl<D: Dataset> Subset<D> {
    pub(super) fn new(inner: D, indices: Vec<usize>) -> Result<Self> {
        let len = inner.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::Index { index, len }),
            None => Ok(Self { inner, indices }),
        }
    }

    fn inner_index(&self, index: usize) -> Result<usize> {
        self.indices.get(index).copied().ok_or(Error::Index { index, len: self.indices.len() })
    }
}

impl<D: Dataset> Dataset for Subset<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        self.inner.get(self.inner_index(index)?)
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        self.inner.draw(self.inner_index(index)?, rng)
    }
}
