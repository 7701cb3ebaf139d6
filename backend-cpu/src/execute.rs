//! The dispatch: which kernel executes which op.

use gradus_tensor_core::{
    Backend, Buffers, DType, Error, HostArray, InPlaceOp, MemoryStats, Meta, Op, Outcome, Result, View,
    ViewMut,
};

use smallvec::SmallVec;

use crate::{Cpu, CpuBuffer, kernels};

/// What a kernel returns: its output buffers, or that the op must be decomposed.
pub(crate) type Done = Result<Outcome<Buffers<CpuBuffer>>>;

/// The result of an op of one output.
#[inline]
pub(crate) fn done(buffer: impl Into<Buffers<CpuBuffer>>) -> Done {
    Ok(Outcome::Done(buffer.into()))
}

impl Backend for Cpu {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!(
            "cpu ({}, {} thread{})",
            self.level(),
            self.threads(),
            if self.threads() == 1 { "" } else { "s" }
        )
    }

    fn accelerates(&self, dtype: DType) -> bool {
        match dtype {
            DType::BF16 => self.level().has_bf16_dot(),
            // Computed in `f32`.
            DType::F16 => false,
            _ => true,
        }
    }

    fn upload(&self, host: &HostArray) -> Result<CpuBuffer> {
        kernels::host::upload(self, host)
    }

    fn download(&self, from: View<'_, CpuBuffer>) -> Result<HostArray> {
        check(&from)?;
        kernels::host::download(self, &from)
    }

    fn execute(&self, op: &Op, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
        if let Some(view) = inputs.iter().find(|view| !within(view.buffer, view.layout, view.dtype)) {
            return Err(foreign_view(view.buffer, view.meta()));
        }
        if !fits(op, inputs, out)? {
            return Err(Error::argument(op.name(), "the operands do not fit the op or its outputs"));
        }
        match op {
            Op::Fill(fill) => kernels::create::fill(self, fill, &out[0]),
            Op::Arange(op) => kernels::create::arange(self, op, &out[0]),
            Op::Random(op) => kernels::random::random(self, op, &out[0]),
            Op::Cast(dtype) => kernels::cast::cast(self, &inputs[0], *dtype),
            Op::Copy => kernels::copy::copy(self, &inputs[0]),
            Op::Unary(op) => kernels::unary::unary(self, *op, &inputs[0]),
            Op::Binary(op) => kernels::binary::binary(self, *op, &inputs[0], &inputs[1]),
            Op::Compare(op) => kernels::compare::compare(self, *op, &inputs[0], &inputs[1]),
            Op::Select => kernels::compare::select(self, [&inputs[0], &inputs[1], &inputs[2]]),
            Op::Reduce(op) => kernels::reduce::reduce(self, op, &inputs[0], &out[0]),
            Op::ArgReduce(op) => kernels::scan::arg_reduce(self, op, &inputs[0], &out[0]),
            Op::Scan(op) => kernels::scan::scan(self, op, &inputs[0], &out[0]),
            Op::Sort(op) => kernels::sort::sort(self, op, &inputs[0]),
            Op::MatMul => kernels::matmul::matmul(self, &inputs[0], &inputs[1], &out[0]),
            Op::Gather { axis } => kernels::index::gather(self, *axis, &inputs[0], &inputs[1], &out[0]),
            Op::ScatterAdd { axis } => {
                kernels::index::scatter_add(self, *axis, [&inputs[0], &inputs[1], &inputs[2]])
            }
            Op::Concat { axis } => kernels::copy::concat(self, *axis, inputs, &out[0]),
            Op::UnaryGrad(op) => kernels::unary_grad::unary_grad(self, *op, &inputs[0], &inputs[1]),
            Op::IndexSelect { axis } => {
                kernels::index::index_select(self, *axis, &inputs[0], &inputs[1], &out[0])
            }
            Op::IndexAdd { axis } => {
                kernels::index::index_add(self, *axis, [&inputs[0], &inputs[1], &inputs[2]])
            }
            Op::Linear(op) => kernels::matmul::linear::linear(self, op, inputs, &out[0]),
            Op::LinearDynamic => kernels::int8::linear_dynamic(self, inputs, &out[0]),
            Op::Softmax(op) => kernels::softmax::softmax(self, op, &inputs[0], &out[0]),
            Op::SoftmaxGrad(op) => kernels::softmax::softmax_grad(self, op, &inputs[0], &inputs[1], &out[0]),
            Op::Norm(op) => kernels::norm::norm(self, op, inputs, out),
            Op::NormGrad(op) => kernels::norm::norm_grad(self, op, inputs, out),
            Op::BatchNormBlock(op) => kernels::norm::batch_norm_block(self, op, inputs, out),
            Op::BatchNormBlockGrad(op) => kernels::norm::batch_norm_block_grad(self, op, inputs, out),
            Op::BatchNormEval { eps } => kernels::norm::batch_norm_eval(self, *eps, inputs, &out[0]),
            Op::Conv(op) => kernels::conv::conv(self, op, inputs, &out[0]),
            Op::ConvBlock(op) => kernels::conv::conv_block(self, op, inputs, &out[0]),
            Op::ConvBackwardInput { conv, .. } => {
                kernels::conv::backward_input(self, conv, &inputs[0], &inputs[1], &out[0])
            }
            Op::ConvBackwardWeight { conv, .. } => {
                kernels::conv::backward_weight(self, conv, &inputs[0], &inputs[1], &out[0])
            }
            Op::Pool(op) => kernels::pool::pool(self, op, &inputs[0], out),
            Op::PoolGrad { pool, .. } => kernels::pool::pool_grad(self, pool, inputs, &out[0]),
            Op::CrossEntropy(op) => kernels::loss::cross_entropy(self, op, &inputs[0], &inputs[1], out),
            Op::CrossEntropyGrad(op) => kernels::loss::cross_entropy_grad(self, op, inputs, &out[0]),
            Op::Attention(op) => kernels::attention::attention(self, op, inputs, out),
            Op::AttentionGrad(op) => kernels::attention::attention_grad(self, op, inputs, out),
            Op::Lstm => kernels::recurrent::lstm(self, inputs, out),
            Op::LstmGrad => kernels::recurrent::lstm_grad(self, inputs, out),
            Op::Gru => kernels::recurrent::gru(self, inputs, out),
            Op::GruGrad => kernels::recurrent::gru_grad(self, inputs, out),
            Op::Dropout { p, key } => kernels::random::dropout(self, *p, *key, &inputs[0]),
            Op::Custom(_) => Ok(Outcome::Unsupported),
            // `Op` is non-exhaustive for users; in this workspace every op is above.
            _ => Ok(Outcome::Unsupported),
        }
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, CpuBuffer>],
        inputs: &[View<'_, CpuBuffer>],
    ) -> Result<Outcome<()>> {
        let metas: SmallVec<[Meta; 4]> = targets.iter().map(ViewMut::meta).collect();
        let sources: SmallVec<[Meta; 2]> = inputs.iter().map(View::meta).collect();
        op.check(&metas, &sources)?;
        for target in targets.iter() {
            if !within(target.buffer, target.layout, target.dtype) {
                return Err(foreign_view(target.buffer, target.meta()));
            }
            // Threads write without looking at each other.
            if !matches!(op, InPlaceOp::Accumulate) && !target.layout.is_injective() {
                return Err(Error::argument(op.name(), "a target names an element twice"));
            }
        }
        for view in inputs {
            check(view)?;
        }
        kernels::in_place::execute(self, op, targets, inputs)
    }

    fn memory(&self) -> MemoryStats {
        self.stats()
    }
}

