//! Cross-entropy of logits with class labels, fused with its softmax.

use crate::{DType, Error, Meta, Metas, Result};

/// Cross-entropy for each sample, without reduction.
///
/// Operands: logits `[N, C]` and target classes `[N]` (`i64`). Outputs: the loss `[N]` (0 where the target
/// is ignored) and the logarithm of the softmax denominator `[N]`, a constant to differentiation; both in
/// [`DType::accumulator`] of the logits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CrossEntropy {
    /// Samples with this target count nothing. Any other target must be in `0..C`.
    pub ignore_index: i64,
    /// The share of the target's probability that is spread over all classes, in `0..=1`.
    pub label_smoothing: f64,
}

impl Default for CrossEntropy {
    fn default() -> Self {
        // PyTorch's default for an index that no dataset uses.
        CrossEntropy { ignore_index: -100, label_smoothing: 0.0 }
    }
}

impl CrossEntropy {
    fn check(&self, op: &'static str, logits: Meta, target: Meta, inputs: &[Meta]) -> Result<Meta> {
        if logits.shape.rank() != 2 || *target.shape != logits.shape[..1] {
            return Err(Error::shape(op, inputs, "expects logits [N, C] and targets [N]"));
        }
        if logits.shape[1] == 0 && logits.shape[0] > 0 {
            return Err(Error::shape(op, inputs, "expects at least one class"));
        }
        if !logits.dtype.is_float() || target.dtype != DType::I64 {
            return Err(Error::dtype(op, inputs, "expects float logits and i64 targets"));
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            return Err(Error::argument(
                op,
                format!("label smoothing {} is not in 0..=1", self.label_smoothing),
            ));
        }
        Ok(Meta::new(target.shape, logits.dtype.accumulator()))
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[logits, target] = super::operands("cross_entropy", inputs)?;
        let loss = self.check("cross_entropy", logits, target, inputs)?;
        Ok(Metas::from_slice(&[loss, loss]))
    }

    /// Operands: gradient of the losses, logits, targets, logarithm of the softmax denominator.
    pub(super) fn infer_grad(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "cross_entropy_grad";
        let &[g, logits, target, lse] = super::operands(op, inputs)?;
        let loss = self.check(op, logits, target, inputs)?;
        if g != loss || lse != loss {
            return Err(Error::shape(op, inputs, format!("gradient and denominator must be {loss}")));
        }
        Ok(super::one(logits))
    }
}
