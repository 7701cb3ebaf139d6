//! Averages over samples.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A running average of per-sample values, fed with the means of batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Average {
    #[serde(with = "crate::float")]
    sum: f64,
    samples: u64,
}

impl Average {
    /// The average of `samples` values whose sum is `sum`.
    pub fn of(sum: f64, samples: usize) -> Self {
        Self { sum, samples: samples as u64 }
    }

    /// Adds the mean over a batch of `samples` samples. A mean that is not a number makes the average one
    /// that is not: a diverged run must show.
    pub fn add(&mut self, mean: f64, samples: usize) {
        if samples > 0 {
            self.sum += mean * samples as f64;
            self.samples = self.samples.saturating_add(samples as u64);
        }
    }

    /// The average so far; `None` before the first sample.
    pub fn value(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum / self.samples as f64)
    }

    /// The number of samples so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds what another average has seen, as if it had been seen here.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.samples = self.samples.saturating_add(other.samples);
    }
}

/// The share of predictions that are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accuracy {
    correct: u64,
    samples: u64,
}

impl Accuracy {
    /// Adds a batch of which `correct` out of `samples` predictions were right.
    ///
    /// # Errors
    /// [`Error::Argument`] if more are right than there are.
    pub fn add(&mut self, correct: usize, samples: usize) -> Result<()> {
        if correct > samples {
            let message = format!("{correct} of {samples} samples cannot be right");
            return Err(Error::argument("Accuracy::add", message));
        }
        self.merge(&Self { correct: correct as u64, samples: samples as u64 });
        Ok(())
    }

    /// Compares predicted classes with labels, one of each per sample.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many of the one as of the other.
    pub fn update(&mut self, predictions: &[i64], labels: &[i64]) -> Result<()> {
        same_length("Accuracy::update", predictions, labels)?;
        let correct = predictions.iter().zip(labels).filter(|(p, l)| p == l).count();
        self.add(correct, labels.len())
    }

    /// The share of right predictions, from 0 to 1; `None` before the first sample.
    pub fn value(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.correct as f64 / self.samples as f64)
    }

    /// The number of right predictions so far.
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// The number of samples so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Adds what another accuracy has seen, as if it had been seen here.
    pub fn merge(&mut self, other: &Self) {
        self.correct = self.correct.saturating_add(other.correct);
        self.samples = self.samples.saturating_add(other.samples);
    }
}

/// Refuses predictions and labels that are not pairs.
pub(super) fn same_length(call: &'static str, predictions: &[i64], labels: &[i64]) -> Result<()> {
    if predictions.len() == labels.len() {
        return Ok(());
    }
    let message =
        format!("{} predictions for {} labels; there must be one for each", predictions.len(), labels.len());
    Err(Error::argument(call, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smaller_last_batch_counts_for_its_samples_only() {
        let per_sample: Vec<f64> = (0..10).map(f64::from).collect();
        let mut average = Average::default();
        for batch in per_sample.chunks(4) {
            average.add(batch.iter().sum::<f64>() / batch.len() as f64, batch.len());
        }
        assert_eq!(average.value(), Some(4.5));
    }

    #[test]
    fn nothing_seen_has_no_value_and_an_empty_batch_changes_nothing() {
        let mut average = Average::default();
        average.add(f64::NAN, 0);
        assert_eq!(average.value(), None);
        assert_eq!(Accuracy::default().value(), None);
    }

    #[test]
    fn a_diverged_batch_shows_in_the_average() {
        let mut average = Average::default();
        average.add(0.1, 10);
        average.add(f64::NAN, 10);
        assert!(average.value().unwrap().is_nan());
    }

    #[test]
    fn merged_parts_equal_the_whole() {
        let (mut left, mut right, mut whole) = (Average::default(), Average::default(), Average::default());
        for i in 0..7 {
            let part = if i % 3 == 0 { &mut left } else { &mut right };
            part.add(f64::from(i), i as usize);
            whole.add(f64::from(i), i as usize);
        }
        left.merge(&right);
        assert_eq!(left, whole);
    }

    #[test]
    fn counts_stay_at_the_largest_number() {
        let mut average = Average::of(1.0, usize::MAX);
        average.add(1.0, usize::MAX);
        average.merge(&Average::of(1.0, 1));
        assert_eq!(average.samples(), u64::MAX);
        let mut accuracy = Accuracy::default();
        for _ in 0..2 {
            accuracy.add(usize::MAX, usize::MAX).unwrap();
        }
        assert_eq!((accuracy.value(), accuracy.samples()), (Some(1.0), u64::MAX));
    }

    #[test]
    fn unpaired_predictions_and_impossible_counts_are_errors() {
        let error = Accuracy::default().update(&[1, 2], &[1]).unwrap_err().to_string();
        assert_eq!(error, "Accuracy::update: 2 predictions for 1 labels; there must be one for each");
        assert!(Accuracy::default().add(3, 2).is_err());
    }
}
