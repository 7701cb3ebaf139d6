//! Whether ops are recorded: a switch of the calling thread.

use std::cell::Cell;

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether ops on tracked tensors are recorded on this thread.
#[inline]
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// Puts the switch back when dropped, also when a panic passes.
struct Guard(bool);

impl Drop for Guard {
    fn drop(&mut self) {
        ENABLED.set(self.0);
    }
}

/// Runs `f` without recording: its results are constants. For evaluation and for updates of parameters.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    let _guard = Guard(ENABLED.replace(false));
    f()
}

/// Runs `f` with recording, also inside [`no_grad`].
pub fn enable_grad<T>(f: impl FnOnce() -> T) -> T {
    let _guard = Guard(ENABLED.replace(true));
    f()
}
