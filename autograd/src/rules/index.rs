//! Gradients of ops that move elements.

use gradus_tensor_core::{Meta, Result, Tensor};

use super::{Context, Grads, grads};

fn zeros(meta: Meta, like: &Tensor) -> Result<Tensor> {
    Tensor::zeros(meta.shape, meta.dtype, like.device().innermost())
}

pub(super) fn gather(ctx: &Context<'_>, axis: usize, g: &Tensor) -> Result<Grads> {
    Ok(grads([Some(zeros(ctx.meta(0)?, g)?.scatter_add(axis, ctx.input(1)?, g)?), None]))
}

pub(super) fn scatter_add(ctx: &Context<'_>, axis: usize, g: &Tensor) -> Result<Grads> {
    Ok(grads([Some(g.clone()), None, ctx.when(2, || g.gather(axis, ctx.input(1)?))?]))
}

pub(super) fn index_select(ctx: &Context<'_>, axis: usize, g: &Tensor) -> Result<Grads> {
    Ok(grads([Some(zeros(ctx.meta(0)?, g)?.index_add(axis, ctx.input(1)?, g)?), None]))
}

pub(super) fn index_add(ctx: &Context<'_>, axis: usize, g: &Tensor) -> Result<Grads> {
    Ok(grads([Some(g.clone()), None, ctx.when(2, || g.index_select(axis, ctx.input(1)?))?]))
}

pub(super) fn concat(ctx: &Context<'_>, axis: usize, g: &Tensor) -> Result<Grads> {
    let mut start = 0;
    let mut all = Grads::new();
    for i in 0..ctx.arity() {
        let size = ctx.meta(i)?.shape[axis];
        all.push(ctx.when(i, || g.narrow(axis, start, size))?);
        start += size;
    }
    Ok(all)
}
