//! Threads that work on one op together.
//!
//! An op of a hundred microseconds is worth a second thread only if that starts at once, and a thread that sleeps takes
//! some tens of microseconds to wake, on a virtual machine more. So whoever executes an op works on it too, instead of
//! sleeping until others have done it, and helpers that ran out of work stay awake for a moment, since the next op of a
//! training step is usually near. They yield to any other thread meanwhile. After that moment they go back to the pool
//! and sleep. The pool is rayon's, which gives threads, and wakes them where all sleep.
//!
//! A job is calls of a function for `0..n`. Each participant has a share of neighbouring numbers, the same in every op
//! of one size, so that it finds in its cache what it wrote before; when its own share is done, it goes on with what is
//! left of others'. Several threads may have jobs at once, and a job's function may have jobs itself: whoever has a job
//! only waits for those that are inside of it, and they wait for nobody else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rayon::{ThreadPool, ThreadPoolBuilder};

/// How long a helper without work stays awake.
const LINGER: Duration = Duration::from_micros(100);
/// Looks before the next look at the clock, and yield.
const LOOKS: usize = 64;

/// The threads of a backend, the calling one not counted.
#[derive(Debug)]
pub(crate) struct Team {
    pool: ThreadPool,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    open: Mutex<Open>,
    /// Changes when a job is added.
    news: AtomicUsize,
    linger: Duration,
}

#[derive(Debug, Default)]
struct Open {
    jobs: Vec<Arc<Job>>,
    /// Helpers that work or look for work.
    awake: usize,
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, Open> {
        // No panic leaves the list half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a helper does until there is nothing more to do.
    fn help(&self) {
        loop {
            let news = self.news.load(Ordering::Acquire);
            let found = self.open().enter();
            if let Some((job, participant)) = found {
                job.work(participant);
                job.inside.fetch_sub(1, Ordering::Release);
            } else if !self.wait_for_news(news) && self.open().leave() {
                return;
            }
        }
    }

    /// Whether a job was added within the time that helpers stay awake.
    fn wait_for_news(&self, old: usize) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.news.load(Ordering::Acquire) != old {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= self.linger {
                return false;
            }
            std::thread::yield_now();
        }
    }
}

impl Open {
    /// A job with work left, and who the helper is in it.
    fn enter(&self) -> Option<(Arc<Job>, usize)> {
        let job = self.jobs.iter().find(|job| job.has_work())?;
        job.inside.fetch_add(1, Ordering::Relaxed);
        let participant = job.entered.fetch_add(1, Ordering::Relaxed) + 1;
        Some((job.clone(), participant))
    }

    /// Counts a helper out, unless work came in this moment.
    fn leave(&mut self) -> bool {
        let leaves = !self.jobs.iter().any(|job| job.has_work());
        self.awake -= leaves as usize;
        leaves
    }
}

/// Numbers of one participant, of which those before `next` are taken. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
struct Share {
    next: AtomicUsize,
    end: usize,
}

