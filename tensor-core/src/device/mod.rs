//! Devices: backends with their type erased, and the one path every op takes.

mod each;
mod erased;

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use self::each::{try_with_each, with_each};
use self::erased::ErasedBackend;
pub(crate) use self::erased::Target;
use crate::storage::{Erased, Storage, Storages};
use crate::{
    Backend, DType, DTypes, Error, Few, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op, Outcome, Result,
    Shape, Tensor, View,
};

/// The outputs of one op; almost always one.
pub type Tensors = SmallVec<[Tensor; 1]>;

/// A place where tensors live and ops run: any [`Backend`], without its type. Cloning is cheap.
#[derive(Clone)]
pub struct Device(Arc<dyn ErasedBackend>);

impl Device {
    /// A device that runs ops on this backend.
    pub fn new(backend: impl Backend) -> Self {
        Device(Arc::new(backend))
    }

    /// The backend's name.
    pub fn name(&self) -> String {
        self.0.name()
    }

    /// The backend, if it is of this type.
    pub fn backend<B: Backend>(&self) -> Option<&B> {
        self.0.as_any().downcast_ref()
    }

    /// The device that this one is built around, if it is a capability around another device.
    pub fn inner(&self) -> Option<&Device> {
        self.0.inner()
    }

    /// The device at the bottom: the one that computes.
    pub fn innermost(&self) -> &Device {
        let mut device = self;
        while let Some(inner) = device.inner() {
            device = inner;
        }
        device
    }

    /// Waits until everything executed so far is done.
    ///
    /// # Errors
    /// The device failed.
    pub fn synchronize(&self) -> Result<()> {
        self.0.synchronize()
    }

    /// Memory in use.
    pub fn memory(&self) -> MemoryStats {
        self.0.memory()
    }

