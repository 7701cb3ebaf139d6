//! In-place ops in terms of ops that make new tensors: the definition of the optimizers' steps.

use crate::op::{Adam, InPlaceOp, Sgd};
use crate::{Error, Op, Result, Tensor};

impl InPlaceOp {
    /// The new values of the targets, computed from their old values and the sources.
    ///
    /// # Errors
    /// Whatever the ops return; the required ops have no simpler form.
    pub fn decompose(&self, targets: &[Tensor], sources: &[Tensor]) -> Result<Vec<Tensor>> {
        match (self, targets, sources) {
            (InPlaceOp::Unary(op), [x], []) => Ok(vec![Op::Unary(*op).run1(&[x])?]),
            (InPlaceOp::Binary(op), [x], [y]) => Ok(vec![Op::Binary(*op).run1(&[x, y])?]),
            (InPlaceOp::Sgd(op), [p, state @ ..], [g]) => sgd(op, p, state.first(), g),
            (InPlaceOp::Adam(op), [p, m, v, state @ ..], [g]) => adam(op, p, m, v, state.first(), g),
            _ => Err(Error::Unsupported {
                op: self.name(),
                backend: targets.first().map(|t| t.device().name()).unwrap_or_default(),
                operands: targets.iter().chain(sources).map(Tensor::meta).collect(),
            }),
        }
    }
}

fn sgd(op: &Sgd, p: &Tensor, velocity: Option<&Tensor>, g: &Tensor) -> Result<Vec<Tensor>> {
    let g = if op.weight_decay == 0.0 { g.clone() } else { g.add(&p.mul(op.weight_decay)?)? };
    let Some(velocity) = velocity else { return Ok(vec![p.sub(&g.mul(op.lr)?)?]) };
    let v = if op.first { g.clone() } else { velocity.mul(op.momentum)?.add(&g.mul(1.0 - op.dampening)?)? };
    let step = if op.nesterov { g.add(&v.mul(op.momentum)?)? } else { v.clone() };
    Ok(vec![p.sub(&step.mul(op.lr)?)?, v])
}

fn adam(
    op: &Adam,
    p: &Tensor,
    m: &Tensor,
    v: &Tensor,
    largest: Option<&Tensor>,
    g: &Tensor,
) -> Result<Vec<Tensor>> {
    let (beta1, beta2) = op.betas;
    let (correction1, correction2) = op.bias_corrections();
    let g = if op.decoupled { g.clone() } else { g.add(&p.mul(op.weight_decay)?)? };
    let p = if op.decoupled { p.mul(1.0 - op.lr * op.weight_decay)? } else { p.clone() };
    let m = m.mul(beta1)?.add(&g.mul(1.0 - beta1)?)?;
    let v = v.mul(beta2)?.add(&g.square()?.mul(1.0 - beta2)?)?;
    let largest = largest.map(|l| l.maximum(&v)).transpose()?;
    let root = largest.as_ref().unwrap_or(&v).sqrt()?.mul(1.0 / correction2.sqrt())?.add(op.eps)?;
    let p = p.sub(&m.div(&root)?.mul(op.lr / correction1)?)?;
    Ok([p, m, v].into_iter().chain(largest).collect())
}
