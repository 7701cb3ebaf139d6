//! Devices around devices, for tests.
//!
//! A capability of this project is a backend around a backend; so is a test double. [`Decorated`] is such a
//! backend with the plumbing done: it passes every call on to an inner device, through a [`Decorator`] that
//! may look, count, compare or refuse. Three come with it:
//!
//! - [`Faulty`] refuses the n-th call, as a device that runs out of memory does;
//! - [`Counting`] counts calls by op;
//! - [`Compared`] runs every op on a second device too and stops at the first op where they differ.
//!
//! ```
//! use gradus_tensor_core::{DType, Tensor};
//! use gradus_testkit::{Reference, devices::Counting};
//! let counting = Counting::new();
//! let device = counting.around(&Reference::device());
//! Tensor::ones([2, 3], DType::F32, &device)?.softmax(1)?;
//! assert_eq!(counting.of("softmax"), 1);
//! # Ok::<(), gradus_tensor_core::Error>(())
//! ```

mod compared;
mod counting;
mod faulty;

use std::fmt::Debug;

use gradus_tensor_core::{
    Backend, Buffers, Device, Error, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op, Outcome, Result,
    Storage, Tensor, Tensors, View, ViewMut,
};

pub use compared::{Compared, Difference};
pub use counting::Counting;
pub use faulty::Faulty;

/// What happens around the calls to a device. By default nothing: each is passed on.
pub trait Decorator: Debug + Send + Sync + 'static {
    /// A word for it, as in `faulty(reference)`.
    fn name(&self) -> &'static str;

    /// Copies an array from the host.
    ///
    /// # Errors
    /// The device's, or the decorator's own.
    fn upload(&self, inner: &Device, host: &HostArray) -> Result<Tensor> {
        inner.upload(host)
    }

    /// Copies a tensor to the host.
    ///
    /// # Errors
    /// The device's, or the decorator's own.
    fn download(&self, tensor: &Tensor) -> Result<HostArray> {
        tensor.to_host()
    }

    /// Executes an op.
    ///
    /// # Errors
    /// The device's, or the decorator's own.
    fn execute(&self, inner: &Device, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        inner.execute(op, inputs)
    }

    /// Executes an op that changes targets, each through a layout.
    ///
    /// # Errors
    /// The device's, or the decorator's own.
    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        op.run_at_layouts(targets, layouts, inputs)
    }
}

/// A backend that passes every call on to an inner device, through a [`Decorator`].
#[derive(Debug)]
pub struct Decorated<D> {
    inner: Device,
    decorator: D,
}

impl<D: Decorator> Decorated<D> {
    /// A device around another.
    pub fn around(inner: &Device, decorator: D) -> Device {
        Device::new(Decorated { inner: inner.clone(), decorator })
    }
}

/// The inner tensor that a view reads. Buffers are storages of the inner device.
fn inside(view: &View<'_, Storage>) -> Result<Tensor> {
    view.buffer.tensor(*view.layout)
}

impl<D: Decorator> Backend for Decorated<D> {
    type Buffer = Storage;

    fn name(&self) -> String {
        format!("{}({})", self.decorator.name(), self.inner.name())
    }

    fn upload(&self, host: &HostArray) -> Result<Storage> {
        self.decorator.upload(&self.inner, host)?.into_whole()
    }

    fn download(&self, from: View<'_, Storage>) -> Result<HostArray> {
        self.decorator.download(&inside(&from)?)
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Storage>],
        _: &[Meta],
    ) -> Result<Outcome<Buffers<Storage>>> {
        let inputs: Vec<Tensor> = inputs.iter().map(inside).collect::<Result<_>>()?;
        let outputs = self.decorator.execute(&self.inner, op, &inputs.iter().collect::<Vec<_>>())?;
        Ok(Outcome::Done(outputs.into_iter().map(Tensor::into_whole).collect::<Result<_>>()?))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Storage>],
        inputs: &[View<'_, Storage>],
    ) -> Result<Outcome<()>> {
        let inputs: Vec<Tensor> = inputs.iter().map(inside).collect::<Result<_>>()?;
        let layouts: Vec<Layout> = targets.iter().map(|t| *t.layout).collect();
        let mut buffers: Vec<&mut Storage> = targets.iter_mut().map(|t| &mut *t.buffer).collect();
        self.decorator.execute_in_place(op, &mut buffers, &layouts, &inputs.iter().collect::<Vec<_>>())?;
        Ok(Outcome::Done(()))
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn memory(&self) -> MemoryStats {
        self.inner.memory()
    }

    fn inner(&self) -> Option<&Device> {
        Some(&self.inner)
    }

    fn adopt(&self, storage: Storage) -> Result<Storage> {
        match storage.device() == &self.inner {
            true => Ok(storage),
            false => {
                Err(Error::Device { op: "adopt", left: Backend::name(self), right: storage.device().name() })
            }
        }
    }

    fn release(&self, tensor: View<'_, Storage>) -> Result<Tensor> {
        inside(&tensor)
    }
}
