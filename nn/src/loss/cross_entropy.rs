//! Cross-entropy of logits or log-probabilities with classes.

use gradus_tensor_core::op::CrossEntropy;
use gradus_tensor_core::{DType, Error, Result, Tensor};

use super::{Reduction, same_shape};

/// Options of [`cross_entropy_with`] and [`nll_loss_with`].
#[derive(Clone, Copy, Debug)]
pub struct CrossEntropyOptions<'a> {
    /// What becomes of the losses of all samples. The mean is over samples that are not ignored, each counting
    /// as much as the weight of its class.
    pub reduction: Reduction,
    /// Samples with this class count nothing.
    pub ignore_index: i64,
    /// The share of the target's probability that is spread over all classes, in `0..=1`.
    pub label_smoothing: f64,
    /// A weight for each class, `[C]`.
    pub weight: Option<&'a Tensor>,
}

impl Default for CrossEntropyOptions<'_> {
    /// The mean, ignoring class -100, without smoothing and weights.
    fn default() -> Self {
        CrossEntropyOptions {
            reduction: Reduction::Mean,
            ignore_index: CrossEntropy::default().ignore_index,
            label_smoothing: 0.0,
            weight: None,
        }
    }
}

/// The mean cross-entropy of logits `[N, C, ..]` with classes `[N, ..]` (integers), or with a distribution over
/// classes of the logits' shape.
///
/// # Errors
/// Shapes do not fit, or a class is out of range.
pub fn cross_entropy(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    cross_entropy_with(logits, target, CrossEntropyOptions::default())
}

/// [`cross_entropy`] with options. Losses are in the logits' accumulator dtype (`f32` for `f16`).
///
/// # Errors
/// Shapes do not fit, a class or the smoothing is out of range.
pub fn cross_entropy_with(
    logits: &Tensor,
    target: &Tensor,
    options: CrossEntropyOptions<'_>,
) -> Result<Tensor> {
    let op = "cross_entropy";
    let smoothing = options.label_smoothing;
    if !(0.0..=1.0).contains(&smoothing) {
        return Err(Error::argument(op, format!("label smoothing {smoothing} is not in 0..=1")));
    }
    if target.dtype().is_float() {
        return with_probabilities(logits, target, options);
    }
    let rows = Rows::new(op, logits, target, options.weight)?;
    if options.weight.is_none() {
        let fused = CrossEntropy { ignore_index: options.ignore_index, label_smoothing: smoothing };
        let loss = rows.values.cross_entropy(&rows.target, fused)?;
        return rows.reduce(loss, None, options);
    }
    let log = rows.values.cast(rows.values.dtype().accumulator())?.log_softmax(1)?;
    rows.weighted(&log, smoothing, options)
}

/// The mean negative log-likelihood: of log-probabilities `[N, C, ..]`, those of the classes `[N, ..]`
/// (integers).
///
/// # Errors
/// Shapes do not fit, or a class is out of range.
pub fn nll_loss(log_probabilities: &Tensor, target: &Tensor) -> Result<Tensor> {
    nll_loss_with(log_probabilities, target, CrossEntropyOptions::default())
}

/// [`nll_loss`] with options.
///
/// # Errors
/// Shapes do not fit, a class is out of range, or label smoothing is asked for.
pub fn nll_loss_with(
    log_probabilities: &Tensor,
    target: &Tensor,
    options: CrossEntropyOptions<'_>,
) -> Result<Tensor> {
    if options.label_smoothing != 0.0 {
        return Err(Error::argument("nll_loss", "has no label smoothing; cross_entropy has"));
    }
    let rows = Rows::new("nll_loss", log_probabilities, target, options.weight)?;
    rows.weighted(&rows.values, 0.0, options)
}

/// One row of class values per sample.
struct Rows {
    /// `[M, C]`
    values: Tensor,
    /// `[M]`, `i64`
    target: Tensor,
    /// The target's shape, for losses that are not reduced.
    shape: Vec<usize>,
}

