//! A device that counts.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use gradus_tensor_core::{Device, HostArray, InPlaceOp, Layout, Op, Result, Storage, Tensor, Tensors};

use super::{Decorated, Decorator};

/// Counts the calls to a device by the op's name (`upload` and `download` among them). Clones share their
/// counts.
#[derive(Clone, Debug, Default)]
pub struct Counting(Arc<Mutex<BTreeMap<&'static str, usize>>>);

impl Counting {
    /// A decorator that has counted nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// A device around another whose calls this counts.
    pub fn around(&self, inner: &Device) -> Device {
        Decorated::around(inner, self.clone())
    }

    /// The counts since the last time this was called, which starts them anew.
    pub fn take(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The number of calls of one name.
    pub fn of(&self, name: &str) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).copied().unwrap_or(0)
    }

    /// The number of calls of all names.
    pub fn total(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    fn count(&self, name: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }
}

impl Decorator for Counting {
    fn name(&self) -> &'static str {
        "counting"
    }

    fn upload(&self, inner: &Device, host: &HostArray) -> Result<Tensor> {
        self.count("upload");
        inner.upload(host)
    }

    fn download(&self, tensor: &Tensor) -> Result<HostArray> {
        self.count("download");
        tensor.to_host()
    }

    fn execute(&self, inner: &Device, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        self.count(op.name());
        inner.execute(op, inputs)
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        self.count(op.name());
        op.run_at_layouts(targets, layouts, inputs)
    }
}
