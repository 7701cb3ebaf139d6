//! Convolution and pooling in one, two or three dimensions, with their gradients.

use crate::{DType, Error, Meta, Metas, Result, Shape};

/// One number per spatial axis; the entries beyond the number of spatial axes are not read.
pub type Spatial = [usize; 3];

/// A convolution `[N, C, *size]` with weight `[O, C / groups, *kernel]` and optional bias `[O]`, which gives
/// `[N, O, *out]`. The number of spatial axes is the rank less two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv {
    /// Steps between windows.
    pub stride: Spatial,
    /// Zeros added on both sides.
    pub padding: Spatial,
    /// Distance between the elements of a window.
    pub dilation: Spatial,
    /// Channels are split into this many independent groups.
    pub groups: usize,
}

impl Default for Conv {
    fn default() -> Self {
        Conv { stride: [1; 3], padding: [0; 3], dilation: [1; 3], groups: 1 }
    }
}

/// The number of windows along an axis, or `None` if not even one fits.
fn windows(size: usize, kernel: usize, stride: usize, padding: usize, dilation: usize) -> Option<usize> {
    let reach = dilation.checked_mul(kernel.checked_sub(1)?)?.checked_add(1)?;
    Some(size.checked_add(padding.checked_mul(2)?)?.checked_sub(reach)? / stride + 1)
}

