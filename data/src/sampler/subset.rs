use super::{Epoch, Sampler, Sequential, Shuffled};

/// The order of another sampler over some indices of a data set.
#[derive(Clone, Debug)]
pub struct SubsetSampler<S> {
    order: S,
    indices: Vec<usize>,
}

impl SubsetSampler<Sequential> {
    /// These indices, in the order given.
    pub fn sequential(indices: impl IntoIterator<Item = usize>) -> Self {
        let indices: Vec<_> = indices.into_iter().collect();
        Self { order: Sequential::new(indices.len()), indices }
    }
}

impl SubsetSampler<Shuffled> {
    /// These indices, in a new order each epoch.
    pub fn shuffled(indices: impl IntoIterator<Item = usize>) -> Self {
        let indices: Vec<_> = indices.into_iter().collect();
        Self { order: Shuffled::new(indices.len()), indices }
    }
}

impl<S: Sampler> Sampler for SubsetSampler<S> {
    fn len(&self) -> usize {
        self.order.len()
    }

    fn index(&self, epoch: Epoch, position: usize) -> usize {
        // A position past the end stays itself, as in the order of the whole.
        self.indices.get(self.order.index(epoch, position)).copied().unwrap_or(position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_given_indices_come_each_once() {
        let epoch = Epoch { seed: 1, number: 0 };
        let sampler = SubsetSampler::shuffled((0..50).map(|i| 3 * i));
        let mut order: Vec<_> = (0..50).map(|position| sampler.index(epoch, position)).collect();
        assert!(!order.is_sorted());
        order.sort_unstable();
        assert!(order.into_iter().eq((0..50).map(|i| 3 * i)));

        let sampler = SubsetSampler::sequential([9, 2, 4]);
        assert_eq!([0, 1, 2].map(|position| sampler.index(epoch, position)), [9, 2, 4]);
        assert_eq!(sampler.index(epoch, 3), 3);
    }
}
