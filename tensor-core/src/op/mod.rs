//! Ops: values that say what to compute, never how.
//!
//! [`Op`] is the vocabulary between tensors and backends. Each op says what its outputs look like
//! ([`Op::infer`]: the one place where operands are checked), what it costs ([`Op::cost`]), and, unless it is a
//! primitive, how to compute the same value from simpler ops ([`Op::decompose`]). A complete backend
//! implements the primitives; it may execute any composite whole when it can do so faster.
//!
//! Ops come in families, one file each: element-wise functions ([`UnaryOp`], [`BinaryOp`], [`CompareOp`]),
//! creation, reductions, matrix products, indexing, normalizations, convolutions and pools, losses,
//! attention, recurrences, and what users add ([`CustomOp`]). Memory is changed by [`InPlaceOp`]s alone.

mod attention;
mod binary;
mod conv;
mod conv_block;
mod cost;
mod create;
mod custom;
mod decompose;
mod in_place;
mod index;
mod linear;
mod loss;
mod matmul;
mod norm;
mod norm_block;
mod quantized;
mod recurrent;
mod reduce;
mod unary;
mod unary_int;

use std::sync::Arc;

use smallvec::SmallVec;

pub use attention::Attention;
pub use binary::{BinaryOp, CompareOp};
pub use conv::{Conv, Pool, PoolKind, Spatial};
pub use conv_block::{ConvBlock, ConvBlockOperands};
pub use cost::Cost;
pub use create::{Arange, Distribution, Fill, Random};
pub use custom::{CustomOp, Differentiation};
pub use in_place::{Adam, InPlaceOp, Sgd};
pub use linear::{Linear, LinearOperands};
pub use loss::CrossEntropy;
pub use norm::{Norm, NormKind, Softmax};
pub use norm_block::BatchNormBlock;
pub use reduce::{ArgReduce, Reduce, ReduceKind, Scan, Sort};
pub use unary::{Needs, UnaryOp};

use crate::rng::Key;
use crate::{DType, Error, Meta, Result, Tensor};

/// The metas of an op's outputs.
pub type Metas = SmallVec<[Meta; 1]>;

