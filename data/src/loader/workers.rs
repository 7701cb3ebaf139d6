//! Worker threads, and the window of batches between them and the caller.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::make::Plan;
use super::stats::Counters;
use crate::{Collate, Dataset, Error, Result};

/// The worker threads of one iterator. Dropping it stops and joins them.
pub(super) struct Workers<B> {
    window: Arc<Window<B>>,
    threads: Vec<JoinHandle<()>>,
}

/// Which batches are claimed, made, and handed out.
struct Window<B> {
    state: Mutex<WindowState<B>>,
    /// A batch is ready, or a worker has ended: the caller waits for it.
    ready: Condvar,
    /// A batch has been handed out, or it is time to stop: workers wait for it.
    room: Condvar,
    /// Seen by workers between samples.
    stop: AtomicBool,
    /// One past the last batch.
    end: usize,
    prefetch: usize,
}

struct WindowState<B> {
    /// The next batch to be handed out.
    next: usize,
    /// The next batch that no worker has claimed.
    unclaimed: usize,
    made: BTreeMap<usize, Result<B>>,
    running: usize,
}

impl<B: Send + 'static> Workers<B> {
    /// Starts threads that make the batches `next..end` of an epoch.
    pub fn start<D, C>(
        (count, prefetch): (usize, usize),
        plan: &Arc<Plan<D, C>>,
        epoch: u64,
        (next, end): (usize, usize),
        counters: &Arc<Counters>,
    ) -> Result<Self>
    where
        D: Dataset + 'static,
        C: Collate<D::Item, Batch = B> + 'static,
    {
        let state = WindowState { next, unclaimed: next, made: BTreeMap::new(), running: 0 };
        let window = Arc::new(Window {
            state: Mutex::new(state),
            ready: Condvar::new(),
            room: Condvar::new(),
            stop: AtomicBool::new(false),
            end,
            prefetch,
        });
        // Owned from the first thread on: if a later one cannot be started, those before it end.
        let mut workers = Self { window, threads: Vec::new() };
        for worker in 0..count.min(end - next) {
            let (window, plan, counters) =
                (Arc::clone(&workers.window), Arc::clone(plan), Arc::clone(counters));
            window.lock().running += 1;
            let thread = std::thread::Builder::new()
                .name(format!("gradus-data-{worker}"))
                .spawn(move || window.work(|batch, stop| plan.make(epoch, batch, stop, &counters)));
            match thread {
                Ok(thread) => workers.threads.push(thread),
                Err(source) => return Err(Error::Spawn { worker, source }),
            }
        }
        Ok(workers)
    }

    /// Waits for the next batch.
    pub fn next(&self) -> Result<B> {
        let mut state = self.window.lock();
        let batch = state.next;
        let made = loop {
            if let Some(made) = state.made.remove(&batch) {
                break made;
            }
            if state.running == 0 {
                let message = format!("batch {batch} was lost: its worker ended without a result");
                break Err(Error::Panic { what: "worker", message });
            }
            state = self.window.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        state.next += 1;
        drop(state);
        self.window.room.notify_one();
        made
    }
}

impl<B> Drop for Workers<B> {
    fn drop(&mut self) {
        self.window.stop.store(true, Relaxed);
        // Under the lock: a worker that has just looked at `stop` is by now waiting to be notified.
        drop(self.window.lock());
        self.window.room.notify_all();
        for thread in self.threads.drain(..) {
            // Its panic, if any, has been handed out as an error.
            let _ = thread.join();
        }
    }
}

impl<B> Window<B> {
    /// The user's code never runs under the lock, so no panic leaves the state half changed.
    fn lock(&self) -> MutexGuard<'_, WindowState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a worker thread does.
    fn work(&self, make: impl Fn(usize, &AtomicBool) -> Option<Result<B>>) {
        let _leaving = Leaving(self);
        while let Some(batch) = self.claim() {
            let Some(made) = make(batch, &self.stop) else { return };
            self.lock().made.insert(batch, made);
            self.ready.notify_one();
        }
    }

    /// Waits until the next batch is near enough, and takes it; `None` when there is nothing to do.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        loop {
            if self.stop.load(Relaxed) || state.unclaimed == self.end {
                return None;
            }
            if state.unclaimed - state.next < self.prefetch {
                state.unclaimed += 1;
                return Some(state.unclaimed - 1);
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the caller that a worker has ended, however it ended.
struct Leaving<'a, B>(&'a Window<B>);

impl<B> Drop for Leaving<'_, B> {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
        self.0.ready.notify_one();
    }
}
