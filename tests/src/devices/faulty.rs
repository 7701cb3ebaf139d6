//! A device that fails when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus_tensor_core::{Device, Error, HostArray, InPlaceOp, Layout, Op, Result, Storage, Tensor, Tensors};

use super::{Decorated, Decorator};

/// Makes one call to a device fail as if memory had run out: for tests of what is left behind. Clones share
/// their count, so a test keeps one and gives another to the device.
#[derive(Clone, Debug, Default)]
pub struct Faulty(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Uploads and ops since the last reset.
    calls: AtomicUsize,
    /// The number of the call that fails, from 1; 0 for none.
    fails: AtomicUsize,
}

impl Faulty {
    /// A decorator that lets everything pass.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device around another that fails when this says so.
    pub fn around(&self, inner: &Device) -> Device {
        Decorated::around(inner, self.clone())
    }

    /// Counts from 0 again, and makes the `n`-th call from now fail: 1 is the next one.
    pub fn fail_at(&self, n: usize) {
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.fails.store(n, Ordering::SeqCst);
    }

    /// Counts from 0 again and lets everything pass.
    pub fn heal(&self) {
        self.fail_at(0);
    }

    /// The uploads and ops since [`Faulty::fail_at`] or [`Faulty::heal`].
    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn call(&self, device: &Device) -> Result<()> {
        let number = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        if number != self.0.fails.load(Ordering::SeqCst) {
            return Ok(());
        }
        let memory = device.memory();
        Err(Error::OutOfMemory {
            requested: usize::MAX,
            allocated: memory.allocated,
            cached: memory.cached,
            backend: format!("faulty({})", device.name()),
        })
    }
}

impl Decorator for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn upload(&self, inner: &Device, host: &HostArray) -> Result<Tensor> {
        self.call(inner)?;
        inner.upload(host)
    }

    fn execute(&self, inner: &Device, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        self.call(inner)?;
        inner.execute(op, inputs)
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        if let Some(target) = targets.first() {
            self.call(target.device())?;
        }
        op.run_at_layouts(targets, layouts, inputs)
    }
}
