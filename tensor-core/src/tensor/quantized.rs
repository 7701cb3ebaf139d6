//! Products with weights of 8 bits.

use crate::{Op, Result, Tensor};

impl Tensor {
    /// `self @ (weight * scale)ᵀ + bias` in integers: `[.., in]` with an `i8` weight `[out, in]`, an `f32` scale `[out]`
    /// and an `f32` bias `[out]`. Rows of this tensor are quantized to 8 bits, each by its own range:
    /// [`Op::LinearDynamic`] says exactly how. PyTorch's `quantized.linear_dynamic` uses one range for all rows.
    ///
    /// ```
    /// # use gradus_tensor_core::{Result, Tensor};
    /// # fn main() -> Result<()> {
    /// let device = gradus_backend_cpu::Cpu::device();
    /// let weight = Tensor::from_vec(vec![127i8, -64, 0, 100], [2, 2], &device)?;
    /// let scale = Tensor::from_vec(vec![0.01f32, 0.02], [2], &device)?;
    /// let x = Tensor::from_vec(vec![1.0f32, 0.5], [1, 2], &device)?;
    /// let y = x.linear_dynamic(&weight, &scale, None)?.to_vec::<f32>()?;
    /// assert!((y[0] - 0.95).abs() < 0.01 && (y[1] - 1.0).abs() < 0.01);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Shapes or dtypes do not fit.
    pub fn linear_dynamic(&self, weight: &Tensor, scale: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match bias {
            Some(bias) => Op::LinearDynamic.run1(&[self, weight, scale, bias]),
            None => Op::LinearDynamic.run1(&[self, weight, scale]),
        }
    }
}
