//! From a batch to a loss: the part of a training step that differs from model to model.

use gradus_autograd::Autograd;
use gradus_data::Batch;
use gradus_nn::Module;
use gradus_tensor_core::{Device, Result, Tensor};

use crate::metrics::Average;

/// What a model makes of one batch.
#[derive(Clone, Debug)]
pub struct StepOutput {
    /// The mean loss over the batch's samples: a tensor of one element, tracked in training.
    pub loss: Tensor,
    /// The number of samples that the loss is the mean over, at least 1: its weight among other batches.
    pub samples: usize,
    /// Predictions and targets, for the metrics that the trainer was given.
    pub outputs: Option<(Tensor, Tensor)>,
    /// Further values to average over the epoch, by name.
    pub values: Vec<(String, Average)>,
}

impl StepOutput {
    /// A mean loss over that many samples.
    pub fn new(loss: Tensor, samples: usize) -> Self {
        Self { loss, samples, outputs: None, values: Vec::new() }
    }

    /// With predictions and targets, for the metrics that the trainer was given.
    #[must_use]
    pub fn outputs(mut self, predictions: Tensor, targets: Tensor) -> Self {
        self.outputs = Some((predictions, targets));
        self
    }

    /// With a further value to average over the epoch, such as a part of the loss.
    #[must_use]
    pub fn value(mut self, name: impl Into<String>, average: Average) -> Self {
        self.values.push((name.into(), average));
        self
    }
}

/// From model, batch and device to a loss.
pub(super) type Step<M, B> = Box<dyn Fn(&M, &B, &Device) -> Result<StepOutput>>;

/// From predictions and targets to the average of a metric over one batch.
pub(super) type Metric = Box<dyn Fn(&Tensor, &Tensor) -> Result<Average>>;

/// The step of models from one tensor to one tensor: inputs in, predictions compared with targets.
pub(super) fn supervised<M: Module>(
    loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor> + 'static,
) -> Step<M, Batch> {
    Box::new(move |model, batch, device| {
        let (inputs, targets) = batch.to(device)?;
        let samples = inputs.dims().first().copied().unwrap_or(1);
        let predictions = model.forward(&inputs)?;
        let loss = loss(&predictions, &targets)?;
        Ok(StepOutput::new(loss, samples).outputs(predictions, targets))
    })
}

/// The share of samples whose largest logit is that of their class: logits `[N, C, ..]`, classes `[N, ..]`
/// (integers) or a distribution over classes of the logits' shape.
///
/// ```
/// use gradus_train::trainer::accuracy;
/// # use gradus_tensor_core::Tensor;
/// # let device = gradus_backend_cpu::Cpu::device();
/// let logits = Tensor::from_vec(vec![0.1f32, 0.9, 0.8, 0.2, 0.7, 0.3], [3, 2], &device)?;
/// let classes = Tensor::from_vec(vec![1i64, 0, 1], 3, &device)?;
/// assert_eq!(accuracy(&logits, &classes)?.value(), Some(2.0 / 3.0));
/// # Ok::<(), gradus_tensor_core::Error>(())
/// ```
///
/// # Errors
/// The shapes do not fit.
pub fn accuracy(logits: &Tensor, targets: &Tensor) -> Result<Average> {
    let classes = |scores: &Tensor| scores.detach()?.argmax(scores.rank().min(2).saturating_sub(1));
    let predicted = classes(logits)?;
    let targets = if targets.dtype().is_float() { classes(targets)? } else { targets.detach()? };
    if predicted.shape() != targets.shape() {
        let rule = "expects logits [N, C, ..] with classes [N, ..]";
        return Err(gradus_tensor_core::Error::shape("accuracy", &[logits.meta(), targets.meta()], rule));
    }
    let (predicted, targets) = (predicted.to_vec::<i64>()?, targets.to_vec::<i64>()?);
    let correct = predicted.iter().zip(&targets).filter(|(p, t)| p == t).count();
    Ok(Average::of(correct as f64, targets.len()))
}
