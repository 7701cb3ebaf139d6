//! Rates that fall, or rise, by simple rules.

use super::Schedule;

/// One rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constant(pub f64);

impl Schedule for Constant {
    fn lr(&self, _: u64) -> f64 {
        self.0
    }
}

/// A rate multiplied with `gamma` after every `every` steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepDecay {
    /// The rate at the start.
    pub lr: f64,
    /// Steps between changes.
    pub every: u64,
    /// The factor of each change.
    pub gamma: f64,
}

impl Schedule for StepDecay {
    fn lr(&self, step: u64) -> f64 {
        self.lr * power(self.gamma, step / self.every.max(1))
    }
}

/// A rate multiplied with `gamma` at each of some steps.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiStep {
    /// The rate at the start.
    pub lr: f64,
    /// The steps from which the rate is changed once more.
    pub milestones: Vec<u64>,
    /// The factor of each change.
    pub gamma: f64,
}

impl Schedule for MultiStep {
    fn lr(&self, step: u64) -> f64 {
        self.lr * power(self.gamma, self.milestones.iter().filter(|&&at| at <= step).count() as u64)
    }
}

/// A rate multiplied with `gamma` after every step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exponential {
    /// The rate at the start.
    pub lr: f64,
    /// The factor of each step.
    pub gamma: f64,
}

impl Schedule for Exponential {
    fn lr(&self, step: u64) -> f64 {
        self.lr * power(self.gamma, step)
    }
}

/// A rate whose factor goes from `start` to `end` in a straight line over `steps` steps, and stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Linear {
    /// What the factors are multiplied with.
    pub lr: f64,
    /// The factor at step 0.
    pub start: f64,
    /// The factor from step `steps` on.
    pub end: f64,
    /// How long it takes.
    pub steps: u64,
}

impl Linear {
    /// From a thousandth of the rate to the rate.
    pub fn warm_up(lr: f64, steps: u64) -> Self {
        Linear { lr, start: 1e-3, end: 1.0, steps }
    }
}

impl Schedule for Linear {
    fn lr(&self, step: u64) -> f64 {
        self.lr * (self.start + (self.end - self.start) * share(step, self.steps))
    }
}

/// A rate that falls as `(1 - step / steps)^power` to 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Polynomial {
    /// The rate at the start.
    pub lr: f64,
    /// How long it takes.
    pub steps: u64,
    /// 1 is a straight line.
    pub power: f64,
}

impl Schedule for Polynomial {
    fn lr(&self, step: u64) -> f64 {
        self.lr * (1.0 - share(step, self.steps)).powf(self.power)
    }
}

/// How much of `steps` is done, at most 1.
fn share(step: u64, steps: u64) -> f64 {
    if step >= steps { 1.0 } else { step as f64 / steps as f64 }
}

fn power(base: f64, exponent: u64) -> f64 {
    base.powi(exponent.min(i32::MAX as u64) as i32)
}
