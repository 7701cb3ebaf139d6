//! Cross-entropy of logits with class labels, and its gradient.

use crate::op::CrossEntropy;
use crate::{Result, Tensor};

/// Which samples are ignored, and the targets with those replaced by class 0.
fn targets(op: &CrossEntropy, target: &Tensor) -> Result<(Tensor, Tensor)> {
    let ignored = target.eq(op.ignore_index)?;
    let class = target.masked_fill(&ignored, 0)?;
    Ok((ignored, class))
}

/// `(1 - ε) (lse - z[target]) + ε (lse - mean(z))` for each sample, where `ε` is the label smoothing.
pub(super) fn cross_entropy(op: &CrossEntropy, logits: &Tensor, target: &Tensor) -> Result<Vec<Tensor>> {
    let z = logits.widened()?;
    let (ignored, class) = targets(op, target)?;
    let lse = z.logsumexp(1)?;
    let mut loss = lse.sub(&z.gather(1, &class.unsqueeze(1)?)?.squeeze(1)?)?;
    if op.label_smoothing > 0.0 {
        let spread = lse.sub(&z.mean(1)?)?;
        loss = loss.mul(1.0 - op.label_smoothing)?.add(&spread.mul(op.label_smoothing)?)?;
    }
    Ok(vec![loss.masked_fill(&ignored, 0.0)?, lse.innermost()?])
}

/// `g (softmax(z) - (1 - ε) onehot(target) - ε / C)` for each sample.
pub(super) fn cross_entropy_grad(
    op: &CrossEntropy,
    g: &Tensor,
    logits: &Tensor,
    target: &Tensor,
) -> Result<Tensor> {
    let z = logits.widened()?;
    let (ignored, class) = targets(op, target)?;
    let classes = logits.dims()[1];
    let wanted = class
        .one_hot(classes, z.dtype())?
        .affine(1.0 - op.label_smoothing, op.label_smoothing / classes.max(1) as f64)?;
    let gz = z.softmax(1)?.sub(&wanted)?.mul(&g.unsqueeze(1)?)?;
    gz.masked_fill(&ignored.unsqueeze(1)?, 0.0)?.cast(logits.dtype())
}