/// One tensor operation, as a value: what to compute, never how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Op {
    // Primitives: what every backend implements.
    /// A tensor of one value. No operands.
    Fill(Fill),
    /// Evenly spaced numbers. No operands.
    Arange(Arange),
    /// Random numbers. No operands.
    Random(Random),
    /// The operand in another dtype. Floats to integers truncate and saturate, NaN becomes 0; anything but 0
    /// is true.
    Cast(DType),
    /// The operand, contiguous in memory of its own.
    Copy,
    /// An element-wise function of one operand.
    Unary(UnaryOp),
    /// An element-wise function of two operands of one shape and dtype.
    Binary(BinaryOp),
    /// A comparison of two operands of one shape and dtype; bool.
    Compare(CompareOp),
    /// Operands: a bool condition and two values; the first value where it holds, the second elsewhere.
    Select,
    /// Combines the elements along axes.
    Reduce(Reduce),
    /// The position of an extreme element along an axis.
    ArgReduce(ArgReduce),
    /// Running combination along an axis.
    Scan(Scan),
    /// Sorted values and where they came from.
    Sort(Sort),
    /// `[.., m, k]` times `[.., k, n]`.
    MatMul,
    /// Operands `x`, `index`: elements of `x` picked along an axis, one index for each.
    Gather {
        /// Along which axis.
        axis: usize,
    },
    /// Operands `x`, `index`, `source`: a copy of `x` with `source` added at the indices along an axis.
    ScatterAdd {
        /// Along which axis.
        axis: usize,
    },
    /// Operands joined along an axis.
    Concat {
        /// Along which axis.
        axis: usize,
    },

    // Composites: each decomposes; a fast backend executes it whole.
    /// Operands `g`, `saved`: `g * f'(x)`, where `saved` is what [`UnaryOp::needs`] asks for (and `g` again
    /// if it needs nothing).
    UnaryGrad(UnaryOp),
    /// Operands `x`, `index` (a vector): rows of `x` along an axis; embedding lookup.
    IndexSelect {
        /// Along which axis.
        axis: usize,
    },
    /// Operands `x`, `index` (a vector), `source`: a copy of `x` with rows of `source` added along an axis.
    IndexAdd {
        /// Along which axis.
        axis: usize,
    },
    /// `x @ weightᵀ + bias`, and what follows it: a residual, an activation.
    Linear(Linear),
    /// Operands `x`, `weight` (`i8`), `scale` and optionally `bias` (`f32`): [`Op::Linear`] with the weight
    /// `weight * scale`, and with `x` in 8 bits too.
    ///
    /// Shapes are `[.., in]`, `[out, in]`, `[out]` and `[out]`; `x` has any float dtype, which is the result's. Each row
    /// of `x` is read in `f32` and quantized by itself: with `low` and `high` the least and the largest of its elements
    /// and 0, `step = max(high / 255 - low / 255, 2^-126)`, `inverse = 1 / step` and `zero = -round(low * inverse)`,
    /// an element becomes `q = clamp(round(x * inverse), -zero, 255 - zero)` (ties to even), so 0 stays 0. Then
    /// `y = (sum of q * weight) * (step * scale) + bias`, where the sum is exact, is rounded to `f32` once, and each
    /// operation after it rounds in `f32`. A row with an element that is not finite (in `f32`) gives a row of NaN.
    ///
    /// The gradient is straight through: that of the linear function that this op approximates, as if nothing had
    /// been rounded. The weight has none, and a scale that requires one is refused.
    LinearDynamic,
    /// Softmax or its logarithm.
    Softmax(Softmax),
    /// Operands `g`, `y`: the gradient of [`Op::Softmax`].
    SoftmaxGrad(Softmax),
    /// A normalization.
    Norm(Norm),
    /// Operands `g`, `x`, `mean`, `variance` and optionally `weight`: the gradients of [`Op::Norm`].
    NormGrad(Norm),
    /// Batch normalization by this batch's statistics and what follows it: a residual, an activation.
    BatchNormBlock(BatchNormBlock),
    /// Operands `g`, `y`, `x`, `mean`, `variance`, `weight`: the gradients of [`Op::BatchNormBlock`].
    BatchNormBlockGrad(BatchNormBlock),
    /// Operands `x`, `mean`, `variance`, then optionally a weight, then optionally a bias: batch normalization by
    /// given statistics, `(x - mean) / sqrt(variance + eps) * weight + bias` along axis 1.
    BatchNormEval {
        /// Added to the variance.
        eps: f64,
    },
    /// Operands `x`, `weight` and optionally `bias`: a convolution.
    Conv(Conv),
    /// A convolution and what follows it: normalization by given statistics, a residual, an activation.
    ConvBlock(ConvBlock),
    /// Operands `g`, `weight`: the gradient of a convolution's input; also the transposed convolution.
    ConvBackwardInput {
        /// The convolution.
        conv: Conv,
        /// The spatial size of its input.
        size: Spatial,
    },
    /// Operands `g`, `x`: the gradient of a convolution's weight.
    ConvBackwardWeight {
        /// The convolution.
        conv: Conv,
        /// The spatial size of its weight.
        kernel: Spatial,
    },
    /// Pooling.
    Pool(Pool),
    /// Operands `g` and, for maxima, the indices: the gradient of [`Op::Pool`].
    PoolGrad {
        /// The pooling.
        pool: Pool,
        /// The spatial size of its input.
        size: Spatial,
    },
    /// Cross-entropy per sample.
    CrossEntropy(CrossEntropy),
    /// Operands `g`, `logits`, `target`, `lse`: the gradient of [`Op::CrossEntropy`].
    CrossEntropyGrad(CrossEntropy),
    /// Scaled dot-product attention.
    Attention(Attention),
    /// Operands `g`, `q`, `k`, `v`, `y`, `lse` and optionally the mask: the gradients of [`Op::Attention`].
    AttentionGrad(Attention),
    /// Operands `gates`, `w_hh`, `h0`, `c0`: one layer of an LSTM in one direction.
    Lstm,
    /// Operands: the activations and `c` of [`Op::Lstm`], `w_hh`, `c0`, and one to three gradients of its outputs:
    /// the gradients of `gates`, `h0` and `c0`.
    LstmGrad,
    /// Operands `gates`, `w_hh`, `h0` and optionally `b_hh`: one layer of a GRU in one direction.
    Gru,
    /// Operands: the activations and `h` of [`Op::Gru`], `w_hh`, `h0`, and one or two gradients of its outputs: the
    /// gradients of `gates`, of `h @ w_hhᵀ + b_hh`, and of `h0`.
    GruGrad,
    /// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`. The mask is a pure
    /// function of the key (element `i` is kept if [`Key::uniform32`] of `i` is at least `p`), so the op is
    /// linear and its own gradient.
    Dropout {
        /// The probability of zero, in `0..1` or 1.
        p: f64,
        /// Which random numbers.
        key: Key,
    },
    /// An op that a user defined.
    Custom(Arc<dyn CustomOp>),
}

