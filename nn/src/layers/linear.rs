//! Fully connected layers.

use gradus_tensor_core::{DType, Device, Result, Tensor};

use super::affine::{value, weight_and_bias};
use crate::init::Init;
use crate::{Module, Param, Parameters, Stage};

/// `x @ weightᵀ + bias`: `[.., in]` to `[.., out]`.
#[derive(Clone, Debug, Parameters)]
pub struct Linear {
    /// `[out, in]`
    pub weight: Param,
    /// `[out]`
    pub bias: Option<Param>,
}

/// Options of a [`Linear`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct LinearBuilder {
    inputs: usize,
    outputs: usize,
    bias: bool,
    weight_init: Init,
    dtype: DType,
}

impl Linear {
    /// A layer from `inputs` to `outputs` features, with a bias. Weight and bias start uniform in
    /// `±1 / sqrt(inputs)`, as in PyTorch.
    pub fn new(inputs: usize, outputs: usize) -> LinearBuilder {
        LinearBuilder { inputs, outputs, bias: true, weight_init: Init::default_weight(), dtype: DType::F32 }
    }
}

impl LinearBuilder {
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
    /// The dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<Linear> {
        let weight = self.weight_init.tensor([self.outputs, self.inputs], self.dtype, device)?;
        let (weight, bias) = weight_and_bias(weight, self.bias, self.outputs)?;
        Ok(Linear { weight, bias })
    }
}

impl Module for Linear {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let bias = value(&self.bias)?;
        input.linear(self.weight.value()?, bias)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Linear { weight: &self.weight, bias: self.bias.as_ref() }
    }
}
