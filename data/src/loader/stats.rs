use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Where the time went, since the iterator was started. [`decode`](LoaderStats::decode) and
/// [`collate`](LoaderStats::collate) are summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoaderStats {
    /// Time in the data set: reading, decoding, augmenting.
    pub decode: Duration,
    /// Time in the collate function.
    pub collate: Duration,
    /// Time that the caller spent waiting in `next`. Without workers that is all of it.
    pub wait: Duration,
    /// Samples made, ahead of what has been handed out.
    pub samples: u64,
    /// Batches made, ahead of what has been handed out.
    pub batches: u64,
}

/// The counters behind [`LoaderStats`], in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub decode: AtomicU64,
    pub collate: AtomicU64,
    pub wait: AtomicU64,
    pub samples: AtomicU64,
    pub batches: AtomicU64,
}

impl Counters {
    pub fn read(&self) -> LoaderStats {
        let nanos = |counter: &AtomicU64| Duration::from_nanos(counter.load(Relaxed));
        LoaderStats {
            decode: nanos(&self.decode),
            collate: nanos(&self.collate),
            wait: nanos(&self.wait),
            samples: self.samples.load(Relaxed),
            batches: self.batches.load(Relaxed),
        }
    }
}

/// Runs a function and adds the time it took.
pub(super) fn timed<T>(counter: &AtomicU64, function: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = function();
    counter.fetch_add(start.elapsed().as_nanos() as u64, Relaxed);
    value
}