impl Rows {
    fn new(op: &'static str, values: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Self> {
        let classes = values.rank().min(2).checked_sub(1);
        let rest: Vec<usize> = (0..values.rank()).filter(|&a| Some(a) != classes).collect();
        let shape: Vec<usize> = rest.iter().map(|&a| values.dims()[a]).collect();
        let (Some(axis), true) = (classes, target.dims() == shape) else {
            return Err(Error::shape(
                op,
                &[values.meta(), target.meta()],
                "expects [N, C, ..] with classes [N, ..], or [C] with one class",
            ));
        };
        if target.dtype() == DType::Bool || !values.dtype().is_float() {
            let rule = "expects floating-point values and integer classes";
            return Err(Error::dtype(op, &[values.meta(), target.meta()], rule));
        }
        let c = values.dims()[axis];
        if let Some(weight) = weight.filter(|w| w.dims() != [c]) {
            let rule = format!("expects one weight for each of {c} classes");
            return Err(Error::shape(op, &[values.meta(), weight.meta()], rule));
        }
        let last: Vec<usize> = rest.into_iter().chain([axis]).collect();
        let m: usize = shape.iter().product();
        Ok(Rows {
            values: values.permute(&last)?.reshape([m, c])?,
            target: target.cast(DType::I64)?.reshape([m])?,
            shape,
        })
    }

    /// The losses of log-probabilities, each multiplied with the weight of its class.
    fn weighted(&self, log: &Tensor, smoothing: f64, options: CrossEntropyOptions<'_>) -> Result<Tensor> {
        let ignored = self.target.eq(options.ignore_index)?;
        // Any valid class does where the loss is ignored.
        let class = self.target.masked_fill(&ignored, 0)?;
        let mut loss = log.gather(1, &class.unsqueeze(1)?)?.squeeze(1)?.neg()?;
        let weight = options.weight.map(|w| w.cast(log.dtype())).transpose()?;
        let mut share = None;
        if let Some(weight) = &weight {
            let of_class = weight.index_select(0, &class)?;
            loss = loss.mul(&of_class)?;
            share = Some(of_class.masked_fill(&ignored, 0.0)?);
        }
        if smoothing > 0.0 {
            let all = match &weight {
                Some(weight) => log.mul(weight)?.sum(1)?,
                None => log.sum(1)?,
            };
            let classes = log.dims()[1] as f64;
            loss = loss.mul(1.0 - smoothing)?.sub(&all.mul(smoothing / classes)?)?;
        }
        self.reduce(loss.masked_fill(&ignored, 0.0)?, share, options)
    }

    /// `share` is how much each sample counts in a mean: 1 if not given, 0 where ignored.
    fn reduce(
        &self,
        loss: Tensor,
        share: Option<Tensor>,
        options: CrossEntropyOptions<'_>,
    ) -> Result<Tensor> {
        if options.reduction != Reduction::Mean {
            return options.reduction.sum(&loss.reshape(self.shape.as_slice())?);
        }
        let share = match share {
            Some(share) => share,
            None => self.target.ne(options.ignore_index)?.cast(loss.dtype())?,
        };
        loss.sum_all()?.div(&share.sum_all()?)
    }
}

fn with_probabilities(logits: &Tensor, target: &Tensor, options: CrossEntropyOptions<'_>) -> Result<Tensor> {
    let op = "cross_entropy";
    same_shape(op, logits, target)?;
    if logits.rank() == 0 {
        return Err(Error::shape(op, &[logits.meta()], "expects logits [N, C, ..] or [C]"));
    }
    let axis = logits.rank().min(2) - 1;
    let classes = logits.dims()[axis];
    let mut log = logits.cast(logits.dtype().accumulator())?.log_softmax(axis)?;
    if let Some(weight) = options.weight {
        let mut dims = vec![1; logits.rank()];
        dims[axis] = classes;
        log = log.mul(&weight.reshape(dims)?)?;
    }
    let smoothing = options.label_smoothing;
    let target = if smoothing > 0.0 {
        target.affine(1.0 - smoothing, smoothing / classes.max(1) as f64)?
    } else {
        target.clone()
    };
    options.reduction.apply(&log.mul(&target)?.sum(axis)?.neg()?)
}
