//! Gradients of matrix products, normalizations, convolutions, pools and attention.

use gradus_tensor_core::op::{
    Attention, BatchNormBlock, Conv, Linear, Needs, Norm, NormKind, Pool, PoolKind,
};
use gradus_tensor_core::{AxisSet, Meta, Op, Result, Tensor};

use super::{Context, Grads, grads, run};

pub(super) fn matmul(ctx: &Context<'_>, g: &Tensor) -> Result<Grads> {
    let (a, b) = (|| ctx.input(0), || ctx.input(1));
    Ok(grads([
        ctx.when(0, || run(Op::MatMul, &[g, &b()?.t()?]))?,
        ctx.when(1, || run(Op::MatMul, &[&a()?.t()?, g]))?,
    ]))
}

pub(super) fn linear(ctx: &Context<'_>, op: &Linear, g: &Tensor) -> Result<Grads> {
    let sum = match op.activation {
        Some(f) if f.needs() == Needs::Output => run(Op::UnaryGrad(f), &[g, ctx.output(0)?])?,
        Some(f) => run(Op::UnaryGrad(f), &[g, g])?,
        None => g.clone(),
    };
    let Meta { shape, dtype } = ctx.meta(0)?;
    let g = sum.cast(dtype)?;
    let n: usize = shape[..shape.rank() - 1].iter().product();
    let (features, outputs) = (shape[shape.rank() - 1], ctx.meta(1)?.shape[0]);
    let rows = g.reshape([n, outputs])?;
    let mut all = grads([
        ctx.when(0, || run(Op::MatMul, &[&rows, ctx.input(1)?])?.reshape(shape))?,
        ctx.when(1, || run(Op::MatMul, &[&rows.t()?, &ctx.input(0)?.reshape([n, features])?]))?,
    ]);
    let residual = ctx.arity() - usize::from(op.residual);
    if residual == 3 {
        all.push(ctx.when(2, || rows.sum(0))?);
    }
    if op.residual {
        // What is added gets the gradient as it is.
        all.push(ctx.needs(residual).then_some(sum));
    }
    Ok(all)
}

pub(super) fn norm(ctx: &Context<'_>, op: &Norm, g: &Tensor) -> Result<Grads> {
    let mut operands = vec![g, ctx.input(0)?, ctx.output(1)?, ctx.output(2)?];
    if ctx.arity() > 1 {
        operands.push(ctx.input(1)?);
    }
    let most = if matches!(op.kind, NormKind::Rms { .. }) { 2 } else { 3 };
    Ok(Op::NormGrad(*op).run(&operands)?.into_iter().map(Some).take(ctx.arity().min(most)).collect())
}

pub(super) fn batch_norm_block(ctx: &Context<'_>, op: &BatchNormBlock, g: &Tensor) -> Result<Grads> {
    let (x, weight, mean, variance) = (ctx.input(0)?, ctx.input(1)?, ctx.output(1)?, ctx.output(2)?);
    let gradients = if op.activation.is_some() {
        let op = BatchNormBlock { residual: ctx.needs(3), ..*op };
        Op::BatchNormBlockGrad(op).run(&[g, ctx.output(0)?, x, mean, variance, weight])?
    } else {
        let norm = Norm { kind: NormKind::Batch, eps: op.eps };
        let mut all = Op::NormGrad(norm).run(&[g, x, mean, variance, weight])?;
        // What is added gets the gradient as it is.
        all.extend(ctx.needs(3).then(|| g.clone()));
        all
    };
    let mut all: Grads = gradients.into_iter().map(Some).collect();
    all.resize(ctx.arity(), None);
    Ok(all)
}

/// Everything but the channels.
fn not_channels(rank: usize) -> AxisSet {
    (0..rank).filter(|&a| a != 1).map(AxisSet::single).fold(AxisSet::EMPTY, AxisSet::union)
}

