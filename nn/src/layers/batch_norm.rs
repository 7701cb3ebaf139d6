//! Batch normalization.

use gradus_tensor_core::op::BatchNormBlock;
use gradus_tensor_core::{DType, Device, Error, Op, Result, Tensor, UnaryOp};

use super::affine::{scale_and_shift, value};
use crate::init::Init;
use crate::{BatchNormed, Buffer, Mode, Module, Param, Parameters, Stage};
use gradus_autograd::Autograd;

/// Batch normalization of `[N, C, ..]` (Ioffe and Szegedy, arXiv:1502.03167). In training it normalizes by the
/// batch's statistics and keeps running ones; in evaluation it uses the running ones, if it has any.
#[derive(Clone, Debug, Parameters)]
pub struct BatchNorm<const D: usize> {
    /// `[C]`
    pub weight: Option<Param>,
    /// `[C]`
    pub bias: Option<Param>,
    /// `[C]`
    pub running_mean: Option<Buffer>,
    /// `[C]`, of the unbiased variances.
    pub running_var: Option<Buffer>,
    /// How many batches the running statistics have seen.
    pub num_batches_tracked: Option<Buffer>,
    /// Added to the variance.
    pub eps: f64,
    /// The share of a new batch in the running statistics; `None` for the mean over all batches.
    pub momentum: Option<f64>,
    /// Training or evaluation.
    pub mode: Mode,
    features: usize,
}

/// Batch normalization of `[N, C]` or `[N, C, L]`.
pub type BatchNorm1d = BatchNorm<1>;
/// Batch normalization of images `[N, C, H, W]`.
pub type BatchNorm2d = BatchNorm<2>;
/// Batch normalization of volumes `[N, C, D, H, W]`.
pub type BatchNorm3d = BatchNorm<3>;

/// Options of a [`BatchNorm`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct BatchNormBuilder<const D: usize> {
    features: usize,
    eps: f64,
    momentum: Option<f64>,
    affine: bool,
    track: bool,
    dtype: DType,
}

impl<const D: usize> BatchNorm<D> {
    /// A layer for that many channels, with `eps` 1e-5, `momentum` 0.1, weight 1 and bias 0.
    pub fn new(features: usize) -> BatchNormBuilder<D> {
        BatchNormBuilder {
            features,
            eps: 1e-5,
            momentum: Some(0.1),
            affine: true,
            track: true,
            dtype: DType::F32,
        }
    }

    fn check(&self, input: &Tensor) -> Result<()> {
        let rank = input.rank();
        let fits = rank == D + 2 || (D == 1 && rank == 2);
        if fits && input.dims()[1] == self.features {
            return Ok(());
        }
        let expected = if D == 1 { "[N, C] or [N, C, L]".into() } else { format!("rank {}", D + 2) };
        Err(Error::shape(
            "batch_norm",
            &[input.meta()],
            format!("expects {expected} with {} channels on axis 1", self.features),
        ))
    }

    /// What an op gives that normalizes by the batch's statistics and returns them as well, which are kept.
    fn by_batch(&self, input: &Tensor, op: impl FnOnce() -> Result<[Tensor; 3]>) -> Result<Tensor> {
        let n = input.numel() / self.features.max(1);
        if n < 2 {
            return Err(Error::shape(
                "batch_norm",
                &[input.meta()],
                format!("statistics need at least 2 values per channel, found {n}; use a larger batch"),
            ));
        }
        let [y, mean, variance] = op()?;
        if self.mode.is_training() {
            self.track(&mean, &variance, n)?;
        }
        Ok(y)
    }

