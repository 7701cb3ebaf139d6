//! Devices: backends with their type erased, and the one path every op takes.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    Backend, Buffers, DType, DTypes, Error, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op, Outcome,
    Result, Tensor, View, ViewMut,
};

/// A buffer of some backend.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

/// The outputs of one op; almost always one.
pub type Tensors = SmallVec<[Tensor; 1]>;

/// A place where tensors live and ops run: any [`Backend`], without its type. Cloning is cheap.
#[derive(Clone)]
pub struct Device(Arc<dyn ErasedBackend>);

/// [`Backend`] without its buffer type; implemented for every backend and for nothing else.
trait ErasedBackend: fmt::Debug + Send + Sync {
    fn name(&self) -> String;
    fn upload(&self, host: &HostArray) -> Result<Erased>;
    fn download(&self, from: &Tensor) -> Result<HostArray>;
    fn execute(&self, op: &Op, inputs: &[&Tensor], out: &[Meta]) -> Result<Outcome<Buffers<Erased>>>;
    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [Target<'_>],
        inputs: &[&Tensor],
    ) -> Result<Outcome<()>>;
    fn synchronize(&self) -> Result<()>;
    fn memory(&self) -> MemoryStats;
    fn equals(&self, other: &dyn ErasedBackend) -> bool;
    fn inner(&self) -> Option<&Device>;
    fn adopt(&self, tensor: Tensor) -> Result<Erased>;
    fn release(&self, tensor: &Tensor) -> Result<Tensor>;
    fn operand_dtypes(&self, op: &Op, inputs: &[Meta]) -> Option<DTypes>;
    fn accelerates(&self, dtype: DType) -> bool;
    fn transfer(&self, tensor: &Tensor, to: &Device) -> Result<Option<Tensor>>;
    fn as_any(&self) -> &dyn Any;
}

/// A target of an in-place op: a buffer that nobody else holds, and where in it to write.
pub(crate) struct Target<'a> {
    pub(crate) buffer: &'a mut Erased,
    pub(crate) layout: Layout,
    pub(crate) dtype: DType,
}

fn view<B: Backend>(tensor: &Tensor) -> Result<View<'_, B::Buffer>> {
    let buffer = tensor.buffer.downcast_ref().ok_or_else(foreign)?;
    Ok(View { buffer, layout: &tensor.layout, dtype: tensor.dtype })
}

#[cold]
fn foreign() -> Error {
    Error::argument("execute", "a buffer of another backend reached this one")
}

impl<B: Backend> ErasedBackend for B {
    fn name(&self) -> String {
        Backend::name(self)
    }

    fn upload(&self, host: &HostArray) -> Result<Erased> {
        Ok(Arc::new(Backend::upload(self, host)?))
    }

    fn download(&self, from: &Tensor) -> Result<HostArray> {
        Backend::download(self, view::<B>(from)?)
    }

