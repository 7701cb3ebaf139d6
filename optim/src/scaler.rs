//! Loss scaling: gradients of `f16` ops that do not vanish.
//!
//! Below about 6e-8 an `f16` is 0, and gradients often are smaller. So the loss is multiplied by a large number, the
//! gradients come out larger by it, and are divided again in `f32`. If the number was too large, some gradient is
//! infinite: that step is skipped and the number halved. If all went well for long, it is doubled (Micikevicius et
//! al., arXiv:1710.03740). The numbers are those of PyTorch's `GradScaler`.
//!
//! The order *unscale, clip, step* is in the types: a backward pass from a [`Scaled`] loss gives [`ScaledGradients`],
//! which nothing accepts but [`GradScaler::unscale`], and only [`Unscaled`] gradients can be clipped and
//! [stepped](GradScaler::step) with. `bf16` has the range of `f32` and needs none of this.

use std::collections::BTreeMap;

use gradus_autograd::{Backward, Gradients};
use gradus_nn::Parameters;
use gradus_tensor_core::{DType, Error, Result, Tensor};

use crate::state::count;
use crate::{ClipOptions, Optimizer, StepReport, clip_grad_norm_with, clip_grad_value, grad_norm};

/// Scales losses, and adapts the scale.
///
/// ```
/// use gradus_nn::{Linear, Module, loss};
/// use gradus_optim::{GradScaler, MixedPrecision, Sgd};
/// use gradus_tensor_core::{DType, Result, Tensor};
/// # fn main() -> Result<()> {
/// # let device = gradus_backend_cpu::Cpu::device();
/// let mut model = Linear::new(4, 2).init(&device)?;
/// let mut optimizer = Sgd::new(0.1);
/// let mut scaler = GradScaler::new();
/// # let (x, y) = (Tensor::ones([3, 4], DType::F32, &device)?, Tensor::zeros([3, 2], DType::F32, &device)?);
///
/// let loss = loss::mse_loss(&model.forward(&x.autocast(DType::F16)?)?, &y)?;
/// let gradients = scaler.scale(&loss)?.backward()?;
/// let mut gradients = scaler.unscale(gradients)?;
/// gradients.clip_grad_norm(1.0)?;
/// match scaler.step(&mut optimizer, &mut model, gradients)? {
///     Some(report) => assert_eq!(report.updated, 2),
///     None => println!("skipped: the scale is now {}", scaler.scale_factor()),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct GradScaler {
    scale: f64,
    growth_factor: f64,
    backoff_factor: f64,
    growth_interval: u64,
    /// Steps since the scale last changed.
    growth_tracker: u64,
    skipped: u64,
    skipped_in_a_row: u64,
}

impl Default for GradScaler {
    fn default() -> Self {
        Self::new()
    }
}

impl GradScaler {
    /// PyTorch's: starts at 65,536, doubles after 2,000 steps without an infinity, halves at each.
    pub fn new() -> Self {
        GradScaler {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            growth_tracker: 0,
            skipped: 0,
            skipped_in_a_row: 0,
        }
    }

    /// The scale to start with.
    #[must_use]
    pub fn init_scale(mut self, scale: f64) -> Self {
        self.scale = scale;
        self
    }

    /// What the scale is multiplied with after [`growth_interval`](Self::growth_interval) steps; above 1.
    #[must_use]
    pub fn growth_factor(mut self, factor: f64) -> Self {
        self.growth_factor = factor;
        self
    }

    /// What the scale is multiplied with when a gradient is not finite; below 1.
    #[must_use]
    pub fn backoff_factor(mut self, factor: f64) -> Self {
        self.backoff_factor = factor;
        self
    }

    /// The number of steps in a row with finite gradients after which the scale grows.
    #[must_use]
    pub fn growth_interval(mut self, steps: u64) -> Self {
        self.growth_interval = steps;
        self
    }

    /// What losses are multiplied with at the moment.
    pub fn scale_factor(&self) -> f64 {
        self.scale
    }

    /// How many steps were skipped because a gradient was not finite.
    pub fn skipped_steps(&self) -> u64 {
        self.skipped
    }

