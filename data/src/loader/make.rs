//! Making one batch: the pure function that every thread runs.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::stats::{Counters, timed};
use crate::sampler::{Epoch, Sampler};
use crate::{Collate, Dataset, Error, Result, SampleRng};

/// All that a batch depends on, besides its number and the epoch's.
pub(super) struct Plan<D, C> {
    pub dataset: D,
    pub collate: C,
    pub sampler: Box<dyn Sampler>,
    pub seed: u64,
    pub batch_size: usize,
    pub drop_last: bool,
}

impl<D, C> Plan<D, C> {
    pub fn batches(&self) -> usize {
        let samples = self.sampler.len();
        if self.drop_last { samples / self.batch_size } else { samples.div_ceil(self.batch_size) }
    }
}

impl<D: Dataset, C: Collate<D::Item>> Plan<D, C> {
    /// Makes one batch; `None` if it was told to stop.
    pub fn make(
        &self,
        epoch: u64,
        batch: usize,
        stop: &AtomicBool,
        counters: &Counters,
    ) -> Option<Result<C::Batch>> {
        let failed = |source| Error::Batch { batch, epoch, source: Box::new(source) };
        // The second guard is for what the first one drops: values of the user's types.
        let made = guarded("dropping a sample", || {
            let samples = match self.samples(epoch, batch, stop, counters) {
                Some(samples) => samples?,
                None => return Ok(None),
            };
            let made = timed(&counters.collate, || guarded("collate", || self.collate.collate(samples)));
            counters.batches.fetch_add(1, Relaxed);
            made.map(Some).map_err(failed)
        });
        match made {
            Err(panic @ Error::Panic { .. }) => Some(Err(failed(panic))),
            made => made.transpose(),
        }
    }

    fn samples(
        &self,
        epoch: u64,
        batch: usize,
        stop: &AtomicBool,
        counters: &Counters,
    ) -> Option<Result<Vec<D::Item>>> {
        let first = batch * self.batch_size;
        let end = first.saturating_add(self.batch_size).min(self.sampler.len());
        let order = Epoch { seed: self.seed, number: epoch };
        let mut samples = Vec::with_capacity(end - first);
        for position in first..end {
            if stop.load(Relaxed) {
                return None;
            }
            let drawn = guarded("sampler", || {
                Ok((self.sampler.index(order, position), self.sampler.key(order, position)))
            });
            let (index, key) = match drawn {
                Ok(drawn) => drawn,
                Err(source) => return Some(Err(Error::Batch { batch, epoch, source: Box::new(source) })),
            };
            let sample = timed(&counters.decode, || {
                guarded("dataset", || self.dataset.draw(index, &mut SampleRng::new(self.seed, epoch, key)))
            });
            match sample {
                Ok(sample) => samples.push(sample),
                Err(source) => {
                    return Some(Err(Error::Sample { index, batch, epoch, source: Box::new(source) }));
                }
            }
            counters.samples.fetch_add(1, Relaxed);
        }
        Some(Ok(samples))
    }
}

/// Runs the user's code; a panic in it becomes an error.
///
/// Unwind safety: what the code was making is dropped, and it shares nothing with the loader that is
/// not behind `&`; a lock of its own is poisoned and will say so.
pub(super) fn guarded<T>(what: &'static str, code: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(code))
        .unwrap_or_else(|panic| Err(Error::Panic { what, message: message_of(panic.as_ref()) }))
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "(a panic without a message)".to_owned()
    }
}
