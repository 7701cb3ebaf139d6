//! Ops of neural networks: matrix products, normalizations, convolutions, pools, losses, attention.

use crate::op::{Attention, Conv, CrossEntropy, Linear, Norm, NormKind, Pool, PoolKind, Softmax, Spatial};
use crate::rng::Key;
use crate::shape::Axis;
use crate::{Error, Meta, Op, Result, Shape, Tensor};

/// Stride, padding, dilation and groups of a convolution; one number per spatial axis, or one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvOptions(pub Conv);

impl Default for ConvOptions {
    /// Stride 1, no padding, dilation 1, one group.
    fn default() -> Self {
        ConvOptions(Conv::default())
    }
}

impl ConvOptions {
    /// The same stride on every spatial axis.
    pub fn stride(mut self, n: usize) -> Self {
        self.0.stride = [n; 3];
        self
    }

    /// The same padding on both sides of every spatial axis.
    pub fn padding(mut self, n: usize) -> Self {
        self.0.padding = [n; 3];
        self
    }

    /// The same dilation on every spatial axis.
    pub fn dilation(mut self, n: usize) -> Self {
        self.0.dilation = [n; 3];
        self
    }

    /// The number of channel groups.
    pub fn groups(mut self, n: usize) -> Self {
        self.0.groups = n;
        self
    }
}

/// Kernel, stride, padding and dilation of a pooling; one number per spatial axis, or one for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// The window's size.
    pub kernel: Spatial,
    /// Steps between windows.
    pub stride: Spatial,
    /// Positions added on both sides.
    pub padding: Spatial,
    /// Distance between the elements of a window.
    pub dilation: Spatial,
    /// Keep a last window that only partly fits.
    pub ceil_mode: bool,
    /// Whether padded zeros count in the divisor of an average.
    pub count_include_pad: bool,
}

impl PoolOptions {
    /// Windows of `kernel` that do not overlap, without padding.
    pub fn new(kernel: usize) -> Self {
        PoolOptions {
            kernel: [kernel; 3],
            stride: [kernel; 3],
            padding: [0; 3],
            dilation: [1; 3],
            ceil_mode: false,
            count_include_pad: true,
        }
    }

    /// The same step between windows on every spatial axis.
    pub fn stride(mut self, n: usize) -> Self {
        self.stride = [n; 3];
        self
    }

    /// The same padding on both sides of every spatial axis.
    pub fn padding(mut self, n: usize) -> Self {
        self.padding = [n; 3];
        self
    }

    fn op(&self, kind: PoolKind) -> Pool {
        let PoolOptions { kernel, stride, padding, dilation, ceil_mode, .. } = *self;
        Pool { kind, kernel, stride, padding, dilation, ceil_mode }
    }
}

/// How attention scales and masks.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttentionOptions<'a> {
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
    /// What products are multiplied with; `1 / sqrt(D)` if `None`.
    pub scale: Option<f64>,
    /// Added to the products before the softmax, or (bool) true where a key may be seen; broadcast to
    /// `[.., T, S]`.
    pub mask: Option<&'a Tensor>,
}

fn spatial(op: &'static str, rank: usize, values: &[usize]) -> Result<Spatial> {
    let mut out = [1; 3];
    match values.len() {
        n if n == rank.saturating_sub(2) && n <= 3 => out[..n].copy_from_slice(values),
        n => {
            return Err(Error::argument(op, format!("{n} sizes for a tensor of rank {rank}")));
        }
    }
    Ok(out)
}

fn metas(tensors: &[&Tensor]) -> Vec<Meta> {
    tensors.iter().map(|t| t.meta()).collect()
}

