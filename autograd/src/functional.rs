//! Derivatives of functions: vector-Jacobian and Jacobian-vector products, Jacobians, Hessians.

use gradus_tensor_core::{Error, Result, Tensor};

use crate::{Autograd, GradOptions, grad};

const RECORDED: GradOptions = GradOptions { retain_graph: true, create_graph: true };

fn leaves(inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    inputs.iter().map(|t| t.requires_grad()).collect()
}

fn or_zeros(gradient: Option<Tensor>, like: &Tensor) -> Result<Tensor> {
    match gradient {
        Some(g) => Ok(g),
        None => Tensor::zeros(like.shape(), like.dtype(), like.device().innermost()),
    }
}

/// Gradients of `y . v` with respect to tracked inputs; zeros where nothing flows.
fn pull(y: &Tensor, v: &Tensor, inputs: &[&Tensor], options: GradOptions) -> Result<Vec<Tensor>> {
    if !y.is_tracked() {
        return inputs.iter().map(|x| or_zeros(None, x)).collect();
    }
    let found = grad(&[(y, Some(v.clone()))], inputs, options)?;
    found.into_iter().zip(inputs).map(|(g, x)| or_zeros(g, x)).collect()
}

/// `f(inputs)`, and the product of `v` (of its shape) with the Jacobian: one gradient per input.
///
/// # Errors
/// What `f` returns, or `v` has another shape than its result.
pub fn vjp(
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    v: &Tensor,
) -> Result<(Tensor, Vec<Tensor>)> {
    let inputs = leaves(inputs)?;
    let y = f(&inputs)?;
    let gradients = pull(&y, v, &inputs.iter().collect::<Vec<_>>(), GradOptions::default())?;
    Ok((y.detach()?, gradients))
}

/// `f(inputs)`, and the product of its Jacobian with `vs` (one per input, of its shape): the derivative along a
/// direction. Computed as the gradient of a gradient, which is linear in its seed.
///
/// # Errors
/// What `f` returns, or a direction has another shape than its input.
pub fn jvp(
    f: impl FnOnce(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    vs: &[&Tensor],
) -> Result<(Tensor, Tensor)> {
    if inputs.len() != vs.len() || inputs.iter().zip(vs).any(|(x, v)| x.shape() != v.shape()) {
        let metas: Vec<_> = inputs.iter().chain(vs).map(|t| t.meta()).collect();
        return Err(Error::shape("jvp", &metas, "expects one direction per input, of its shape"));
    }
    let inputs = leaves(inputs)?;
    let y = f(&inputs)?;
    let seed = Tensor::zeros(y.shape(), y.dtype(), y.device().innermost())?.requires_grad()?;
    let pulled = pull(&y, &seed, &inputs.iter().collect::<Vec<_>>(), RECORDED)?;
    let mut sum: Option<Tensor> = None;
    for (g, v) in pulled.iter().zip(vs) {
        let term = g.mul(*v)?.sum_all()?;
        sum = Some(match sum {
            None => term,
            Some(sum) => sum.add(&term)?,
        });
    }
    let product = match sum {
        Some(sum) if sum.is_tracked() => grad(&[(&sum, None)], &[&seed], GradOptions::default())?.remove(0),
        _ => None,
    };
    Ok((y.detach()?, or_zeros(product, &y)?))
}

/// The Jacobian of `f` at `x`: of shape `[*f(x), *x]`, one backward pass per element of the result.
///
/// # Errors
/// What `f` returns, or the ranks together exceed the maximum.
pub fn jacobian(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let x = x.requires_grad()?;
    let y = f(&x)?;
    rows(&y, &x, GradOptions { retain_graph: true, create_graph: false })
}

/// One gradient of `x` for each element of `y`, stacked.
fn rows(y: &Tensor, x: &Tensor, options: GradOptions) -> Result<Tensor> {
    let n = y.numel();
    let device = y.device().innermost().clone();
    let identity = Tensor::eye(n, y.dtype(), &device)?;
    let mut rows = Vec::with_capacity(n);
    for i in 0..n {
        let seed = identity.select(0, i)?.reshape(y.shape())?;
        rows.push(pull(y, &seed, &[x], options)?.remove(0));
    }
    let dims: Vec<usize> = y.dims().iter().chain(x.dims()).copied().collect();
    if n == 0 {
        return Tensor::zeros(dims, y.dtype(), &device);
    }
    Tensor::stack(&rows.iter().collect::<Vec<_>>(), 0)?.reshape(dims)
}

/// The gradient of a function with a result of one element, recorded.
fn gradient(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let y = f(x)?;
    if y.numel() != 1 {
        return Err(Error::shape("hessian", &[y.meta()], "the function must have a result of one element"));
    }
    let one = y.ones_like()?;
    Ok(pull(&y, &one, &[x], RECORDED)?.remove(0))
}

/// The Hessian of `f` (with a result of one element) at `x`: of shape `[*x, *x]`.
///
/// # Errors
/// What `f` returns, or twice the rank exceeds the maximum.
pub fn hessian(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor) -> Result<Tensor> {
    let x = x.requires_grad()?;
    rows(&gradient(f, &x)?, &x, GradOptions { retain_graph: true, create_graph: false })
}

/// The product of the Hessian of `f` (with a result of one element) at `x` with `v`, of `x`'s shape, without
/// the Hessian.
///
/// # Errors
/// What `f` returns, or `v` has another shape than `x`.
pub fn hvp(f: impl FnOnce(&Tensor) -> Result<Tensor>, x: &Tensor, v: &Tensor) -> Result<Tensor> {
    let x = x.requires_grad()?;
    Ok(pull(&gradient(f, &x)?, v, &[&x], GradOptions::default())?.remove(0))
}
