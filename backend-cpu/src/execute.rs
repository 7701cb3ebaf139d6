//! The dispatch: which kernel executes which op.

use gradus_tensor_core::{
    Backend, Buffers, Error, HostArray, InPlaceOp, MemoryStats, Meta, Op, Outcome, Result, View, ViewMut,
};

use crate::{Cpu, CpuBuffer, kernels};

/// What a kernel returns: its output buffers, or that the op must be decomposed.
pub(crate) type Done = Result<Outcome<Buffers<CpuBuffer>>>;

/// The result of an op of one output.
#[inline]
pub(crate) fn done(buffer: CpuBuffer) -> Done {
    Ok(Outcome::Done(Buffers::from_buf([buffer])))
}

impl Backend for Cpu {
    type Buffer = CpuBuffer;

    fn name(&self) -> String {
        format!("cpu ({}, {} thread{})", self.level(), self.threads(), if self.threads() == 1 { "" } else { "s" })
    }

    fn upload(&self, host: &HostArray) -> Result<CpuBuffer> {
        kernels::host::upload(self, host)
    }

    fn download(&self, from: View<'_, CpuBuffer>) -> Result<HostArray> {
        check(&from)?;
        kernels::host::download(self, &from)
    }

    fn execute(&self, op: &Op, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
        for view in inputs {
            check(view)?;
        }
        verify(op, inputs, out)?;
        match op {
            Op::Fill(fill) => kernels::create::fill(self, fill, &out[0]),
            Op::Arange(_) => Ok(Outcome::Unsupported),
            Op::Random(_) => Ok(Outcome::Unsupported),
            Op::Cast(_) => Ok(Outcome::Unsupported),
            Op::Copy => kernels::copy::copy(self, &inputs[0]),
            Op::Unary(op) => kernels::unary::unary(self, *op, &inputs[0]),
            Op::Binary(op) => kernels::binary::binary(self, *op, &inputs[0], &inputs[1]),
            Op::Compare(_) => Ok(Outcome::Unsupported),
            Op::Select => Ok(Outcome::Unsupported),
            Op::Reduce(_) => Ok(Outcome::Unsupported),
            Op::ArgReduce(_) => Ok(Outcome::Unsupported),
            Op::Scan(_) => Ok(Outcome::Unsupported),
            Op::Sort(_) => Ok(Outcome::Unsupported),
            Op::MatMul => kernels::matmul::matmul(self, &inputs[0], &inputs[1], &out[0]),
            Op::Gather { .. } => Ok(Outcome::Unsupported),
            Op::ScatterAdd { .. } => Ok(Outcome::Unsupported),
            Op::Concat { .. } => Ok(Outcome::Unsupported),
            Op::UnaryGrad(_) => Ok(Outcome::Unsupported),
            Op::IndexSelect { .. } => Ok(Outcome::Unsupported),
            Op::IndexAdd { .. } => Ok(Outcome::Unsupported),
            Op::Linear => kernels::matmul::linear(self, inputs, &out[0]),
            Op::Softmax(_) => Ok(Outcome::Unsupported),
            Op::SoftmaxGrad(_) => Ok(Outcome::Unsupported),
            Op::Norm(_) => Ok(Outcome::Unsupported),
            Op::NormGrad(_) => Ok(Outcome::Unsupported),
            Op::Conv(_) => Ok(Outcome::Unsupported),
            Op::ConvBackwardInput { .. } => Ok(Outcome::Unsupported),
            Op::ConvBackwardWeight { .. } => Ok(Outcome::Unsupported),
            Op::Pool(_) => Ok(Outcome::Unsupported),
            Op::PoolGrad { .. } => Ok(Outcome::Unsupported),
            Op::CrossEntropy(_) => Ok(Outcome::Unsupported),
            Op::CrossEntropyGrad(_) => Ok(Outcome::Unsupported),
            Op::Attention(_) => Ok(Outcome::Unsupported),
            Op::AttentionGrad(_) => Ok(Outcome::Unsupported),
            Op::Dropout { .. } => Ok(Outcome::Unsupported),
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
        let _ = (op, targets, inputs);
        Ok(Outcome::Unsupported)
    }

    fn memory(&self) -> MemoryStats {
        self.stats()
    }
}

/// Kernels index without bounds checks; this is what makes that sound. Dtype and extent of the view are those
/// of its buffer.
#[inline]
pub(crate) fn check(view: &View<'_, CpuBuffer>) -> Result<()> {
    within(view.buffer, view.layout, view.dtype)
}

#[inline]
fn within(
    buffer: &CpuBuffer,
    layout: &gradus_tensor_core::Layout,
    dtype: gradus_tensor_core::DType,
) -> Result<()> {
    if dtype == buffer.dtype() && (layout.covers(buffer.len()) || layout.span().end <= buffer.len()) {
        Ok(())
    } else {
        Err(foreign_view(buffer, layout.meta(dtype)))
    }
}

#[cold]
fn foreign_view(buffer: &CpuBuffer, view: Meta) -> Error {
    let (dtype, len) = (buffer.dtype(), buffer.len());
    Error::argument("execute", format!("a view {view} does not lie in its buffer of {len} {dtype} elements"))
}

/// Shapes and dtypes fit the op. The device has checked them already; kernels may be reached without it.
#[inline]
fn verify(op: &Op, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Result<()> {
    let ok = match (op, inputs, out) {
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
            let metas: smallvec::SmallVec<[Meta; 4]> = inputs.iter().map(View::meta).collect();
            op.infer(&metas)?.as_slice() == out
        }
    };
    if ok { Ok(()) } else { Err(Error::argument(op.name(), "the operands do not fit the op or its outputs")) }
}