    /// How many of the last steps were skipped, up to the newest that was not. A few at the beginning are usual. If
    /// it does not stop, it is not the scale: the model makes infinities or NaNs of its own.
    pub fn skipped_in_a_row(&self) -> u64 {
        self.skipped_in_a_row
    }

    /// The loss, scaled in `f32`.
    ///
    /// # Errors
    /// An option is out of its domain, or the device fails.
    pub fn scale(&self, loss: &Tensor) -> Result<Scaled> {
        self.check()?;
        let loss = loss.cast(loss.dtype().accumulator())?.mul(self.scale)?;
        Ok(Scaled { loss, scale: self.scale })
    }

    fn check(&self) -> Result<()> {
        let fits = |what: &str, value: f64, fits: bool| match fits && value.is_finite() {
            true => Ok(()),
            false => Err(Error::argument("grad_scaler", format!("the {what} {value} is out of its domain"))),
        };
        fits("scale", self.scale, self.scale > 0.0)?;
        fits("growth factor", self.growth_factor, self.growth_factor > 1.0)?;
        fits("backoff factor", self.backoff_factor, self.backoff_factor > 0.0 && self.backoff_factor < 1.0)?;
        fits("growth interval", self.growth_interval as f64, self.growth_interval > 0)
    }

    /// The gradients of the loss itself, in `f32`.
    ///
    /// # Errors
    /// A gradient is `f16`: parameters must be kept in `f32`, or their gradients are lost before they get here. Or
    /// the device fails.
    pub fn unscale(&self, gradients: ScaledGradients) -> Result<Unscaled> {
        let ScaledGradients { mut gradients, scale } = gradients;
        if let Some((_, half)) = gradients.iter().find(|(_, gradient)| gradient.dtype() == DType::F16) {
            return Err(Error::dtype(
                "unscale",
                &[half.meta()],
                "gradients of f16 parameters cannot be unscaled; keep parameters in f32 and use autocast",
            ));
        }
        gradients.scale(1.0 / scale)?;
        // The largest of all is infinite if any is, and NaN if any is.
        let finite = grad_norm(&gradients, f64::INFINITY)?.is_finite();
        Ok(Unscaled { gradients, finite })
    }

    /// Takes an optimizer's step if all gradients are finite, skips it (`None`) otherwise, and adapts the scale.
    /// With several optimizers, give each a scaler of its own.
    ///
    /// # Errors
    /// What the optimizer returns; then the scale stays as it is.
    pub fn step(
        &mut self,
        optimizer: &mut dyn Optimizer,
        model: &mut dyn Parameters,
        gradients: Unscaled,
    ) -> Result<Option<StepReport>> {
        if !gradients.finite {
            self.scale *= self.backoff_factor;
            self.growth_tracker = 0;
            self.skipped += 1;
            self.skipped_in_a_row += 1;
            return Ok(None);
        }
        let report = optimizer.step(model, &gradients.gradients)?;
        self.skipped_in_a_row = 0;
        self.growth_tracker += 1;
        if self.growth_tracker >= self.growth_interval {
            self.growth_tracker = 0;
            // The scale is used in f32 and must be one.
            let grown = self.scale * self.growth_factor;
            if (grown as f32).is_finite() {
                self.scale = grown;
            }
        }
        Ok(Some(report))
    }

    /// Everything that the next step depends on, under PyTorch's names, and the counts of skipped steps. All are
    /// exact in a double.
    pub fn state_dict(&self) -> BTreeMap<String, f64> {
        let numbers = [
            ("scale", self.scale),
            ("growth_factor", self.growth_factor),
            ("backoff_factor", self.backoff_factor),
            ("growth_interval", self.growth_interval as f64),
            ("_growth_tracker", self.growth_tracker as f64),
            ("skipped", self.skipped as f64),
            ("skipped_in_a_row", self.skipped_in_a_row as f64),
        ];
        numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect()
    }

