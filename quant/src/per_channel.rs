//! Numbers as multiples of one number per channel.

use gradus_autograd::Autograd;
use gradus_tensor_core::{Axis, AxisSet, DType, Error, Result, Shape, Tensor};

/// Half the distance between the least and the largest `i8`: what the largest weight of a channel is mapped to.
const HALF_RANGE: f64 = 127.5;

/// A tensor of `i8` whose element, times the scale of its channel, is about what was quantized.
#[derive(Clone, Debug)]
pub struct Quantized {
    values: Tensor,
    scale: Tensor,
    axis: usize,
}

/// Quantizes a tensor to `i8`, symmetrically, with a scale for each index of an axis.
///
/// As PyTorch's observer for it (`PerChannelMinMaxObserver` with `qint8` and `per_channel_symmetric`): the scale of a
/// channel is its largest absolute value divided by 127.5, and an element becomes the nearest multiple of it, ties to
/// even, in `-128..=127`. So an element is off by at most half of its scale. A channel of zeros stays zero. (PyTorch lets no
/// scale be less than 1.2e-7; here the least is that of normal `f32`, 1.2e-38, so that tiny weights keep their digits.)
///
/// ```
/// # use gradus_quant::quantize_per_channel;
/// # use gradus_tensor_core::{Result, Tensor};
/// # fn main() -> Result<()> {
/// # let device = gradus_backend_cpu::Cpu::device();
/// let weight = Tensor::from_vec(vec![0.5f32, -1.0, 0.0, 100.0, 25.0, -3.0], [2, 3], &device)?;
/// let quantized = quantize_per_channel(&weight, 0)?;
/// assert_eq!(quantized.values().to_vec::<i8>()?, [64, -127, 0, 127, 32, -4]);
/// assert_eq!(quantized.scale().to_vec::<f32>()?, [1.0 / 127.5, 100.0 / 127.5]);
/// let error = quantized.dequantize()?.sub(&weight)?.abs()?.amax(1)?.to_vec::<f32>()?;
/// assert!(error[0] < 0.0040 && error[1] < 0.40);
/// # Ok(()) }
/// ```
///
/// # Errors
/// The tensor is not floating-point, the axis is out of range, or a channel holds a NaN or an infinity (in `f32`): the
/// error names it.
pub fn quantize_per_channel(tensor: &Tensor, axis: impl Axis) -> Result<Quantized> {
    let op = "quantize_per_channel";
    let axis = axis.resolve(tensor.rank(), op)?;
    if !tensor.dtype().is_float() {
        return Err(Error::argument(
            op,
            format!("a {} tensor has nothing to round; expects floats", tensor.dtype()),
        ));
    }
    let wide = tensor.detach()?.cast(DType::F32)?;
    let others = (0..wide.rank()).filter(|&a| a != axis).map(AxisSet::single);
    let others = others.fold(AxisSet::EMPTY, AxisSet::union);
    let channels = wide.shape().reduced(others);
    let largest = match wide.numel() {
        0 => Tensor::zeros(channels, DType::F32, wide.device())?,
        _ => wide.abs()?.amax_keepdim(others)?,
    };
    if let Some(channel) = largest.to_vec::<f32>()?.iter().position(|x| !x.is_finite()) {
        return Err(Error::argument(
            op,
            format!(
                "channel {channel} of {} holds a NaN or an infinity, which no integer stands for",
                tensor.meta()
            ),
        ));
    }
    // A division, so that scales have PyTorch's bits.
    let half = Tensor::full(HALF_RANGE, channels, DType::F32, wide.device())?;
    let scale = largest.div(&half)?.maximum(f64::from(f32::MIN_POSITIVE))?;
    let values =
        wide.mul(&scale.recip()?)?.round()?.clamp(f64::from(i8::MIN), f64::from(i8::MAX))?.cast(DType::I8)?;
    Ok(Quantized { values, scale: scale.reshape([channels[axis]])?, axis })
}

impl Quantized {
    /// The integers, in the shape of what was quantized.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// The scales, `f32`, one for each channel: `[channels]`.
    pub fn scale(&self) -> &Tensor {
        &self.scale
    }

    /// The axis along which the channels lie.
    pub fn axis(&self) -> usize {
        self.axis
    }

    /// The numbers that the integers stand for, `f32`: `values * scale`.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn dequantize(&self) -> Result<Tensor> {
        dequantize(&self.values, &self.scale, self.axis)
    }
}

/// `values * scale`, with the scales along an axis.
pub(crate) fn dequantize(values: &Tensor, scale: &Tensor, axis: usize) -> Result<Tensor> {
    let mut dims = vec![1; values.rank()];
    dims[axis.resolve(values.rank(), "dequantize")?] = scale.numel();
    values.cast(DType::F32)?.mul(&scale.reshape(Shape::new(&dims)?)?)
}
