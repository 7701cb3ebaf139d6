//! The [`DataLoader`]: batches in a fixed order, made by any number of threads.
//!
//! The sampler says what belongs into batch *b* without knowing batch *b - 1*, and augmentation draws
//! from a stream named by the sample. So a batch is a pure function of *(seed, epoch, b)*, and threads
//! are only a matter of who computes it when:
//!
//! ```text
//!            claim next number,              ready batches wait here          hand out
//!            if it is near enough            for their turn                   in order
//!  worker 0 ─┐                             ┌───┬───┬───┬───┐
//!  worker 1 ─┼─ sample, collate, catch ──> │ 4 │ · │ 6 │ · │ ──────────────> next() = 4
//!  worker 2 ─┘                             └───┴───┴───┴───┘
//!                                           at most `prefetch` claimed but not handed out
//! ```
//!
//! - **Order**: batches wait for their turn; arrival does not matter.
//! - **Memory**: a worker claims a batch only while fewer than `prefetch` are under way or waiting.
//! - **Failure**: an error or a panic in the user's code becomes the `Err` of its batch, with the
//!   sample's index. Nothing is skipped silently, and the batches after it still come.
//! - **End**: dropping the iterator tells the workers to stop and waits for them; they look between
//!   samples.
//! - **Resume**: [`LoaderState`] is three numbers and two checks; starting at batch *b* costs what
//!   starting at batch 0 costs.
//!
//! Workers are threads of their own: they wait for files and for each other, and would starve the
//! compute pool if they lived in it.

mod batches;
mod builder;
mod make;
mod state;
mod stats;
mod workers;

use std::fmt;
use std::sync::Arc;

pub use batches::Batches;
pub use builder::DataLoaderBuilder;
pub use state::LoaderState;
pub use stats::LoaderStats;

use crate::{Collate, Dataset, Result, Stack};
use make::Plan;

/// Batches of a data set, epoch after epoch.
///
/// ```
/// use gradus_data::{DataLoader, Dataset, ImageDataset, transforms::ToFloat};
///
/// let images = ImageDataset::new(vec![0; 10 * 16], [1, 4, 4], vec![1; 10])?.transform_input(ToFloat);
/// let loader = DataLoader::builder(images).batch_size(4).shuffle().seed(42).workers(2).build()?;
/// for epoch in 0..2 {
///     for batch in loader.epoch(epoch)? {
///         let batch = batch?;
///         assert_eq!(batch.inputs.shape()[1..], [1, 4, 4]);
///     }
/// }
/// assert_eq!(loader.batches_per_epoch(), 3);
/// # Ok::<(), gradus_data::Error>(())
/// ```
pub struct DataLoader<D, C = Stack> {
    plan: Arc<Plan<D, C>>,
    workers: usize,
    prefetch: usize,
}

impl<D: Dataset> DataLoader<D> {
    /// Describes a loader over this data set. By default: batches of 32 in the order of the data set,
    /// the last one perhaps smaller, stacked, in the caller's thread.
    pub fn builder(dataset: D) -> DataLoaderBuilder<D> {
        DataLoaderBuilder::new(dataset)
    }
}

impl<D, C> DataLoader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Item> + 'static,
{
    /// The batches of this epoch, from the first.
    ///
    /// # Errors
    /// [`Error::Spawn`](crate::Error::Spawn) if a worker thread cannot be started.
    pub fn epoch(&self, epoch: u64) -> Result<Batches<D, C>> {
        Batches::start(self, epoch, 0)
    }

    /// The batches that were left when this state was saved.
    ///
    /// # Errors
    /// [`Error::State`](crate::Error::State) if the state was saved by a loader with another seed, batch
    /// size or number of samples, [`Error::Spawn`](crate::Error::Spawn) if a worker thread cannot be started.
    pub fn resume(&self, state: &LoaderState) -> Result<Batches<D, C>> {
        state.check(&self.state(state.epoch, state.next_batch), self.batches_per_epoch())?;
        Batches::start(self, state.epoch, state.next_batch)
    }

    /// The state of this loader before that batch of that epoch.
    pub fn state(&self, epoch: u64, next_batch: usize) -> LoaderState {
        LoaderState {
            seed: self.plan.seed,
            epoch,
            next_batch,
            batch_size: self.plan.batch_size,
            samples: self.samples_per_epoch(),
        }
    }

    /// The number of batches in an epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.plan.batches()
    }

    /// The number of samples that the sampler draws in an epoch. (With `drop_last`, the batches hold
    /// fewer.)
    pub fn samples_per_epoch(&self) -> usize {
        self.plan.sampler.len()
    }

    /// The number of samples in a full batch.
    pub fn batch_size(&self) -> usize {
        self.plan.batch_size
    }

    /// The seed of order and augmentation.
    pub fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.plan.dataset
    }
}

impl<D, C> fmt::Debug for DataLoader<D, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader")
            .field("sampler", &self.plan.sampler)
            .field("seed", &self.plan.seed)
            .field("batch_size", &self.plan.batch_size)
            .field("workers", &self.workers)
            .field("prefetch", &self.prefetch)
            .finish_non_exhaustive()
    }
}