impl Op {
    /// The op's name, PyTorch's where there is one.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Fill(_) => "full",
            Op::Arange(_) => "arange",
            Op::Random(_) => "random",
            Op::Cast(_) => "cast",
            Op::Copy => "contiguous",
            Op::Unary(op) => op.name(),
            Op::Binary(op) => op.name(),
            Op::Compare(op) => op.name(),
            Op::Select => "where",
            Op::Reduce(op) => op.kind.name(),
            Op::ArgReduce(op) => op.name(),
            Op::Scan(op) => op.kind.scan_name(),
            Op::Sort(_) => "sort",
            Op::MatMul => "matmul",
            Op::Gather { .. } => "gather",
            Op::ScatterAdd { .. } => "scatter_add",
            Op::Concat { .. } => "cat",
            Op::UnaryGrad(_) => "unary_grad",
            Op::IndexSelect { .. } => "index_select",
            Op::IndexAdd { .. } => "index_add",
            Op::Linear(_) => "linear",
            Op::LinearDynamic => "linear_dynamic",
            Op::Softmax(op) => op.name(),
            Op::SoftmaxGrad(_) => "softmax_grad",
            Op::Norm(op) => op.name(),
            Op::NormGrad(_) => "norm_grad",
            Op::BatchNormBlock(_) => "batch_norm_block",
            Op::BatchNormBlockGrad(_) => "batch_norm_block_grad",
            Op::BatchNormEval { .. } => "batch_norm",
            Op::Conv(_) => "conv",
            Op::ConvBlock(_) => "conv_block",
            Op::ConvBackwardInput { .. } => "conv_backward_input",
            Op::ConvBackwardWeight { .. } => "conv_backward_weight",
            Op::Pool(_) => "pool",
            Op::PoolGrad { .. } => "pool_grad",
            Op::CrossEntropy(_) => "cross_entropy",
            Op::CrossEntropyGrad(_) => "cross_entropy_grad",
            Op::Attention(_) => "scaled_dot_product_attention",
            Op::AttentionGrad(_) => "attention_grad",
            Op::Lstm => "lstm",
            Op::LstmGrad => "lstm_grad",
            Op::Gru => "gru",
            Op::GruGrad => "gru_grad",
            Op::Dropout { .. } => "dropout",
            Op::Custom(op) => op.name(),
        }
    }

    /// Checks the operands and gives the shape and dtype of each output. The one place where operands are
    /// checked, for every backend.
    ///
    /// # Errors
    /// [`Error::Shape`], [`Error::DType`], [`Error::Axis`] or [`Error::Argument`], naming the op, the
    /// operands and the rule.
    pub fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        match self {
            Op::Fill(op) => operands::<0>("full", inputs).map(|_| one(op.out)),
            Op::Arange(op) => op.infer(inputs),
            Op::Random(op) => op.infer(inputs),
            Op::Cast(dtype) => operands("cast", inputs).map(|[x]| one(Meta::new(x.shape, *dtype))),
            Op::Copy => operands("contiguous", inputs).map(|&[x]| one(x)),
            Op::Unary(op) => op.infer(inputs),
            Op::Binary(op) => op.infer(inputs),
            Op::Compare(op) => op.infer(inputs),
            Op::Select => binary::infer_select(inputs),
            Op::Reduce(op) => op.infer(inputs),
            Op::ArgReduce(op) => op.infer(inputs),
            Op::Scan(op) => op.infer(inputs),
            Op::Sort(op) => op.infer(inputs),
            Op::MatMul => matmul::infer_matmul(inputs),
            Op::Gather { axis } => index::infer_gather(*axis, inputs),
            Op::ScatterAdd { axis } => index::infer_scatter_add(*axis, inputs),
            Op::Concat { axis } => index::infer_concat(*axis, inputs),
            Op::UnaryGrad(_) => {
                let &[g, saved] = operands("unary_grad", inputs)?;
                same_shape("unary_grad", &[g, saved])?;
                same_float("unary_grad", inputs)?;
                Ok(one(g))
            }
            Op::IndexSelect { axis } => index::infer_index_select(*axis, inputs),
            Op::IndexAdd { axis } => index::infer_index_add(*axis, inputs),
            Op::Linear(op) => op.infer(inputs),
            Op::LinearDynamic => quantized::infer_linear_dynamic(inputs),
            Op::Softmax(op) => op.infer(inputs),
            Op::SoftmaxGrad(op) => op.infer_grad(inputs),
            Op::Norm(op) => op.infer(inputs),
            Op::NormGrad(op) => op.infer_grad(inputs),
            Op::BatchNormBlock(op) => op.infer(inputs),
            Op::BatchNormBlockGrad(op) => op.infer_grad(inputs),
            Op::BatchNormEval { .. } => norm::infer_batch_norm_eval(inputs),
            Op::Conv(op) => op.infer(inputs),
            Op::ConvBlock(op) => op.infer(inputs),
            Op::ConvBackwardInput { conv, size } => conv.infer_backward_input(size, inputs),
            Op::ConvBackwardWeight { conv, kernel } => conv.infer_backward_weight(kernel, inputs),
            Op::Pool(op) => op.infer(inputs),
            Op::PoolGrad { pool, size } => pool.infer_grad(size, inputs),
            Op::CrossEntropy(op) => op.infer(inputs),
            Op::CrossEntropyGrad(op) => op.infer_grad(inputs),
            Op::Attention(op) => op.infer(inputs),
            Op::AttentionGrad(op) => op.infer_grad(inputs),
            Op::Lstm => recurrent::infer_lstm(inputs),
            Op::LstmGrad => recurrent::infer_lstm_grad(inputs),
            Op::Gru => recurrent::infer_gru(inputs),
            Op::GruGrad => recurrent::infer_gru_grad(inputs),
            Op::Dropout { p, .. } => create::infer_dropout(*p, inputs),
            Op::Custom(op) => op.infer(inputs),
        }
    }

    /// The same value computed from simpler ops; `None` for a primitive. The operands have passed
    /// [`Op::infer`] and are all on one device.
    pub fn decompose(&self, inputs: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
        decompose::decompose(self, inputs)
    }

    /// Floating-point operations and bytes moved, for the profiler and the roofline.
    pub fn cost(&self, inputs: &[Meta]) -> Cost {
        cost::cost(self, inputs)
    }

    /// Whether every backend must implement the op.
    pub fn is_primitive(&self) -> bool {
        matches!(
            self,
            Op::Fill(_)
                | Op::Arange(_)
                | Op::Random(_)
                | Op::Cast(_)
                | Op::Copy
                | Op::Unary(_)
                | Op::Binary(_)
                | Op::Compare(_)
                | Op::Select
                | Op::Reduce(_)
                | Op::ArgReduce(_)
                | Op::Scan(_)
                | Op::Sort(_)
                | Op::MatMul
                | Op::Gather { .. }
                | Op::ScatterAdd { .. }
                | Op::Concat { .. }
        )
    }
}