/// Batch normalization by given statistics is affine in its input, and the statistics are operands like any other.
pub(super) fn batch_norm_eval(ctx: &Context<'_>, eps: f64, g: &Tensor) -> Result<Grads> {
    let x = ctx.input(0)?;
    let dtype = x.dtype().accumulator();
    let axes = not_channels(x.rank());
    let mut channels = vec![1; x.rank()];
    channels[1] = x.shape()[1];
    let vector = |v: &Tensor| v.cast(dtype)?.reshape(&channels);
    let g = g.cast(dtype)?;
    let inverse = vector(ctx.input(2)?)?.add(eps)?.rsqrt()?;
    let weight = if ctx.arity() > 3 { Some(vector(ctx.input(3)?)?) } else { None };
    let scaled = |v: &Tensor| weight.as_ref().map_or_else(|| Ok(v.clone()), |w| v.mul(w));
    let total = || g.sum_keepdim(axes);
    let aligned = || g.mul(&x.cast(dtype)?.sub(&vector(ctx.input(1)?)?)?)?.sum_keepdim(axes);
    let finish = |i: usize, gradient: Tensor| {
        let meta = ctx.meta(i)?;
        gradient.cast(meta.dtype)?.reshape(meta.shape)
    };
    let mut all = grads([
        ctx.when(0, || finish(0, g.mul(&scaled(&inverse)?)?))?,
        ctx.when(1, || finish(1, scaled(&total()?.mul(&inverse)?)?.neg()?))?,
        ctx.when(2, || {
            let cube = inverse.mul(&inverse)?.mul(&inverse)?;
            finish(2, scaled(&aligned()?.mul(&cube)?)?.mul(-0.5)?)
        })?,
    ]);
    if ctx.arity() > 3 {
        all.push(ctx.when(3, || finish(3, aligned()?.mul(&inverse)?))?);
    }
    if ctx.arity() > 4 {
        all.push(ctx.when(4, || finish(4, total()?))?);
    }
    Ok(all)
}

fn spatial(shape: &[usize]) -> [usize; 3] {
    let mut size = [1; 3];
    for (to, from) in size.iter_mut().zip(&shape[2..]) {
        *to = *from;
    }
    size
}

pub(super) fn conv(ctx: &Context<'_>, conv: &Conv, g: &Tensor) -> Result<Grads> {
    let conv = *conv;
    let (size, kernel) = (spatial(&ctx.meta(0)?.shape), spatial(&ctx.meta(1)?.shape));
    let mut all = grads([
        ctx.when(0, || run(Op::ConvBackwardInput { conv, size }, &[g, ctx.input(1)?]))?,
        ctx.when(1, || run(Op::ConvBackwardWeight { conv, kernel }, &[g, ctx.input(0)?]))?,
    ]);
    if ctx.arity() == 3 {
        all.push(ctx.when(2, || g.sum(not_channels(g.rank())))?);
    }
    Ok(all)
}

/// Operands are an output gradient and a weight; the op is linear in both, and its transposes are the
/// convolution itself and its weight gradient.
pub(super) fn conv_backward_input(ctx: &Context<'_>, conv: &Conv, g: &Tensor) -> Result<Grads> {
    let kernel = spatial(&ctx.meta(1)?.shape);
    Ok(grads([
        ctx.when(0, || run(Op::Conv(*conv), &[g, ctx.input(1)?]))?,
        ctx.when(1, || run(Op::ConvBackwardWeight { conv: *conv, kernel }, &[ctx.input(0)?, g]))?,
    ]))
}

/// Operands are an output gradient and an input; `g` has the shape of the weight.
pub(super) fn conv_backward_weight(ctx: &Context<'_>, conv: &Conv, g: &Tensor) -> Result<Grads> {
    let size = spatial(&ctx.meta(1)?.shape);
    Ok(grads([
        ctx.when(0, || run(Op::Conv(*conv), &[ctx.input(1)?, g]))?,
        ctx.when(1, || run(Op::ConvBackwardInput { conv: *conv, size }, &[ctx.input(0)?, g]))?,
    ]))
}

pub(super) fn pool(ctx: &Context<'_>, pool: &Pool, g: &Tensor) -> Result<Grads> {
    let op = Op::PoolGrad { pool: *pool, size: spatial(&ctx.meta(0)?.shape) };
    Ok(grads([Some(match pool.kind {
        PoolKind::Max => run(op, &[g, ctx.output(1)?])?,
        PoolKind::Average { .. } => run(op, &[g])?,
    })]))
}

pub(super) fn pool_grad(ctx: &Context<'_>, pool: &Pool, g: &Tensor) -> Result<Grads> {
    Ok(match pool.kind {
        PoolKind::Max => {
            let index = ctx.input(1)?;
            let flat = g.flatten(2, -1)?.gather(2, &index.flatten(2, -1)?)?;
            grads([Some(flat.reshape(index.shape())?), None])
        }
        PoolKind::Average { .. } => grads([Some(run(Op::Pool(*pool), &[g])?)]),
    })
}

pub(super) fn attention(ctx: &Context<'_>, op: &Attention, g: &Tensor) -> Result<Grads> {
    let mut operands = vec![g, ctx.input(0)?, ctx.input(1)?, ctx.input(2)?, ctx.output(0)?, ctx.output(1)?];
    if ctx.arity() == 4 {
        operands.push(ctx.input(3)?);
    }
    let mut all: Grads = Op::AttentionGrad(*op).run(&operands)?.into_iter().map(Some).collect();
    all.resize(ctx.arity(), None);
    Ok(all)
}
