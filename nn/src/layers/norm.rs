//! Layer, root-mean-square and group normalization.

use gradus_tensor_core::{DType, Device, Error, IntoShape, Result, Shape, Tensor};

use super::affine::{scale_and_shift, value};
use crate::{Module, Param, Parameters};

/// Layer normalization over the last axes (Ba et al., arXiv:1607.06450).
#[derive(Clone, Debug, Parameters)]
pub struct LayerNorm {
    /// Of the shape of the axes that are normalized.
    pub weight: Option<Param>,
    /// Of the shape of the axes that are normalized.
    pub bias: Option<Param>,
    /// The sizes of the axes that are normalized.
    pub shape: Shape,
    /// Added to the variance.
    pub eps: f64,
}

/// Options of a [`LayerNorm`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct LayerNormBuilder<S> {
    shape: S,
    eps: f64,
    affine: bool,
    bias: bool,
    dtype: DType,
}

impl LayerNorm {
    /// A layer over last axes of these sizes, with `eps` 1e-5, weight 1 and bias 0.
    pub fn new<S: IntoShape>(shape: S) -> LayerNormBuilder<S> {
        LayerNormBuilder { shape, eps: 1e-5, affine: true, bias: true, dtype: DType::F32 }
    }
}

impl<S: IntoShape> LayerNormBuilder<S> {
    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
        self
    }

    /// Whether there is a bias beside the weight.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
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
    /// There is no axis to normalize, the dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<LayerNorm> {
        let shape = normalized("layer_norm", self.shape)?;
        let which = (self.affine, self.affine && self.bias);
        let (weight, bias) = scale_and_shift(shape, which, self.dtype, device)?;
        Ok(LayerNorm { weight, bias, shape, eps: self.eps })
    }
}

impl Module for LayerNorm {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_last("layer_norm", input, &self.shape)?;
        let weight = value(&self.weight)?;
        let bias = value(&self.bias)?;
        input.layer_norm(self.shape.rank(), weight, bias, self.eps)
    }
}

/// Root-mean-square normalization over the last axes (Zhang and Sennrich, arXiv:1910.07467).
#[derive(Clone, Debug, Parameters)]
pub struct RmsNorm {
    /// Of the shape of the axes that are normalized.
    pub weight: Option<Param>,
    /// The sizes of the axes that are normalized.
    pub shape: Shape,
    /// Added to the mean square; the dtype's machine epsilon if `None`.
    pub eps: Option<f64>,
}

/// Options of an [`RmsNorm`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct RmsNormBuilder<S> {
    shape: S,
    eps: Option<f64>,
    affine: bool,
    dtype: DType,
}

impl RmsNorm {
    /// A layer over last axes of these sizes, with the dtype's machine epsilon and weight 1.
    pub fn new<S: IntoShape>(shape: S) -> RmsNormBuilder<S> {
        RmsNormBuilder { shape, eps: None, affine: true, dtype: DType::F32 }
    }
}

impl<S: IntoShape> RmsNormBuilder<S> {
    /// What is added to the mean square; `None` for the dtype's machine epsilon.
    pub fn eps(mut self, eps: impl Into<Option<f64>>) -> Self {
        self.eps = eps.into();
        self
    }

    /// Whether there is a weight.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
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
    /// There is no axis to normalize, the dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<RmsNorm> {
        let shape = normalized("rms_norm", self.shape)?;
        let (weight, _) = scale_and_shift(shape, (self.affine, false), self.dtype, device)?;
        Ok(RmsNorm { weight, shape, eps: self.eps })
    }
}

impl Module for RmsNorm {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_last("rms_norm", input, &self.shape)?;
        let weight = value(&self.weight)?;
        let eps = self.eps.unwrap_or_else(|| machine_epsilon(input.dtype()));
        input.rms_norm(self.shape.rank(), weight, eps)
    }
}

/// Group normalization of `[N, C, ..]` (Wu and He, arXiv:1803.08494).
#[derive(Clone, Debug, Parameters)]
pub struct GroupNorm {
    /// `[C]`
    pub weight: Option<Param>,
    /// `[C]`
    pub bias: Option<Param>,
    /// How many groups the channels are split into.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
    channels: usize,
}

/// Options of a [`GroupNorm`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct GroupNormBuilder {
    groups: usize,
    channels: usize,
    eps: f64,
    affine: bool,
    dtype: DType,
}

impl GroupNorm {
    /// A layer that splits that many channels into groups, with `eps` 1e-5, weight 1 and bias 0.
    pub fn new(groups: usize, channels: usize) -> GroupNormBuilder {
        GroupNormBuilder { groups, channels, eps: 1e-5, affine: true, dtype: DType::F32 }
    }
}

impl GroupNormBuilder {
    /// What is added to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Whether there are weight and bias.
    pub fn affine(mut self, affine: bool) -> Self {
        self.affine = affine;
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
    /// The groups do not divide the channels, the dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<GroupNorm> {
        let GroupNormBuilder { groups, channels, eps, affine, dtype } = self;
        if groups == 0 || !channels.is_multiple_of(groups) {
            let message = format!("{groups} groups do not divide {channels} channels");
            return Err(Error::argument("group_norm", message));
        }
        let (weight, bias) = scale_and_shift(channels, (affine, affine), dtype, device)?;
        Ok(GroupNorm { weight, bias, groups, eps, channels })
    }
}

impl Module for GroupNorm {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if input.dims().get(1) != Some(&self.channels) {
            let rule = format!("expects [N, C, ..] with {} channels on axis 1", self.channels);
            return Err(Error::shape("group_norm", &[input.meta()], rule));
        }
        let weight = value(&self.weight)?;
        let bias = value(&self.bias)?;
        input.group_norm(self.groups, weight, bias, self.eps)
    }
}

fn normalized(op: &'static str, shape: impl IntoShape) -> Result<Shape> {
    let shape = shape.into_shape()?;
    if shape.rank() == 0 {
        return Err(Error::argument(op, "expects the sizes of at least one axis to normalize over"));
    }
    Ok(shape)
}

fn check_last(op: &'static str, input: &Tensor, shape: &Shape) -> Result<()> {
    if input.dims().ends_with(shape) {
        return Ok(());
    }
    Err(Error::shape(op, &[input.meta()], format!("the last axes must have the sizes {shape}")))
}

/// The distance from 1 to the next larger number.
fn machine_epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-10),
        DType::BF16 => 2f64.powi(-7),
        DType::F32 => f32::EPSILON as f64,
        _ => f64::EPSILON,
    }
}
