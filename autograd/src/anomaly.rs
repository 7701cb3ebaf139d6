//! Finding the op that first made a NaN.

use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Arc;

use gradus_tensor_core::{Error, Result, Tensor};

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(false) };
}

struct Guard(bool);

impl Drop for Guard {
    fn drop(&mut self) {
        ENABLED.set(self.0);
    }
}

/// Runs `f` with a check after every op: the first op on an autodiff device whose output, forward or
/// backward, is NaN or infinite while its operands were finite returns [`Error::NotFinite`], which names the
/// op and the line of the caller's code that ran it forward. Slow: every op waits for its result and records
/// a backtrace.
pub fn detect_anomaly<T>(f: impl FnOnce() -> T) -> T {
    let _guard = Guard(ENABLED.replace(true));
    f()
}

#[inline]
pub(crate) fn enabled() -> bool {
    ENABLED.get()
}

/// Parts of frames that are not the caller's: crates between their code and the graph, and the standard library.
/// Inlined frames have no crate in their name, so files are looked at too.
const OURS: [&str; 12] = [
    "gradus_tensor_core::",
    "gradus_autograd::",
    "gradus_nn::",
    "core::",
    "std::",
    "alloc::",
    "/rustc/",
    "tensor-core",
    "/autograd/src/",
    "gradus-autograd-",
    "/nn/src/",
    "gradus-nn-",
];

/// The caller's line, if anomalies are being looked for.
#[inline]
pub(crate) fn call_site() -> Option<Arc<str>> {
    enabled().then(find_call_site)
}

#[cold]
fn find_call_site() -> Arc<str> {
    let trace = Backtrace::force_capture().to_string();
    caller(&trace).unwrap_or_else(|| "an unknown place (the program has no symbols)".into()).into()
}

/// The first frame of a printed backtrace that is not ours: `function at file:line`.
fn caller(trace: &str) -> Option<String> {
    let mut lines = trace.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        let Some((number, function)) = line.split_once(": ") else { continue };
        if number.parse::<usize>().is_err() {
            continue;
        }
        let at = lines.peek().and_then(|l| l.strip_prefix("at ")).unwrap_or("");
        // Seen from this crate's own tests, its files have relative paths.
        let relative = ["anomaly.rs", "backend.rs", "node.rs", "engine.rs"]
            .iter()
            .any(|file| at.starts_with(&format!("./src/{file}")));
        if !relative && !OURS.iter().any(|o| function.contains(o) || at.contains(o)) {
            return Some(format!("{function} at {at}"));
        }
    }
    None
}

/// Fails if an output has a value that is not finite and every operand is finite.
pub(crate) fn check(
    op: &str,
    pass: &str,
    inputs: &[Tensor],
    outputs: &[Tensor],
    site: Option<&str>,
) -> Result<()> {
    let finite = |t: &Tensor| -> Result<bool> {
        Ok(!t.dtype().is_float() || t.innermost()?.isfinite()?.all(..)?.item::<bool>()?)
    };
    for (i, output) in outputs.iter().enumerate() {
        if finite(output)? {
            continue;
        }
        for input in inputs {
            if !finite(input)? {
                return Ok(());
            }
        }
        return Err(Error::NotFinite {
            op: op.to_owned(),
            message: format!(
                "the {pass} pass made a NaN or infinite value in output {i} ({}) from finite operands; the op was called at {}",
                output.meta(),
                site.unwrap_or(
                    "a place that was not recorded: run the forward pass under detect_anomaly too"
                )
            ),
        });
    }
    Ok(())
}
