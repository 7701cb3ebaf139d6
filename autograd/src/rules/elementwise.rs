//! Gradients of element-wise ops.

use gradus_tensor_core::op::Needs;
use gradus_tensor_core::{BinaryOp, Error, Op, Result, Tensor, UnaryOp};

use super::{Context, Grads, grads, run};

pub(super) fn unary(ctx: &Context<'_>, op: UnaryOp, g: &Tensor) -> Result<Grads> {
    let gradient = match (op, op.needs()) {
        (UnaryOp::Neg, _) => g.neg()?,
        (UnaryOp::Affine { mul, .. }, _) => g.mul(mul)?,
        (_, Needs::Nothing) => run(Op::UnaryGrad(op), &[g, g])?,
        (_, Needs::Input) => run(Op::UnaryGrad(op), &[g, ctx.input(0)?])?,
        (_, Needs::Output) => run(Op::UnaryGrad(op), &[g, ctx.output(0)?])?,
    };
    Ok(grads([Some(gradient)]))
}

pub(super) fn binary(ctx: &Context<'_>, op: BinaryOp, g: &Tensor) -> Result<Grads> {
    let (a, b) = (|| ctx.input(0), || ctx.input(1));
    let both = match op {
        BinaryOp::Add => [Some(g.clone()), Some(g.clone())],
        BinaryOp::Sub => [Some(g.clone()), ctx.when(1, || g.neg())?],
        BinaryOp::Mul => [ctx.when(0, || g.mul(b()?))?, ctx.when(1, || g.mul(a()?))?],
        BinaryOp::Div => {
            let ga = g.div(b()?)?;
            let gb = ctx.when(1, || ga.mul(ctx.output(0)?)?.neg())?;
            [Some(ga), gb]
        }
        BinaryOp::Pow => {
            [ctx.when(0, || pow_base(a()?, b()?, g))?, ctx.when(1, || pow_exponent(a()?, b()?, g))?]
        }
        BinaryOp::Maximum => {
            let share = share_of_winner(a()?, b()?)?;
            [ctx.when(0, || g.mul(&share))?, ctx.when(1, || g.mul(&share.affine(-1.0, 1.0)?))?]
        }
        BinaryOp::Minimum => {
            let share = share_of_winner(b()?, a()?)?;
            [ctx.when(0, || g.mul(&share))?, ctx.when(1, || g.mul(&share.affine(-1.0, 1.0)?))?]
        }
        // a - b * floor(a / b), with the floor constant
        BinaryOp::Rem => {
            [Some(g.clone()), ctx.when(1, || g.mul(&a()?.div(b()?)?.innermost()?.floor()?)?.neg())?]
        }
        BinaryOp::Atan2 => {
            let scaled = g.div(&a()?.square()?.add(&b()?.square()?)?)?;
            [ctx.when(0, || scaled.mul(b()?))?, ctx.when(1, || scaled.mul(a()?)?.neg())?]
        }
        op => {
            return Err(Error::NotDifferentiable {
                op: op.name(),
                message: "it was recorded but has no rule".into(),
            });
        }
    };
    Ok(grads(both))
}

/// 1 where `a` wins, 0 where `b` does, one half where they are equal: as PyTorch shares the gradient.
fn share_of_winner(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (a, b) = (a.innermost()?, b.innermost()?);
    a.gt(&b)?.cast(a.dtype())?.add(&a.eq(&b)?.cast(a.dtype())?.mul(0.5)?)
}

/// `g * b * a^(b - 1)`, and 0 where the exponent is 0 whatever the base.
fn pow_base(a: &Tensor, b: &Tensor, g: &Tensor) -> Result<Tensor> {
    let zero = b.innermost()?.eq(0.0)?;
    let zeros = g.zeros_like()?;
    zero.where_(&zeros, &g.mul(b)?.mul(&a.pow(&b.sub(1.0)?)?)?)
}

/// `g * a^b * ln(a)`, and 0 where a base of 0 has a power of 0 or more.
fn pow_exponent(a: &Tensor, b: &Tensor, g: &Tensor) -> Result<Tensor> {
    let flat = a.innermost()?.eq(0.0)?.logical_and(&b.innermost()?.ge(0.0)?)?;
    // The logarithm is taken of a harmless number there, so that its own derivative stays finite.
    let safe = flat.where_(&a.ones_like()?, a)?;
    flat.where_(&g.zeros_like()?, &g.mul(&safe.pow(b)?)?.mul(&safe.log()?)?)
}

pub(super) fn select(ctx: &Context<'_>, g: &Tensor) -> Result<Grads> {
    let condition = ctx.input(0)?;
    let zeros = g.zeros_like()?;
    Ok(grads([
        None,
        ctx.when(1, || condition.where_(g, &zeros))?,
        ctx.when(2, || condition.where_(&zeros, g))?,
    ]))
}
