use crate::{Error, Result};

/// A position in an epoch: all that a loader needs to go on from there.
///
/// `batch_size` and `samples` are not used to resume. They are compared, since with other values the
/// same `next_batch` would be another position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoaderState {
    /// The seed of order and augmentation.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The first batch that has not been handed out.
    pub next_batch: usize,
    /// The number of samples in a full batch.
    pub batch_size: usize,
    /// The number of samples that the sampler draws in an epoch.
    pub samples: usize,
}

impl LoaderState {
    /// Fails with the first field in which this state does not fit a loader.
    pub(super) fn check(&self, loader: &LoaderState, batches: usize) -> Result<()> {
        let fields = [
            ("seed", self.seed, loader.seed),
            ("batch size", self.batch_size as u64, loader.batch_size as u64),
            ("samples per epoch", self.samples as u64, loader.samples as u64),
        ];
        if let Some(&(field, saved, found)) = fields.iter().find(|(_, saved, found)| saved != found) {
            return Err(Error::State { field, saved, found });
        }
        if self.next_batch > batches {
            let (saved, found) = (self.next_batch as u64, batches as u64);
            return Err(Error::State { field: "next batch (past the last)", saved, found });
        }
        Ok(())
    }
}