impl Tensor {
    /// The matrix product, with PyTorch's rules: vectors are rows on the left and columns on the right,
    /// leading axes broadcast, dtypes promote.
    ///
    /// # Errors
    /// Shapes do not fit, or devices do not meet.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let dtypes = [self.dtype(), other.dtype()];
        let chosen =
            self.device().common(other.device()).and_then(|d| d.operand_dtypes(&Op::MatMul, &dtypes));
        let (a, b) = if chosen.is_some() {
            (self.clone(), other.clone()) // the device casts
        } else {
            let dtype = self.dtype().promote(other.dtype());
            (self.cast(dtype)?, other.cast(dtype)?)
        };
        if a.rank() == 0 || b.rank() == 0 {
            return Err(Error::shape("matmul", &metas(&[self, other]), "operands need at least one axis"));
        }
        let left = if a.rank() == 1 { a.unsqueeze(0)? } else { a.clone() };
        let right = if b.rank() == 1 { b.unsqueeze(1)? } else { b.clone() };
        let (lead_a, lead_b) = (&left.dims()[..left.rank() - 2], &right.dims()[..right.rank() - 2]);
        let lead = Shape::new(lead_a)?
            .broadcast(&Shape::new(lead_b)?)
            .ok_or_else(|| Error::shape("matmul", &metas(&[self, other]), "leading axes do not broadcast"))?;
        let full = |t: &Tensor| -> Result<Tensor> {
            let mut dims = lead.to_vec();
            dims.extend_from_slice(&t.dims()[t.rank() - 2..]);
            t.expand(dims)
        };
        let out = Op::MatMul.run1(&[&full(&left)?, &full(&right)?])?;
        let out = if b.rank() == 1 { out.squeeze(-1)? } else { out };
        if a.rank() == 1 { out.squeeze(if b.rank() == 1 { -1 } else { -2 }) } else { Ok(out) }
    }

    /// `self @ weightᵀ + bias`: `[.., in]` with weight `[out, in]` and bias `[out]`.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        match bias {
            Some(bias) => Op::Linear(Linear::default()).run1(&[self, weight, bias]),
            None => Op::Linear(Linear::default()).run1(&[self, weight]),
        }
    }

    /// `e^x / sum(e^x)` along an axis.
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn softmax(&self, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "softmax")?;
        Op::Softmax(Softmax { axis, log: false }).run1(&[&self.to_float()?])
    }

    /// The logarithm of [`Tensor::softmax`], computed without overflow.
    ///
    /// # Errors
    /// The axis is out of range.
    pub fn log_softmax(&self, axis: impl Axis) -> Result<Tensor> {
        let axis = axis.resolve(self.rank(), "log_softmax")?;
        Op::Softmax(Softmax { axis, log: true }).run1(&[&self.to_float()?])
    }

    fn normalize(
        &self,
        kind: NormKind,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<crate::Tensors> {
        let op = Op::Norm(Norm { kind, eps });
        match (weight, bias) {
            (None, None) => op.run(&[self]),
            (Some(w), None) => op.run(&[self, w]),
            (Some(w), Some(b)) => op.run(&[self, w, b]),
            (None, Some(_)) => Err(Error::argument(op.name(), "a bias needs a weight beside it")),
        }
    }

    fn normalized(
        &self,
        kind: NormKind,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        self.normalize(kind, weight, bias, eps)?
            .into_iter()
            .next()
            .ok_or_else(|| Error::argument("norm", "the op has no output"))
    }

    /// Layer normalization over the last `dims` axes (Ba et al., arXiv:1607.06450).
    ///
    /// # Errors
    /// Weight or bias has not the shape of those axes.
    pub fn layer_norm(
        &self,
        dims: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        self.normalized(NormKind::Layer { dims }, weight, bias, eps)
    }

    /// Root-mean-square normalization over the last `dims` axes (Zhang and Sennrich, arXiv:1910.07467).
    ///
    /// # Errors
    /// The weight has not the shape of those axes.
    pub fn rms_norm(&self, dims: usize, weight: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        self.normalized(NormKind::Rms { dims }, weight, None, eps)
    }

    /// Group normalization of `[N, C, ..]` (Wu and He, arXiv:1803.08494).
    ///
    /// # Errors
    /// `groups` does not divide the channels, or weight or bias is not `[C]`.
    pub fn group_norm(
        &self,
        groups: usize,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        self.normalized(NormKind::Group { groups }, weight, bias, eps)
    }

    /// Batch normalization of `[N, C, ..]` by this batch's statistics (Ioffe and Szegedy,
    /// arXiv:1502.03167): the result, and the mean and biased variance `[C]`, which are constants to
    /// differentiation.
    ///
    /// # Errors
    /// Weight or bias is not `[C]`.
    pub fn batch_norm_train(
        &self,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let mut out = self.normalize(NormKind::Batch, weight, bias, eps)?.into_iter();
        match (out.next(), out.next(), out.next()) {
            (Some(y), Some(mean), Some(variance)) => Ok((y, mean, variance)),
            _ => Err(Error::argument("batch_norm", "the op has too few outputs")),
        }
    }

    /// Batch normalization of `[N, C, ..]` by given statistics `[C]`: an affine function per channel.
    ///
    /// # Errors
    /// A vector is not `[C]`.
    pub fn batch_norm_eval(
        &self,
        mean: &Tensor,
        variance: &Tensor,
        weight: Option<&Tensor>,
        bias: Option<&Tensor>,
        eps: f64,
    ) -> Result<Tensor> {
        let op = Op::BatchNormEval { eps };
        match (weight, bias) {
            (None, None) => op.run1(&[self, mean, variance]),
            (Some(weight), None) => op.run1(&[self, mean, variance, weight]),
            (Some(weight), Some(bias)) => op.run1(&[self, mean, variance, weight, bias]),
            (None, Some(bias)) => op.run1(&[self, mean, variance, &variance.ones_like()?, bias]),
        }
    }

    /// Convolution of `[N, C, *size]` with `[O, C / groups, *kernel]`, in 1 to 3 dimensions.
    ///
    /// # Errors
    /// Shapes, groups or dtypes do not fit.
    pub fn conv(&self, weight: &Tensor, bias: Option<&Tensor>, options: ConvOptions) -> Result<Tensor> {
        match bias {
            Some(bias) => Op::Conv(options.0).run1(&[self, weight, bias]),
            None => Op::Conv(options.0).run1(&[self, weight]),
        }
    }

    /// Transposed convolution of `[N, C, *size]` with `[C, O / groups, *kernel]`: the gradient of a
    /// convolution as a function of its own, with `output_padding` (one number per spatial axis) added to
    /// the far side of the output.
    ///
    /// # Errors
    /// Shapes, groups or dtypes do not fit.
    pub fn conv_transpose(
        &self,
        weight: &Tensor,
        bias: Option<&Tensor>,
        options: ConvOptions,
        output_padding: &[usize],
    ) -> Result<Tensor> {
        let op = "conv_transpose";
        let conv = options.0;
        let extra = spatial(op, self.rank(), output_padding)?;
        if !(3..=5).contains(&self.rank()) || weight.rank() != self.rank() {
            return Err(Error::shape(
                op,
                &metas(&[self, weight]),
                "expects [N, C, *size] and [C, O / groups, *kernel]",
            ));
        }
        let mut size = [1; 3];
        for d in 0..self.rank() - 2 {
            let (n, k) = (self.dims()[d + 2], weight.dims()[d + 2]);
            let (stride, dilation, padding) = (conv.stride[d], conv.dilation[d], conv.padding[d]);
            if extra[d] >= stride.max(dilation) || n == 0 || k == 0 {
                return Err(Error::argument(
                    op,
                    format!(
                        "output padding {} must be smaller than stride or dilation, input and kernel not empty",
                        extra[d]
                    ),
                ));
            }
            let output = || {
                let between = (n - 1).checked_mul(stride)?.checked_add(dilation.checked_mul(k - 1)?)?;
                let full = between.checked_add(extra[d])?.checked_add(1)?;
                full.checked_sub(padding.checked_mul(2)?).filter(|&size| size > 0)
            };
            size[d] = output().ok_or_else(|| {
                let rule = format!(
                    "stride {stride}, dilation {dilation} and padding {padding} leave no output, or one that memory cannot address"
                );
                Error::shape(op, &metas(&[self, weight]), rule)
            })?;
        }
        let out = Op::ConvBackwardInput { conv, size }.run1(&[self, weight])?;
        match bias {
            Some(bias) => {
                let mut dims = vec![1; self.rank()];
                dims[1] = out.dims()[1];
                if bias.dims() != &dims[1..2] {
                    let rule = format!("bias must have shape [{}]", dims[1]);
                    return Err(Error::shape(op, &metas(&[self, weight, bias]), rule));
                }
                out.add(&bias.reshape(dims)?)
            }
            None => Ok(out),
        }
    }

    /// The largest element of each window of `[N, C, *size]`.
    ///
    /// # Errors
    /// The window does not fit.
    pub fn max_pool(&self, options: PoolOptions) -> Result<Tensor> {
        Op::Pool(options.op(PoolKind::Max)).run1(&[self])
    }

    /// The mean of each window of `[N, C, *size]`.
    ///
    /// # Errors
    /// The window does not fit.
    pub fn avg_pool(&self, options: PoolOptions) -> Result<Tensor> {
        let kind = PoolKind::Average { count_include_pad: options.count_include_pad };
        Op::Pool(options.op(kind)).run1(&[self])
    }

    /// Cross-entropy of logits `[N, C]` with classes `[N]` (`i64`), one loss per sample, in the logits'
    /// accumulator dtype. Targets equal to the ignored index give 0.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit, or a target is out of range.
    pub fn cross_entropy(&self, target: &Tensor, options: CrossEntropy) -> Result<Tensor> {
        Op::CrossEntropy(options).run1(&[self, target])
    }

    /// Attention of queries (this tensor, `[.., T, D]`) over keys `[.., S, D]` and values `[.., S, E]`
    /// (Vaswani et al., arXiv:1706.03762). A row whose every key is masked gives zeros.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit.
    pub fn attention(&self, key: &Tensor, value: &Tensor, options: AttentionOptions<'_>) -> Result<Tensor> {
        let op = "scaled_dot_product_attention";
        if self.rank() < 2 || key.rank() != self.rank() {
            return Err(Error::shape(
                op,
                &metas(&[self, key, value]),
                "expects q [.., T, D], k [.., S, D], v [.., S, E]",
            ));
        }
        let rank = self.rank();
        let scale = options.scale.unwrap_or(1.0 / (self.dims()[rank - 1].max(1) as f64).sqrt());
        let attention = Op::Attention(Attention { scale, causal: options.causal });
        let Some(mask) = options.mask else { return attention.run1(&[self, key, value]) };
        let mask = match mask.dtype() {
            crate::DType::Bool => {
                let seen = Tensor::zeros((), self.dtype(), mask.device().innermost())?;
                let hidden = Tensor::full(f64::NEG_INFINITY, (), self.dtype(), mask.device().innermost())?;
                mask.where_(&seen, &hidden)?
            }
            _ => mask.cast(self.dtype())?,
        };
        let mut dims = self.dims().to_vec();
        dims[rank - 1] = key.dims()[rank - 2];
        attention.run1(&[self, key, value, &mask.expand(dims)?])
    }

    /// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`; the mask is a pure
    /// function of the key.
    ///
    /// # Errors
    /// `p` is not in `0..=1`, or the dtype is not a float.
    pub fn dropout(&self, p: f64, key: Key) -> Result<Tensor> {
        Op::Dropout { p, key }.run1(&[self])
    }
}
