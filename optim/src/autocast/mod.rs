//! Mixed precision: a backend around a backend that chooses dtypes.
//!
//! Most of a network's time goes into matrix products, which hardware does faster in half precision; most of its
//! trouble with half precision comes from sums, exponentials and losses, which cost little in `f32`. [`Autocast`]
//! reads an op's operands in the dtype that a [`Policy`] names for it, and computes nothing itself.
//!
//! ```
//! use gradus_autograd::Autograd;
//! use gradus_nn::{Linear, Module, Relu, Sequential, loss};
//! use gradus_optim::{AdamW, MixedPrecision, Optimizer};
//! use gradus_tensor_core::{DType, Result, Tensor};
//! # fn main() -> Result<()> {
//! # let device = gradus_backend_cpu::Cpu::device();
//! let mut model = Sequential::new()
//!     .then(Linear::new(8, 16).init(&device)?)
//!     .then(Relu)
//!     .then(Linear::new(16, 3).init(&device)?);
//! let mut optimizer = AdamW::new(1e-2);
//! let (x, y) = (Tensor::randn([4, 8], DType::F32, &device)?, Tensor::zeros(4, DType::I64, &device)?);
//!
//! let logits = model.forward(&x.autocast(DType::BF16)?)?; // whatever meets x is computed by the policy
//! assert_eq!(logits.dtype(), DType::BF16);
//! let loss = loss::cross_entropy(&logits, &y)?; // losses are f32
//! assert_eq!(loss.dtype(), DType::F32);
//! optimizer.step(&mut model, &loss.backward()?)?; // gradients and parameters are f32
//! # Ok(())
//! # }
//! ```
//!
//! As `requires_grad` moves a tensor, at no cost, to the device that records, [`MixedPrecision::autocast`] moves it to
//! one that casts; what meets it there is taken along. Parameters stay where and what they are: they *are* the
//! master weights, and no optimizer knows of any of this.
//!
//! **The casts are ops on the autodiff device**, since this device is built around that one. So they are recorded, a
//! gradient passes through the cast backwards and arrives in the dtype of the parameter, and the backward pass runs in
//! the dtypes of the forward pass, without a policy of its own: rules see tensors that have been cast already. Where
//! gradients are too small for `f16`, scale the loss: [`GradScaler`](crate::GradScaler).
//!
//! **A weight is cast once**, however often it is used, until it changes: [`LeafCasts`].

mod policy;

use gradus_autograd::{Autodiff, LeafCasts};
use gradus_tensor_core::{
    Backend, Buffers, DType, DTypes, Device, Error, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op,
    Outcome, Result, Storage, Tensor, View, ViewMut,
};
use smallvec::SmallVec;

pub use policy::{Policy, Precision};

/// Mixed precision around any device: see [the module](self). Two of them with one dtype and one policy around one
/// device are the same device.
#[derive(Debug)]
pub struct Autocast {
    inner: Device,
    dtype: DType,
    policy: Policy,
    casts: LeafCasts,
}

impl Autocast {
    /// The device that computes on this one with matrix products in `dtype`. A tensor that is moved there
    /// (`x.to(&device)`) takes along what it meets. Around a device that is one already it takes that one's place.
    ///
    /// # Errors
    /// The dtype is not `f16` or `bf16`.
    pub fn device(device: &Device, dtype: DType) -> Result<Device> {
        Self::with_policy(device, dtype, Policy::default())
    }

    /// [`Autocast::device`] with a policy of one's own.
    ///
    /// # Errors
    /// The dtype is not `f16` or `bf16`.
    pub fn with_policy(device: &Device, dtype: DType, policy: Policy) -> Result<Device> {
        if !matches!(dtype, DType::F16 | DType::BF16) {
            return Err(Error::argument(
                "autocast",
                format!("the lower precision is f16 or bf16, not {dtype}"),
            ));
        }
        let inner = Autodiff::device(without(device));
        Ok(Device::new(Autocast { inner, dtype, policy, casts: LeafCasts::default() }))
    }

