use super::{Epoch, Sampler};
use crate::Permutation;
use crate::rng::stream::SHUFFLE;

/// Every sample in the order of the data set.
#[derive(Clone, Copy, Debug)]
pub struct Sequential {
    len: usize,
}

impl Sequential {
    /// Over a data set of this length.
    pub fn new(len: usize) -> Self {
        Self { len }
    }
}

impl Sampler for Sequential {
    fn len(&self) -> usize {
        self.len
    }

    fn index(&self, _: Epoch, position: usize) -> usize {
        position
    }
}

/// Every sample once, in a new order over the whole data set each epoch.
///
/// The order is a [`Permutation`]: it takes no memory, and its middle is known as soon as its start.
///
/// ```
/// use gradus_data::sampler::{Epoch, Sampler, Shuffled};
///
/// let sampler = Shuffled::new(1_000);
/// let epoch = Epoch { seed: 42, number: 7 };
/// let mut order: Vec<usize> = (0..1_000).map(|position| sampler.index(epoch, position)).collect();
/// order.sort();
/// assert!(order.into_iter().eq(0..1_000));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Shuffled {
    len: usize,
}

impl Shuffled {
    /// Over a data set of this length.
    pub fn new(len: usize) -> Self {
        Self { len }
    }
}

impl Sampler for Shuffled {
    fn len(&self) -> usize {
        self.len
    }

    fn index(&self, epoch: Epoch, position: usize) -> usize {
        Permutation::new(self.len, epoch.key(SHUFFLE).bits64(0)).get(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_and_epoch_each_give_another_order() {
        let order = |seed, number| -> Vec<usize> {
            (0..100).map(|position| Shuffled::new(100).index(Epoch { seed, number }, position)).collect()
        };
        assert_eq!(order(1, 2), order(1, 2));
        assert_ne!(order(1, 2), order(1, 3));
        assert_ne!(order(1, 2), order(2, 2));
        assert_ne!(order(1, 2), order(2, 1));
    }
}
