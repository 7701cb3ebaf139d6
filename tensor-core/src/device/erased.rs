//! Backends with their type erased.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

use super::Device;
use super::each::try_with_each;
use crate::storage::{Erased, Storage};
use crate::{
    Backend, Buffers, DType, DTypes, Error, Few, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op,
    Outcome, Result, Tensor, View, ViewMut,
};

/// [`Backend`] without its buffer type; implemented for every backend and for nothing else.
pub(super) trait ErasedBackend: fmt::Debug + Send + Sync {
    fn name(&self) -> String;
    fn upload(&self, host: &HostArray) -> Result<Erased>;
    fn download(&self, from: &Tensor) -> Result<HostArray>;
    /// Runs an op whose operands are all buffers of this backend.
    fn execute(&self, op: &Op, inputs: &[View<'_, Storage>], out: &[Meta]) -> Result<Outcome<Few<Erased>>>;
    /// The same, where some operands are on devices that this one is built around. `here` is this backend's device.
    fn execute_adopting(
        &self,
        here: &Device,
        op: &Op,
        inputs: &[&Tensor],
        out: &[Meta],
    ) -> Result<Outcome<Few<Erased>>>;
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
    fn adopt(&self, storage: Storage) -> Result<Erased>;
    fn release(&self, tensor: &Tensor) -> Result<Tensor>;
    fn operand_dtypes(&self, op: &Op, inputs: &[DType]) -> Option<DTypes>;
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

impl<'a> Target<'a> {
    pub(crate) fn new(storage: &'a mut Storage, layout: Layout) -> Self {
        Target { dtype: storage.dtype, buffer: &mut storage.buffer, layout }
    }
}

fn view<B: Backend>(tensor: &Tensor) -> Result<View<'_, B::Buffer>> {
    typed(&tensor.view()).ok_or_else(foreign)
}

/// An operand as the backend of this buffer type reads it.
#[inline(always)]
fn typed<'a, B: 'static>(view: &View<'a, Storage>) -> Option<View<'a, B>> {
    Some(View { buffer: view.buffer.buffer()?, layout: view.layout, dtype: view.dtype })
}

#[cold]
fn foreign() -> Error {
    Error::argument("execute", "a buffer of another backend reached this one")
}

/// The operand of a backend: what it adopted, or the tensor's own buffer.
#[inline(always)]
fn adopted_or_typed<'a, B: 'static>((adopted, tensor): &'a (Option<B>, &Tensor)) -> Option<View<'a, B>> {
    match adopted {
        Some(buffer) => Some(View { buffer, layout: &tensor.layout, dtype: tensor.storage.dtype }),
        None => typed(&tensor.view()),
    }
}

/// What a backend made of an op, erased.
#[inline(always)]
fn erase<B: Send + Sync + 'static>(made: Result<Outcome<Buffers<B>>>) -> Result<Outcome<Few<Erased>>> {
    match made {
        Ok(Outcome::Done(buffers)) => Ok(Outcome::Done(match buffers.shared() {
            Few::One(buffer) => Few::One(buffer),
            buffers => buffers.into_iter().map(|buffer| buffer as Erased).collect(),
        })),
        Ok(Outcome::Unsupported) => Ok(Outcome::Unsupported),
        Err(error) => Err(error),
    }
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

    fn execute(&self, op: &Op, inputs: &[View<'_, Storage>], out: &[Meta]) -> Result<Outcome<Few<Erased>>> {
        erase(try_with_each(inputs, typed, |_| foreign(), |views| Backend::execute(self, op, views, out)))
    }

    fn execute_adopting(
        &self,
        here: &Device,
        op: &Op,
        inputs: &[&Tensor],
        out: &[Meta],
    ) -> Result<Outcome<Few<Erased>>> {
        // Adopted for this op only: on the stack, without an allocation.
        let adopted = |tensor: &Tensor| {
            let from = &tensor.storage;
            if from.device.is(here) || (from.buffer.is::<B::Buffer>() && from.device == *here) {
                return Ok(None);
            }
            let inside = here.inside(from)?.ok_or_else(|| here.elsewhere(op, from))?;
            Backend::adopt(self, inside).map(Some)
        };
        let run = |operands: &[(Option<B::Buffer>, &Tensor)]| {
            try_with_each(
                operands,
                adopted_or_typed,
                |_| foreign(),
                |views| Backend::execute(self, op, views, out),
            )
        };
        erase(match inputs {
            [a] => run(&[(adopted(a)?, *a)]),
            [a, b] => run(&[(adopted(a)?, *a), (adopted(b)?, *b)]),
            inputs => {
                let operands = inputs.iter().map(|tensor| Ok((adopted(tensor)?, *tensor)));
                run(&operands.collect::<Result<SmallVec<[_; 4]>>>()?)
            }
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

    fn adopt(&self, storage: Storage) -> Result<Erased> {
        Ok(Arc::new(Backend::adopt(self, storage)?))
    }

    fn release(&self, tensor: &Tensor) -> Result<Tensor> {
        Backend::release(self, view::<B>(tensor)?)
    }

    fn operand_dtypes(&self, op: &Op, inputs: &[DType]) -> Option<DTypes> {
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
