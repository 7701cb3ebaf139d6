//! Transposed convolutions.

use gradus_tensor_core::{ConvOptions, DType, Device, Result, Tensor};

use super::affine::{value, weight_and_bias};
use super::conv::{check_channels, check_windows};
use super::spatial::{IntoSpatial, three};
use crate::init::Init;
use crate::{Module, Param, Parameters};

/// Transposed convolution over `D` spatial axes: `[N, in, *size]` to `[N, out, *size']`, which undoes the
/// change of size of a [`super::Conv`] with the same options.
#[derive(Clone, Debug, Parameters)]
pub struct ConvTranspose<const D: usize> {
    /// `[in, out / groups, *kernel]`
    pub weight: Param,
    /// `[out]`
    pub bias: Option<Param>,
    /// Stride, padding, dilation and groups.
    pub options: ConvOptions,
    /// Added to the far side of the output.
    pub output_padding: [usize; D],
}

/// Transposed convolution of sequences `[N, C, L]`.
pub type ConvTranspose1d = ConvTranspose<1>;
/// Transposed convolution of images `[N, C, H, W]`.
pub type ConvTranspose2d = ConvTranspose<2>;
/// Transposed convolution of volumes `[N, C, D, H, W]`.
pub type ConvTranspose3d = ConvTranspose<3>;

/// Options of a [`ConvTranspose`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct ConvTransposeBuilder<const D: usize> {
    inputs: usize,
    outputs: usize,
    kernel: [usize; D],
    options: ConvOptions,
    output_padding: [usize; D],
    bias: bool,
    dtype: DType,
}

impl<const D: usize> ConvTranspose<D> {
    /// A layer from `inputs` to `outputs` channels with stride 1, no padding, dilation 1, one group and a bias.
    /// Weight and bias start uniform in `±1 / sqrt(outputs / groups * prod(kernel))`, as in PyTorch.
    pub fn new(inputs: usize, outputs: usize, kernel: impl IntoSpatial<D>) -> ConvTransposeBuilder<D> {
        ConvTransposeBuilder {
            inputs,
            outputs,
            kernel: kernel.into_spatial(),
            options: ConvOptions::default(),
            output_padding: [0; D],
            bias: true,
            dtype: DType::F32,
        }
    }
}

impl<const D: usize> ConvTransposeBuilder<D> {
    /// Steps between windows of the output.
    pub fn stride(mut self, stride: impl IntoSpatial<D>) -> Self {
        self.options.0.stride = three(stride.into_spatial(), 1);
        self
    }

    /// Rows cut from both sides of the output.
    pub fn padding(mut self, padding: impl IntoSpatial<D>) -> Self {
        self.options.0.padding = three(padding.into_spatial(), 0);
        self
    }

    /// Rows added to the far side of the output; less than stride or dilation.
    pub fn output_padding(mut self, padding: impl IntoSpatial<D>) -> Self {
        self.output_padding = padding.into_spatial();
        self
    }

    /// Distance between the elements of a window.
    pub fn dilation(mut self, dilation: impl IntoSpatial<D>) -> Self {
        self.options.0.dilation = three(dilation.into_spatial(), 1);
        self
    }

    /// The number of groups that channels are split into.
    pub fn groups(mut self, groups: usize) -> Self {
        self.options.0.groups = groups;
        self
    }

    /// Whether there is a bias.
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
    /// As for [`super::Conv`].
    pub fn init(self, device: &Device) -> Result<ConvTranspose<D>> {
        let ConvTransposeBuilder { inputs, outputs, kernel, options, output_padding, .. } = self;
        check_channels("conv_transpose", inputs, outputs, options.0.groups)?;
        check_windows("conv_transpose", &kernel, &options)?;
        let mut dims = vec![inputs, outputs / options.0.groups];
        dims.extend(kernel);
        let weight = Init::default_weight().tensor(dims, self.dtype, device)?;
        let (weight, bias) = weight_and_bias(weight, self.bias, outputs)?;
        Ok(ConvTranspose { weight, bias, options, output_padding })
    }
}

impl<const D: usize> Module for ConvTranspose<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let bias = value(&self.bias)?;
        input.conv_transpose(self.weight.value()?, bias, self.options, &self.output_padding)
    }
}