    /// Goes on where a saved state was. PyTorch's has no counts of skipped steps: they start at 0.
    ///
    /// # Errors
    /// A number is missing or out of its domain; then nothing was changed.
    pub fn load_state_dict(&mut self, state: &BTreeMap<String, f64>) -> Result<()> {
        let find = |name: &str| {
            let lost = || Error::argument("load_state_dict", format!("the scaler's state has no `{name}`"));
            state.get(name).copied().ok_or_else(lost)
        };
        let optional = |name: &str| count(name, state.get(name).copied().unwrap_or(0.0));
        let loaded = GradScaler {
            scale: find("scale")?,
            growth_factor: find("growth_factor")?,
            backoff_factor: find("backoff_factor")?,
            growth_interval: count("growth_interval", find("growth_interval")?)?,
            growth_tracker: count("_growth_tracker", find("_growth_tracker")?)?,
            skipped: optional("skipped")?,
            skipped_in_a_row: optional("skipped_in_a_row")?,
        };
        loaded.check()?;
        *self = loaded;
        Ok(())
    }
}

/// A loss that was scaled.
#[derive(Clone, Debug)]
#[must_use = "call `backward`"]
pub struct Scaled {
    loss: Tensor,
    scale: f64,
}

impl Scaled {
    /// The gradients of the scaled loss.
    ///
    /// # Errors
    /// As [`gradus_autograd::Autograd::backward`].
    pub fn backward(&self) -> Result<ScaledGradients> {
        self.backward_with(Backward::new())
    }

    /// [`Scaled::backward`] with options. A gradient that is given there is the scaled loss's.
    ///
    /// # Errors
    /// As [`Backward::run`].
    pub fn backward_with(&self, backward: Backward<'_>) -> Result<ScaledGradients> {
        Ok(ScaledGradients { gradients: backward.run(&self.loss)?, scale: self.scale })
    }

    /// The scaled loss.
    pub fn loss(&self) -> &Tensor {
        &self.loss
    }
}

/// Gradients of a scaled loss: too large by the scale, perhaps infinite.
#[derive(Clone, Debug)]
#[must_use = "give them to `GradScaler::unscale`"]
pub struct ScaledGradients {
    gradients: Gradients,
    scale: f64,
}

impl ScaledGradients {
    /// Adds other gradients to these: accumulation over micro-batches. The scale changes in
    /// [`GradScaler::step`] only, so all micro-batches of a step have one.
    ///
    /// # Errors
    /// They were scaled differently, their shapes differ, or the device fails.
    pub fn accumulate(&mut self, other: ScaledGradients) -> Result<()> {
        if self.scale != other.scale {
            let message = format!("gradients scaled by {} and {} cannot be added", self.scale, other.scale);
            return Err(Error::argument("grad_scaler", message));
        }
        self.gradients.accumulate(other.gradients)
    }

    /// Multiplies every gradient with a number: for a mean over micro-batches.
    ///
    /// # Errors
    /// The device fails.
    pub fn multiply(&mut self, factor: f64) -> Result<()> {
        self.gradients.scale(factor)
    }
}

/// Gradients of the loss itself. They can be looked at and clipped; [`GradScaler::step`] takes them.
#[derive(Clone, Debug)]
#[must_use = "give them to `GradScaler::step`"]
pub struct Unscaled {
    gradients: Gradients,
    finite: bool,
}

impl Unscaled {
    /// Whether every gradient is finite: whether the step will be taken.
    pub fn is_finite(&self) -> bool {
        self.finite
    }

    /// The gradients, to look at.
    pub fn gradients(&self) -> &Gradients {
        &self.gradients
    }

    /// The norm of all gradients taken together: see [`grad_norm`].
    ///
    /// # Errors
    /// The norm's type is not positive, or the device fails.
    pub fn grad_norm(&self, norm_type: f64) -> Result<f64> {
        grad_norm(&self.gradients, norm_type)
    }

    /// [`clip_grad_norm`](crate::clip_grad_norm) for these. Returns the norm before.
    ///
    /// # Errors
    /// `max_norm` is negative, or the device fails.
    pub fn clip_grad_norm(&mut self, max_norm: f64) -> Result<f64> {
        clip_grad_norm_with(&mut self.gradients, max_norm, ClipOptions::default())
    }

    /// [`clip_grad_value`] for these.
    ///
    /// # Errors
    /// `limit` is negative, or the device fails.
    pub fn clip_grad_value(&mut self, limit: f64) -> Result<()> {
        clip_grad_value(&mut self.gradients, limit)
    }
}
