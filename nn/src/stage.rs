//! Neighbours in a chain of modules that are computed as one op.
//!
//! A network of convolutions spends much of its time on going over outputs again: to normalize them, to add a shortcut,
//! to cut off what is negative. Each of these steps needs a value of the convolution's output and nothing around it, so
//! [`Op::ConvBlock`] does all of them while the value is at hand. [`chain`], and with it every
//! [`Sequential`](crate::Sequential), looks for the pattern: a convolution, then batch normalization by running
//! statistics, an addition and an activation, each if it is there. Modules say by [`Module::stage`] what they are.
//!
//! What is recorded for a backward pass is computed step by step: there every step's input has to be kept anyway, and
//! gradients have rules of their own.

use std::fmt;

use gradus_autograd::{Autograd, is_grad_enabled};
use gradus_tensor_core::op::ConvBlock;
use gradus_tensor_core::{ConvOptions, Op, Result, Tensor, UnaryOp};

use crate::{Buffer, Module, Param, Parameters, Visitor, VisitorMut, Within};

/// What a module computes, if it is one of the steps that are fused with their neighbours.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Stage<'a> {
    /// A convolution.
    Conv {
        /// `[out, in / groups, *kernel]`
        weight: &'a Param,
        /// `[out]`
        bias: Option<&'a Param>,
        /// Stride, padding, dilation and groups.
        options: ConvOptions,
    },
    /// Batch normalization by running statistics, each of its tensors `[C]`.
    BatchNorm {
        /// The running mean and variance.
        statistics: [&'a Buffer; 2],
        /// Weight and bias.
        affine: [&'a Param; 2],
        /// Added to the variance.
        eps: f64,
        /// Spatial axes of its input.
        spatial: usize,
    },
    /// The addition of a tensor.
    Add(&'a Tensor),
    /// An element-wise function.
    Unary(UnaryOp),
    /// Anything else.
    Other,
}

impl Stage<'_> {
    /// Whether autograd would record what this computes of an input that is not tracked.
    fn is_recorded(&self) -> bool {
        is_grad_enabled()
            && match self {
                Stage::Conv { weight, bias, .. } => {
                    weight.requires_grad() || bias.is_some_and(Param::requires_grad)
                }
                Stage::BatchNorm { affine, .. } => affine.iter().any(|p| p.requires_grad()),
                Stage::Add(tensor) => tensor.is_tracked(),
                Stage::Unary(_) | Stage::Other => false,
            }
    }
}

/// Runs modules one after the other, neighbours as one op where that gives the same; an error says in which of them it
/// happened. With [`Add`], a block with a shortcut is a chain as well:
///
/// ```
/// use gradus_nn::{Add, BatchNorm2d, Conv2d, Module, Relu, chain};
/// # use gradus_tensor_core::{Result, Tensor};
/// # struct Block { conv: Conv2d, bn: BatchNorm2d }
/// # impl Block {
/// fn forward(&self, x: &Tensor) -> Result<Tensor> {
///     let add = Add(x);
///     chain([("conv", &self.conv as &dyn Module), ("bn", &self.bn), ("add", &add), ("relu", &Relu)], x)
/// }
/// # }
/// ```
///
/// # Errors
/// What the modules return.
pub fn chain<'a, M, N>(modules: impl IntoIterator<Item = (N, &'a M)>, input: &Tensor) -> Result<Tensor>
where
    M: Module + ?Sized + 'a,
    N: fmt::Display,
{
    let mut x = input.clone();
    let mut open: Option<Block<'a, M, N>> = None;
    for (name, module) in modules {
        let stage = module.stage();
        if let Some(block) = &mut open
            && !stage.is_recorded()
            && block.add(stage)
        {
            block.modules.push((name, module));
            continue;
        }
        if let Some(block) = open.take() {
            x = block.run(&x)?;
        }
        match stage {
            Stage::Conv { weight, bias, options }
                if !(stage.is_recorded() || is_grad_enabled() && x.is_tracked()) =>
            {
                let op = ConvBlock { bias: bias.is_some(), ..ConvBlock::new(options.0) };
                let modules = vec![(name, module)];
                open = Some(Block { op, weight, bias, norm: None, residual: None, modules });
            }
            _ => x = module.forward(&x).within(name)?,
        }
    }
    open.map_or(Ok(x.clone()), |block| block.run(&x))
}

/// A convolution and what was found to follow it.
struct Block<'a, M: ?Sized, N> {
    op: ConvBlock,
    weight: &'a Param,
    bias: Option<&'a Param>,
    norm: Option<([&'a Buffer; 2], [&'a Param; 2])>,
    residual: Option<&'a Tensor>,
    modules: Vec<(N, &'a M)>,
}

impl<'a, M: Module + ?Sized, N: fmt::Display> Block<'a, M, N> {
    /// Takes the stage into the block, if it may come at its end.
    fn add(&mut self, stage: Stage<'a>) -> bool {
        let ConvBlock { norm, residual, activation, .. } = &mut self.op;
        match stage {
            _ if activation.is_some() => return false,
            Stage::BatchNorm { statistics, affine, eps, spatial }
                if !*residual && norm.is_none() && self.weight.tensor().rank() == spatial + 2 =>
            {
                *norm = Some(eps);
                self.norm = Some((statistics, affine));
            }
            Stage::Add(tensor) if !*residual => {
                *residual = true;
                self.residual = Some(tensor);
            }
            Stage::Unary(op) => *activation = Some(op),
            _ => return false,
        }
        true
    }

    fn run(self, x: &Tensor) -> Result<Tensor> {
        if self.modules.len() > 1
            && let Ok(y) = self.fused(x)
        {
            return Ok(y);
        }
        // What the op does not take, the modules may: additions that broadcast. Otherwise they say what is wrong, and where.
        let mut x = x.clone();
        for (name, module) in self.modules {
            x = module.forward(&x).within(name)?;
        }
        Ok(x)
    }

    fn fused(&self, x: &Tensor) -> Result<Tensor> {
        let mut operands = vec![x, self.weight.value()?];
        if let Some(bias) = self.bias {
            operands.push(bias.value()?);
        }
        let statistics = self.norm.map(|(statistics, _)| statistics.map(Buffer::value));
        if let (Some((_, [weight, bias])), Some([mean, variance])) = (self.norm, &statistics) {
            operands.extend([mean, variance, weight.value()?, bias.value()?]);
        }
        operands.extend(self.residual);
        Op::ConvBlock(self.op).run1(&operands)
    }
}

/// A module that adds a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Add<'a>(pub &'a Tensor);

impl Parameters for Add<'_> {
    fn visit(&self, _: &mut dyn Visitor) {}
    fn visit_mut(&mut self, _: &mut dyn VisitorMut) {}
}

impl Module for Add<'_> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.add(self.0)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Add(self.0)
    }
}
