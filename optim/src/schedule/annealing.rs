//! Cosine annealing (Loshchilov and Hutter, arXiv:1608.03983).

use std::f64::consts::PI;

use super::Schedule;

/// A rate that falls along half a cosine from `lr` to `min` in `steps` steps. Beyond, it goes on along the
/// cosine, up again: end the run, or use [`CosineWarmRestarts`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cosine {
    /// The rate at the start.
    pub lr: f64,
    /// The rate after `steps` steps.
    pub min: f64,
    /// How long it takes.
    pub steps: u64,
}

impl Cosine {
    /// From that rate to 0.
    pub fn new(lr: f64, steps: u64) -> Self {
        Cosine { lr, min: 0.0, steps }
    }
}

impl Schedule for Cosine {
    fn lr(&self, step: u64) -> f64 {
        anneal(self.lr, self.min, step as f64 / self.steps.max(1) as f64)
    }
}

/// [`Cosine`] annealing that starts again from `lr` after `first` steps, after `first * factor` more, and so on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineWarmRestarts {
    /// The rate at each start.
    pub lr: f64,
    /// The rate that each cycle approaches.
    pub min: f64,
    /// The length of the first cycle.
    pub first: u64,
    /// How much longer each cycle is than the one before.
    pub factor: u64,
}

impl Schedule for CosineWarmRestarts {
    fn lr(&self, step: u64) -> f64 {
        let (mut length, mut step) = (self.first.max(1), step);
        if self.factor <= 1 {
            step %= length;
        }
        while step >= length {
            step -= length;
            length = length.saturating_mul(self.factor);
        }
        anneal(self.lr, self.min, step as f64 / length as f64)
    }
}

/// From `start` to `end` along half a cosine, at a share of the way.
pub(super) fn anneal(start: f64, end: f64, share: f64) -> f64 {
    end + (start - end) / 2.0 * (1.0 + (PI * share).cos())
}
