//! The one-cycle policy (Smith and Topin, arXiv:1708.07120).

use super::Schedule;
use super::annealing::anneal;

/// The line between two rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Annealing {
    /// Half a cosine.
    #[default]
    Cosine,
    /// A straight line.
    Linear,
}

/// A rate that rises from `max_lr / div_factor` to `max_lr`, then falls to far below where it started, while
/// momentum does the opposite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OneCycle {
    /// The highest rate.
    pub max_lr: f64,
    /// How many steps the cycle has; the rate then stays at the lowest.
    pub steps: u64,
    /// The share of the steps that the rate rises.
    pub rising: f64,
    /// The line between two rates.
    pub annealing: Annealing,
    /// The highest rate divided by the first.
    pub div_factor: f64,
    /// The first rate divided by the last.
    pub final_div_factor: f64,
    /// Fall to the first rate as fast as the rate rose, and then to the last; instead of falling at once.
    pub three_phases: bool,
    /// The lowest momentum, where the rate is highest.
    pub base_momentum: f64,
    /// The highest momentum, at both ends.
    pub max_momentum: f64,
}

/// What changes over the cycle, at the corners of its line.
struct Corners {
    start: f64,
    top: f64,
    end: f64,
}

impl OneCycle {
    /// A cycle with PyTorch's defaults: rising for 30% of the steps along a cosine from a 25th of the rate,
    /// falling to a ten-thousandth of that; momentum between 0.85 and 0.95.
    pub fn new(max_lr: f64, steps: u64) -> Self {
        OneCycle {
            max_lr,
            steps,
            rising: 0.3,
            annealing: Annealing::Cosine,
            div_factor: 25.0,
            final_div_factor: 1e4,
            three_phases: false,
            base_momentum: 0.85,
            max_momentum: 0.95,
        }
    }

    /// The momentum of step `step`, counted from 0.
    pub fn momentum(&self, step: u64) -> f64 {
        let (base, max) = (self.base_momentum, self.max_momentum);
        self.at(step, &Corners { start: max, top: base, end: max })
    }

    fn at(&self, step: u64, corners: &Corners) -> f64 {
        let last = self.steps.saturating_sub(1) as f64;
        let step = (step as f64).min(last);
        let top = self.rising * self.steps as f64 - 1.0;
        let phases = if self.three_phases {
            [
                (top, corners.start, corners.top),
                (2.0 * top, corners.top, corners.start),
                (last, corners.start, corners.end),
            ]
        } else {
            // The second phase is empty, and so never left.
            [
                (top, corners.start, corners.top),
                (top, corners.top, corners.top),
                (last, corners.top, corners.end),
            ]
        };
        // A phase may end before step 0, and the next one is then under way at step 0, as it is in PyTorch.
        let mut from = 0.0;
        for (to, start, end) in phases {
            if step <= to && to > from {
                let share = (step - from) / (to - from);
                return match self.annealing {
                    Annealing::Cosine => anneal(start, end, share),
                    Annealing::Linear => start + (end - start) * share,
                };
            }
            from = to;
        }
        corners.end
    }
}

impl Schedule for OneCycle {
    fn lr(&self, step: u64) -> f64 {
        let start = self.max_lr / self.div_factor;
        self.at(step, &Corners { start, top: self.max_lr, end: start / self.final_div_factor })
    }
}
