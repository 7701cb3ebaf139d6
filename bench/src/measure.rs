//! Repeats a step until enough time has passed, as the peers' programs do.

use std::time::{Duration, Instant};

use gradus_tensor_core::{Device, Result};

use crate::cases::Case;
use crate::cost::{Costs, Work};
use crate::limits::Limits;

/// Steps that are run and not counted, first.
const WARM_UP: usize = 3;
/// Parts of the time between which something else is measured.
const SLICES: u32 = 10;
/// The fewest steps that are counted.
const FEWEST: usize = 5;
/// The most steps that are counted.
const MOST: usize = 2000;

/// The times of one case's steps in milliseconds, ascending.
pub struct Times(Vec<f64>);

impl Times {
    fn median(&self) -> f64 {
        let n = self.0.len();
        (self.0[(n - 1) / 2] + self.0[n / 2]) / 2.0
    }

    /// The JSON line of a case, with what it reaches of the machine's bounds if these and its work are known.
    pub fn line(&self, case: &str, reached: Option<(&Limits, &Work)>) -> String {
        let ms = self.median();
        let mut line = format!(
            "{{\"peer\": \"gradus\", \"case\": \"{case}\", \"ms\": {ms:.4}, \"min_ms\": {:.4}, \"n\": {}",
            self.0[0],
            self.0.len()
        );
        if let Some((limits, work)) = reached {
            let (gflop, gb) = (work.flops() as f64 / 1e9, work.bytes() as f64 / 1e9);
            let bound = limits.bound(work);
            line += &format!(
                ", \"gflop\": {gflop:.4}, \"gb\": {gb:.4}, \"gflops\": {:.2}, \"gbs\": {:.2}, \"bound\": \"{}\", \"percent\": {:.1}",
                gflop / ms * 1e3,
                gb / ms * 1e3,
                bound.what,
                bound.ms / ms * 100.0
            );
        }
        line + "}"
    }
}

/// What one step costs after the first, which has things to make.
pub fn work(case: &Case, device: &Device) -> Result<Work> {
    let costs = Costs::default();
    let mut step = (case.make)(&costs.around(device))?;
    step()?;
    costs.take();
    step()?;
    Ok(costs.take())
}

/// Times a step for at least that long, and calls `between` now and then, outside of what is counted.
pub fn measure(
    step: &mut dyn FnMut() -> Result<()>,
    at_least: Duration,
    between: &mut dyn FnMut(),
) -> Result<Times> {
    for _ in 1..WARM_UP {
        step()?;
    }
    let mut times = Vec::new();
    let (mut spent, mut next) = (Duration::ZERO, Duration::ZERO);
    while times.len() < FEWEST || (spent < at_least && times.len() < MOST) {
        if spent >= next {
            between();
            next += at_least / SLICES;
            // What it put out of the caches comes back.
            step()?;
        }
        let begun = Instant::now();
        step()?;
        let took = begun.elapsed();
        spent += took;
        times.push(took.as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(Times(times))
}
