//! A convolution with what usually follows it.

use super::Conv;
use crate::{Error, Meta, Metas, Op, Result, UnaryOp};

/// `activation(norm(conv(x) + bias) + residual)`: a convolution and the steps after it, each of which may be left out.
/// Every value of the output is complete as soon as its sum is, so a backend need not go over the output once more for
/// each step.
///
/// Operands, in this order and only those that are named: `x` and `weight` as for [`Op::Conv`]; `bias`; the mean, the
/// variance, the weight and the bias of the normalization, each `[O]` and of any float dtype, as for
/// [`Op::BatchNormEval`]; and `residual`, which has the shape and dtype of the output. Half precision is computed in
/// `f32` and rounded once, at the end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvBlock {
    /// The convolution.
    pub conv: Conv,
    /// Whether there is a bias.
    pub bias: bool,
    /// The `eps` of batch normalization by given statistics, if there is one.
    pub norm: Option<f64>,
    /// Whether a tensor is added to the normalized output.
    pub residual: bool,
    /// What is done at the end.
    pub activation: Option<UnaryOp>,
}

/// The operands of a [`ConvBlock`], by what they are.
#[derive(Clone, Copy, Debug)]
pub struct ConvBlockOperands<'a, T> {
    /// `[N, C, *size]`
    pub x: &'a T,
    /// `[O, C / groups, *kernel]`
    pub weight: &'a T,
    /// `[O]`
    pub bias: Option<&'a T>,
    /// Mean, variance, weight and bias of the normalization, each `[O]`.
    pub norm: Option<&'a [T; 4]>,
    /// As the output.
    pub residual: Option<&'a T>,
}

impl ConvBlock {
    /// A convolution alone.
    pub fn new(conv: Conv) -> Self {
        ConvBlock { conv, bias: false, norm: None, residual: false, activation: None }
    }

    /// The operands by what they are; `None` if there are more or fewer than the block takes.
    pub fn operands<'a, T>(&self, all: &'a [T]) -> Option<ConvBlockOperands<'a, T>> {
        let [x, weight, rest @ ..] = all else { return None };
        let (bias, rest) = take(self.bias, rest)?;
        let (norm, rest) = match self.norm {
            Some(_) => rest.split_first_chunk().map(|(four, rest)| (Some(four), rest))?,
            None => (None, rest),
        };
        let (residual, rest) = take(self.residual, rest)?;
        rest.is_empty().then_some(ConvBlockOperands { x, weight, bias, norm, residual })
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "conv_block";
        let Some(ConvBlockOperands { x, weight, bias, norm, residual }) = self.operands(inputs) else {
            let expected = 2
                + usize::from(self.bias)
                + 4 * usize::from(self.norm.is_some())
                + usize::from(self.residual);
            let text = format!("expects {expected} operands, got {}", inputs.len());
            return Err(Error::shape(op, inputs, text));
        };
        let out = match bias {
            Some(bias) => self.conv.infer(&[*x, *weight, *bias])?,
            None => self.conv.infer(&[*x, *weight])?,
        };
        let y = out[0];
        if let (Some(&[mean, variance, scale, shift]), Some(eps)) = (norm, self.norm) {
            Op::BatchNormEval { eps }.infer(&[y, mean, variance, scale, shift])?;
        }
        if let Some(&residual) = residual
            && residual != y
        {
            return Err(Error::shape(op, inputs, format!("the residual must be {y}, like the output")));
        }
        self.activation.map_or(Ok(out), |activation| activation.infer(&[y]))
    }
}

/// The first of the operands, if it is meant to be there, and the others.
fn take<T>(there: bool, operands: &[T]) -> Option<(Option<&T>, &[T])> {
    if there {
        operands.split_first().map(|(first, rest)| (Some(first), rest))
    } else {
        Some((None, operands))
    }
}
