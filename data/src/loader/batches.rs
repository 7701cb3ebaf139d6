use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::make::Plan;
use super::stats::{Counters, timed};
use super::workers::Workers;
use super::{DataLoader, LoaderState, LoaderStats};
use crate::{Collate, Dataset, Result};

/// The batches of one epoch, in order. Made by [`DataLoader::epoch`] and [`DataLoader::resume`].
///
/// A batch that fails is an `Err`, and the next call goes on with the batch after it: stop at the
/// first error with `?`, or count and skip.
pub struct Batches<D: Dataset, C: Collate<D::Item>> {
    plan: Arc<Plan<D, C>>,
    workers: Option<Workers<C::Batch>>,
    counters: Arc<Counters>,
    /// The position of the next batch.
    state: LoaderState,
    end: usize,
}

impl<D, C> Batches<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Item> + 'static,
{
    pub(super) fn start(loader: &DataLoader<D, C>, epoch: u64, next: usize) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let end = loader.batches_per_epoch();
        let threads = (loader.workers, loader.prefetch);
        let workers = match loader.workers {
            0 => None,
            _ => Some(Workers::start(threads, &loader.plan, epoch, (next, end), &counters)?),
        };
        Ok(Self { plan: Arc::clone(&loader.plan), workers, counters, state: loader.state(epoch, next), end })
    }
}

impl<D: Dataset, C: Collate<D::Item>> Batches<D, C> {
    /// The position: give it to [`DataLoader::resume`] to go on with the batch that would come next.
    ///
    /// Batches that workers made ahead do not count.
    pub fn state(&self) -> LoaderState {
        self.state
    }

    /// Where the time went so far.
    pub fn stats(&self) -> LoaderStats {
        self.counters.read()
    }
}

impl<D: Dataset, C: Collate<D::Item>> Iterator for Batches<D, C>
where
    C::Batch: 'static,
{
    type Item = Result<C::Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state.next_batch == self.end {
            return None;
        }
        let (epoch, batch) = (self.state.epoch, self.state.next_batch);
        let made = timed(&self.counters.wait, || match &self.workers {
            Some(workers) => Some(workers.next()),
            None => self.plan.make(epoch, batch, &AtomicBool::new(false), &self.counters),
        });
        self.state.next_batch += 1;
        if self.state.next_batch == self.end {
            self.workers = None;
        }
        made
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.end - self.state.next_batch;
        (left, Some(left))
    }
}

impl<D: Dataset, C: Collate<D::Item>> ExactSizeIterator for Batches<D, C> where C::Batch: 'static {}

impl<D: Dataset, C: Collate<D::Item>> fmt::Debug for Batches<D, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("state", &self.state).field("end", &self.end).finish_non_exhaustive()
    }
}
