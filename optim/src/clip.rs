//! Gradients that are not too large.

use gradus_autograd::Gradients;
use gradus_tensor_core::{Error, Result, Tensor};

/// Options of [`clip_grad_norm_with`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClipOptions {
    /// Which norm: the p of the p-norm, infinity for the largest absolute value.
    pub norm_type: f64,
    /// Whether a norm that is infinite or NaN is an error; the gradients then stay as they are.
    pub error_if_nonfinite: bool,
}

impl Default for ClipOptions {
    /// The Euclidean norm; a norm that is not finite is no error, as in PyTorch.
    fn default() -> Self {
        ClipOptions { norm_type: 2.0, error_if_nonfinite: false }
    }
}

/// Scales all gradients by one factor so that their Euclidean norm, taken together, is at most `max_norm`
/// (Pascanu et al., arXiv:1211.5063). Returns the norm before.
///
/// # Errors
/// `max_norm` is negative, or the device fails.
pub fn clip_grad_norm(gradients: &mut Gradients, max_norm: f64) -> Result<f64> {
    clip_grad_norm_with(gradients, max_norm, ClipOptions::default())
}

/// [`clip_grad_norm`] with options.
///
/// # Errors
/// `max_norm` is negative, the norm's type is not positive, the norm is not finite where that is an error, or
/// the device fails.
pub fn clip_grad_norm_with(gradients: &mut Gradients, max_norm: f64, options: ClipOptions) -> Result<f64> {
    let op = "clip_grad_norm";
    if max_norm.is_nan() || max_norm < 0.0 {
        return Err(Error::argument(op, format!("the largest norm {max_norm} must not be negative")));
    }
    let norm = grad_norm(gradients, options.norm_type)?;
    if options.error_if_nonfinite && !norm.is_finite() {
        return Err(Error::NotFinite {
            op: op.into(),
            message: format!("the norm of the gradients is {norm}"),
        });
    }
    // PyTorch's guard against a norm of 0.
    let factor = max_norm / (norm + 1e-6);
    // Written so that a NaN norm makes the gradients NaN: it must not be hidden.
    if factor < 1.0 || factor.is_nan() {
        gradients.scale(factor)?;
    }
    Ok(norm)
}

/// The norm of all gradients taken together as one vector.
///
/// # Errors
/// The norm's type is not positive, or the device fails.
pub fn grad_norm(gradients: &Gradients, norm_type: f64) -> Result<f64> {
    if norm_type.is_nan() || norm_type <= 0.0 {
        return Err(Error::argument("grad_norm", format!("the norm's type {norm_type} must be positive")));
    }
    let vectors = vectors(gradients)?;
    let parts = vectors.iter().map(|x| part(x, norm_type)).collect::<Result<Vec<f64>>>()?;
    if norm_type == f64::INFINITY {
        let largest = |a: f64, b: f64| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) };
        return Ok(parts.into_iter().fold(0.0, largest));
    }
    let sum: f64 = parts.into_iter().sum();
    Ok(if norm_type == 2.0 { sum.sqrt() } else { sum.powf(1.0 / norm_type) })
}

/// Gradients of fewer elements than this are looked at together: most of a model's are, and each alone would cost several
/// times more on the way than in the work.
const SMALL: usize = 1 << 12;

/// All elements, in tensors as wide as sums of them are computed. None is empty.
fn vectors(gradients: &Gradients) -> Result<Vec<Tensor>> {
    let (mut all, mut small) = (Vec::new(), Vec::<Tensor>::new());
    for (_, gradient) in gradients.iter().filter(|(_, gradient)| gradient.numel() > 0) {
        let gradient = gradient.cast(gradient.dtype().accumulator())?;
        let joins = |first: &Tensor| (first.dtype(), first.device()) == (gradient.dtype(), gradient.device());
        if gradient.numel() < SMALL && small.first().is_none_or(joins) {
            small.push(gradient.reshape([-1])?);
        } else {
            all.push(gradient);
        }
    }
    if !small.is_empty() {
        all.push(Tensor::cat(&small.iter().collect::<Vec<_>>(), 0)?);
    }
    Ok(all)
}

/// The sum of powers of absolute values, or the largest of them.
fn part(x: &Tensor, norm_type: f64) -> Result<f64> {
    if norm_type == 2.0 {
        return x.square()?.sum_all()?.item();
    }
    let size = x.abs()?;
    match norm_type {
        f64::INFINITY => size.amax_all()?.item(),
        1.0 => size.sum_all()?.item(),
        p => size.pow(p)?.sum_all()?.item(),
    }
}

/// Limits every element of every gradient to `-limit..=limit`.
///
/// # Errors
/// `limit` is negative, or the device fails.
pub fn clip_grad_value(gradients: &mut Gradients, limit: f64) -> Result<()> {
    if limit.is_nan() || limit < 0.0 {
        return Err(Error::argument("clip_grad_value", format!("the limit {limit} must not be negative")));
    }
    for (_, gradient) in gradients.iter_mut() {
        *gradient = gradient.clamp(-limit, limit)?;
    }
    Ok(())
}
