//! A backend from outside: the primitives, over arrays in host memory, and nothing more.
//!
//! Composite ops decompose into these, gradients are a backend around this one, so what is below is all it takes
//! to train. `tests/conformance.rs` proves it.
#![forbid(unsafe_code)]

mod along;
mod elements;
mod indexed;
mod wide;

use gradus_tensor_core::{
    Backend, Buffers, Device, HostArray, InPlaceOp, Meta, Op, Outcome, Result, View, ViewMut, with_dtype,
};

use wide::{read, wide, write};

/// Computes on plain vectors, one element after the other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

type Operand<'a> = View<'a, HostArray>;

impl Plain {
    /// The device. All of them are one.
    pub fn device() -> Device {
        Device::new(Plain)
    }
}

impl Backend for Plain {
    type Buffer = HostArray;

    fn name(&self) -> String {
        "plain".into()
    }

    fn upload(&self, host: &HostArray) -> Result<HostArray> {
        Ok(host.clone())
    }

    fn download(&self, from: Operand<'_>) -> Result<HostArray> {
        wide!(from.dtype, W => write(read::<W>(from)?, from.meta()))
    }

    fn execute(&self, op: &Op, x: &[Operand<'_>], out: &[Meta]) -> Result<Outcome<Buffers<HostArray>>> {
        let result = match op {
            Op::Fill(op) => with_dtype!(op.out.dtype, T => {
                HostArray::new(vec![op.value.to::<T>(); op.out.shape.numel()], op.out.shape)?
            }),
            Op::Arange(op) => write((0..op.out.shape.numel()).map(|i| op.eval(i)).collect(), out[0])?,
            Op::Random(op) => elements::random(op)?,
            Op::Cast(_) | Op::Copy => wide!(x[0].dtype, W => write(read::<W>(x[0])?, out[0]))?,
            Op::Unary(op) => wide!(x[0].dtype, W => elements::unary::<W>(*op, x[0], out[0]))?,
            Op::Binary(op) => wide!(x[0].dtype, W => elements::binary::<W>(*op, x[0], x[1], out[0]))?,
            Op::Compare(op) => wide!(x[0].dtype, W => elements::compare::<W>(*op, x[0], x[1], out[0]))?,
            Op::Select => wide!(x[1].dtype, W => elements::select::<W>(x[0], x[1], x[2], out[0]))?,
            Op::Reduce(op) => wide!(x[0].dtype, W => along::reduce::<W>(op, x[0], out[0]))?,
            Op::ArgReduce(op) => wide!(x[0].dtype, W => along::arg_reduce::<W>(op, x[0], out[0]))?,
            Op::Scan(op) => wide!(x[0].dtype, W => along::scan::<W>(op, x[0], out[0]))?,
            Op::Sort(op) => {
                let (values, places) = wide!(x[0].dtype, W => along::sort::<W>(op, x[0], out))?;
                return Ok(Outcome::Done(Buffers::from_iter([values, places])));
            }
            Op::MatMul => wide!(x[0].dtype, W => elements::matmul::<W>(x[0], x[1], out[0]))?,
            Op::Gather { axis } => wide!(x[0].dtype, W => indexed::gather::<W>(*axis, x[0], x[1], out[0]))?,
            Op::ScatterAdd { axis } => {
                wide!(x[0].dtype, W => indexed::scatter_add::<W>(*axis, x[0], x[1], x[2], out[0]))?
            }
            Op::Concat { axis } => wide!(x[0].dtype, W => indexed::concat::<W>(*axis, x, out[0]))?,
            _ => return Ok(Outcome::Unsupported),
        };
        Ok(Outcome::Done(Buffers::from(result)))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, HostArray>],
        x: &[Operand<'_>],
    ) -> Result<Outcome<()>> {
        match (op, targets, x) {
            (InPlaceOp::Write, [target], [source]) => {
                wide!(source.dtype, W => indexed::change::<W>(target, *source, |_, new| new))?
            }
            (InPlaceOp::Accumulate, [target], [source]) => {
                wide!(source.dtype, W => indexed::change::<W>(target, *source, wide::Wide::plus))?
            }
            _ => return Ok(Outcome::Unsupported),
        }
        Ok(Outcome::Done(()))
    }

    fn equals(&self, _: &Self) -> bool {
        true
    }
}
