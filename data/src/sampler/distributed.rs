use super::{Epoch, Sampler};
use crate::{Error, Result};

/// What becomes of the samples that do not divide evenly among the ranks. All ranks must draw equally
/// many: a rank that ends early would leave the others waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remainder {
    /// The last ranks start over from the first positions: some samples come twice.
    Pad,
    /// The last positions are left out: some samples do not come this epoch.
    Drop,
}

/// One rank's share of another sampler's positions: rank, rank + world, rank + 2·world, …
///
/// Every rank must use the same seed. Batch `k` of all ranks together then holds the same samples as
/// batch `k` of a single process with the whole batch size.
///
/// ```
/// use gradus_data::sampler::{Distributed, Epoch, Remainder, Sampler, Sequential};
///
/// let share = Distributed::new(Sequential::new(10), 1, 4, Remainder::Pad)?;
/// let epoch = Epoch { seed: 0, number: 0 };
/// assert_eq!((0..share.len()).map(|i| share.index(epoch, i)).collect::<Vec<_>>(), [1, 5, 9]);
/// # Ok::<(), gradus_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Distributed<S> {
    inner: S,
    rank: usize,
    world: usize,
    remainder: Remainder,
}

impl<S: Sampler> Distributed<S> {
    /// The share of `rank` among `world` ranks.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rank < world`.
    pub fn new(inner: S, rank: usize, world: usize, remainder: Remainder) -> Result<Self> {
        if rank >= world {
            let message = format!("rank {rank} is not below the world size {world}");
            return Err(Error::argument("distributed sampler", message));
        }
        Ok(Self { inner, rank, world, remainder })
    }

    /// In 128 bits, since the last position of a huge sampler may lie beyond its end. Without any positions, a
    /// position stays itself.
    fn inner_position(&self, position: usize) -> usize {
        let wide = self.rank as u128 + position as u128 * self.world as u128;
        wide.checked_rem(self.inner.len() as u128).map_or(position, |inner| inner as usize)
    }
}

impl<S: Sampler> Sampler for Distributed<S> {
    fn len(&self) -> usize {
        match self.remainder {
            Remainder::Pad => self.inner.len().div_ceil(self.world),
            Remainder::Drop => self.inner.len() / self.world,
        }
    }

    fn index(&self, epoch: Epoch, position: usize) -> usize {
        self.inner.index(epoch, self.inner_position(position))
    }

    fn key(&self, epoch: Epoch, position: usize) -> u64 {
        self.inner.key(epoch, self.inner_position(position))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sampler::Shuffled;

    fn drawn(len: usize, world: usize, remainder: Remainder, epoch: Epoch) -> Vec<Vec<usize>> {
        (0..world)
            .map(|rank| {
                let share = Distributed::new(Shuffled::new(len), rank, world, remainder).unwrap();
                (0..share.len()).map(|position| share.index(epoch, position)).collect()
            })
            .collect()
    }

    proptest! {
        #[test]
        fn padded_shares_are_equal_and_cover_everything(len in 0_usize..300, world in 1_usize..17, seed: u64) {
            let shares = drawn(len, world, Remainder::Pad, Epoch { seed, number: 1 });
            prop_assert!(shares.iter().all(|share| share.len() == len.div_ceil(world)));
            let mut counts = vec![0; len];
            shares.iter().flatten().for_each(|&index| counts[index] += 1);
            let twice = len.div_ceil(world) * world - len;
            prop_assert!(counts.iter().all(|&n| n >= 1));
            prop_assert_eq!(counts.iter().sum::<usize>() - len, twice);
        }

        #[test]
        fn dropped_shares_are_equal_and_do_not_overlap(len in 0_usize..300, world in 1_usize..17, seed: u64) {
            let shares = drawn(len, world, Remainder::Drop, Epoch { seed, number: 1 });
            prop_assert!(shares.iter().all(|share| share.len() == len / world));
            let mut all: Vec<_> = shares.into_iter().flatten().collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(all.len(), len / world * world);
        }
    }

    #[test]
    fn all_ranks_together_draw_the_batches_of_one_process() {
        let epoch = Epoch { seed: 3, number: 4 };
        let shares = drawn(96, 4, Remainder::Drop, epoch);
        for batch in 0..6 {
            let mut together: Vec<_> = shares.iter().flat_map(|share| &share[batch * 4..][..4]).collect();
            let alone: Vec<_> = (0..16).map(|i| Shuffled::new(96).index(epoch, batch * 16 + i)).collect();
            let mut alone: Vec<_> = alone.iter().collect();
            together.sort_unstable();
            alone.sort_unstable();
            assert_eq!(together, alone);
        }
    }

    #[test]
    fn any_length_and_position_are_taken() {
        let epoch = Epoch { seed: 0, number: 0 };
        let share = |len, rank, world| {
            Distributed::new(crate::sampler::Sequential::new(len), rank, world, Remainder::Pad).unwrap()
        };
        let huge = share(usize::MAX, 5, 6);
        assert_eq!(huge.index(epoch, huge.len() - 1), 2);
        assert_eq!(share(0, 1, 2).index(epoch, 7), 7);
        assert!(share(10, 1, 4).index(epoch, usize::MAX) < 10);
    }

    #[test]
    fn a_rank_outside_the_world_is_refused() {
        assert!(Distributed::new(Shuffled::new(9), 4, 4, Remainder::Pad).is_err());
        assert!(Distributed::new(Shuffled::new(9), 0, 0, Remainder::Pad).is_err());
    }
}
