//! Gradients checked against finite differences.
//!
//! [`gradcheck`] calls a function in double precision, weighs the elements of its result with fixed random
//! numbers, and compares what a backward pass says about the weighted sum with what happens to it when inputs
//! are moved a little both ways. Every entry of the Jacobian takes part, at the cost of two calls for each
//! element of the inputs; [`Mode::Directions`] moves all elements at once and needs two calls for each direction.
//! [`gradgradcheck`] does the same to the gradient.
//!
//! ```
//! use gradus_tensor_core::Tensor;
//! use gradus_testkit::{Options, Reference, gradcheck};
//! let x = Tensor::from_vec(vec![0.5f64, -1.0, 2.0], [3], &Reference::device())?;
//! let report = gradcheck(|x| x[0].mul(&x[0].sin()?), &[&x], Options::default())?;
//! assert!(report.largest_error() < 1e-8);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What counts as right: `|analytic - numeric| <= atol + rtol * |numeric|`. The defaults suit smooth functions of
//! numbers around 1; keep inputs away from kinks ([`samples`](crate::samples) knows where the unary ops have
//! theirs).

mod numeric;
mod report;

use gradus_autograd::{Autograd, GradOptions, grad};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Error, Result, Tensor};

use numeric::Inputs;
pub use report::{Entry, Mismatch, Report};

/// How gradients are checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How far inputs are moved.
    pub eps: f64,
    /// The error that is allowed of any element.
    pub atol: f64,
    /// The error that is allowed for each unit of the numeric value.
    pub rtol: f64,
    /// What is moved.
    pub mode: Mode,
    /// Where random weights and directions come from.
    pub key: Key,
}

/// What is moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One element after the other.
    Elements,
    /// All elements at once, along that many random directions.
    Directions(usize),
}

impl Default for Options {
    /// Every element, moved by 1e-5, to six digits.
    fn default() -> Self {
        Options {
            eps: 1e-5,
            atol: 1e-6,
            rtol: 1e-6,
            mode: Mode::Elements,
            key: Key { seed: 0, stream: 0x6AD },
        }
    }
}

impl Options {
    /// Four random directions instead of every element: for large inputs.
    pub fn fast() -> Self {
        Options { mode: Mode::Directions(4), ..Self::default() }
    }
}

/// Compares the gradients of `f` with central differences.
///
/// `f` gets the inputs in order: those of dtype `f64` are differentiated, others (indices, masks) are passed on.
/// It may ignore inputs (their gradient must be 0) and return a tensor of any shape, of dtype `f64`. It must be
/// a function: equal inputs, equal results. The backward pass is run twice and must give the same bits.
///
/// # Errors
/// [`Mismatch::Gradient`] with the worst elements; [`Mismatch::Nondeterministic`]; [`Mismatch::Failed`] if `f` or
/// the backward pass fails, there is nothing to differentiate, or the result is not `f64`.
pub fn gradcheck(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    options: Options,
) -> Result<Report, Mismatch> {
    let inputs = Inputs::new(inputs)?;
    let weights = weights(&f(inputs.plain())?, options.key)?;
    let analytic = analytic(&f, &inputs, &weights)?;
    let again = self::analytic(&f, &inputs, &weights)?;
    report::same_bits(&inputs, &analytic, &again)?;
    let weighted = |x: &[Tensor]| -> Result<f64> {
        let y = f(x)?.to_vec::<f64>()?;
        Ok(y.iter().zip(&weights.1).map(|(y, w)| y * w).sum())
    };
    numeric::compare(weighted, &inputs, &analytic, &options)
}

/// Compares the gradients of the gradients of `f` with central differences: [`gradcheck`] of the function that
/// maps the inputs and the gradient of the result to the gradients of the inputs.
///
/// # Errors
/// As [`gradcheck`]. Inputs are numbered in order, the gradient of the result after them.
pub fn gradgradcheck(
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &[&Tensor],
    options: Options,
) -> Result<Report, Mismatch> {
    let plain: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect::<Result<_>>()?;
    let (seed, _) = weights(&f(&plain)?, options.key.fold(1))?;
    let gradients = |all: &[Tensor]| {
        let (seed, inputs) = all.split_last().ok_or_else(nothing)?;
        let inputs: Vec<Tensor> =
            inputs
                .iter()
                .map(|x| {
                    if x.dtype() == DType::F64 && !x.is_tracked() { x.requires_grad() } else { Ok(x.clone()) }
                })
                .collect::<Result<_>>()?;
        let wanted: Vec<&Tensor> = inputs.iter().filter(|x| x.dtype() == DType::F64).collect();
        let y = f(&inputs)?;
        let found = if y.is_tracked() {
            let recorded = GradOptions { retain_graph: true, create_graph: true };
            grad(&[(&y, Some(seed.clone()))], &wanted, recorded)?
        } else {
            vec![None; wanted.len()]
        };
        let flat: Vec<Tensor> = found
            .into_iter()
            .zip(wanted)
            .map(|(g, x)| g.map_or_else(|| x.zeros_like(), Ok)?.reshape([x.numel()]))
            .collect::<Result<_>>()?;
        Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
    };
    let all: Vec<&Tensor> = inputs.iter().copied().chain([&seed]).collect();
    gradcheck(gradients, &all, options)
}

fn nothing() -> Error {
    Error::argument("gradcheck", "there is no input of dtype f64 to differentiate")
}

/// Fixed random numbers of the shape of a result, none near 0.
fn weights(y: &Tensor, key: Key) -> Result<(Tensor, Vec<f64>)> {
    if y.dtype() != DType::F64 {
        return Err(Error::dtype(
            "gradcheck",
            &[y.meta()],
            "the function must return f64: finite differences need it",
        ));
    }
    let draw = |i| {
        let u = 2.0 * key.uniform64(i) - 1.0;
        u + u.signum() * 0.5
    };
    let values: Vec<f64> = (0..y.numel() as u64).map(draw).collect();
    Ok((Tensor::from_vec(values.clone(), y.shape(), y.device().innermost())?, values))
}

/// The gradient of the weighted sum with respect to each `f64` input; zeros where none flows.
fn analytic(
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
    inputs: &Inputs,
    weights: &(Tensor, Vec<f64>),
) -> Result<Vec<Vec<f64>>> {
    let tracked = inputs.tracked()?;
    let leaves: Vec<&Tensor> = inputs.wanted().map(|i| &tracked[i]).collect();
    let y = f(&tracked)?;
    let found = if y.is_tracked() {
        grad(&[(&y, Some(weights.0.clone()))], &leaves, GradOptions::default())?
    } else {
        vec![None; leaves.len()]
    };
    found
        .into_iter()
        .zip(leaves)
        .map(|(g, x)| match g {
            Some(g) if g.meta() == x.meta() => g.to_vec::<f64>(),
            Some(g) => {
                Err(Error::shape("gradcheck", &[x.meta(), g.meta()], "a gradient must be like its input"))
            }
            None => Ok(vec![0.0; x.numel()]),
        })
        .collect()
}
