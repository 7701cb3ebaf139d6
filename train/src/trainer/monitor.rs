//! Which value says how good a model is, and when to give up waiting for a better one.

use serde::{Deserialize, Serialize};

use super::Best;

/// Which way a value gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Less is better, as for a loss.
    Min,
    /// More is better, as for an accuracy.
    Max,
}

impl Goal {
    /// By how much `value` is better than `than`; a NaN is never better.
    fn gain(self, value: f64, than: f64) -> f64 {
        match self {
            Goal::Min => than - value,
            Goal::Max => value - than,
        }
    }
}

/// Ends a run whose monitored value no longer improves.
#[derive(Clone, Copy, Debug)]
pub struct EarlyStopping {
    pub(super) patience: u64,
    pub(super) min_delta: f64,
    pub(super) restore_best: bool,
}

impl EarlyStopping {
    /// Ends the run after `patience` epochs (at least 1) in a row without improvement.
    pub fn patience(epochs: u64) -> Self {
        Self { patience: epochs.max(1), min_delta: 0.0, restore_best: false }
    }

    /// Counts only improvements by more than `delta`.
    #[must_use]
    pub fn min_delta(mut self, delta: f64) -> Self {
        self.min_delta = delta;
        self
    }

    /// Puts the best weights back at the end of a run that was completed or ended early.
    #[must_use]
    pub fn restore_best(mut self) -> Self {
        self.restore_best = true;
        self
    }
}

/// What is known of the monitored value so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Scores {
    pub best: Option<Best>,
    /// The value that the next one must beat by `min_delta`.
    reference: Option<Best>,
    /// Epochs since the reference.
    stale: u64,
}

impl Scores {
    /// Takes the value of an epoch. Says whether it is the best so far.
    pub fn take(&mut self, epoch: u64, value: f64, goal: Goal, min_delta: f64) -> bool {
        let beats = |than: Option<Best>, by: f64| match than {
            None => !value.is_nan(),
            Some(than) => goal.gain(value, than.value) > by,
        };
        if beats(self.reference, min_delta) {
            (self.reference, self.stale) = (Some(Best { epoch, value }), 0);
        } else {
            self.stale += 1;
        }
        let best = beats(self.best, 0.0);
        if best {
            self.best = Some(Best { epoch, value });
        }
        best
    }

    pub fn exhausted(&self, stopping: Option<EarlyStopping>) -> bool {
        stopping.is_some_and(|s| self.stale >= s.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many of these values a run ends, and which epoch was best.
    fn ends(values: &[f64], goal: Goal, stopping: EarlyStopping) -> (usize, u64) {
        let mut scores = Scores::default();
        for (i, value) in values.iter().enumerate() {
            scores.take(i as u64 + 1, *value, goal, stopping.min_delta);
            if scores.exhausted(Some(stopping)) {
                return (i + 1, scores.best.unwrap().epoch);
            }
        }
        (0, scores.best.unwrap().epoch)
    }

    #[test]
    fn patience_counts_epochs_in_a_row_without_improvement() {
        let stopping = EarlyStopping::patience(2);
        assert_eq!(ends(&[3.0, 4.0, 2.0, 2.0, 2.5, 1.0], Goal::Min, stopping), (5, 3));
        assert_eq!(ends(&[0.1, 0.3, 0.2, 0.3], Goal::Max, stopping), (4, 2));
        assert_eq!(ends(&[3.0, 2.0, 1.0], Goal::Min, stopping), (0, 3));
    }

    #[test]
    fn small_improvements_do_not_reset_the_count_but_are_the_best() {
        let stopping = EarlyStopping::patience(3).min_delta(0.5);
        assert_eq!(ends(&[3.0, 2.8, 2.7, 2.6, 2.0], Goal::Min, stopping), (4, 4));
        assert_eq!(ends(&[3.0, 2.8, 2.4, 2.3, 2.2], Goal::Min, stopping), (0, 5));
    }

    #[test]
    fn a_value_that_is_not_a_number_is_no_improvement() {
        assert_eq!(ends(&[f64::NAN, 2.0, f64::NAN, f64::NAN], Goal::Min, EarlyStopping::patience(2)), (4, 2));
    }
}
