//! What this machine can do at best, measured: the denominators of "how fast is it really".
//!
//! An op is bound by one of two things, arithmetic or memory, and a kernel is as good as the fraction of its
//! bound that it reaches. Data sheets know neither the clock under load nor what a virtual machine leaves, so
//! both are measured: multiply-adds in registers, and streams through more memory than any cache holds. Each is
//! the best of several short runs on all threads at once.
//!
//! Memory has no one number. Reads and writes have paths of their own, so a copy moves more bytes a second than a
//! read, and writes alone are the slowest. An op is compared with streams of its own mix: see [`Bandwidth::at`].

mod arithmetic;
mod memory;

use std::fmt;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Instant;

pub use arithmetic::arithmetic;
pub use memory::{Bandwidth, Streams};

/// A bound of the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// What is bounded: `f32`, `bf16` or `int8` for operations on that type; one of [`Bandwidth`]'s streams for memory.
    pub what: &'static str,
    /// With which instructions: a [`Level`](crate::Level)'s name, or a feature's.
    pub with: &'static str,
    /// Operations (a multiply-add is two) or bytes a second.
    pub per_second: f64,
    /// What share of the bytes is written; `None` for operations.
    pub written: Option<f64>,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = if self.written.is_some() { "GB/s" } else { "GF/s" };
        write!(f, "{} ({}): {:.1} {unit}", self.what, self.with, self.per_second / 1e9)
    }
}

/// Runs of which the best counts.
pub const RUNS: usize = 7;

/// Of so many runs, the best rate of `body(t)`, which does `work` on thread `t`, over all threads.
fn best(runs: usize, threads: usize, work: f64, body: impl Fn(usize) + Sync) -> f64 {
    let rate = |(threads, seconds)| threads as f64 * work / seconds;
    (0..runs).map(|_| rate(slowest(threads, &body))).fold(0.0, f64::max)
}

/// The number of threads, which are fewer if the system gives no more, and the seconds that the slowest of them needs.
fn slowest(threads: usize, body: &(impl Fn(usize) + Sync)) -> (usize, f64) {
    let barrier = OnceLock::<Barrier>::new();
    let timed = |t: usize| {
        barrier.wait().wait();
        let start = Instant::now();
        body(t);
        start.elapsed().as_secs_f64()
    };
    thread::scope(|scope| {
        let spawn = |t| thread::Builder::new().spawn_scoped(scope, move || timed(t)).ok();
        let others: Vec<_> = (1..threads).map_while(spawn).collect();
        let count = others.len() + 1;
        barrier.get_or_init(|| Barrier::new(count));
        let mine = timed(0);
        (count, others.into_iter().filter_map(|other| other.join().ok()).fold(mine, f64::max))
    })
}