    /// Copies an array from the host.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn upload(&self, host: &HostArray) -> Result<Tensor> {
        let buffer = self.0.upload(host)?;
        let storage = Storage { buffer, len: host.len(), dtype: host.dtype(), device: self.clone() };
        Ok(Tensor { storage, layout: Layout::contiguous(*host.shape()) })
    }

    pub(crate) fn download(&self, from: &Tensor) -> Result<HostArray> {
        self.0.download(from)
    }

    /// Runs an op here: casts the operands if the backend wants them in other dtypes, checks them, asks the
    /// backend to execute it, and decomposes it if the backend does not know it. Operands on a device that this
    /// one is built around are adopted. Outputs are contiguous.
    ///
    /// # Errors
    /// What [`Op::infer`] and the backend return; [`Error::Device`] for operands that live elsewhere.
    pub fn execute(&self, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        self.execute_with(op, inputs, |storages, outputs, _| {
            let tensor = |(storage, meta): (Storage, &Meta)| Tensor {
                storage,
                layout: Layout::contiguous(meta.shape),
            };
            Ok(storages.into_iter().zip(outputs).map(tensor).collect())
        })
    }

    /// The first output of [`Device::execute`], with fewer copies on the way.
    pub(crate) fn execute_first(&self, op: &Op, inputs: &[&Tensor]) -> Result<Tensor> {
        self.execute_with(op, inputs, |storages, outputs, inputs| match (storages.into_first(), outputs) {
            (Some(storage), [meta, ..]) => Ok(Tensor { storage, layout: contiguous(&meta.shape, inputs) }),
            _ => Err(Error::argument(op.name(), "the op has no output")),
        })
    }

    /// Runs an op and calls a function with what was made, what was expected and the operands as they were read.
    #[inline]
    fn execute_with<R>(
        &self,
        op: &Op,
        inputs: &[&Tensor],
        then: impl FnOnce(Storages, &[Meta], &[&Tensor]) -> Result<R>,
    ) -> Result<R> {
        let (cast, casts);
        let inputs = match with_each(inputs, |t| t.dtype(), |dtypes| self.operand_dtypes(op, dtypes)) {
            None => inputs,
            Some(wanted) => {
                cast = self.cast_operands(op, inputs, &wanted)?;
                casts = cast.iter().collect::<SmallVec<[&Tensor; 4]>>();
                &casts[..]
            }
        };
        // Read where they lie: taken out of the result, they would be copied.
        match with_each(inputs, |t| t.meta(), |metas| op.infer(metas)) {
            Ok(ref outputs) => {
                for output in outputs {
                    // Expanded operands can promise more than memory can address.
                    output.shape.check()?;
                }
                then(self.execute_inferred(op, inputs, outputs)?, outputs, inputs)
            }
            Err(error) => Err(error),
        }
    }

    #[inline(never)]
    fn cast_operands(&self, op: &Op, inputs: &[&Tensor], wanted: &[DType]) -> Result<SmallVec<[Tensor; 4]>> {
        let cast = |(tensor, dtype): (&&Tensor, &DType)| {
            if tensor.dtype() == *dtype {
                return Ok((*tensor).clone());
            }
            let here = self.lift(tensor)?.ok_or_else(|| self.elsewhere(op, &tensor.storage))?;
            self.cast_view(&here, *dtype)
        };
        inputs.iter().zip(wanted).map(cast).collect()
    }

    /// The same view in another dtype. Where the buffer holds nothing else, all of it is cast, so that the view
    /// keeps its layout and a repeated element is cast once.
    fn cast_view(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
        let cast = |tensor: &Tensor| self.execute_first(&Op::Cast(dtype), &[tensor]);
        let core = tensor.layout.collapse(tensor.layout.broadcast_axes());
        if core.permutation_of(tensor.buffer_len()).is_some() {
            return Ok(cast(&tensor.flat())?.viewed(tensor.layout));
        }
        cast(&tensor.viewed(core))?.expand(tensor.shape())
    }

    #[inline(always)]
    fn execute_inferred(&self, op: &Op, inputs: &[&Tensor], outputs: &[Meta]) -> Result<Storages> {
        let made = if inputs.iter().all(|t| t.storage.device.is(self)) {
            with_each(inputs, |t| t.view(), |views| self.0.execute(op, views, outputs))
        } else {
            self.0.execute_adopting(self, op, inputs, outputs)
        };
        self.stored(op, outputs, made, || inputs.iter().map(|t| (*t).clone()).collect())
    }

    /// The storages of what the backend made, or of what the op decomposes into.
    #[inline(always)]
    fn stored(
        &self,
        op: &Op,
        outputs: &[Meta],
        made: Result<Outcome<Few<Erased>>>,
        inputs: impl FnOnce() -> SmallVec<[Tensor; 4]>,
    ) -> Result<Storages> {
        match made {
            Ok(Outcome::Done(buffers)) => {
                self.storages(buffers, outputs).ok_or_else(|| self.miscounted(op, outputs))
            }
            Ok(Outcome::Unsupported) => self.decompose(op, inputs(), outputs),
            Err(error) => Err(error),
        }
    }

    /// The storages of these outputs, unless there are more or fewer buffers.
    #[inline(always)]
    fn storages(&self, buffers: Few<Erased>, outputs: &[Meta]) -> Option<Storages> {
        let storage = |(buffer, meta): (Erased, &Meta)| {
            let (len, dtype) = (meta.shape.numel(), meta.dtype);
            Storage { buffer, device: self.clone(), len, dtype }
        };
        match (buffers, outputs) {
            (Few::One(buffer), [meta]) => Some(Few::One(storage((buffer, meta)))),
            (buffers, _) if buffers.len() != outputs.len() => None,
            (buffers, _) => Some(buffers.into_iter().zip(outputs).map(storage).collect()),
        }
    }

    #[cold]
    fn miscounted(&self, op: &Op, outputs: &[Meta]) -> Error {
        let message = format!("{} did not return {} outputs, as the op has", self.name(), outputs.len());
        Error::shape(op.name(), &[], message)
    }

    /// Whether both are handles of one backend value.
    #[inline]
    fn is(&self, other: &Device) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// [`Device::execute`] for operands whose storages are all here and for outputs that [`Op::infer`] has
    /// described already: what a backend around this device calls from its own [`Backend::execute`], without
    /// making a tensor of each operand. `storage` finds the storage of this device in its buffers. The storages
    /// returned hold the outputs, contiguous and whole. What the views reach and whether they fit the op is not checked
    /// here.
    ///
    /// # Errors
    /// What the backend returns; [`Error::Device`] for storages that live elsewhere.
    #[inline]
    pub fn execute_views<'a, B>(
        &self,
        op: &Op,
        inputs: &[View<'a, B>],
        storage: impl Fn(&B) -> &Storage,
        outputs: &[Meta],
    ) -> Result<Storages> {
        let here = |storage: &Storage| storage.device.is(self) || storage.device == *self;
        let inside =
            |view: &View<'a, B>| Some(storage(view.buffer)).filter(|s| here(s)).map(|s| s.view(view.layout));
        let missing = |view: &View<'a, B>| self.elsewhere(op, storage(view.buffer));
        let made = try_with_each(inputs, inside, missing, |views| self.0.execute(op, views, outputs));
        let tensor = |v: &View<'a, B>| Tensor { storage: storage(v.buffer).clone(), layout: *v.layout };
        self.stored(op, outputs, made, || inputs.iter().map(tensor).collect())
    }

    #[cold]
    fn elsewhere(&self, op: &Op, storage: &Storage) -> Error {
        Error::Device { op: op.name(), left: self.name(), right: storage.device.name() }
    }

    #[inline(never)]
    fn decompose(&self, op: &Op, inputs: SmallVec<[Tensor; 4]>, outputs: &[Meta]) -> Result<Storages> {
        let metas = || inputs.iter().map(Tensor::meta).collect::<Vec<_>>();
        let made = op.decompose(&inputs).ok_or_else(|| Error::Unsupported {
            op: op.name(),
            backend: self.name(),
            operands: metas(),
        })??;
        if made.iter().map(Tensor::meta).ne(outputs.iter().copied()) {
            return Err(Error::shape(
                op.name(),
                &metas(),
                format!(
                    "the decomposition made {:?} instead of {outputs:?}",
                    made.iter().map(Tensor::meta).collect::<Vec<_>>()
                ),
            ));
        }
        // An output that is only a view, or made of no operand (a zero gradient), still lives here and is whole.
        made.into_iter().map(|t| self.lift(&t)?.unwrap_or(t).into_whole()).collect()
    }

    /// The same tensor on this device, if its device is this one or one that this one is built around.
    ///
    /// # Errors
    /// A backend refuses to adopt it.
    pub fn lift(&self, tensor: &Tensor) -> Result<Option<Tensor>> {
        Ok(self.lift_storage(&tensor.storage)?.map(|storage| Tensor { storage, layout: tensor.layout }))
    }

    pub(crate) fn lift_storage(&self, storage: &Storage) -> Result<Option<Storage>> {
        if *self == storage.device {
            return Ok(Some(Storage { device: self.clone(), ..storage.clone() }));
        }
        let Some(inside) = self.inside(storage)? else { return Ok(None) };
        let (len, dtype) = (inside.len, inside.dtype);
        let buffer = self.0.adopt(inside)?;
        Ok(Some(Storage { buffer, len, dtype, device: self.clone() }))
    }

    /// The storage on the device that this one is built around, if it lives there or further inside.
    fn inside(&self, storage: &Storage) -> Result<Option<Storage>> {
        match self.inner() {
            // The commonest case first: a plain operand meets a tracked one.
            Some(inner) if inner.is(&storage.device) => Ok(Some(storage.clone())),
            Some(inner) => inner.lift_storage(storage),
            None => Ok(None),
        }
    }

    /// The device on which tensors of both can meet: the same, or the one that is built around the other.
    pub fn common<'a>(&'a self, other: &'a Device) -> Option<&'a Device> {
        if self.inner().is_some_and(|inner| inner.is(other)) || self == other || self.is_around(other) {
            Some(self)
        } else {
            other.is_around(self).then_some(other)
        }
    }

    fn is_around(&self, other: &Device) -> bool {
        self.inner().is_some_and(|inner| inner == other || inner.is_around(other))
    }

    /// The dtypes in which this device wants the operands of an op: see [`Backend::operand_dtypes`].
    pub fn operand_dtypes(&self, op: &Op, inputs: &[DType]) -> Option<DTypes> {
        self.0.operand_dtypes(op, inputs)
    }

    /// Whether matrix products of this dtype are at least as fast here as those of `f32`.
    pub fn accelerates(&self, dtype: DType) -> bool {
        self.0.accelerates(dtype)
    }

    /// The same tensor on the device inside this one, without what this one adds to it.
    pub(crate) fn release(&self, tensor: &Tensor) -> Result<Tensor> {
        self.0.release(tensor)
    }

    /// Moves a tensor of this device to another one in a way this backend knows.
    pub(crate) fn transfer(&self, tensor: &Tensor, to: &Device) -> Result<Option<Tensor>> {
        self.0.transfer(tensor, to)
    }

    /// Asks the backend to change the targets; false if it does not know how.
    pub(crate) fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [Target<'_>],
        inputs: &[&Tensor],
    ) -> Result<bool> {
        Ok(matches!(self.0.execute_in_place(op, targets, inputs)?, Outcome::Done(())))
    }
}