impl Conv {
    fn name(rank: usize) -> &'static str {
        match rank {
            3 => "conv1d",
            4 => "conv2d",
            5 => "conv3d",
            _ => "conv",
        }
    }

    /// The spatial size of the output.
    ///
    /// # Errors
    /// The kernel does not fit the padded input, or a stride, dilation or kernel size is 0.
    pub fn output_size(&self, size: &[usize], kernel: &[usize]) -> Result<Spatial> {
        let mut out = [1; 3];
        for d in 0..size.len().min(3) {
            let (stride, padding, dilation) = (self.stride[d], self.padding[d], self.dilation[d]);
            let positive = stride > 0 && dilation > 0 && kernel[d] > 0;
            out[d] = positive.then(|| windows(size[d], kernel[d], stride, padding, dilation)).flatten().ok_or_else(
                || {
                    Error::argument(
                        Self::name(size.len() + 2),
                        format!(
                            "kernel {kernel:?} with stride {stride}, padding {padding} and dilation {dilation} does not fit input size {size:?} on spatial axis {d}"
                        ),
                    )
                },
            )?;
        }
        Ok(out)
    }

    fn check_weight(&self, op: &'static str, channels: usize, weight: Meta, inputs: &[Meta]) -> Result<()> {
        let (groups, w) = (self.groups, weight.shape);
        if groups == 0 || !channels.is_multiple_of(groups) || !w[0].is_multiple_of(groups) {
            return Err(Error::shape(
                op,
                inputs,
                format!("groups = {groups} must divide both {channels} input and {} output channels", w[0]),
            ));
        }
        if w[1] != channels / groups {
            return Err(Error::shape(
                op,
                inputs,
                format!(
                    "input has {channels} channels but weight {w} expects {} (groups = {groups})",
                    w[1].saturating_mul(groups)
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let (x, w, bias) = match *inputs {
            [x, w] => (x, w, None),
            [x, w, b] => (x, w, Some(b)),
            _ => return Err(Error::shape("conv", inputs, "expects an input, a weight and at most a bias")),
        };
        let rank = x.shape.rank();
        let op = Self::name(rank);
        if !(3..=5).contains(&rank) || w.shape.rank() != rank {
            return Err(Error::shape(
                op,
                inputs,
                "expects an input [N, C, *size] and a weight [O, C / groups, *kernel] of rank 3, 4 or 5",
            ));
        }
        self.check_weight(op, x.shape[1], w, inputs)?;
        if bias.is_some_and(|b| *b.shape != [w.shape[0]]) {
            return Err(Error::shape(op, inputs, format!("bias must have shape [{}]", w.shape[0])));
        }
        super::same_float(op, inputs)?;
        let size = self.output_size(&x.shape[2..], &w.shape[2..])?;
        Ok(super::one(Meta::new(spatial(x.shape[0], w.shape[0], &size[..rank - 2])?, x.dtype)))
    }

    /// Operands: gradient of the output, weight. `size` is the input's spatial size.
    pub(super) fn infer_backward_input(&self, size: &Spatial, inputs: &[Meta]) -> Result<Metas> {
        let op = "conv_backward_input";
        let &[g, w] = super::operands(op, inputs)?;
        let rank = g.shape.rank();
        if !(3..=5).contains(&rank) || w.shape.rank() != rank || g.shape[1] != w.shape[0] {
            return Err(Error::shape(
                op,
                inputs,
                format!(
                    "expects [N, O, *out] and a weight [O, C / groups, *kernel]: {} channels meet {}",
                    g.shape.get(1).copied().unwrap_or(0),
                    w.shape.first().copied().unwrap_or(0)
                ),
            ));
        }
        let channels = w.shape[1].saturating_mul(self.groups);
        self.check_weight(op, channels, w, inputs)?;
        super::same_float(op, inputs)?;
        let out = self.output_size(&size[..rank - 2], &w.shape[2..])?;
        if out[..rank - 2] != g.shape[2..] {
            return Err(Error::shape(
                op,
                inputs,
                format!("an input of size {:?} has output size {:?}", &size[..rank - 2], &out[..rank - 2]),
            ));
        }
        Ok(super::one(Meta::new(spatial(g.shape[0], channels, &size[..rank - 2])?, g.dtype)))
    }

    /// Operands: gradient of the output, input. `kernel` is the weight's spatial size.
    pub(super) fn infer_backward_weight(&self, kernel: &Spatial, inputs: &[Meta]) -> Result<Metas> {
        let op = "conv_backward_weight";
        let &[g, x] = super::operands(op, inputs)?;
        let rank = g.shape.rank();
        if !(3..=5).contains(&rank) || x.shape.rank() != rank || g.shape[0] != x.shape[0] {
            return Err(Error::shape(op, inputs, "expects [N, O, *out] and [N, C, *size]"));
        }
        let groups = self.groups.max(1);
        let w = Meta::new(spatial(g.shape[1], x.shape[1] / groups, &kernel[..rank - 2])?, g.dtype);
        self.check_weight(op, x.shape[1], w, inputs)?;
        super::same_float(op, inputs)?;
        let out = self.output_size(&x.shape[2..], &kernel[..rank - 2])?;
        if out[..rank - 2] != g.shape[2..] {
            return Err(Error::shape(op, inputs, "the gradient has not the size of the output"));
        }
        Ok(super::one(w))
    }
}

fn spatial(n: usize, channels: usize, size: &[usize]) -> Result<Shape> {
    let mut dims = vec![n, channels];
    dims.extend_from_slice(size);
    Shape::new(&dims)
}

/// What a pooling window becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PoolKind {
    /// The largest element (padding never wins, NaN always does). A second output, `i64`, says at which
    /// flat spatial position of the input it was; the first among equals. A window that holds nothing but
    /// padding (wide dilation allows one) gives -inf and -1, which takes no gradient.
    Max,
    /// The mean.
    Average {
        /// Whether padded zeros count in the divisor.
        count_include_pad: bool,
    },
}

/// Pooling of `[N, C, *size]` over windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// What a window becomes.
    pub kind: PoolKind,
    /// The window's size.
    pub kernel: Spatial,
    /// Steps between windows.
    pub stride: Spatial,
    /// Positions added on both sides; at most half the kernel.
    pub padding: Spatial,
    /// Distance between the elements of a window; 1 for averages.
    pub dilation: Spatial,
    /// Keep a last window that only partly fits, if it starts inside the input or its left padding.
    pub ceil_mode: bool,
}

impl Pool {
    fn name(&self) -> &'static str {
        match self.kind {
            PoolKind::Max => "max_pool",
            PoolKind::Average { .. } => "avg_pool",
        }
    }

    /// The spatial size of the output.
    ///
    /// # Errors
    /// A kernel, stride or dilation is 0, the padding exceeds half the kernel, or no window fits.
    pub fn output_size(&self, size: &[usize]) -> Result<Spatial> {
        let mut out = [1; 3];
        for d in 0..size.len().min(3) {
            let (k, s, p, l) = (self.kernel[d], self.stride[d], self.padding[d], self.dilation[d]);
            let fit = (k > 0 && s > 0 && l > 0 && p <= k / 2).then(|| windows(size[d], k, s, p, l)).flatten();
            let Some(mut n) = fit else {
                return Err(Error::argument(
                    self.name(),
                    format!(
                        "kernel {k} with stride {s}, padding {p} (at most half the kernel) and dilation {l} does not fit size {} on spatial axis {d}",
                        size[d]
                    ),
                ));
            };
            let reach = l * (k - 1) + 1;
            let rest = !(size[d] + 2 * p - reach).is_multiple_of(s);
            if self.ceil_mode && rest && n.checked_mul(s).is_some_and(|start| start < size[d] + p) {
                n += 1;
            }
            out[d] = n;
        }
        Ok(out)
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let &[x] = super::operands(self.name(), inputs)?;
        let rank = x.shape.rank();
        if !(3..=5).contains(&rank) {
            return Err(Error::shape(self.name(), inputs, "expects [N, C, *size] of rank 3, 4 or 5"));
        }
        super::same_float(self.name(), inputs)?;
        let size = self.output_size(&x.shape[2..])?;
        let y = Meta::new(spatial(x.shape[0], x.shape[1], &size[..rank - 2])?, x.dtype);
        Ok(match self.kind {
            PoolKind::Max => Metas::from_slice(&[y, Meta::new(y.shape, DType::I64)]),
            PoolKind::Average { .. } => super::one(y),
        })
    }

    /// Operands: gradient of the output, and for maxima the indices. `size` is the input's spatial size.
    pub(super) fn infer_grad(&self, size: &Spatial, inputs: &[Meta]) -> Result<Metas> {
        let op = "pool_grad";
        let g = match (self.kind, inputs) {
            (PoolKind::Max, &[g, i]) if i.dtype == DType::I64 && i.shape == g.shape => g,
            (PoolKind::Average { .. }, &[g]) => g,
            _ => return Err(Error::shape(op, inputs, "expects a gradient and, for maxima, its indices")),
        };
        let rank = g.shape.rank();
        if !(3..=5).contains(&rank) || self.output_size(&size[..rank - 2])?[..rank - 2] != g.shape[2..] {
            return Err(Error::shape(op, inputs, "the gradient has not the size of the output"));
        }
        Ok(super::one(Meta::new(spatial(g.shape[0], g.shape[1], &size[..rank - 2])?, g.dtype)))
    }
}
