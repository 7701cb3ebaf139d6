//! A linear layer with what usually follows it.

use super::matmul::linear_output;
use crate::{Error, Meta, Metas, Result, UnaryOp};

/// `activation(x @ weightᵀ + bias + residual)`: a linear layer and the steps after it, each of which may be left out.
/// Every value of the output is complete as soon as its sum is, so a backend need not go over the output once more for
/// each step.
///
/// Operands, in this order: `x` `[.., in]`, `weight` `[out, in]`, `bias` `[out]` or none, all of one float dtype, and
/// `residual` `[.., out]` if there is one. The output has the shape and dtype of the residual, which is that of `x` or,
/// where `x` is half precision, `f32`: a sum to which layers add loses nothing to their dtype. Half precision is computed
/// in `f32` and rounded once, at the end.
///
/// A gradient is one op's as long as the derivative of the activation can be told from its result. Others, of tracked
/// tensors, are computed by [decomposition](crate::Op::decompose).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Linear {
    /// Whether a tensor is added.
    pub residual: bool,
    /// What is done at the end.
    pub activation: Option<UnaryOp>,
}

/// The operands of a [`Linear`], by what they are.
#[derive(Clone, Copy, Debug)]
pub struct LinearOperands<'a, T> {
    /// `[.., in]`
    pub x: &'a T,
    /// `[out, in]`
    pub weight: &'a T,
    /// `[out]`
    pub bias: Option<&'a T>,
    /// As the output.
    pub residual: Option<&'a T>,
}

impl Linear {
    /// The operands by what they are; `None` if there are more or fewer than the layer takes.
    pub fn operands<'a, T>(&self, all: &'a [T]) -> Option<LinearOperands<'a, T>> {
        let (residual, rest) = match self.residual {
            true => all.split_last().map(|(residual, rest)| (Some(residual), rest))?,
            false => (None, all),
        };
        let (x, weight, bias) = match rest {
            [x, weight] => (x, weight, None),
            [x, weight, bias] => (x, weight, Some(bias)),
            _ => return None,
        };
        Some(LinearOperands { x, weight, bias, residual })
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "linear";
        let Some(LinearOperands { x, weight, bias, residual }) = self.operands(inputs) else {
            let rule = match self.residual {
                false => "expects an input, a weight and at most a bias",
                true => "expects an input, a weight, at most a bias, and what is added",
            };
            return Err(Error::shape(op, inputs, rule));
        };
        let mut out = linear_output(op, inputs, *x, *weight, &[("bias", bias.copied())])?;
        super::same_float(op, &inputs[..inputs.len() - usize::from(self.residual)])?;
        if let Some(&residual) = residual {
            let y = out[0];
            if residual.shape != y.shape {
                return Err(Error::shape(
                    op,
                    inputs,
                    format!("the residual must be {}, like the output", y.shape),
                ));
            }
            if ![y.dtype, y.dtype.accumulator()].contains(&residual.dtype) {
                let rule = format!("expects a residual of {} or {}", y.dtype, y.dtype.accumulator());
                return Err(Error::dtype(op, inputs, rule));
            }
            out[0] = residual;
        }
        match self.activation {
            Some(activation) => activation.infer(&out),
            None => Ok(out),
        }
    }
}
