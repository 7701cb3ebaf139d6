//! Learning rates as pure functions of the step.
//!
//! Steps count from 0, the first optimizer step. Where PyTorch has a scheduler of that kind, the values are its
//! values; its recursions are written as formulas here, so a run that resumes at step `n` asks for `lr(n)` and
//! has nothing to load.

mod annealing;
mod decay;
mod one_cycle;

pub use annealing::{Cosine, CosineWarmRestarts};
pub use decay::{Constant, Exponential, Linear, MultiStep, Polynomial, StepDecay};
pub use one_cycle::{Annealing, OneCycle};

/// A learning rate for each step. Closures from step to rate are schedules too.
pub trait Schedule: Send + Sync {
    /// The learning rate of step `step`, counted from 0.
    fn lr(&self, step: u64) -> f64;
}

impl<F: Fn(u64) -> f64 + Send + Sync> Schedule for F {
    fn lr(&self, step: u64) -> f64 {
        self(step)
    }
}

impl Schedule for Box<dyn Schedule> {
    fn lr(&self, step: u64) -> f64 {
        (**self).lr(step)
    }
}

/// Schedules one after the other; each counts its steps from 0.
///
/// ```
/// use gradus_optim::{Chain, Cosine, Linear, Schedule};
/// let schedule = Chain::new(Linear::warm_up(0.1, 500)).then_at(500, Cosine::new(0.1, 9_500));
/// assert_eq!(schedule.lr(500), 0.1);
/// ```
pub struct Chain {
    parts: Vec<(u64, Box<dyn Schedule>)>,
}

impl Chain {
    /// Starts with this schedule.
    #[must_use]
    pub fn new(first: impl Schedule + 'static) -> Self {
        Chain { parts: vec![(0, Box::new(first))] }
    }

    /// Goes on with another one from step `start`; starts are in ascending order.
    #[must_use]
    pub fn then_at(mut self, start: u64, schedule: impl Schedule + 'static) -> Self {
        self.parts.push((start, Box::new(schedule)));
        self
    }
}

impl Schedule for Chain {
    fn lr(&self, step: u64) -> f64 {
        let part = self.parts.iter().rfind(|(start, _)| *start <= step);
        part.map_or(0.0, |(start, schedule)| schedule.lr(step - start))
    }
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let starts: Vec<u64> = self.parts.iter().map(|(start, _)| *start).collect();
        f.debug_struct("Chain").field("starts", &starts).finish()
    }
}
