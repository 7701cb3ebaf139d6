//! Gradients of reductions, scans and sorting.

use gradus_tensor_core::op::{Reduce, Scan, Sort};
use gradus_tensor_core::{AxisSet, DType, Op, ReduceKind, Result, Tensor};

use super::{Context, Grads, grads, run};

pub(super) fn reduce(ctx: &Context<'_>, op: &Reduce, g: &Tensor) -> Result<Grads> {
    let gradient = match op.kind {
        ReduceKind::Sum => g.expand(ctx.meta(0)?.shape)?,
        ReduceKind::Prod => g.mul(&product_of_others(ctx.input(0)?, op.axes)?)?,
        ReduceKind::Max | ReduceKind::Min => {
            let (x, y) = (ctx.input(0)?.innermost()?, ctx.output(0)?.innermost()?);
            let hit = x.eq(&y)?.cast(x.dtype())?;
            let share = hit.div(&hit.sum_keepdim(op.axes)?)?;
            g.mul(&share)?
        }
    };
    Ok(grads([Some(gradient)]))
}

/// For each element, the product of all others along the axes: from both ends, so that zeros need no case.
fn product_of_others(x: &Tensor, axes: AxisSet) -> Result<Tensor> {
    let kept = (0..x.rank()).filter(|&a| !axes.contains(a));
    let order: Vec<usize> = kept.chain(axes.iter().take_while(|&a| a < x.rank())).collect();
    let mut back = vec![0; order.len()];
    for (to, &from) in order.iter().enumerate() {
        back[from] = to;
    }
    let moved = x.permute(&order)?;
    let split = x.rank() - axes.len();
    let n: usize = moved.dims()[split..].iter().product();
    let mut dims = moved.dims()[..split].to_vec();
    dims.push(n);
    let flat = moved.reshape(dims)?;
    let others = exclusive_product(&flat)?;
    others.reshape(moved.shape())?.permute(&back)
}

/// For each element, the product of all others along the last axis.
fn exclusive_product(x: &Tensor) -> Result<Tensor> {
    let n = x.dim(-1)?;
    if n == 0 {
        return Ok(x.clone());
    }
    let one = x.narrow(-1, 0, 1)?.ones_like()?;
    let before = Tensor::cat(&[&one, &x.narrow(-1, 0, n - 1)?], -1)?.cumprod(-1)?;
    let reversed = x.flip(-1)?;
    let after = Tensor::cat(&[&one, &reversed.narrow(-1, 0, n - 1)?], -1)?.cumprod(-1)?.flip(-1)?;
    before.mul(&after)
}

pub(super) fn scan(ctx: &Context<'_>, op: &Scan, g: &Tensor) -> Result<Grads> {
    let back = |kind: ReduceKind, x: &Tensor| {
        run(Op::Scan(Scan { kind, axis: op.axis, reverse: !op.reverse }), &[x])
    };
    let gradient = match op.kind {
        ReduceKind::Sum => back(ReduceKind::Sum, g)?,
        ReduceKind::Prod => {
            let (x, y) = (ctx.input(0)?, ctx.output(0)?);
            if x.innermost()?.eq(0.0)?.any(..)?.item::<bool>()? {
                cumprod_with_zeros(x, op, g)?
            } else {
                back(ReduceKind::Sum, &g.mul(y)?)?.div(x)?
            }
        }
        ReduceKind::Max | ReduceKind::Min => {
            // The winner at each position is the latest element that was equal to the running extreme.
            let (x, y) = (ctx.input(0)?.innermost()?, ctx.output(0)?.innermost()?);
            let n = x.shape()[op.axis] as i64;
            let mut dims = vec![1; x.rank()];
            dims[op.axis] = n as usize;
            let position = Tensor::arange(0, n, DType::I64, x.device())?.reshape(dims)?;
            let (none, latest) = if op.reverse { (n - 1, ReduceKind::Min) } else { (0, ReduceKind::Max) };
            let none = Tensor::full(none, (), DType::I64, x.device())?;
            let candidates = x.eq(&y)?.where_(&position, &none)?;
            let winner = run(Op::Scan(Scan { kind: latest, ..*op }), &[&candidates])?;
            g.zeros_like()?.scatter_add(op.axis, &winner, g)?
        }
    };
    Ok(grads([Some(gradient)]))
}

/// `sum over k of g_k * product of x_j for j <= k, j != i`, by an explicit table of all pairs (k, j): division
/// by x is not possible where it is 0.
fn cumprod_with_zeros(x: &Tensor, op: &Scan, g: &Tensor) -> Result<Tensor> {
    let (mut x, mut g) = (x.transpose(op.axis, -1)?, g.transpose(op.axis, -1)?);
    if op.reverse {
        (x, g) = (x.flip(-1)?, g.flip(-1)?);
    }
    let n = x.dim(-1)?;
    let mut dims = x.dims().to_vec();
    dims.insert(x.rank() - 1, n);
    let device = x.device().innermost().clone();
    let seen = Tensor::ones([n, n], DType::U8, &device)?.tril(0)?.cast(DType::Bool)?;
    let one = Tensor::ones((), x.dtype(), &device)?;
    let zero = Tensor::zeros((), x.dtype(), &device)?;
    let table = seen.where_(&x.unsqueeze(-2)?.expand(dims)?, &one)?;
    let others = seen.where_(&exclusive_product(&table)?, &zero)?;
    let mut sum = g.unsqueeze(-1)?.mul(&others)?.sum(-2)?;
    if op.reverse {
        sum = sum.flip(-1)?;
    }
    sum.transpose(op.axis, -1)
}

pub(super) fn sort(ctx: &Context<'_>, op: &Sort, g: &Tensor) -> Result<Grads> {
    Ok(grads([Some(g.zeros_like()?.scatter_add(op.axis, ctx.output(1)?, g)?)]))
}
