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

pub(crate) fn enabled() -> bool {
    ENABLED.get()
}

/// The caller's line, if anomalies are being looked for.
pub(crate) fn call_site() -> Option<Arc<str>> {
    enabled().then(|| {
        let trace = Backtrace::force_capture().to_string();
        let mut lines = trace.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            let Some((_, function)) = line.split_once(": ") else { continue };
            let ours = ["gradus_tensor_core", "gradus_autograd", "gradus_nn", "core::", "std::", "alloc::"];
            let plain = function.trim_start_matches('<');
            if !line.starts_with(|c: char| c.is_ascii_digit()) || ours.iter().any(|o| plain.starts_with(o)) {
                continue;
            }
            let at = lines.peek().filter(|l| l.starts_with("at ")).map_or("", |l| l);
            return format!("{function} {at}").into();
        }
        "an unknown place (the program has no symbols)".into()
    })
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