    /// Takes a batch's mean and biased variance over `n` elements a channel into the running statistics.
    fn track(&self, mean: &Tensor, variance: &Tensor, n: usize) -> Result<()> {
        let (Some(running_mean), Some(running_var)) = (&self.running_mean, &self.running_var) else {
            return Ok(());
        };
        let seen = match &self.num_batches_tracked {
            Some(count) => {
                count.update(|count| count.add_assign(1))?;
                // Only the mean over all batches needs the number itself.
                if self.momentum.is_none() { count.value().item::<i64>()? } else { 1 }
            }
            None => 1,
        };
        let share = self.momentum.unwrap_or(1.0 / seen.max(1) as f64);
        let unbiased = variance.detach()?.mul(n as f64 / (n - 1) as f64)?;
        for (running, batch) in [(running_mean, mean.detach()?), (running_var, unbiased)] {
            running.update(|running| {
                running.mul_assign(1.0 - share)?;
                running.add_assign(&batch.mul(share)?)
            })?;
        }
        Ok(())
    }
}

impl<const D: usize> BatchNormBuilder<D> {
    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The share of a new batch in the running statistics; `None` for the mean over all batches.
    pub fn momentum(mut self, momentum: impl Into<Option<f64>>) -> Self {
        self.momentum = momentum.into();
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether there are running statistics; without, evaluation uses the batch's as well.
    pub fn track_running_stats(mut self, track: bool) -> Self {
        self.track = track;
        self
    }

    /// The parameters' dtype, `f32` unless given.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// The dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<BatchNorm<D>> {
        let make = |init: Init| init.tensor(self.features, self.dtype, device);
        let which = (self.affine, self.affine);
        let (weight, bias) = scale_and_shift(self.features, which, self.dtype, device)?;
        let buffer = |init: Init| self.track.then(|| Buffer::new(make(init)?)).transpose();
        let count = || Buffer::new(Tensor::zeros((), DType::I64, device)?);
        Ok(BatchNorm {
            weight,
            bias,
            running_mean: buffer(Init::ZEROS)?,
            running_var: buffer(Init::ONES)?,
            num_batches_tracked: self.track.then(count).transpose()?,
            eps: self.eps,
            momentum: self.momentum,
            mode: Mode::default(),
            features: self.features,
        })
    }
}

impl<const D: usize> Module for BatchNorm<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.check(input)?;
        let weight = value(&self.weight)?;
        let bias = value(&self.bias)?;
        if let (false, Some(mean), Some(variance)) =
            (self.mode.is_training(), &self.running_mean, &self.running_var)
        {
            return input.batch_norm_eval(&mean.value(), &variance.value(), weight, bias, self.eps);
        }
        self.by_batch(input, || input.batch_norm_train(weight, bias, self.eps).map(<[Tensor; 3]>::from))
    }

    fn stage(&self) -> Stage<'_> {
        let (Some(weight), Some(bias)) = (&self.weight, &self.bias) else { return Stage::Other };
        match (&self.running_mean, &self.running_var) {
            (Some(mean), Some(variance)) if !self.mode.is_training() => {
                let (statistics, affine) = ([mean, variance], [weight, bias]);
                Stage::BatchNorm { statistics, affine, eps: self.eps, spatial: D }
            }
            _ => Stage::BatchNormTrain(self),
        }
    }
}

impl<const D: usize> BatchNormed for BatchNorm<D> {
    fn forward_block(
        &self,
        input: &Tensor,
        residual: Option<&Tensor>,
        activation: Option<UnaryOp>,
    ) -> Result<Tensor> {
        self.check(input)?;
        let (Some(weight), Some(bias)) = (value(&self.weight)?, value(&self.bias)?) else {
            return Err(Error::argument("batch_norm_block", "the layer has no weight and bias"));
        };
        let op =
            Op::BatchNormBlock(BatchNormBlock { eps: self.eps, residual: residual.is_some(), activation });
        let mut operands = vec![input, weight, bias];
        operands.extend(residual);
        self.by_batch(input, || {
            <[Tensor; 3]>::try_from(op.run(&operands)?.into_vec())
                .map_err(|_| Error::argument("batch_norm_block", "the op has not three outputs"))
        })
    }
}
