//! What a trainer needs of a loader.

use gradus_data::{Collate, DataLoader, Dataset};

/// Batches of one epoch after another, each of which can be begun anywhere: what a
/// [`Trainer`](super::Trainer) asks of its data.
///
/// [`DataLoader`] is one. Whatever implements this must give the same batches for the same epoch and position
/// every time, or a resumed run is another run.
pub trait Loader {
    /// A batch.
    type Batch;

    /// The batches of an epoch, from number `next` on; both count from 0.
    ///
    /// # Errors
    /// The batches cannot be begun.
    fn batches(&self, epoch: u64, next: usize) -> gradus_data::Result<BoxedBatches<'_, Self::Batch>>;

    /// The number of batches in an epoch.
    fn batches_per_epoch(&self) -> usize;

    /// The number of samples in an epoch.
    fn samples_per_epoch(&self) -> usize;

    /// The number of samples in a full batch.
    fn batch_size(&self) -> usize;

    /// The seed of order and augmentation.
    fn seed(&self) -> u64;
}

/// Batches of whatever loader.
pub type BoxedBatches<'a, B> = Box<dyn Iterator<Item = gradus_data::Result<B>> + 'a>;

impl<D, C> Loader for DataLoader<D, C>
where
    D: Dataset + 'static,
    C: Collate<D::Item> + 'static,
{
    type Batch = C::Batch;

    fn batches(&self, epoch: u64, next: usize) -> gradus_data::Result<BoxedBatches<'_, C::Batch>> {
        Ok(Box::new(self.resume(&self.state(epoch, next))?))
    }

    fn batches_per_epoch(&self) -> usize {
        DataLoader::batches_per_epoch(self)
    }

    fn samples_per_epoch(&self) -> usize {
        DataLoader::samples_per_epoch(self)
    }

    fn batch_size(&self) -> usize {
        DataLoader::batch_size(self)
    }

    fn seed(&self) -> u64 {
        DataLoader::seed(self)
    }
}

/// The samples in the batches before number `next`.
pub(super) fn samples_before<B>(loader: &dyn Loader<Batch = B>, next: usize) -> u64 {
    next.saturating_mul(loader.batch_size()).min(loader.samples_per_epoch()) as u64
}
