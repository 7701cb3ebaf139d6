//! Binary cross-entropy.

use gradus_tensor_core::{Result, Tensor};

use super::{Reduction, same_shape};

/// Options of [`bce_with_logits_with`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BceOptions<'a> {
    /// What becomes of the losses of all elements.
    pub reduction: Reduction,
    /// What the losses of positive targets are multiplied with; broadcast to the input.
    pub pos_weight: Option<&'a Tensor>,
}

/// The mean of `-(t * ln(p) + (1 - t) * ln(1 - p))` for probabilities `p` and targets `t` in `0..=1`.
/// Logarithms are at least -100, as in PyTorch; where they are, no gradient flows. Prefer
/// [`bce_with_logits`].
///
/// # Errors
/// The shapes differ.
pub fn bce(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    bce_with(input, target, Reduction::Mean)
}

/// [`bce`], reduced as asked.
///
/// # Errors
/// The shapes differ.
pub fn bce_with(input: &Tensor, target: &Tensor, reduction: Reduction) -> Result<Tensor> {
    same_shape("bce", input, target)?;
    const LEAST: f64 = -100.0;
    // The logarithm of 0 is kept out of the graph: its infinite slope times 0 would be NaN.
    let (zero, one) = (input.le(0.0)?, input.ge(1.0)?);
    let log_p = input.masked_fill(&zero, 1.0)?.log()?.masked_fill(&zero, LEAST)?;
    let log_not = input.masked_fill(&one, 0.0)?.neg()?.log1p()?.masked_fill(&one, LEAST)?;
    let [log_p, log_not] = [log_p.clamp(LEAST, f64::INFINITY)?, log_not.clamp(LEAST, f64::INFINITY)?];
    let loss = target.mul(&log_p)?.add(&target.affine(-1, 1)?.mul(&log_not)?)?.neg()?;
    reduction.apply(&loss)
}

/// The mean of the binary cross-entropies of logits with targets in `0..=1`, computed without overflow.
///
/// # Errors
/// The shapes differ.
pub fn bce_with_logits(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    bce_with_logits_with(input, target, BceOptions::default())
}

/// [`bce_with_logits`] with options.
///
/// # Errors
/// The shapes differ, or the weight does not broadcast.
pub fn bce_with_logits_with(input: &Tensor, target: &Tensor, options: BceOptions<'_>) -> Result<Tensor> {
    same_shape("bce_with_logits", input, target)?;
    // -ln(sigmoid(x)) = softplus(-x), and -ln(1 - sigmoid(x)) = x + softplus(-x).
    let mut negative_log = input.neg()?.softplus()?;
    if let Some(pos_weight) = options.pos_weight {
        negative_log = negative_log.mul(&pos_weight.affine(1, -1)?.mul(target)?.add(1)?)?;
    }
    let loss = target.affine(-1, 1)?.mul(input)?.add(&negative_log)?;
    options.reduction.apply(&loss)
}