/// Kernels index without bounds checks; this is what makes that sound. Dtype and extent of the view are those
/// of its buffer.
#[inline]
pub(crate) fn check(view: &View<'_, CpuBuffer>) -> Result<()> {
    match within(view.buffer, view.layout, view.dtype) {
        true => Ok(()),
        false => Err(foreign_view(view.buffer, view.meta())),
    }
}

#[inline(always)]
fn within(buffer: &CpuBuffer, layout: &gradus_tensor_core::Layout, dtype: gradus_tensor_core::DType) -> bool {
    dtype == buffer.dtype() && (layout.covers(buffer.len()) || layout.span().end <= buffer.len())
}

#[cold]
fn foreign_view(buffer: &CpuBuffer, view: Meta) -> Error {
    let (dtype, len) = (buffer.dtype(), buffer.len());
    Error::argument("execute", format!("a view {view} does not lie in its buffer of {len} {dtype} elements"))
}

/// Whether shapes and dtypes fit the op. The device has checked them already; kernels may be reached without it.
#[inline]
fn fits(op: &Op, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Result<bool> {
    Ok(match (op, inputs, out) {
        // The common cases without the cost of inference.
        (Op::Unary(op), [x], [out]) => {
            x.dtype == out.dtype
                && x.layout.shape() == &out.shape
                && (x.dtype.is_float()
                    || x.dtype.is_int() && op.takes_int()
                    || matches!(op, gradus_tensor_core::UnaryOp::Not))
        }
        (Op::Binary(op), [a, b], [out]) => {
            a.dtype == out.dtype
                && b.dtype == out.dtype
                && op.takes(a.dtype)
                && a.layout.shape() == &out.shape
                && b.layout.shape() == &out.shape
        }
        (Op::Custom(_), ..) => true,
        _ => {
            let metas: SmallVec<[Meta; 4]> = inputs.iter().map(View::meta).collect();
            op.infer(&metas)?.as_slice() == out
        }
    })
}
