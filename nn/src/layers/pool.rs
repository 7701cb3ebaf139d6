//! Pooling.

use gradus_tensor_core::{DType, Error, PoolOptions, Result, Shape, Tensor};

use super::spatial::{IntoSpatial, three};
use crate::init::room;
use crate::{Module, Parameters};

fn windows<const D: usize>(kernel: impl IntoSpatial<D>) -> PoolOptions {
    let kernel = three(kernel.into_spatial(), 1);
    PoolOptions { kernel, stride: kernel, ..PoolOptions::new(1) }
}

/// The largest element of each window of `[N, C, *size]`, over `D` spatial axes.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct MaxPool<const D: usize> {
    /// Kernel, stride, padding and dilation.
    pub options: PoolOptions,
}

/// Largest elements of sequences `[N, C, L]`.
pub type MaxPool1d = MaxPool<1>;
/// Largest elements of images `[N, C, H, W]`.
pub type MaxPool2d = MaxPool<2>;
/// Largest elements of volumes `[N, C, D, H, W]`.
pub type MaxPool3d = MaxPool<3>;

impl<const D: usize> MaxPool<D> {
    /// Windows that do not overlap, without padding.
    pub fn new(kernel: impl IntoSpatial<D>) -> Self {
        MaxPool { options: windows(kernel) }
    }

    /// Steps between windows.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSpatial<D>) -> Self {
        self.options.stride = three(stride.into_spatial(), 1);
        self
    }

    /// Positions added on both sides, which never win; at most half the kernel.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSpatial<D>) -> Self {
        self.options.padding = three(padding.into_spatial(), 0);
        self
    }

    /// Distance between the elements of a window.
    #[must_use]
    pub fn dilation(mut self, dilation: impl IntoSpatial<D>) -> Self {
        self.options.dilation = three(dilation.into_spatial(), 1);
        self
    }

    /// Whether to keep a last window that only partly fits.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.options.ceil_mode = ceil_mode;
        self
    }
}

impl<const D: usize> Module for MaxPool<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_rank::<D>("max_pool", input)?;
        input.max_pool(self.options)
    }
}

/// The mean of each window of `[N, C, *size]`, over `D` spatial axes.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct AvgPool<const D: usize> {
    /// Kernel, stride and padding.
    pub options: PoolOptions,
}

/// Means of sequences `[N, C, L]`.
pub type AvgPool1d = AvgPool<1>;
/// Means of images `[N, C, H, W]`.
pub type AvgPool2d = AvgPool<2>;
/// Means of volumes `[N, C, D, H, W]`.
pub type AvgPool3d = AvgPool<3>;

impl<const D: usize> AvgPool<D> {
    /// Windows that do not overlap, without padding.
    pub fn new(kernel: impl IntoSpatial<D>) -> Self {
        AvgPool { options: windows(kernel) }
    }

    /// Steps between windows.
    #[must_use]
    pub fn stride(mut self, stride: impl IntoSpatial<D>) -> Self {
        self.options.stride = three(stride.into_spatial(), 1);
        self
    }

    /// Zeros added on both sides; at most half the kernel.
    #[must_use]
    pub fn padding(mut self, padding: impl IntoSpatial<D>) -> Self {
        self.options.padding = three(padding.into_spatial(), 0);
        self
    }

    /// Whether to keep a last window that only partly fits.
    #[must_use]
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.options.ceil_mode = ceil_mode;
        self
    }

    /// Whether padded zeros count in the divisor; they do unless told otherwise.
    #[must_use]
    pub fn count_include_pad(mut self, count: bool) -> Self {
        self.options.count_include_pad = count;
        self
    }
}

impl<const D: usize> Module for AvgPool<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_rank::<D>("avg_pool", input)?;
        input.avg_pool(self.options)
    }
}

/// Means of `[N, C, *size]` over windows chosen so that the output has a given size.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct AdaptiveAvgPool<const D: usize> {
    /// The output's spatial size.
    pub size: [usize; D],
}

/// Adaptive means of sequences `[N, C, L]`.
pub type AdaptiveAvgPool1d = AdaptiveAvgPool<1>;
/// Adaptive means of images `[N, C, H, W]`.
pub type AdaptiveAvgPool2d = AdaptiveAvgPool<2>;
/// Adaptive means of volumes `[N, C, D, H, W]`.
pub type AdaptiveAvgPool3d = AdaptiveAvgPool<3>;

impl<const D: usize> AdaptiveAvgPool<D> {
    /// A layer whose output has that spatial size; 1 for the mean over everything.
    pub fn new(size: impl IntoSpatial<D>) -> Self {
        AdaptiveAvgPool { size: size.into_spatial() }
    }
}

impl<const D: usize> Module for AdaptiveAvgPool<D> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        check_rank::<D>("adaptive_avg_pool", input)?;
        adaptive_avg_pool(input, &self.size)
    }
}

fn check_rank<const D: usize>(op: &'static str, input: &Tensor) -> Result<()> {
    if input.rank() == D + 2 {
        return Ok(());
    }
    let rule = format!("expects [N, C, *size] of rank {}, found rank {}", D + 2, input.rank());
    Err(Error::shape(op, &[input.meta()], rule))
}

/// The last axes reduced to the given sizes: output `i` of `m` is the mean of inputs
/// `floor(i * n / m) .. ceil((i + 1) * n / m)`, as in PyTorch.
///
/// # Errors
/// The tensor has fewer axes, an axis is empty, or the dtype is not floating-point.
pub fn adaptive_avg_pool(input: &Tensor, size: &[usize]) -> Result<Tensor> {
    let op = "adaptive_avg_pool";
    if input.rank() < size.len() || !input.dtype().is_float() {
        let rule = format!("expects a floating-point tensor with at least {} axes", size.len());
        return Err(Error::shape(op, &[input.meta()], rule));
    }
    let first = input.rank() - size.len();
    let mut x = input.clone();
    for (axis, &m) in (first..).zip(size) {
        let n = x.dims()[axis];
        if n == 0 && m > 0 {
            return Err(Error::shape(op, &[input.meta()], format!("axis {axis} is empty")));
        }
        x = match m {
            _ if m == n => x,
            // Equal windows are an axis of their own.
            m if m > 0 && n.is_multiple_of(m) => x.unflatten(axis, &[m, n / m])?.mean([axis + 1])?,
            m => {
                let weights = window_means(n, m, x.dtype(), x.device().innermost())?;
                x.transpose(axis, -1)?.matmul(&weights)?.transpose(axis, -1)?
            }
        };
    }
    Ok(x)
}

/// The matrix `[n, m]` whose columns average the windows.
fn window_means(n: usize, m: usize, dtype: DType, device: &gradus_tensor_core::Device) -> Result<Tensor> {
    let size = Shape::new(&[n, m])?.numel();
    let mut weights = room(size, device)?;
    weights.resize(size, 0.0);
    for i in 0..m {
        let (start, end) = (i * n / m, ((i + 1) * n).div_ceil(m));
        for row in start..end {
            weights[row * m + i] = 1.0 / (end - start) as f64;
        }
    }
    Tensor::from_vec(weights, [n, m], device)?.cast(dtype)
}