impl Op {
    /// Runs the op on the device where its operands meet.
    ///
    /// # Errors
    /// As [`Device::execute`]; an op without operands needs a device: use [`Device::execute`].
    pub fn run(&self, inputs: &[&Tensor]) -> Result<Tensors> {
        self.meeting(inputs)?.execute(self, inputs)
    }

    /// Runs an op of one output, or of which only the first is wanted.
    ///
    /// # Errors
    /// As [`Op::run`].
    pub fn run1(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        self.meeting(inputs)?.execute_first(self, inputs)
    }

    /// The device where operands meet.
    fn meeting<'a>(&self, inputs: &[&'a Tensor]) -> Result<&'a Device> {
        let Some((first, others)) = inputs.split_first() else {
            return Err(Error::argument(self.name(), "an op without operands must be told its device"));
        };
        let mut device = first.device();
        for tensor in others {
            if !device.is(tensor.device()) {
                device = device.common(tensor.device()).ok_or_else(|| Error::Device {
                    op: self.name(),
                    left: device.name(),
                    right: tensor.device().name(),
                })?;
            }
        }
        Ok(device)
    }
}

/// The contiguous layout of an output. Where an operand has it, as in every element-wise op, copying it takes less time
/// than multiplying sizes.
#[inline]
fn contiguous(shape: &Shape, inputs: &[&Tensor]) -> Layout {
    match inputs {
        [x, ..] if x.layout.is_row_major(shape) => x.layout,
        _ => Layout::contiguous(*shape),
    }
}

impl PartialEq for Device {
    /// Whether tensors of both can be used together without moving them.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.equals(&*other.0)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.name())
    }
}
