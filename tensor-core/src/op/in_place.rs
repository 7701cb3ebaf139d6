//! Ops that change memory that nobody else holds.

use smallvec::SmallVec;

use crate::{BinaryOp, Error, Meta, Result, UnaryOp};

/// An op whose targets are changed where they are. The device guarantees that nobody else can see them.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum InPlaceOp {
    /// `target = source`. Every backend implements it, for any layout that names no element twice.
    Write,
    /// `target += source`. Every backend implements it, also where the target's layout names an element
    /// more than once: each mention adds.
    Accumulate,
    /// `target = op(target)`
    Unary(UnaryOp),
    /// `target = op(target, source)`
    Binary(BinaryOp),
    /// A step of stochastic gradient descent. Targets: parameter and, if `momentum` is not 0, its velocity.
    /// Source: the gradient.
    Sgd(Sgd),
    /// A step of Adam or AdamW. Targets: parameter, first moment, second moment and, if `amsgrad`, the
    /// largest second moment so far. Source: the gradient.
    Adam(Adam),
}

/// Stochastic gradient descent as PyTorch defines it: `g += weight_decay * p`,
/// `v = momentum * v + (1 - dampening) * g` (the first step: `v = g`), `p -= lr * v`, or with Nesterov
/// `p -= lr * (g + momentum * v)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub lr: f64,
    /// The share of the velocity that is kept.
    pub momentum: f64,
    /// The share of the gradient that does not enter the velocity.
    pub dampening: f64,
    /// The L2 penalty's factor.
    pub weight_decay: f64,
    /// Look ahead along the velocity.
    pub nesterov: bool,
    /// Whether the velocity starts here.
    pub first: bool,
}

/// Adam (Kingma and Ba, arXiv:1412.6980), or AdamW (Loshchilov and Hutter, arXiv:1711.05101) when the decay
/// is decoupled; as PyTorch defines them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub lr: f64,
    /// The decay rates of the first and second moment.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// The weight decay's factor.
    pub weight_decay: f64,
    /// Decay the weights directly (AdamW) instead of through the gradient.
    pub decoupled: bool,
    /// Divide by the largest second moment so far (Reddi et al., ICLR 2018).
    pub amsgrad: bool,
    /// The number of this step, from 1.
    pub step: u64,
}

impl Adam {
    /// `1 - beta^step` for both moments.
    pub fn bias_corrections(&self) -> (f64, f64) {
        let step = self.step.min(i32::MAX as u64) as i32;
        (1.0 - self.betas.0.powi(step), 1.0 - self.betas.1.powi(step))
    }
}

impl InPlaceOp {
    /// The op's name.
    pub const fn name(&self) -> &'static str {
        match self {
            InPlaceOp::Write => "write_",
            InPlaceOp::Accumulate => "accumulate_",
            InPlaceOp::Unary(op) => op.name(),
            InPlaceOp::Binary(op) => op.name(),
            InPlaceOp::Sgd(_) => "sgd_",
            InPlaceOp::Adam(_) => "adam_",
        }
    }

    /// The numbers of targets and of sources.
    pub const fn arity(&self) -> (usize, usize) {
        match self {
            InPlaceOp::Write | InPlaceOp::Accumulate | InPlaceOp::Binary(_) => (1, 1),
            InPlaceOp::Unary(_) => (1, 0),
            InPlaceOp::Sgd(sgd) => (if sgd.momentum == 0.0 { 1 } else { 2 }, 1),
            InPlaceOp::Adam(adam) => (if adam.amsgrad { 4 } else { 3 }, 1),
        }
    }

    /// Checks the operands: the right number of them, all of one shape and dtype.
    ///
    /// # Errors
    /// They do not fit the op.
    pub fn check(&self, targets: &[Meta], sources: &[Meta]) -> Result<()> {
        let all: SmallVec<[Meta; 5]> = targets.iter().chain(sources).copied().collect();
        if (targets.len(), sources.len()) != self.arity() {
            let (t, s) = self.arity();
            return Err(Error::shape(self.name(), &all, format!("expects {t} targets and {s} sources")));
        }
        match self {
            InPlaceOp::Unary(op) => op.infer(targets).map(drop),
            InPlaceOp::Binary(op) => op.infer(&all).map(drop),
            InPlaceOp::Write | InPlaceOp::Accumulate => {
                if all[0] != all[1] {
                    return Err(Error::shape(self.name(), &all, "target and source must be alike"));
                }
                if matches!(self, InPlaceOp::Accumulate) {
                    BinaryOp::Add.infer(&all).map(drop)
                } else {
                    Ok(())
                }
            }
            InPlaceOp::Sgd(_) | InPlaceOp::Adam(_) => {
                super::same_shape(self.name(), &all)?;
                super::same_float(self.name(), &all)
            }
        }
    }
}
