use crate::{Dataset, Error, Result, SampleRng};

/// One data set after the other. Made by [`Dataset::concat`].
#[derive(Clone, Debug)]
pub struct Concat<A, B> {
    first: A,
    second: B,
}

impl<A: Dataset, B: Dataset<Item = A::Item>> Concat<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second }
    }

    /// The index within the second, if it is not one of the first's.
    fn in_second(&self, index: usize) -> Result<Option<usize>> {
        match index.checked_sub(self.first.len()) {
            Some(within) if within >= self.second.len() => Err(Error::Index { index, len: self.len() }),
            within => Ok(within),
        }
    }
}

impl<A: Dataset, B: Dataset<Item = A::Item>> Dataset for Concat<A, B> {
    type Item = A::Item;

    fn len(&self) -> usize {
        // Lengths are promises, and need not be those of memory.
        self.first.len().saturating_add(self.second.len())
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        match self.in_second(index)? {
            None => self.first.get(index),
            Some(within) => self.second.get(within),
        }
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        match self.in_second(index)? {
            None => self.first.draw(index, rng),
            Some(within) => self.second.draw(within, rng),
        }
    }
}