    /// What matrix products are computed in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// What is done with the operands of each op.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// The device inside, if this one is mixed precision around it.
fn without(device: &Device) -> &Device {
    device.backend::<Autocast>().map_or(device, |autocast| &autocast.inner)
}

/// Mixed precision for [`Tensor`]: bring this trait into scope.
pub trait MixedPrecision: Sized {
    /// This tensor where ops on it, and on what it meets, are computed in mixed precision: see
    /// [the module](self). No data moves, and a tracked tensor stays tracked.
    ///
    /// # Errors
    /// The dtype is not `f16` or `bf16`.
    fn autocast(&self, dtype: DType) -> Result<Tensor>;

    /// This tensor where dtypes are what they are again, still tracked if it was: for a part of a model that is to
    /// be computed as written (`x.without_autocast()?.cast(DType::F32)?`). No data moves.
    ///
    /// # Errors
    /// The device fails.
    fn without_autocast(&self) -> Result<Tensor>;
}

impl MixedPrecision for Tensor {
    fn autocast(&self, dtype: DType) -> Result<Tensor> {
        if self.device().backend::<Autocast>().is_some_and(|autocast| autocast.dtype == dtype) {
            return Ok(self.clone());
        }
        let tensor = self.without_autocast()?;
        tensor.to(&Autocast::device(tensor.device(), dtype)?)
    }

    fn without_autocast(&self) -> Result<Tensor> {
        match self.device().backend::<Autocast>() {
            Some(_) => Ok(self.released()?.unwrap_or_else(|| self.clone())),
            None => Ok(self.clone()),
        }
    }
}

/// The tensor of the inner device behind an operand. Buffers are storages of the inner device.
fn inside(view: &View<'_, Storage>) -> Result<Tensor> {
    view.buffer.tensor(*view.layout)
}

impl Backend for Autocast {
    type Buffer = Storage;

    fn name(&self) -> String {
        format!("autocast {} ({})", self.dtype, self.inner.name())
    }

    fn upload(&self, host: &HostArray) -> Result<Storage> {
        self.inner.upload(host)?.into_whole()
    }

    fn download(&self, from: View<'_, Storage>) -> Result<HostArray> {
        inside(&from)?.to_host()
    }

    fn operand_dtypes(&self, op: &Op, inputs: &[DType]) -> Option<DTypes> {
        self.policy.operand_dtypes(op, inputs, self.dtype)
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Storage>],
        outputs: &[Meta],
    ) -> Result<Outcome<Buffers<Storage>>> {
        if let (Op::Cast(dtype), [tensor]) = (op, inputs) {
            let cast = self.casts.cast(&inside(tensor)?, *dtype)?;
            return Ok(Outcome::Done(Buffers::from(cast.into_whole()?)));
        }
        let made = self.inner.execute_views(op, inputs, |storage| storage, outputs)?;
        Ok(Outcome::Done(made.into_iter().collect()))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Storage>],
        inputs: &[View<'_, Storage>],
    ) -> Result<Outcome<()>> {
        let inputs: SmallVec<[Tensor; 2]> = inputs.iter().map(inside).collect::<Result<_>>()?;
        let layouts: SmallVec<[Layout; 4]> = targets.iter().map(|t| *t.layout).collect();
        let mut buffers: SmallVec<[&mut Storage; 4]> = targets.iter_mut().map(|t| &mut *t.buffer).collect();
        let sources: SmallVec<[&Tensor; 2]> = inputs.iter().collect();
        op.run_at_layouts(&mut buffers, &layouts, &sources)?;
        Ok(Outcome::Done(()))
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn memory(&self) -> MemoryStats {
        self.inner.memory()
    }

    fn equals(&self, other: &Self) -> bool {
        self.dtype == other.dtype && self.inner == other.inner && self.policy == other.policy
    }

    fn inner(&self) -> Option<&Device> {
        Some(&self.inner)
    }

    fn adopt(&self, storage: Storage) -> Result<Storage> {
        Ok(storage)
    }

    fn release(&self, tensor: View<'_, Storage>) -> Result<Tensor> {
        inside(&tensor)
    }

    /// Leaves mixed precision; whether a graph comes along is the inner device's to say.
    fn transfer(&self, tensor: View<'_, Storage>, to: &Device) -> Result<Option<Tensor>> {
        Ok(Some(inside(&tensor)?.to(to)?))
    }
}
