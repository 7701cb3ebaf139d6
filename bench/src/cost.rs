//! What a step costs: the ops it executes are counted on their way to the device.

use std::sync::{Arc, Mutex, PoisonError};

use gradus_tensor_core::{Device, InPlaceOp, Layout, Meta, Op, Result, Storage, Tensor, Tensors};
use gradus_testkit::devices::{Decorated, Decorator};

/// Operations by the type they compute in, and traffic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Floating-point operations in `f32`.
    pub f32: u64,
    /// Those of products in half precision.
    pub bf16: u64,
    /// Operations of products of bytes.
    pub int8: u64,
    /// Bytes that are read, if every op reads its operands from memory.
    pub read: u64,
    /// Bytes that are written, if every op writes its outputs there.
    pub written: u64,
}

impl Work {
    /// All operations.
    pub fn flops(&self) -> u64 {
        self.f32 + self.bf16 + self.int8
    }

    /// All bytes.
    pub fn bytes(&self) -> u64 {
        self.read + self.written
    }

    /// What share of the bytes is written.
    pub fn written_share(&self) -> f64 {
        self.written as f64 / self.bytes().max(1) as f64
    }
}

/// Counts the cost of every op.
#[derive(Clone, Debug, Default)]
pub struct Costs(Arc<Mutex<Work>>);

impl Costs {
    /// A device around another whose ops this counts.
    pub fn around(&self, inner: &Device) -> Device {
        Decorated::around(inner, self.clone())
    }

    /// What was counted since the last time this was called.
    pub fn take(&self) -> Work {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, count: impl FnOnce(&mut Work)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whether an op is a product, which half precision has instructions for.
fn is_product(op: &Op) -> bool {
    use Op::*;
    matches!(
        op,
        MatMul
            | Linear(_)
            | Conv(_)
            | ConvBackwardInput { .. }
            | ConvBackwardWeight { .. }
            | Attention(_)
            | AttentionGrad(_)
            | Lstm
            | LstmGrad
            | Gru
            | GruGrad
    )
}

impl Decorator for Costs {
    fn name(&self) -> &'static str {
        "costs"
    }

    fn execute(&self, inner: &Device, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        let metas: Vec<Meta> = inputs.iter().map(|x| x.meta()).collect();
        let cost = op.cost(&metas);
        let size = match &metas[..] {
            // Its input becomes integers when it comes.
            [_, weight, ..] if matches!(op, Op::LinearDynamic) => weight.dtype.size(),
            [first, ..] if is_product(op) => first.dtype.size(),
            _ => 4,
        };
        self.add(|work| {
            let flops = match size {
                1 => &mut work.int8,
                2 => &mut work.bf16,
                _ => &mut work.f32,
            };
            *flops += cost.flops;
        });
        let outputs = inner.execute(op, inputs)?;
        let written = outputs.iter().map(|y| y.meta().bytes() as u64).sum::<u64>();
        self.add(|work| {
            work.read += cost.bytes.saturating_sub(written);
            work.written += written;
        });
        Ok(outputs)
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        let read = inputs.iter().map(|x| x.meta().bytes()).sum::<usize>();
        let changed = targets.iter().zip(layouts).map(|(t, l)| l.numel() * t.dtype().size()).sum::<usize>();
        self.add(|work| {
            work.read += (read + if matches!(op, InPlaceOp::Write) { 0 } else { changed }) as u64;
            work.written += changed as u64;
        });
        op.run_at_layouts(targets, layouts, inputs)
    }
}