    fn execute(&self, op: &Op, inputs: &[&Tensor], out: &[Meta]) -> Result<Outcome<Buffers<Erased>>> {
        let mut views = SmallVec::<[View<'_, B::Buffer>; 4]>::new();
        for tensor in inputs {
            views.push(view::<B>(tensor)?);
        }
        Ok(match Backend::execute(self, op, &views, out)? {
            Outcome::Done(buffers) => {
                Outcome::Done(buffers.into_iter().map(|b| Arc::new(b) as Erased).collect())
            }
            Outcome::Unsupported => Outcome::Unsupported,
        })
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [Target<'_>],
        inputs: &[&Tensor],
    ) -> Result<Outcome<()>> {
        let mut views = SmallVec::<[ViewMut<'_, B::Buffer>; 4]>::new();
        for target in targets {
            let buffer = Arc::get_mut(target.buffer)
                .ok_or_else(|| Error::argument(op.name(), "the target's buffer is shared"))?
                .downcast_mut()
                .ok_or_else(foreign)?;
            views.push(ViewMut { buffer, layout: &target.layout, dtype: target.dtype });
        }
        let mut sources = SmallVec::<[View<'_, B::Buffer>; 2]>::new();
        for tensor in inputs {
            sources.push(view::<B>(tensor)?);
        }
        Backend::execute_in_place(self, op, &mut views, &sources)
    }

    fn synchronize(&self) -> Result<()> {
        Backend::synchronize(self)
    }

    fn memory(&self) -> MemoryStats {
        Backend::memory(self)
    }

    fn equals(&self, other: &dyn ErasedBackend) -> bool {
        other.as_any().downcast_ref::<B>().is_some_and(|other| Backend::equals(self, other))
    }

    fn inner(&self) -> Option<&Device> {
        Backend::inner(self)
    }

    fn adopt(&self, tensor: Tensor) -> Result<Erased> {
        Ok(Arc::new(Backend::adopt(self, tensor)?))
    }

    fn release(&self, tensor: &Tensor) -> Result<Tensor> {
        Backend::release(self, view::<B>(tensor)?)
    }

    fn operand_dtypes(&self, op: &Op, inputs: &[Meta]) -> Option<DTypes> {
        Backend::operand_dtypes(self, op, inputs)
    }

    fn accelerates(&self, dtype: DType) -> bool {
        Backend::accelerates(self, dtype)
    }

    fn transfer(&self, tensor: &Tensor, to: &Device) -> Result<Option<Tensor>> {
        Backend::transfer(self, view::<B>(tensor)?, to)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

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
        Ok(Tensor {
            buffer,
            layout: Layout::contiguous(*host.shape()),
            len: host.len(),
            dtype: host.dtype(),
            device: self.clone(),
        })
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
        if inputs.iter().all(|t| t.device == *self) {
            return self.execute_here(op, inputs);
        }
        let mut lifted = SmallVec::<[Tensor; 4]>::new();
        for tensor in inputs {
            lifted.push(self.lift(tensor)?.ok_or_else(|| Error::Device {
                op: op.name(),
                left: self.name(),
                right: tensor.device.name(),
            })?);
        }
        let refs: SmallVec<[&Tensor; 4]> = lifted.iter().collect();
        self.execute_here(op, &refs)
    }

    /// [`Device::execute`] for operands that are all here.
    fn execute_here(&self, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        let metas: SmallVec<[Meta; 4]> = inputs.iter().map(|t| t.meta()).collect();
        let Some(dtypes) = self.operand_dtypes(op, &metas) else { return self.run_here(op, inputs, &metas) };
        let mut cast = SmallVec::<[Tensor; 4]>::new();
        for (tensor, dtype) in inputs.iter().zip(dtypes) {
            cast.push(if tensor.dtype == dtype { (*tensor).clone() } else { self.cast_here(tensor, dtype)? });
        }
        let refs: SmallVec<[&Tensor; 4]> = cast.iter().collect();
        let metas: SmallVec<[Meta; 4]> = cast.iter().map(Tensor::meta).collect();
        self.run_here(op, &refs, &metas)
    }

    /// The same view in another dtype. Where the buffer holds nothing else, all of it is cast, so that the view
    /// keeps its layout and a repeated element is cast once.
    fn cast_here(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
        let cast = |tensor: &Tensor| {
            let operands = [tensor];
            first("cast", self.run_here(&Op::Cast(dtype), &operands, &[tensor.meta()])?)
        };
        let core = tensor.layout.collapse(tensor.layout.broadcast_axes());
        if core.permutation_of(tensor.len).is_some() {
            return Ok(cast(&tensor.flat())?.viewed(tensor.layout));
        }
        cast(&tensor.viewed(core))?.expand(tensor.shape())
    }

    fn run_here(&self, op: &Op, inputs: &[&Tensor], metas: &[Meta]) -> Result<Tensors> {
        let outputs = op.infer(metas)?;
        for output in &outputs {
            // Expanded operands can promise more than memory can address.
            crate::Shape::new(&output.shape)?;
        }
        match self.0.execute(op, inputs, &outputs)? {
            Outcome::Done(buffers) if buffers.len() == outputs.len() => Ok(buffers
                .into_iter()
                .zip(&outputs)
                .map(|(buffer, meta)| Tensor {
                    buffer,
                    layout: Layout::contiguous(meta.shape),
                    len: meta.shape.numel(),
                    dtype: meta.dtype,
                    device: self.clone(),
                })
                .collect()),
            Outcome::Done(buffers) => Err(Error::shape(
                op.name(),
                metas,
                format!("{} returned {} outputs instead of {}", self.name(), buffers.len(), outputs.len()),
            )),
            Outcome::Unsupported => self.decompose(op, inputs, &outputs),
        }
    }

    fn decompose(&self, op: &Op, inputs: &[&Tensor], outputs: &[Meta]) -> Result<Tensors> {
        let inputs: SmallVec<[Tensor; 4]> = inputs.iter().map(|t| (*t).clone()).collect();
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
        made.into_iter().map(|t| self.lift(&t)?.unwrap_or(t).contiguous()).collect()
    }

    /// The same tensor on this device, if its device is this one or one that this one is built around.
    ///
    /// # Errors
    /// A backend refuses to adopt it.
    pub fn lift(&self, tensor: &Tensor) -> Result<Option<Tensor>> {
        if *self == tensor.device {
            return Ok(Some(Tensor { device: self.clone(), ..tensor.clone() }));
        }
        let Some(inner) = self.inner() else { return Ok(None) };
        let Some(tensor) = inner.lift(tensor)? else { return Ok(None) };
        let (layout, len, dtype) = (tensor.layout, tensor.len, tensor.dtype);
        let buffer = self.0.adopt(tensor)?;
        Ok(Some(Tensor { buffer, layout, len, dtype, device: self.clone() }))
    }

    /// The device on which tensors of both can meet: the same, or the one that is built around the other.
    pub fn common<'a>(&'a self, other: &'a Device) -> Option<&'a Device> {
        if self == other || self.is_around(other) {
            Some(self)
        } else {
            other.is_around(self).then_some(other)
        }
    }

    fn is_around(&self, other: &Device) -> bool {
        self.inner().is_some_and(|inner| inner == other || inner.is_around(other))
    }

    /// The dtypes in which this device wants the operands of an op: see [`Backend::operand_dtypes`].
    pub fn operand_dtypes(&self, op: &Op, inputs: &[Meta]) -> Option<DTypes> {
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
        let Some(first) = inputs.first() else {
            return Err(Error::argument(self.name(), "an op without operands must be told its device"));
        };
        let mut device = &first.device;
        for tensor in &inputs[1..] {
            if *device != tensor.device {
                device = device.common(&tensor.device).ok_or_else(|| Error::Device {
                    op: self.name(),
                    left: device.name(),
                    right: tensor.device.name(),
                })?;
            }
        }
        device.execute(self, inputs)
    }

    /// Runs an op of one output.
    pub(crate) fn run1(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        first(self.name(), self.run(inputs)?)
    }
}

pub(crate) fn first(op: &'static str, tensors: Tensors) -> Result<Tensor> {
    tensors.into_iter().next().ok_or_else(|| Error::argument(op, "the op has no output"))
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
