//! How exactly products of `f32` are computed.

use std::fmt;

/// How exactly matrix products and convolutions of `f32` operands are computed, as PyTorch's
/// `set_float32_matmul_precision` has it. Below [`Highest`](Self::Highest) a backend may take a faster way where it knows
/// one; results stay `f32`. Products of other dtypes are not affected.
///
/// Errors are relative to the size of the result (root mean squares), for operands of about one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Precision {
    /// Operands may be rounded to `bf16`: errors of about 3e-3.
    Medium,
    /// Errors of at most about 1e-5.
    High,
    /// Errors of sums of `f32`: below 1e-6. The default.
    #[default]
    Highest,
}

impl Precision {
    /// The name that PyTorch knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Medium => "medium",
            Precision::High => "high",
            Precision::Highest => "highest",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
