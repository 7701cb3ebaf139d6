use crate::{Dataset, Error, Result};

/// Samples held in memory, cloned when asked for.
///
/// ```
/// use gradus_data::{Dataset, InMemory};
///
/// let words = InMemory::new(["one", "two", "three"]);
/// assert_eq!(words.map(|word| Ok(word.len())).get(2)?, 5);
/// # Ok::<(), gradus_data::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InMemory<T> {
    samples: Vec<T>,
}

impl<T> InMemory<T> {
    /// These samples, in this order.
    pub fn new(samples: impl Into<Vec<T>>) -> Self {
        Self { samples: samples.into() }
    }
}

impl<T: Clone + Send + Sync> Dataset for InMemory<T> {
    type Item = T;

    fn len(&self) -> usize {
        self.samples.len()
    }

    fn get(&self, index: usize) -> Result<T> {
        self.samples.get(index).cloned().ok_or(Error::Index { index, len: self.samples.len() })
    }
}