struct Job {
    /// Lives until nobody is inside, which [`Team::run`] waits for.
    body: &'static (dyn Fn(usize) + Sync),
    shares: Vec<Share>,
    /// Helpers that came in so far, and those that are inside.
    entered: AtomicUsize,
    inside: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Job {
    fn new(n: usize, participants: usize, body: &'static (dyn Fn(usize) + Sync)) -> Self {
        let parts = participants.min(n).max(1);
        let share = |p: usize| Share { next: AtomicUsize::new(p * n / parts), end: (p + 1) * n / parts };
        Job {
            body,
            shares: (0..parts).map(share).collect(),
            entered: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
            panic: Mutex::new(None),
        }
    }

    fn has_work(&self) -> bool {
        self.shares.iter().any(|share| share.next.load(Ordering::Relaxed) < share.end)
    }

    /// Calls the function until no number is left, the participant's own share first.
    fn work(&self, participant: usize) {
        let all = catch_unwind(AssertUnwindSafe(|| {
            for k in 0..self.shares.len() {
                let share = &self.shares[(participant + k) % self.shares.len()];
                loop {
                    let i = share.next.fetch_add(1, Ordering::Relaxed);
                    if i >= share.end {
                        break;
                    }
                    (self.body)(i);
                }
            }
        }));
        if let Err(panic) = all {
            // The rest is left undone.
            self.shares.iter().for_each(|share| share.next.store(share.end, Ordering::Relaxed));
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }

    /// Waits for helpers that are inside: for the last calls under way.
    fn wait(&self) {
        let mut looks = 0;
        while self.inside.load(Ordering::Acquire) > 0 {
            looks += 1;
            if looks % LOOKS == 0 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("shares", &self.shares).field("inside", &self.inside).finish()
    }
}

impl Team {
    /// Threads for `threads` participants; `None` if the system gives none.
    pub(crate) fn new(threads: usize) -> Option<Self> {
        let builder = ThreadPoolBuilder::new().num_threads(threads.checked_sub(1).filter(|&n| n > 0)?);
        let pool = builder.thread_name(|i| format!("gradus-cpu-{i}")).build().ok()?;
        // With more threads than cores, one that waits would keep one that works from running.
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let linger = if threads <= cores { LINGER } else { Duration::ZERO };
        let shared = Shared { open: Mutex::default(), news: AtomicUsize::new(0), linger };
        Some(Self { pool, shared: Arc::new(shared) })
    }

    /// Calls `body(0)` … `body(n - 1)`, on this thread and on helpers, and returns when all are done.
    ///
    /// # Panics
    /// If a call does, with the same payload.
    pub(crate) fn run(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        let helpers = self.pool.current_num_threads();
        // SAFETY: the function is called by `Job::work` alone: by this thread before it returns from here, and by
        // helpers that are inside. Helpers enter while the job is in the list, under its lock. This function does not
        // return, and does not unwind (calls are caught), before the job was taken from the list and nobody is inside.
        let body =
            unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(body) };
        let job = Arc::new(Job::new(n, helpers + 1, body));
        let asleep = {
            let mut open = self.shared.open();
            open.jobs.push(job.clone());
            let asleep = helpers.min(n.saturating_sub(1)).saturating_sub(open.awake);
            open.awake += asleep;
            asleep
        };
        self.shared.news.fetch_add(1, Ordering::Release);
        for _ in 0..asleep {
            let shared = self.shared.clone();
            self.pool.spawn(move || shared.help());
        }
        job.work(0);
        self.shared.open().jobs.retain(|other| !Arc::ptr_eq(other, &job));
        job.wait();
        let panic = job.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(team: &Team, n: usize) -> Vec<usize> {
        let calls: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
        team.run(n, &|i| {
            calls[i].fetch_add(1, Ordering::Relaxed);
        });
        calls.into_iter().map(AtomicUsize::into_inner).collect()
    }

    #[test]
    fn every_number_is_called_once_by_any_number_of_threads() {
        for threads in [2, 3, 7] {
            let team = Team::new(threads).unwrap();
            for n in (0..40).chain([1000]) {
                assert_eq!(counts(&team, n), vec![1; n], "{n} calls on {threads} threads");
                if n % 9 == 0 {
                    std::thread::sleep(3 * LINGER); // all asleep
                }
            }
        }
    }

    #[test]
    fn jobs_of_several_threads_and_jobs_within_jobs_are_all_done() {
        let team = Team::new(3).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let total = AtomicUsize::new(0);
                        team.run(5, &|i| {
                            team.run(7, &|j| {
                                total.fetch_add(i * 7 + j, Ordering::Relaxed);
                            });
                        });
                        assert_eq!(total.into_inner(), (0..35).sum::<usize>());
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_team_goes_on() {
        let team = Team::new(2).unwrap();
        for bad in [0, 50, 99] {
            let run = || team.run(100, &|i| assert_ne!(i, bad, "call {i} fails"));
            let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
            assert!(panic.downcast_ref::<String>().unwrap().contains("fails"));
            assert_eq!(counts(&team, 100), vec![1; 100]);
        }
    }
}
