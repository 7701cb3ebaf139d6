//! `Reference`: the executable definition of every primitive, and a tutorial for authors of backends.
//!
//! # How to write a backend
//!
//! A backend is a type that implements [`Backend`]. Four things make it complete:
//!
//! 1. **A buffer**: memory that holds a flat run of elements of one dtype and is freed when dropped. Here
//!    it is [`Buffer`], a vector of doubles or of 64-bit integers, whatever the dtype: every value is first
//!    rounded to what the dtype can hold, so nothing is gained or lost.
//! 2. **`upload` and `download`**: a host array goes in, a view comes out.
//! 3. **`execute`**: one `match` over [`Op`]. The arms below are all that is required, because every other
//!    op decomposes into these; answer [`Outcome::Unsupported`] to the rest, and add arms later for what
//!    you can do faster. Shapes, dtypes and axes were checked before you are called and `outputs` says
//!    what to make, so no kernel ever validates or infers anything. What remains to check are values: an
//!    index out of range, an integer divided by zero.
//! 4. **`execute_in_place`**: `Write` and `Accumulate` through a layout.
//!
//! **Operands are views.** Element `i` of a view, in row-major order, lies at the `i`-th of
//! `layout.positions()` in its buffer. Transposes, slices, flips, broadcasts and windows are nothing but
//! layouts; a kernel that reads through positions is right for all of them. ([`Layout::simplified`] and
//! [`Layout::runs`] are there for when it must be fast.) Outputs are new buffers, always contiguous.
//!
//! **Numbers.** Floats are computed in double precision and rounded once into the output's dtype, integers
//! in `i64`, wrapped. A real backend rounds more often: [`conformance!`](crate::conformance!) knows how much each
//! op may differ. When it passes, models train on your backend.
//!
//! The element-wise definitions themselves ([`UnaryOp::eval`], [`BinaryOp::eval`], [`ReduceKind::eval`])
//! belong to the ops; here they are only walked over memory.
//!
//! [`Layout::simplified`]: gradus_tensor_core::Layout::simplified
//! [`Layout::runs`]: gradus_tensor_core::Layout::runs
//! [`UnaryOp::eval`]: gradus_tensor_core::UnaryOp::eval
//! [`BinaryOp::eval`]: gradus_tensor_core::BinaryOp::eval
//! [`ReduceKind::eval`]: gradus_tensor_core::ReduceKind::eval

mod along;
mod buffer;
mod create;
mod elementwise;
mod index;
mod matmul;

use gradus_tensor_core::{
    Backend, Buffers, Device, HostArray, InPlaceOp, MemoryStats, Meta, Op, Outcome, Result, View, ViewMut,
};

pub use buffer::Buffer;
use buffer::{Meter, Values};

/// The naive backend that defines every primitive. Slow and readable; equal to itself only.
#[derive(Debug, Default)]
pub struct Reference {
    meter: Meter,
}

/// An operand of the reference.
type Operand<'a> = View<'a, Buffer>;

impl Reference {
    /// A new device with a memory count of its own.
    pub fn device() -> Device {
        Device::new(Reference::default())
    }
}

impl Backend for Reference {
    type Buffer = Buffer;

    fn name(&self) -> String {
        "reference".into()
    }

    fn upload(&self, host: &HostArray) -> Result<Buffer> {
        Ok(self.meter.buffer(Values::from_host(host), host.dtype()))
    }

    fn download(&self, from: Operand<'_>) -> Result<HostArray> {
        Values::of(from).to_host(from.meta())
    }

    fn execute(&self, op: &Op, x: &[Operand<'_>], out: &[Meta]) -> Result<Outcome<Buffers<Buffer>>> {
        let dtype = out[0].dtype;
        let values = match op {
            Op::Fill(op) => create::fill(op),
            Op::Arange(op) => create::arange(op),
            Op::Random(op) => create::random(op),
            Op::Copy => Values::of(x[0]),
            Op::Cast(to) => Values::of(x[0]).cast(*to),
            Op::Unary(op) => elementwise::unary(*op, x[0]),
            Op::Binary(op) => elementwise::binary(*op, x[0], x[1])?,
            Op::Compare(op) => elementwise::compare(*op, x[0], x[1]),
            Op::Select => elementwise::select(x[0], x[1], x[2]),
            Op::Reduce(op) => along::reduce(op, x[0], dtype),
            Op::ArgReduce(op) => along::arg_reduce(op, x[0]),
            Op::Scan(op) => along::scan(op, x[0], dtype),
            Op::Sort(op) => {
                let (values, positions) = along::sort(op, x[0]);
                let values = self.meter.buffer(values, dtype);
                let positions = self.meter.buffer(positions, out[1].dtype);
                return Ok(Outcome::Done(Buffers::from_iter([values, positions])));
            }
            Op::MatMul => matmul::matmul(x[0], x[1], dtype),
            Op::Gather { axis } => index::gather(*axis, x[0], x[1])?,
            Op::ScatterAdd { axis } => index::scatter_add(*axis, x[0], x[1], x[2])?,
            Op::Concat { axis } => index::concat(*axis, x),
            _ => return Ok(Outcome::Unsupported),
        };
        Ok(Outcome::Done(Buffers::from(self.meter.buffer(values, dtype))))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Buffer>],
        inputs: &[Operand<'_>],
    ) -> Result<Outcome<()>> {
        match (op, targets, inputs) {
            (InPlaceOp::Write, [target], [source]) => index::write(target, *source),
            (InPlaceOp::Accumulate, [target], [source]) => index::accumulate(target, *source),
            _ => return Ok(Outcome::Unsupported),
        }
        Ok(Outcome::Done(()))
    }

    fn memory(&self) -> MemoryStats {
        self.meter.stats()
    }
}
