//! Fully connected layers in integers.

use gradus_nn::{Buffer, Linear, Module, Param, Parameters};
use gradus_tensor_core::{DType, Device, Result, Tensor};

use crate::per_channel::{dequantize, quantize_per_channel};

/// `x @ (qweight * scale)ᵀ + bias`: `[.., in]` to `[.., out]`, multiplied in integers.
///
/// The input has any float dtype, which is the output's; each of its rows is quantized by its own range when it comes
/// ([`Op::LinearDynamic`](gradus_tensor_core::Op::LinearDynamic) says how). A row with a NaN or an infinity gives a row of
/// NaN. Nothing here is trained: everything is a [`Buffer`], saved and loaded with the model. The weight is named
/// `qweight`, so that a checkpoint of floats, which has a `weight`, does not load into it by mistake.
#[derive(Clone, Debug, Parameters)]
pub struct QuantizedLinear {
    /// `i8 [out, in]`
    pub qweight: Buffer,
    /// `f32 [out]`: what the integers of each row are multiples of.
    pub scale: Buffer,
    /// `f32 [out]`
    pub bias: Option<Buffer>,
}

/// Options of a [`QuantizedLinear`] that is to be loaded.
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct QuantizedLinearBuilder {
    inputs: usize,
    outputs: usize,
    bias: bool,
}

impl QuantizedLinear {
    /// A layer of zeros from `inputs` to `outputs` features, with a bias: to load a state dict into.
    pub fn new(inputs: usize, outputs: usize) -> QuantizedLinearBuilder {
        QuantizedLinearBuilder { inputs, outputs, bias: true }
    }

    /// The quantized form of a layer: its weight by [`quantize_per_channel`], its bias in `f32`.
    ///
    /// # Errors
    /// The weight holds a NaN or an infinity, or memory runs out.
    pub fn from_linear(linear: &Linear) -> Result<Self> {
        let weight = quantize_per_channel(linear.weight.tensor(), 0)?;
        let bias =
            linear.bias.as_ref().map(|bias| Buffer::new(bias.tensor().cast(DType::F32)?)).transpose()?;
        Ok(QuantizedLinear {
            qweight: Buffer::new(weight.values().clone())?,
            scale: Buffer::new(weight.scale().clone())?,
            bias,
        })
    }

    /// A layer in floats with the numbers that the integers stand for.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn dequantize(&self) -> Result<Linear> {
        let weight = dequantize(&self.qweight.value(), &self.single(&self.scale)?, 0)?;
        let bias = self.bias.as_ref().map(|bias| Param::new(self.single(bias)?)).transpose()?;
        Ok(Linear { weight: Param::new(weight)?, bias })
    }

    /// `f32` also in a model that was converted to another dtype.
    fn single(&self, buffer: &Buffer) -> Result<Tensor> {
        buffer.value().cast(DType::F32)
    }
}

impl QuantizedLinearBuilder {
    /// Whether there is a bias.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn init(self, device: &Device) -> Result<QuantizedLinear> {
        let vector = || Buffer::new(Tensor::zeros([self.outputs], DType::F32, device)?);
        Ok(QuantizedLinear {
            qweight: Buffer::new(Tensor::zeros([self.outputs, self.inputs], DType::I8, device)?)?,
            scale: vector()?,
            bias: self.bias.then(vector).transpose()?,
        })
    }
}

impl Module for QuantizedLinear {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(|bias| self.single(bias)).transpose()?;
        input.linear_dynamic(&self.qweight.value(), &self.single(&self.scale)?, bias.as_ref())
    }
}
