//! Reductions, scans and sorting.

use gradus_tensor_core::{IntoAxes, Result, Tensor};

use crate::golden::cases::Params;

pub fn run(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let [x] = x else { return None };
    let one = |y: Result<Tensor>| Some(y.map(|y| vec![y]));
    match op {
        "sum" | "mean" | "prod" | "amax" | "amin" | "logsumexp" | "any" | "all" | "var" | "std" => {
            one(reduce(op, p, x))
        }
        "norm" if p.number("p") == Some(2.0) => one(reduce(op, p, x)),
        "argmax" | "argmin" => one(position(op, p, x)),
        "max_dim" | "min_dim" => Some(extreme(op, p, x)),
        "cumsum" => one(x.cumsum(p.int("dim"))),
        "cumprod" => one(x.cumprod(p.int("dim"))),
        "cummax" => one(x.cummax(p.int("dim"))),
        "cummin" => one(x.cummin(p.int("dim"))),
        "sort" => Some(x.sort(p.int("dim"), p.flag("descending")).map(|(a, b)| vec![a, b])),
        "topk" => Some(x.topk(p.size("k"), p.int("dim"), p.flag("largest")).map(|(a, b)| vec![a, b])),
        _ => None,
    }
}

fn reduce(op: &str, p: &Params, x: &Tensor) -> Result<Tensor> {
    let axes = match p.is_null("dims") {
        true => (..).into_axes(x.rank(), "reduce")?,
        false => p.ints("dims").as_slice().into_axes(x.rank(), "reduce")?,
    };
    let y = match op {
        "sum" => x.sum(axes),
        "mean" => x.mean(axes),
        "prod" => x.prod(axes),
        "amax" => x.amax(axes),
        "amin" => x.amin(axes),
        "logsumexp" => x.logsumexp(axes),
        "any" => x.any(axes),
        "all" => x.all(axes),
        "norm" => x.norm(axes),
        "var" => x.var(axes, p.flag("unbiased") as usize),
        "std" => x.std(axes, p.flag("unbiased") as usize),
        other => panic!("a reduction called {other}"),
    }?;
    if p.flag("keepdim") { axes.iter().try_fold(y, |y, axis| y.unsqueeze(axis)) } else { Ok(y) }
}

fn position(op: &str, p: &Params, x: &Tensor) -> Result<Tensor> {
    let find = |x: &Tensor, axis: i64| if op == "argmax" { x.argmax(axis) } else { x.argmin(axis) };
    if p.is_null("dim") {
        return find(&x.reshape([-1])?, 0);
    }
    let axis = p.int("dim");
    let y = find(x, axis)?;
    if p.flag("keepdim") { y.unsqueeze(axis) } else { Ok(y) }
}

/// The extreme element and where it is; unlike `amax`, the gradient goes to that element alone.
fn extreme(op: &str, p: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
    let axis = p.int("dim");
    let index = if op == "max_dim" { x.argmax(axis) } else { x.argmin(axis) }?;
    let value = x.gather(axis, &index.unsqueeze(axis)?)?.squeeze(axis)?;
    Ok(vec![value, index])
}
