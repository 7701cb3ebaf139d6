//! Ctrl-C: the first asks a run to stop in good order, the second ends it at once.
//!
//! A run polls a [`StopFlag`] after each step. When the flag is up it writes its checkpoint and returns.
//! [`install`] ties a flag to the signals: SIGINT (Ctrl-C), SIGTERM and SIGHUP. The second signal exits with
//! code 1; nothing is then half-written under a final name, since whatever must be whole is written as
//! [`atomic`](gradus_tensor_core::io::atomic) says.
//!
//! ```
//! use gradus_train::interrupt::StopFlag;
//! let stop = StopFlag::new(); // or, in a program, `interrupt::install()?`
//! let mut step = 0;
//! while !stop.is_requested() {
//!     step += 1;
//!     if step == 3 {
//!         stop.request();
//!     }
//! }
//! assert_eq!(step, 3);
//! ```

use std::io::{IsTerminal, Write};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;

/// A wish to stop, shared by all its clones.
#[derive(Clone, Debug, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is down.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to stop. Says whether that had been asked before.
    pub fn request(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether a stop is asked for.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Takes the wish back: for a program that goes on after a run was stopped.
    pub fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

/// Ties Ctrl-C and requests to terminate to a flag, once for the whole process: later calls give the same flag.
///
/// The first signal raises the flag. The next one, as long as the flag is up, exits with code 1. Under `nohup`
/// nothing raises it: who starts a run that way wants it to go on whatever happens to the terminal.
///
/// # Errors
/// [`crate::Error::Interrupt`] if the process has another handler already, or the system refuses one.
pub fn install() -> Result<StopFlag> {
    static INSTALLED: Mutex<Option<StopFlag>> = Mutex::new(None);
    let mut installed = INSTALLED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(flag) = &*installed {
        return Ok(flag.clone());
    }
    let flag = StopFlag::new();
    let raised = flag.clone();
    let on_signal = move || {
        if raised.request() {
            say("interrupted again: exiting at once; the last checkpoint that was saved is whole");
            process::exit(1);
        }
        say("interrupted: saving a checkpoint and stopping; interrupt again to exit at once");
    };
    match (is_ignored(SIGHUP), is_ignored(SIGINT)) {
        (true, _) => {}
        // Shells start the background jobs of scripts like that; it is not a handler that anybody would miss.
        (false, true) => ctrlc::set_handler(on_signal)?,
        (false, false) => ctrlc::try_set_handler(on_signal)?,
    }
    *installed = Some(flag.clone());
    Ok(flag)
}

const SIGHUP: u32 = 1;
const SIGINT: u32 = 2;

/// Whether the process ignores a signal, as it does from its start if its parent did. Known on Linux only.
fn is_ignored(signal: u32) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// Prints to stderr, below a progress bar if there is one. A closed stderr is no reason to fail here.
fn say(message: &str) {
    let mut stderr = std::io::stderr().lock();
    let start = if stderr.is_terminal() { "\n" } else { "" };
    let _ = writeln!(stderr, "{start}{message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_seen_by_every_clone_and_can_be_taken_back() {
        let flag = StopFlag::new();
        let clone = flag.clone();
        assert!(!clone.is_requested());
        assert!(!flag.request());
        assert!(flag.request());
        assert!(clone.is_requested());
        clone.clear();
        assert!(!flag.is_requested());
    }
}
