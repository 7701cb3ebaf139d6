//! What a gradient check found.

use std::fmt;

use gradus_tensor_core::Error;

use super::numeric::Inputs;

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which input was moved; `None` if all were, along a direction.
    pub input: Option<usize>,
    /// Which of its elements.
    pub index: Vec<usize>,
    /// The derivative that the backward pass gave.
    pub analytic: f64,
    /// The derivative by central differences.
    pub numeric: f64,
    /// The error that was allowed.
    pub allowed: f64,
}

impl Entry {
    /// The absolute difference; infinite if either is not a number.
    pub fn error(&self) -> f64 {
        let error = (self.analytic - self.numeric).abs();
        if error.is_nan() { f64::INFINITY } else { error }
    }

    /// Whether the error is within what is allowed.
    pub fn passes(&self) -> bool {
        self.error() <= self.allowed
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.input {
            Some(input) => write!(f, "input {input}{:?}", self.index)?,
            None => write!(f, "a random direction")?,
        }
        let (a, n, e, max) = (self.analytic, self.numeric, self.error(), self.allowed);
        write!(f, ": analytic {a:.9e}, numeric {n:.9e}, error {e:.1e} (allowed {max:.1e})")
    }
}

/// How far analytic and numeric derivatives are apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// How many derivatives were compared.
    pub compared: usize,
    /// How many differ by more than is allowed.
    pub failed: usize,
    /// The worst ones, by error over what is allowed; at most eight.
    pub worst: Vec<Entry>,
}

impl Report {
    pub(super) fn add(&mut self, entry: Entry) {
        self.compared += 1;
        self.failed += usize::from(!entry.passes());
        self.worst.push(entry);
        let excess = |e: &Entry| e.error() / e.allowed.max(f64::MIN_POSITIVE);
        self.worst.sort_by(|a, b| excess(b).total_cmp(&excess(a)));
        self.worst.truncate(8);
    }

    pub(super) fn verdict(self) -> Result<Report, Mismatch> {
        if self.failed == 0 { Ok(self) } else { Err(Mismatch::Gradient(self)) }
    }

    /// The largest error among the worst; 0 if nothing was compared.
    pub fn largest_error(&self) -> f64 {
        self.worst.iter().map(Entry::error).fold(0.0, f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} derivatives differ", self.failed, self.compared)?;
        self.worst.iter().filter(|e| self.failed == 0 || !e.passes()).try_for_each(|e| write!(f, "\n  {e}"))
    }
}

/// Why a gradient check failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Mismatch {
    /// The backward pass and finite differences disagree.
    Gradient(Report),
    /// Two backward passes over the same inputs gave different bits.
    Nondeterministic {
        /// Which input.
        input: usize,
        /// Which of its elements, row-major.
        index: usize,
        /// What the first pass gave.
        first: f64,
        /// What the second pass gave.
        second: f64,
    },
    /// The function or its backward pass returned an error.
    Failed(Error),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Gradient(report) => write!(f, "the gradient is wrong: {report}"),
            Mismatch::Nondeterministic { input, index, first, second } => write!(
                f,
                "two backward passes disagree at element {index} of input {input}: {first:e} and then {second:e}"
            ),
            Mismatch::Failed(error) => write!(f, "the gradient could not be checked: {error}"),
        }
    }
}

impl std::error::Error for Mismatch {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Mismatch::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Error> for Mismatch {
    fn from(error: Error) -> Self {
        Mismatch::Failed(error)
    }
}

/// Fails at the first element whose bits differ.
pub(super) fn same_bits(inputs: &Inputs, first: &[Vec<f64>], second: &[Vec<f64>]) -> Result<(), Mismatch> {
    for (input, (a, b)) in inputs.wanted().zip(first.iter().zip(second)) {
        if let Some(index) = (0..a.len()).find(|&i| a[i].to_bits() != b[i].to_bits()) {
            return Err(Mismatch::Nondeterministic { input, index, first: a[index], second: b[index] });
        }
    }
    Ok(())
}