/// The operands, if there are as many as expected. By reference: shapes are not small.
#[inline]
fn operands<'a, const N: usize>(op: &'static str, inputs: &'a [Meta]) -> Result<&'a [Meta; N]> {
    inputs
        .try_into()
        .map_err(|_| Error::shape(op, inputs, format!("expects {N} operands, got {}", inputs.len())))
}

fn one(meta: Meta) -> Metas {
    Metas::from_buf([meta])
}

fn check_axis(op: &'static str, axis: usize, x: Meta) -> Result<()> {
    if axis < x.shape.rank() {
        Ok(())
    } else {
        Err(Error::Axis { op, axis: isize::try_from(axis).unwrap_or(isize::MAX), rank: x.shape.rank() })
    }
}

fn same_shape(op: &'static str, inputs: &[Meta]) -> Result<()> {
    if inputs.windows(2).any(|w| w[0].shape != w[1].shape) {
        return Err(Error::shape(op, inputs, "shapes must be equal"));
    }
    Ok(())
}

/// All operands have one float dtype.
fn same_float(op: &'static str, inputs: &[Meta]) -> Result<()> {
    if inputs.iter().any(|m| m.dtype != inputs[0].dtype || !m.dtype.is_float()) {
        return Err(Error::dtype(op, inputs, "expects operands of one float dtype"));
    }
    Ok(())
}
