//! Neighbours in a chain of modules that are computed as one op.
//!
//! A network spends much of its time on going over outputs again: to normalize them, to add a shortcut, to cut off what is
//! negative. Each of these steps needs a value of the output of a convolution or of a linear layer and nothing around it, so
//! [`Op::ConvBlock`] and [`Op::Linear`] do all of them while the value is at hand. [`chain`], and with it every
//! [`Sequential`](crate::Sequential), looks for the pattern: a convolution, then batch normalization by running
//! statistics, an addition and an activation, each if it is there; or a linear layer, an addition and an activation.
//! Modules say by [`Module::stage`] what they are.
//!
//! A backward pass needs the convolution's own output, so blocks of convolutions are for where nothing is recorded. That of
//! a linear layer needs only what goes into it, and that of some activations their result: recorded as one op as well
//! are an addition, and a ReLU.
//!
//! In training the statistics are those of the convolution's whole output, and a backward pass needs that output. There
//! the block begins with the normalization, [`Op::BatchNormBlock`]: what is kept is its input and its output, both of
//! which the convolutions around it keep anyway.

use std::fmt;

use gradus_autograd::{Autograd, is_grad_enabled};
use gradus_tensor_core::op::{BatchNormBlock, ConvBlock, Linear, Needs};
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
    /// A linear layer.
    Linear {
        /// `[out, in]`
        weight: &'a Param,
        /// `[out]`
        bias: Option<&'a Param>,
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
    /// Batch normalization by the statistics of its input.
    BatchNormTrain(&'a dyn BatchNormed),
    /// The addition of a tensor.
    Add(&'a Tensor),
    /// An element-wise function.
    Unary(UnaryOp),
    /// Nothing: the output is the input.
    Identity,
    /// Anything else.
    Other,
}

impl Stage<'_> {
    /// Whether autograd would record what this computes of an input that is not tracked.
    fn is_recorded(&self) -> bool {
        is_grad_enabled()
            && match self {
                Stage::Conv { weight, bias, .. } | Stage::Linear { weight, bias } => {
                    weight.requires_grad() || bias.is_some_and(Param::requires_grad)
                }
                Stage::BatchNorm { affine, .. } => affine.iter().any(|p| p.requires_grad()),
                Stage::Add(tensor) => tensor.is_tracked(),
                // These are blocks of their own, recorded or not.
                Stage::BatchNormTrain(_) | Stage::Unary(_) | Stage::Identity | Stage::Other => false,
            }
    }
}

/// Batch normalization in training, as one op with what follows it.
pub trait BatchNormed: fmt::Debug {
    /// `activation(batch_norm(input) + residual)`, and the batch is taken into the running statistics. The residual has
    /// the shape and dtype of the input, and of the activation [`BatchNormBlock::takes`] is true.
    ///
    /// # Errors
    /// The input has not the right channels or too few values, or a condition above does not hold.
    fn forward_block(
        &self,
        input: &Tensor,
        residual: Option<&Tensor>,
        activation: Option<UnaryOp>,
    ) -> Result<Tensor>;
}

/// Runs modules one after the other, neighbours as one op where there is one; an error says in which of them it happened
/// (of several that train as one op, it names the normalization). Such an op rounds half precision once, not after each
/// step. With [`Add`], a block with a shortcut is a chain as well:
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
            && block.add(stage, &x)
        {
            block.modules.push((name, module));
            continue;
        }
        if let Some(block) = open.take() {
            x = block.run(&x)?;
        }
        match Head::of(stage, &x) {
            Some(head) => {
                open = Some(Block { head, residual: None, activation: None, modules: vec![(name, module)] })
            }
            None => x = module.forward(&x).within(name)?,
        }
    }
    open.map_or(Ok(x.clone()), |block| block.run(&x))
}

/// What begins a block.
enum Head<'a> {
    Conv {
        weight: &'a Param,
        bias: Option<&'a Param>,
        options: ConvOptions,
        norm: Option<(f64, [&'a Buffer; 2], [&'a Param; 2])>,
    },
    Linear {
        weight: &'a Param,
        bias: Option<&'a Param>,
        recorded: bool,
    },
    Norm(&'a dyn BatchNormed),
}

