use std::fmt;
use std::sync::Arc;

use super::DataLoader;
use super::make::Plan;
use crate::sampler::{Sampler, Sequential, Shuffled};
use crate::{Dataset, Error, Result, Stack};

const DEFAULT_BATCH_SIZE: usize = 32;
/// Batches under way or waiting, for each worker.
const DEFAULT_PREFETCH_PER_WORKER: usize = 2;

/// Describes a [`DataLoader`]. Made by [`DataLoader::builder`].
pub struct DataLoaderBuilder<D, C = Stack> {
    dataset: D,
    collate: C,
    sampler: Box<dyn Sampler>,
    seed: u64,
    batch_size: usize,
    drop_last: bool,
    workers: usize,
    prefetch: Option<usize>,
}

impl<D: Dataset> DataLoaderBuilder<D> {
    pub(super) fn new(dataset: D) -> Self {
        let sampler = Box::new(Sequential::new(dataset.len()));
        Self {
            dataset,
            collate: Stack,
            sampler,
            seed: 0,
            batch_size: DEFAULT_BATCH_SIZE,
            drop_last: false,
            workers: 0,
            prefetch: None,
        }
    }
}

impl<D: Dataset, C> DataLoaderBuilder<D, C> {
    /// The number of samples in a batch.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.batch_size = samples;
        self
    }

    /// Draws every sample once, in a new order each epoch: [`Shuffled`].
    #[must_use]
    pub fn shuffle(self) -> Self {
        let len = self.dataset.len();
        self.sampler(Shuffled::new(len))
    }

    /// Draws in the order of this sampler.
    #[must_use]
    pub fn sampler(mut self, sampler: impl Sampler + 'static) -> Self {
        self.sampler = Box::new(sampler);
        self
    }

    /// The seed of order and augmentation.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Leaves out the last batch of an epoch if it is not full.
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.drop_last = true;
        self
    }

    /// The number of threads that make batches; with 0, the caller's thread makes each when asked.
    #[must_use]
    pub fn workers(mut self, threads: usize) -> Self {
        self.workers = threads;
        self
    }

    /// The largest number of batches that are under way or waiting, two per worker by default. Fewer
    /// than there are workers leaves some of them idle.
    #[must_use]
    pub fn prefetch(mut self, batches: usize) -> Self {
        self.prefetch = Some(batches);
        self
    }

    /// Makes batches with this [`Collate`](crate::Collate), or function `Fn(Vec<Item>) -> Result<Batch>`.
    #[must_use]
    pub fn collate<C2>(self, collate: C2) -> DataLoaderBuilder<D, C2> {
        let Self { dataset, collate: _, sampler, seed, batch_size, drop_last, workers, prefetch } = self;
        DataLoaderBuilder { dataset, collate, sampler, seed, batch_size, drop_last, workers, prefetch }
    }

    /// The loader.
    ///
    /// # Errors
    /// [`Error::Argument`] if the batch size or the prefetch is 0.
    pub fn build(self) -> Result<DataLoader<D, C>> {
        if self.batch_size == 0 {
            return Err(Error::argument("data loader", "batch size is 0, expected at least 1"));
        }
        if self.prefetch == Some(0) {
            let message =
                "prefetch is 0 batches, expected at least 1; to load in the caller's thread, use 0 workers";
            return Err(Error::argument("data loader", message));
        }
        let prefetch =
            self.prefetch.unwrap_or_else(|| self.workers.saturating_mul(DEFAULT_PREFETCH_PER_WORKER));
        let Self { dataset, collate, sampler, seed, batch_size, drop_last, workers, prefetch: _ } = self;
        let plan = Arc::new(Plan { dataset, collate, sampler, seed, batch_size, drop_last });
        Ok(DataLoader { plan, workers, prefetch })
    }
}

impl<D, C> fmt::Debug for DataLoaderBuilder<D, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoaderBuilder")
            .field("sampler", &self.sampler)
            .field("seed", &self.seed)
            .field("batch_size", &self.batch_size)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}
