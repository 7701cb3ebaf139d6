//! Gradients of products with weights of 8 bits.

use gradus_tensor_core::{DType, Result, Tensor};

use super::{Context, Grads, grads};

/// Straight through: as if nothing had been rounded. The weight and its scale are constants.
pub(super) fn linear_dynamic(ctx: &Context<'_>, g: &Tensor) -> Result<Grads> {
    let shape = ctx.meta(0)?.shape;
    let n: usize = shape[..shape.rank() - 1].iter().product();
    let rows = g.reshape([n, ctx.meta(1)?.shape[0]])?.cast(g.dtype().accumulator())?;
    let x = || {
        let weight = ctx.input(1)?.cast(rows.dtype())?;
        rows.mul(ctx.input(2)?)?.matmul(&weight)?.reshape(shape)?.cast(g.dtype())
    };
    let mut all = grads([ctx.when(0, x)?, None, None]);
    if ctx.arity() == 4 {
        all.push(ctx.when(3, || rows.sum(0)?.cast(DType::F32))?);
    }
    Ok(all)
}