impl<'a> Head<'a> {
    fn of(stage: Stage<'a>, x: &Tensor) -> Option<Self> {
        let recorded = stage.is_recorded() || is_grad_enabled() && x.is_tracked();
        match stage {
            Stage::Conv { weight, bias, options } if !recorded => {
                Some(Head::Conv { weight, bias, options, norm: None })
            }
            Stage::Linear { weight, bias } => Some(Head::Linear { weight, bias, recorded }),
            Stage::BatchNormTrain(norm) => Some(Head::Norm(norm)),
            _ => None,
        }
    }
}

/// A convolution, a linear layer or a normalization, and what was found to follow it.
struct Block<'a, M: ?Sized, N> {
    head: Head<'a>,
    residual: Option<&'a Tensor>,
    activation: Option<UnaryOp>,
    modules: Vec<(N, &'a M)>,
}

impl<'a, M: Module + ?Sized, N: fmt::Display> Block<'a, M, N> {
    /// Takes the stage into the block, whose input is `x`, if it may come at its end.
    fn add(&mut self, stage: Stage<'a>, x: &Tensor) -> bool {
        if matches!(stage, Stage::Identity) {
            return true;
        }
        if self.activation.is_some() {
            return false;
        }
        let fits = match (&mut self.head, stage) {
            (Head::Conv { .. }, _) if stage.is_recorded() => false,
            (Head::Conv { weight, norm, .. }, Stage::BatchNorm { statistics, affine, eps, spatial }) => {
                let fits = norm.is_none() && self.residual.is_none() && weight.tensor().rank() == spatial + 2;
                if fits {
                    *norm = Some((eps, statistics, affine));
                }
                return fits;
            }
            (Head::Linear { recorded, .. }, Stage::Add(_)) => {
                *recorded |= stage.is_recorded();
                true
            }
            (Head::Linear { recorded, .. }, Stage::Unary(op)) => !*recorded || op.needs() != Needs::Input,
            (Head::Norm(_), Stage::Add(tensor)) => tensor.meta() == x.meta(),
            (Head::Norm(_), Stage::Unary(op)) => BatchNormBlock::takes(op, x.dtype()),
            _ => true,
        };
        match stage {
            Stage::Add(tensor) if fits && self.residual.is_none() => self.residual = Some(tensor),
            Stage::Unary(op) if fits => self.activation = Some(op),
            _ => return false,
        }
        true
    }

    fn run(self, x: &Tensor) -> Result<Tensor> {
        if self.modules.len() > 1 {
            let y = self.fused(x);
            // Statistics are kept once, so what follows a normalization was looked at before. Otherwise the modules may take
            // what the op does not: additions that broadcast.
            if y.is_ok() || matches!(self.head, Head::Norm(_)) {
                return y.within(&self.modules[0].0);
            }
        }
        let mut x = x.clone();
        for (name, module) in self.modules {
            x = module.forward(&x).within(name)?;
        }
        Ok(x)
    }

    fn fused(&self, x: &Tensor) -> Result<Tensor> {
        let (residual, activation) = (self.residual.is_some(), self.activation);
        let (weight, bias) = match self.head {
            Head::Norm(norm) => return norm.forward_block(x, self.residual, activation),
            Head::Conv { weight, bias, .. } | Head::Linear { weight, bias, .. } => (weight, bias),
        };
        let mut operands = vec![x, weight.value()?];
        if let Some(bias) = bias {
            operands.push(bias.value()?);
        }
        let Head::Conv { options, norm, .. } = self.head else {
            operands.extend(self.residual);
            return Op::Linear(Linear { residual, activation }).run1(&operands);
        };
        let statistics = norm.map(|(_, statistics, _)| statistics.map(Buffer::value));
        if let (Some((.., [weight, bias])), Some([mean, variance])) = (norm, &statistics) {
            operands.extend([mean, variance, weight.value()?, bias.value()?]);
        }
        operands.extend(self.residual);
        let norm = norm.map(|(eps, ..)| eps);
        Op::ConvBlock(ConvBlock { conv: options.0, bias: bias.is_some(), norm, residual, activation })
            .run1(&operands)
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
