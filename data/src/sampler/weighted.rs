use super::{Epoch, Sampler};
use crate::rng::scale;
use crate::rng::stream::WEIGHTED;
use crate::{Error, Result};

/// Draws with replacement, each sample in proportion to its weight: to balance classes, say.
///
/// Each position is drawn on its own from an alias table (Walker, Vose), in constant time.
///
/// ```
/// use gradus_data::sampler::{Epoch, Sampler, Weighted};
///
/// let sampler = Weighted::new(&[1.0, 0.0, 3.0], 1_000)?;
/// let epoch = Epoch { seed: 1, number: 0 };
/// let drawn: Vec<usize> = (0..1_000).map(|position| sampler.index(epoch, position)).collect();
/// assert!(!drawn.contains(&1));
/// # Ok::<(), gradus_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Weighted {
    /// For each column of the table: the probability of its own index (as part of 2⁶⁴), and the other.
    columns: Vec<(u64, usize)>,
    draws: usize,
}

impl Weighted {
    /// Draws `draws` samples an epoch. The weights, one per sample, need not sum to 1.
    ///
    /// # Errors
    /// [`Error::Argument`] if a weight is negative or not finite, or if none is above zero.
    pub fn new(weights: &[f64], draws: usize) -> Result<Self> {
        if let Some(at) = weights.iter().position(|&weight| !(weight.is_finite() && weight >= 0.0)) {
            let message = format!("weight {at} is {}, expected a finite number of at least 0", weights[at]);
            return Err(Error::argument("weighted sampler", message));
        }
        let largest = weights.iter().copied().fold(0.0, f64::max);
        if largest == 0.0 {
            return Err(Error::argument(
                "weighted sampler",
                format!("none of {} weights is above 0", weights.len()),
            ));
        }
        // Relative to the largest, so that the sum cannot overflow.
        let scaled: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
        Ok(Self { columns: alias_table(&scaled), draws })
    }
}

/// Cuts the distribution into columns of equal probability, each shared by at most two indices.
fn alias_table(weights: &[f64]) -> Vec<(u64, usize)> {
    let mean = weights.iter().sum::<f64>() / weights.len() as f64;
    let mut part: Vec<f64> = weights.iter().map(|weight| weight / mean).collect();
    let mut other: Vec<usize> = (0..weights.len()).collect();
    let (mut small, mut large): (Vec<_>, Vec<_>) = (0..weights.len()).partition(|&i| part[i] < 1.0);
    while let (Some(&from), Some(to)) = (large.last(), small.pop()) {
        other[to] = from;
        part[from] -= 1.0 - part[to];
        if part[from] < 1.0 {
            large.pop();
            small.push(from);
        }
    }
    // What is left over differs from 1 by rounding only; its other index is itself, or, for a sample
    // of weight 0, the heaviest one.
    let heaviest = (0..weights.len()).max_by(|&a, &b| weights[a].total_cmp(&weights[b])).unwrap_or(0);
    for &i in &small {
        other[i] = if weights[i] > 0.0 { i } else { heaviest };
    }
    part.iter().zip(other).map(|(&part, other)| ((part * 2.0_f64.powi(64)) as u64, other)).collect()
}

impl Sampler for Weighted {
    fn len(&self) -> usize {
        self.draws
    }

    fn index(&self, epoch: Epoch, position: usize) -> usize {
        let [a, b, c, d] = epoch.key(WEIGHTED).block(position as u64);
        let word = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let column = scale(word(a, b), self.columns.len());
        let (own, other) = self.columns[column];
        if word(c, d) < own { column } else { other }
    }

    fn key(&self, _: Epoch, position: usize) -> u64 {
        position as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_table_gives_each_index_its_weight(weights in prop::collection::vec(0.0..100.0_f64, 1..50)) {
            prop_assume!(weights.iter().sum::<f64>() > 0.0);
            let table = Weighted::new(&weights, 1).unwrap().columns;
            let mut found = vec![0.0; weights.len()];
            for (column, &(own, other)) in table.iter().enumerate() {
                let own = own as f64 / 2.0_f64.powi(64);
                found[column] += own / table.len() as f64;
                found[other] += (1.0 - own) / table.len() as f64;
            }
            let sum: f64 = weights.iter().sum();
            prop_assert!(found.iter().zip(&weights).all(|(f, w)| (f - w / sum).abs() < 1e-12), "{found:?}");
        }
    }

    #[test]
    fn draws_follow_the_weights_and_differ_by_epoch() {
        let sampler = Weighted::new(&[1.0, 0.0, 2.0, 7.0], 100_000).unwrap();
        let draw = |number| -> Vec<usize> {
            (0..sampler.len()).map(|position| sampler.index(Epoch { seed: 5, number }, position)).collect()
        };
        let drawn = draw(0);
        let counts = [0, 1, 2, 3].map(|index| drawn.iter().filter(|&&i| i == index).count() as f64);
        assert_eq!(counts[1], 0.0);
        assert!((counts[0] - 1e4).abs() < 500.0 && (counts[2] - 2e4).abs() < 700.0, "{counts:?}");
        assert_ne!(drawn, draw(1));
    }

    #[test]
    fn a_repeated_sample_is_augmented_in_another_way() {
        let sampler = Weighted::new(&[1.0], 10).unwrap();
        let epoch = Epoch { seed: 0, number: 0 };
        assert_ne!(sampler.key(epoch, 0), sampler.key(epoch, 1));
    }

    #[test]
    fn weights_that_make_no_distribution_are_refused() {
        for weights in [&[][..], &[0.0, 0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY]] {
            assert!(Weighted::new(weights, 1).is_err(), "{weights:?}");
        }
        assert!(Weighted::new(&[f64::MAX, f64::MAX], 1).is_ok());
    }
}
