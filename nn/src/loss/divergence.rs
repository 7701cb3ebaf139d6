//! The Kullback-Leibler divergence.

use gradus_tensor_core::{Result, Tensor};

use super::{Reduction, same_shape};

/// Options of [`kl_div_with`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KlDivOptions {
    /// What becomes of the terms of all elements; [`Reduction::BatchMean`] is the divergence itself.
    pub reduction: Reduction,
    /// Whether the target, too, is logarithms.
    pub log_target: bool,
}

/// The divergence of `target` (probabilities) from `input` (log-probabilities): the sum of
/// `t * (ln(t) - input)` divided by the size of the first axis.
///
/// # Errors
/// The shapes differ.
pub fn kl_div(input: &Tensor, target: &Tensor) -> Result<Tensor> {
    kl_div_with(input, target, KlDivOptions { reduction: Reduction::BatchMean, log_target: false })
}

/// [`kl_div`] with options.
///
/// # Errors
/// The shapes differ.
pub fn kl_div_with(input: &Tensor, target: &Tensor, options: KlDivOptions) -> Result<Tensor> {
    same_shape("kl_div", input, target)?;
    let terms = if options.log_target {
        target.exp()?.mul(&target.sub(input)?)?
    } else {
        // t * ln(t) is 0 at 0.
        let log = target.masked_fill(&target.le(0.0)?, 1.0)?.log()?;
        target.mul(&log.sub(input)?)?
    };
    options.reduction.apply(&terms)
}
