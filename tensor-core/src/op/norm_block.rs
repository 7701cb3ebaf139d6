//! Batch normalization in training with what usually follows it.

use super::{Needs, Norm, NormKind};
use crate::{DType, Error, Meta, Metas, Result, UnaryOp};

/// `activation(batch_norm(x) + residual)` by the statistics of this batch, where residual and activation may be left
/// out. Normalizing reads `x` twice and writes every value once, so whatever else is done with a value costs next to
/// nothing there; and the gradient needs neither the normalized `x` nor the sum, for the output tells where the
/// activation's derivative is not zero.
///
/// Operands: `x` `[N, C, ..]`, `weight` and `bias` `[C]`, and `residual` if there is one, of the shape of `x`; all of one
/// float dtype. Outputs as those of [`Norm`]: `y`, and mean and biased variance `[C]`, which are constants to
/// differentiation. Half precision is computed in `f32` and rounded once, at the end.
///
/// The gradient ([`Op::BatchNormBlockGrad`](crate::Op::BatchNormBlockGrad)) has the operands `g`, `y`, `x`, mean,
/// variance and `weight`, and the outputs gradient of `x`, of `weight`, of `bias` and, if there is a residual, of that.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormBlock {
    /// Added to the variance.
    pub eps: f64,
    /// Whether a tensor is added to the normalized one.
    pub residual: bool,
    /// What is done at the end: a function of which [`BatchNormBlock::takes`] is true.
    pub activation: Option<UnaryOp>,
}

impl BatchNormBlock {
    /// Whether the function's derivative can be told from its result in that dtype: the condition for an activation of
    /// the block.
    pub fn takes(activation: UnaryOp, dtype: DType) -> bool {
        match activation {
            // The derivative is 1 between the limits, which rounding must not move.
            UnaryOp::Clamp { min, max } => [min, max].into_iter().all(|limit| dtype.holds(limit)),
            other => other.needs() != Needs::Input,
        }
    }

    pub(super) fn norm(&self) -> Norm {
        Norm { kind: NormKind::Batch, eps: self.eps }
    }

    fn check(&self, op: &'static str, x: Meta) -> Result<()> {
        match self.activation {
            Some(activation) if !Self::takes(activation, x.dtype) => Err(Error::argument(
                op,
                format!(
                    "the derivative of {} cannot be told from its result in {}",
                    activation.name(),
                    x.dtype
                ),
            )),
            Some(activation) => activation.infer(&[x]).map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "batch_norm_block";
        let (normalized, residual) = match *inputs {
            [_, _, _] if !self.residual => (inputs, None),
            [ref normalized @ .., residual] if self.residual && inputs.len() == 4 => {
                (normalized, Some(residual))
            }
            _ => {
                let expected = 3 + usize::from(self.residual);
                return Err(Error::shape(
                    op,
                    inputs,
                    format!("expects {expected} operands, got {}", inputs.len()),
                ));
            }
        };
        let out = self.norm().infer(normalized)?;
        if let Some(residual) = residual
            && residual != out[0]
        {
            return Err(Error::shape(op, inputs, format!("the residual must be {}, like the input", out[0])));
        }
        self.check(op, out[0])?;
        Ok(out)
    }

    pub(super) fn infer_grad(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "batch_norm_block_grad";
        let &[g, y, x, mean, variance, weight] = super::operands(op, inputs)?;
        let mut out = self.norm().infer_grad(&[g, x, mean, variance, weight])?;
        if y != x {
            return Err(Error::shape(op, inputs, format!("the output must be {x}, like the input")));
        }
        if weight.dtype != x.dtype {
            return Err(Error::dtype(op, inputs, "expects input and weight of one dtype"));
        }
        self.check(op, x)?;
        if self.residual {
            out.push(x);
        }
        Ok(out)
    }
}
