//! Convolutions.

use gradus_tensor_core::{ConvOptions, DType, Device, Error, Result, Tensor};

use super::affine::{value, weight_and_bias};
use super::spatial::{IntoSpatial, three};
use crate::init::Init;
use crate::{Module, Param, Parameters, Stage};

/// Convolution over `D` spatial axes: `[N, in, *size]` to `[N, out, *size']`.
#[derive(Clone, Debug, Parameters)]
pub struct Conv<const D: usize> {
    /// `[out, in / groups, *kernel]`
    pub weight: Param,
    /// `[out]`
    pub bias: Option<Param>,
    /// Stride, padding, dilation and groups.
    pub options: ConvOptions,
}

/// Convolution of sequences `[N, C, L]`.
pub type Conv1d = Conv<1>;
/// Convolution of images `[N, C, H, W]`.
pub type Conv2d = Conv<2>;
/// Convolution of volumes `[N, C, D, H, W]`.
pub type Conv3d = Conv<3>;

/// Options of a [`Conv`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct ConvBuilder<const D: usize> {
    inputs: usize,
    outputs: usize,
    kernel: [usize; D],
    options: ConvOptions,
    bias: bool,
    weight_init: Init,
    dtype: DType,
}

impl<const D: usize> Conv<D> {
    /// A layer from `inputs` to `outputs` channels with stride 1, no padding, dilation 1, one group and a bias.
    /// Weight and bias start uniform in `±1 / sqrt(inputs / groups * prod(kernel))`, as in PyTorch.
    pub fn new(inputs: usize, outputs: usize, kernel: impl IntoSpatial<D>) -> ConvBuilder<D> {
        ConvBuilder {
            inputs,
            outputs,
            kernel: kernel.into_spatial(),
            options: ConvOptions::default(),
            bias: true,
            weight_init: Init::default_weight(),
            dtype: DType::F32,
        }
    }
}

impl<const D: usize> ConvBuilder<D> {
    /// Steps between windows.
    pub fn stride(mut self, stride: impl IntoSpatial<D>) -> Self {
        self.options.0.stride = three(stride.into_spatial(), 1);
        self
    }

    /// Zeros added on both sides.
    pub fn padding(mut self, padding: impl IntoSpatial<D>) -> Self {
        self.options.0.padding = three(padding.into_spatial(), 0);
        self
    }

    /// Distance between the elements of a window.
    pub fn dilation(mut self, dilation: impl IntoSpatial<D>) -> Self {
        self.options.0.dilation = three(dilation.into_spatial(), 1);
        self
    }

    /// The number of groups that channels are split into; as many as channels for a depthwise convolution.
    pub fn groups(mut self, groups: usize) -> Self {
        self.options.0.groups = groups;
        self
    }

    /// Whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// What the weight starts as.
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight_init = init;
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
    /// The groups do not divide both numbers of channels, a kernel size, stride or dilation is 0, the dtype is
    /// not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<Conv<D>> {
        let ConvBuilder { inputs, outputs, kernel, options, .. } = self;
        check_channels("conv", inputs, outputs, options.0.groups)?;
        check_windows("conv", &kernel, &options)?;
        let mut dims = vec![outputs, inputs / options.0.groups];
        dims.extend(kernel);
        let weight = self.weight_init.tensor(dims, self.dtype, device)?;
        let (weight, bias) = weight_and_bias(weight, self.bias, outputs)?;
        Ok(Conv { weight, bias, options })
    }
}

impl<const D: usize> Module for Conv<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let bias = value(&self.bias)?;
        input.conv(self.weight.value()?, bias, self.options)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Conv { weight: &self.weight, bias: self.bias.as_ref(), options: self.options }
    }
}

pub(super) fn check_channels(op: &'static str, inputs: usize, outputs: usize, groups: usize) -> Result<()> {
    if groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups) {
        return Ok(());
    }
    Err(Error::argument(
        op,
        format!("groups = {groups} must divide both {inputs} input and {outputs} output channels"),
    ))
}

pub(super) fn check_windows(op: &'static str, kernel: &[usize], options: &ConvOptions) -> Result<()> {
    let (stride, dilation) = (&options.0.stride, &options.0.dilation);
    if kernel.iter().chain(stride).chain(dilation).all(|&n| n > 0) {
        return Ok(());
    }
    Err(Error::argument(
        op,
        format!("kernel {kernel:?}, stride {stride:?} and dilation {dilation:?} must not have a 0"),
    ))
}
