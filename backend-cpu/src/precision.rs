//! How exactly products of `f32` are computed.

use std::fmt;

/// How exactly matrix products, convolutions and attention are computed for `f32` operands, as PyTorch's
/// `set_float32_matmul_precision` has it. Below [`Highest`](Self::Highest) a backend may take a faster way where it knows
/// one; results stay `f32`. Operands of other dtypes are not affected.
///
/// Errors are relative to the size of the result (root mean squares), for operands of about one size.
///
/// This backend knows a faster way for `Medium` with AVX-512 BF16, and for `Medium` and `High` with AMX; elsewhere, and for
/// products too small for it, it computes what `Highest` asks for. So it does in 3 x 3 convolutions that
/// are computed with fewer multiplications.
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
