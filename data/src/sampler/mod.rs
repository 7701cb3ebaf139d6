//! Samplers: which samples, in which order.
//!
//! A [`Sampler`] is a pure function from *(seed, epoch, position)* to an index. It keeps no state, so
//! a loader can start at any position at once, and any number of workers can ask at the same time.
//! Samplers stack: `Distributed` takes its share of the positions of any other.

mod distributed;
mod ordered;
mod subset;
mod weighted;

use std::fmt;

pub use distributed::{Distributed, Remainder};
pub use ordered::{Sequential, Shuffled};
pub use subset::SubsetSampler;
pub use weighted::Weighted;

use gradus_tensor_core::rng::Key;

/// What the order of one epoch depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    /// The seed of the run.
    pub seed: u64,
    /// The number of the epoch, from 0.
    pub number: u64,
}

impl Epoch {
    /// The random numbers of one purpose in this epoch.
    fn key(self, stream: u64) -> Key {
        Key { seed: self.seed, stream }.fold(self.number)
    }
}

/// The order of samples, as a pure function.
pub trait Sampler: fmt::Debug + Send + Sync {
    /// The number of positions in an epoch: how many samples are drawn.
    fn len(&self) -> usize;

    /// The index of the sample at this position, in constant time. Positions are below
    /// [`len`](Sampler::len).
    fn index(&self, epoch: Epoch, position: usize) -> usize;

    /// The key of the random stream that augments the sample at this position.
    ///
    /// It is the index, so that augmentation does not change with batch size or world size. A sampler
    /// that repeats indices within an epoch gives each repetition a key of its own.
    fn key(&self, epoch: Epoch, position: usize) -> u64 {
        self.index(epoch, position) as u64
    }

    /// Whether an epoch has no positions.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: Sampler + ?Sized> Sampler for Box<S> {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn index(&self, epoch: Epoch, position: usize) -> usize {
        (**self).index(epoch, position)
    }

    fn key(&self, epoch: Epoch, position: usize) -> u64 {
        (**self).key(epoch, position)
    }
}
