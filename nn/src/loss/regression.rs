//! Distances between numbers.

use gradus_tensor_core::{Error, Result, Tensor};

use super::{Reduction, same_shape};

/// The mean of the squared differences.
///
/// # Errors
/// The shapes differ.
pub fn mse_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    mse_loss_with(input, target, Reduction::Mean)
}

/// Squared differences, reduced.
///
/// # Errors
/// The shapes differ.
pub fn mse_loss_with(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("mse_loss", input, target)?;
    reduction.apply(&input.sub(target)?.square()?)
}

/// The mean of the absolute differences.
///
/// # Errors
/// The shapes differ.
pub fn l1_loss(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    l1_loss_with(input, target, Reduction::Mean)
}

/// Absolute differences, reduced.
///
/// # Errors
/// The shapes differ.
pub fn l1_loss_with(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("l1_loss", input, target)?;
    reduction.apply(&input.sub(target)?.abs()?)
}

/// The mean of `d² / 2` where `|d| < 1` and `|d| - 1/2` elsewhere.
///
/// # Errors
/// The shapes differ.
pub fn smooth_l1(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    smooth_l1_with(input, target, 1.0, Reduction::Mean)
}

/// `d² / (2 * beta)` where `|d| < beta` and `|d| - beta / 2` elsewhere, reduced.
///
/// # Errors
/// The shapes differ, or `beta` is negative.
pub fn smooth_l1_with(input: &Tensor, target: &Tensor, beta: f64, reduction: Reduction) -> Result<Tensor> {
    if beta == 0.0 {
        return l1_loss_with(input, target, reduction);
    }
    if !(beta > 0.0 && beta.is_finite()) {
        return Err(Error::argument("smooth_l1", format!("beta {beta} must be finite and not negative")));
    }
    same_shape("smooth_l1", input, target)?;
    reduction.apply(&piecewise(&input.sub(target)?, beta, 1.0 / beta)?)
}

/// The mean of `d² / 2` where `|d| < 1` and `|d| - 1/2` elsewhere.
///
/// # Errors
/// The shapes differ.
pub fn huber(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    huber_with(input, target, 1.0, Reduction::Mean)
}

/// `d² / 2` where `|d| < delta` and `delta * (|d| - delta / 2)` elsewhere, reduced.
///
/// # Errors
/// The shapes differ, or `delta` is not positive.
pub fn huber_with(input: &Tensor, target: &Tensor, delta: f64, reduction: Reduction) -> Result<Tensor> {
    if !(delta > 0.0 && delta.is_finite()) {
        return Err(Error::argument("huber", format!("delta {delta} must be finite and positive")));
    }
    same_shape("huber", input, target)?;
    reduction.apply(&piecewise(&input.sub(target)?, delta, 1.0)?)
}

/// `scale * d² / 2` where `|d| < bend`, and its tangent elsewhere.
fn piecewise(d: &Tensor, bend: f64, scale: f64) -> Result<Tensor> {
    let size = d.abs()?;
    let square = d.square()?.mul(0.5 * scale)?;
    let line = size.affine(bend * scale, -0.5 * bend * bend * scale)?;
    size.lt(bend)?.where_(&square, &line)
}
