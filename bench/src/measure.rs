//! Repeats a step until enough time has passed, as the peers' programs do.

use std::time::{Duration, Instant};

use gradus_tensor_core::Result;

/// Steps that are run and not counted, first.
const WARM_UP: usize = 3;
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

    /// The JSON line of a case.
    pub fn line(&self, case: &str) -> String {
        format!(
            "{{\"peer\": \"gradus\", \"case\": \"{case}\", \"ms\": {:.4}, \"min_ms\": {:.4}, \"n\": {}}}",
            self.median(),
            self.0[0],
            self.0.len()
        )
    }
}

/// Times a step for at least that long.
pub fn measure(step: &mut dyn FnMut() -> Result<()>, at_least: Duration) -> Result<Times> {
    for _ in 0..WARM_UP {
        step()?;
    }
    let mut times = Vec::new();
    let start = Instant::now();
    while times.len() < FEWEST || (start.elapsed() < at_least && times.len() < MOST) {
        let begun = Instant::now();
        step()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(Times(times))
}
