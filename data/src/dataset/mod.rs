//! Map-style data sets: a length, and a sample for each index.

mod concat;
mod images;
mod map;
mod memory;
mod subset;
mod transform;

use std::sync::Arc;

pub use concat::Concat;
pub(crate) use images::volume;
pub use images::{Image, ImageDataset};
pub use map::Map;
pub use memory::InMemory;
pub use subset::Subset;
pub use transform::{TransformInput, Transformed};

use crate::{Result, SampleRng};

/// What a model is given, and what it should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<I, T> {
    /// What the model is given.
    pub input: I,
    /// What it should answer.
    pub target: T,
}

/// Samples by index, from any thread.
///
/// Only [`len`](Dataset::len) and [`get`](Dataset::get) are to be written; a data set is shared by
/// all workers of a loader, never copied.
///
/// ```
/// use gradus_data::{Dataset, Result};
///
/// struct Squares(usize);
///
/// impl Dataset for Squares {
///     type Item = usize;
///     fn len(&self) -> usize {
///         self.0
///     }
///     fn get(&self, index: usize) -> Result<usize> {
///         Ok(index * index)
///     }
/// }
///
/// let odd = Squares(10).subset([1, 3, 5])?.map(|x| Ok(x + 1));
/// assert_eq!(odd.len(), 3);
/// assert_eq!(odd.get(2)?, 26);
/// # Ok::<(), gradus_data::Error>(())
/// ```
pub trait Dataset: Send + Sync {
    /// One sample.
    type Item: Send;

    /// The number of samples.
    fn len(&self) -> usize;

    /// The sample at this index, the same one every time.
    ///
    /// # Errors
    /// Whatever keeps the sample from being made. The loader adds the index; a data set that reads
    /// files should say which one.
    fn get(&self, index: usize) -> Result<Self::Item>;

    /// The sample at this index as drawn with this random stream: what the loader calls.
    ///
    /// Only data sets with a random part differ from [`get`](Dataset::get) here; adapters pass the
    /// stream on.
    ///
    /// # Errors
    /// As [`get`](Dataset::get).
    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        let _ = rng;
        self.get(index)
    }

    /// Whether there are no samples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// This data set with every sample changed by a function.
    fn map<F, O>(self, function: F) -> Map<Self, F>
    where
        Self: Sized,
        F: Fn(Self::Item) -> Result<O> + Send + Sync,
        O: Send,
    {
        Map::new(self, function)
    }

    /// This data set with every sample changed by a [`Transform`](crate::Transform), which draws from
    /// the sample's own random stream.
    fn transform<T>(self, transform: T) -> Transformed<Self, T>
    where
        Self: Sized,
        T: crate::Transform<Self::Item>,
    {
        Transformed::new(self, transform)
    }

    /// Like [`transform`](Dataset::transform), for the [`input`](Sample::input) alone.
    fn transform_input<I, A, T>(self, transform: T) -> TransformInput<Self, T>
    where
        Self: Sized + Dataset<Item = Sample<I, A>>,
        T: crate::Transform<I>,
    {
        TransformInput::new(self, transform)
    }

    /// The samples at these indices, in this order, as a data set.
    ///
    /// # Errors
    /// [`Error::Index`](crate::Error::Index) if an index is out of range.
    fn subset(self, indices: impl IntoIterator<Item = usize>) -> Result<Subset<Self>>
    where
        Self: Sized,
    {
        Subset::new(self, indices.into_iter().collect())
    }

    /// The samples of this data set, then those of another.
    fn concat<D>(self, other: D) -> Concat<Self, D>
    where
        Self: Sized,
        D: Dataset<Item = Self::Item>,
    {
        Concat::new(self, other)
    }
}

impl<D: Dataset + ?Sized> Dataset for Arc<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        (**self).get(index)
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        (**self).draw(index, rng)
    }
}

impl<D: Dataset + ?Sized> Dataset for Box<D> {
    type Item = D::Item;

    fn len(&self) -> usize {
        (**self).len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        (**self).get(index)
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Self::Item> {
        (**self).draw(index, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn a_dataset_can_be_a_trait_object() {
        let boxed: Box<dyn Dataset<Item = u8>> = Box::new(InMemory::new([1_u8, 2]));
        assert_eq!(boxed.len(), 2);
        assert_eq!(Arc::new(boxed).get(1).unwrap(), 2);
    }

    #[test]
    fn an_index_past_the_end_is_an_error() {
        assert!(matches!(InMemory::new([0_u8; 3]).get(3), Err(Error::Index { index: 3, len: 3 })));
    }

    #[test]
    fn subset_refuses_an_index_out_of_range() {
        assert!(matches!(InMemory::new([0_u8; 3]).subset([0, 7]), Err(Error::Index { index: 7, len: 3 })));
    }

    #[test]
    fn concat_goes_on_in_the_second() {
        let both = InMemory::new([1, 2]).concat(InMemory::new([3])).concat(InMemory::new([]));
        assert_eq!((0..both.len()).map(|i| both.get(i).unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(matches!(both.get(3), Err(Error::Index { index: 3, len: 3 })));

        struct Endless;
        impl Dataset for Endless {
            type Item = usize;
            fn len(&self) -> usize {
                usize::MAX
            }
            fn get(&self, index: usize) -> Result<usize> {
                Ok(index)
            }
        }
        assert_eq!(Endless.concat(Endless).len(), usize::MAX);
    }

    #[test]
    fn adapters_pass_the_random_stream_on() {
        let noisy = InMemory::new([0_u64; 4]).transform(|x: u64, rng: &mut SampleRng| Ok(x + rng.next_u64()));
        let expected = SampleRng::new(5, 6, 7).next_u64();
        let wrapped = Arc::new(InMemory::new([9]).concat(noisy.subset([3, 1]).unwrap()).map(|x| Ok(x ^ 1)));
        assert_eq!(wrapped.draw(1, &mut SampleRng::new(5, 6, 7)).unwrap(), expected ^ 1);
    }
}
