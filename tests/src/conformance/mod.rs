//! What a backend must do, as tests.
//!
//! ```ignore
//! // tests/conformance.rs of a crate that brings a backend
//! gradus_testkit::conformance!(my_backend::Mine::device());
//! ```
//!
//! The macro makes one `#[test]` per family of ops, and some for what is not an op: moving data, changing it in
//! place, special values, empty tensors, wrong indices, memory. Every op of the [samples](crate::samples) runs over
//! its dtypes, with operands laid out in memory in several ways, and is compared with the [`Reference`] backend,
//! which computes in double precision. `conformance!(device, gradients)` adds a test that differentiates
//! every sample on the device.
//!
//! A failure says everything needed to repeat it:
//!
//! ```text
//! sort Sort { axis: 1, descending: false } over f16
//!   operand 0: f16[4, 6], strides [9, 1], offset 3
//!   output 0 differs first at [2, 3] (and at 5 of 24 elements): got 1.5, expected NaN
//! ```
//!
//! A backend may answer [`Outcome::Unsupported`](gradus_tensor_core::Outcome::Unsupported) to anything but the
//! primitives, but it must hold tensors of every dtype.

mod compare;
mod data;
mod edge;
mod in_place;
mod ops;
mod special;

use std::fmt;
use std::sync::{PoisonError, RwLock};

#[doc(hidden)]
pub use gradus_tensor_core::Device;
use gradus_tensor_core::{Error, Result};

pub use compare::{Tolerance, compare};

#[cfg(doc)]
use crate::Reference;
use crate::samples::Family;

/// What a part of the suite found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many runs were compared.
    pub checked: usize,
    /// What was wrong, one text for each.
    pub failures: Vec<String>,
}

impl Findings {
    fn check(&mut self, what: impl FnOnce() -> String, outcome: std::result::Result<(), String>) {
        self.checked += 1;
        if let Err(failure) = outcome {
            self.failures.push(format!("{}\n{failure}", what()));
        }
    }

    /// Adds an outcome that fails if a call does.
    fn require(&mut self, what: &str, outcome: Result<()>) {
        self.check(|| what.into(), outcome.map_err(|e| format!("  {e}")));
    }

    /// Panics if anything was wrong, with the first findings.
    ///
    /// # Panics
    /// There are failures, or nothing was checked.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.checked > 0, "nothing was checked");
        assert!(self.failures.is_empty(), "{self}");
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} checks failed", self.failures.len(), self.checked)?;
        self.failures.iter().take(12).try_for_each(|failure| write!(f, "\n{failure}"))
    }
}

/// Checks that share a process must not disturb each other's count of live bytes: the one that counts waits
/// until it is alone.
static ALONE: RwLock<()> = RwLock::new(());

fn together<T>(f: impl FnOnce() -> T) -> T {
    let _shared = ALONE.read().unwrap_or_else(PoisonError::into_inner);
    f()
}

/// Compares every sample of a family with the reference, over dtypes and layouts.
pub fn family(device: &Device, family: Family) -> Findings {
    together(|| ops::run(device, family))
}

/// Every dtype goes up and comes down unchanged, whole and through views.
pub fn round_trip(device: &Device) -> Findings {
    together(|| data::round_trip(device))
}

/// Ops that change their target do so through any layout and touch nothing else.
pub fn in_place(device: &Device) -> Findings {
    together(|| in_place::run(device))
}

/// NaN, infinities and signed zeros go where the ops' definitions say.
pub fn special_values(device: &Device) -> Findings {
    together(|| special::run(device))
}

/// Tensors without elements are ordinary operands.
pub fn empty(device: &Device) -> Findings {
    together(|| edge::empty(device))
}

/// An index that is out of range is an error that says so, and the device works on.
pub fn wrong_indices(device: &Device) -> Findings {
    together(|| edge::wrong_indices(device))
}

/// Live bytes come back to where they were when the last tensor goes. Runs alone.
pub fn memory(device: &Device) -> Findings {
    let _alone = ALONE.write().unwrap_or_else(PoisonError::into_inner);
    data::memory(device)
}

/// Ops on one device from several threads at once give what they give one after the other.
pub fn threads(device: &Device) -> Findings {
    together(|| data::threads(device))
}

/// Every differentiable sample against finite differences, on this device.
pub fn gradients(device: &Device) -> Findings {
    together(|| ops::gradients(device))
}

fn unexpected(error: &Error) -> String {
    format!("  failed where the reference does not: {error}")
}

/// Makes the tests that a backend has to pass, in a module `conformance`.
///
/// The argument is an expression for a device; it is evaluated in every test. `conformance!(device, gradients)`
/// adds gradient checks.
#[macro_export]
macro_rules! conformance {
    ($device:expr) => {
        $crate::conformance!(@module $device;);
    };
    ($device:expr, gradients) => {
        $crate::conformance!(@module $device;
            /// Every differentiable op against finite differences.
            #[test]
            fn gradients() {
                $crate::conformance::gradients(&device()).assert();
            }
        );
    };
    (@module $device:expr; $($more:item)*) => {
        /// The conformance suite of `gradus-testkit`.
        #[cfg(test)]
        mod conformance {
            #[allow(unused_imports)]
            use super::*;

            fn device() -> $crate::conformance::Device {
                $device
            }
            $crate::conformance!(@families
                create Create, unary Unary, unary_grad UnaryGrad, binary Binary, compare Compare, cast Cast,
                reduce Reduce, scan Scan, sort Sort, matmul MatMul, index Index, softmax Softmax, norm Norm,
                conv Conv, pool Pool, loss Loss, attention Attention, dropout Dropout
            );
            $crate::conformance!(@checks
                round_trip, in_place, special_values, empty, wrong_indices, memory, threads
            );
            $($more)*
        }
    };
    (@families $($name:ident $family:ident),*) => {$(
        #[test]
        fn $name() {
            $crate::conformance::family(&device(), $crate::samples::Family::$family).assert();
        }
    )*};
    (@checks $($name:ident),*) => {$(
        #[test]
        fn $name() {
            $crate::conformance::$name(&device()).assert();
        }
    )*};
}
