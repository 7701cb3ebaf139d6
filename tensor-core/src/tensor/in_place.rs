//! Changing a tensor. Nobody else ever sees the change: if the buffer is shared, it is copied first.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::device::Target;
use crate::op::{BinaryOp, InPlaceOp, UnaryOp};
use crate::shape::Axis;
use crate::tensor::Operand;
use crate::{Device, Layout, Meta, Result, Scalar, Storage, Tensor};

impl InPlaceOp {
    /// Changes `targets`, each through the whole of its layout. A target whose buffer is shared, or that
    /// repeats elements, gets a copy first. Targets and inputs live on one device, or inputs on one that the
    /// targets' is built around.
    ///
    /// # Errors
    /// The operands do not fit the op, or the device fails; then the targets' values are unspecified.
    pub fn run(&self, targets: &mut [&mut Tensor], inputs: &[&Tensor]) -> Result<()> {
        for target in targets.iter_mut() {
            target.make_unique()?;
        }
        let layouts: SmallVec<[Layout; 4]> = targets.iter().map(|t| t.layout).collect();
        let mut storages: SmallVec<[&mut Storage; 4]> = targets.iter_mut().map(|t| &mut t.storage).collect();
        self.run_at(&mut storages, &layouts, inputs)
    }

    /// [`InPlaceOp::run`] on storages, at positions given by layouts. Shared storages are copied first.
    ///
    /// # Errors
    /// As [`InPlaceOp::run`], or a layout reaches beyond its storage.
    pub fn run_at_layouts(
        &self,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        for (target, layout) in targets.iter_mut().zip(layouts) {
            target.check(layout)?;
            if Arc::get_mut(&mut target.buffer).is_none() {
                // Positions are the storage's, so the whole of it is copied.
                **target = target.flat().copy()?.storage;
            }
        }
        self.run_at(targets, layouts, inputs)
    }

    /// Changes targets, which nobody else holds, at positions given by layouts.
    fn run_at(&self, targets: &mut [&mut Storage], layouts: &[Layout], inputs: &[&Tensor]) -> Result<()> {
        let metas: SmallVec<[Meta; 4]> = targets.iter().zip(layouts).map(|(t, l)| l.meta(t.dtype)).collect();
        let sources: SmallVec<[Meta; 2]> = inputs.iter().map(|t| t.meta()).collect();
        self.check(&metas, &sources)?;
        let Some(device) = targets.first().map(|t| t.device.clone()) else {
            return Ok(());
        };
        let elsewhere = |found: &Device| crate::Error::Device {
            op: self.name(),
            left: device.name(),
            right: found.name(),
        };
        for target in targets.iter_mut().filter(|t| t.device != device) {
            // The state of an optimizer is made on the device that computes.
            **target = device.lift_storage(target)?.ok_or_else(|| elsewhere(&target.device))?;
        }
        let (lifted, refs): (SmallVec<[Tensor; 2]>, SmallVec<[&Tensor; 2]>);
        let inputs = if inputs.iter().all(|t| *t.device() == device) {
            inputs
        } else {
            let lift = |t: &&Tensor| device.lift(t)?.ok_or_else(|| elsewhere(t.device()));
            lifted = inputs.iter().map(lift).collect::<Result<_>>()?;
            refs = lifted.iter().collect();
            &refs[..]
        };
        let done = {
            let mut views: SmallVec<[Target<'_>; 4]> =
                targets.iter_mut().zip(layouts).map(|(t, l)| Target::new(t, *l)).collect();
            device.execute_in_place(self, &mut views, inputs)?
        };
        if done {
            return Ok(());
        }
        // The backend cannot: compute the new values, then write them.
        let old: Vec<Tensor> = targets
            .iter()
            .zip(layouts)
            .map(|(t, l)| Tensor { storage: Storage::clone(t), layout: *l })
            .collect();
        let sources: Vec<Tensor> = inputs.iter().map(|t| (*t).clone()).collect();
        let new = self.decompose(&old, &sources)?;
        drop(old);
        for ((target, layout), value) in targets.iter_mut().zip(layouts).zip(new) {
            let mut view = [Target::new(target, *layout)];
            if !device.execute_in_place(&InPlaceOp::Write, &mut view, &[&value])? {
                return Err(crate::Error::Unsupported {
                    op: "write_",
                    backend: device.name(),
                    operands: vec![layout.meta(value.dtype())],
                });
            }
        }
        Ok(())
    }
}

impl Tensor {
    /// Makes this tensor the only holder of a buffer in which no element repeats.
    fn make_unique(&mut self) -> Result<()> {
        if Arc::get_mut(&mut self.storage.buffer).is_none() || !self.layout.is_injective() {
            *self = self.copy()?;
        }
        Ok(())
    }

    fn binary_assign(&mut self, op: BinaryOp, other: &Tensor) -> Result<()> {
        let other = other.cast(self.dtype())?.expand(self.shape())?;
        self.promote_device(&other)?;
        InPlaceOp::Binary(op).run(&mut [self], &[&other])
    }

    /// Moves this tensor to the other's device if that is built around this one's: a plain tensor that takes
    /// part in a tracked computation becomes tracked.
    fn promote_device(&mut self, other: &Tensor) -> Result<()> {
        if let Some(device) = self.device().common(other.device())
            && device != self.device()
            && let Some(lifted) = device.clone().lift(self)?
        {
            *self = lifted;
        }
        Ok(())
    }

    fn assign_operand(&mut self, op: BinaryOp, other: Operand<'_>) -> Result<()> {
        match (op, other) {
            (_, Operand::Tensor(t)) => self.binary_assign(op, t),
            (BinaryOp::Div, Operand::Scalar(Scalar::Float(s))) if !self.dtype().is_float() => {
                let rule =
                    format!("a {} tensor cannot hold its quotients by {s}; cast it first", self.dtype());
                Err(crate::Error::dtype("div", &[self.meta()], rule))
            }
            // Integers are divided and not multiplied with a reciprocal, and not every number rides in an affine op.
            (_, Operand::Scalar(s))
                if match op {
                    BinaryOp::Div => !self.dtype().is_float() || !self.has_reciprocal(s.to_f64()),
                    _ => !self.rides(s),
                } =>
            {
                let other = self.filled_like(s, self.dtype())?;
                self.binary_assign(op, &other)
            }
            (BinaryOp::Add, Operand::Scalar(s)) => self.affine_assign(1.0, s),
            (BinaryOp::Sub, Operand::Scalar(s)) => self.affine_assign(1.0, -s.to_f64()),
            (BinaryOp::Div, Operand::Scalar(s)) => self.affine_assign(1.0 / s.to_f64(), 0.0),
            (_, Operand::Scalar(s)) => self.affine_assign(s, 0.0),
        }
    }

    /// `self = mul * self + add`, in place.
    ///
    /// # Errors
    /// The tensor is bool, or the device fails.
    pub fn affine_assign(&mut self, mul: impl Into<Scalar>, add: impl Into<Scalar>) -> Result<()> {
        let op = UnaryOp::Affine { mul: mul.into().to_f64(), add: add.into().to_f64() };
        InPlaceOp::Unary(op).run(&mut [self], &[])
    }

    /// `self += other`, in place; `other` is broadcast and cast to this tensor's shape and dtype.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let mut x = Tensor::zeros([3], DType::F32, &device)?;
    /// let before = x.clone();
    /// x.add_assign(1.5)?;
    /// assert_eq!(x.to_vec::<f32>()?, [1.5; 3]);
    /// assert_eq!(before.to_vec::<f32>()?, [0.0; 3]); // a clone is a value of its own
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Shapes do not broadcast to this one's.
    pub fn add_assign<'a>(&mut self, other: impl Into<Operand<'a>>) -> Result<()> {
        self.assign_operand(BinaryOp::Add, other.into())
    }

    /// `self -= other`, in place.
    ///
    /// # Errors
    /// As [`Tensor::add_assign`].
    pub fn sub_assign<'a>(&mut self, other: impl Into<Operand<'a>>) -> Result<()> {
        self.assign_operand(BinaryOp::Sub, other.into())
    }

    /// `self *= other`, in place.
    ///
    /// # Errors
    /// As [`Tensor::add_assign`].
    pub fn mul_assign<'a>(&mut self, other: impl Into<Operand<'a>>) -> Result<()> {
        self.assign_operand(BinaryOp::Mul, other.into())
    }

    /// `self /= other`, in place; integers divide towards negative infinity.
    ///
    /// # Errors
    /// As [`Tensor::add_assign`]; an integer is divided by zero, or by a number that is a float.
    pub fn div_assign<'a>(&mut self, other: impl Into<Operand<'a>>) -> Result<()> {
        self.assign_operand(BinaryOp::Div, other.into())
    }

    /// Overwrites all elements; `source` is broadcast and cast to this tensor's shape and dtype.
    ///
    /// # Errors
    /// Shapes do not broadcast to this one's.
    pub fn assign(&mut self, source: &Tensor) -> Result<()> {
        let source = source.cast(self.dtype())?.expand(self.shape())?;
        self.promote_device(&source)?;
        InPlaceOp::Write.run(&mut [self], &[&source])
    }

    /// Overwrites `source`'s extent along an axis from `start`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let mut x = Tensor::zeros([4], DType::I64, &device)?;
    /// x.narrow_assign(0, 1, &Tensor::from_vec(vec![7i64, 8], 2, &device)?)?;
    /// assert_eq!(x.to_vec::<i64>()?, [0, 7, 8, 0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The axis or the range is out of range, or the shapes differ elsewhere.
    pub fn narrow_assign(&mut self, axis: impl Axis, start: usize, source: &Tensor) -> Result<()> {
        let axis = axis.resolve(self.rank(), "narrow_assign")?;
        let len = source.shape().get(axis).copied().unwrap_or(1);
        self.view_assign(source, |layout| layout.narrow(axis, start, len))
    }

    /// Overwrites the part of this tensor that a view selects: `x.view_assign(&y, |v| v.narrow(0, 2, 3)?.flip(1))`.
    ///
    /// # Errors
    /// The view is out of range, names an element twice, or has another shape than `source` broadcasts to.
    pub fn view_assign(
        &mut self,
        source: &Tensor,
        view: impl FnOnce(&Layout) -> Result<Layout>,
    ) -> Result<()> {
        self.change_view(InPlaceOp::Write, source, view)
    }

    /// Adds to the part of this tensor that a view selects. Where the view names an element more than once
    /// (overlapping windows, expanded axes), each mention adds.
    ///
    /// # Errors
    /// The view is out of range, or has another shape than `source` broadcasts to.
    pub fn view_accumulate(
        &mut self,
        source: &Tensor,
        view: impl FnOnce(&Layout) -> Result<Layout>,
    ) -> Result<()> {
        self.change_view(InPlaceOp::Accumulate, source, view)
    }

    fn change_view(
        &mut self,
        op: InPlaceOp,
        source: &Tensor,
        view: impl FnOnce(&Layout) -> Result<Layout>,
    ) -> Result<()> {
        self.promote_device(source)?;
        self.make_unique()?;
        let layout = view(&self.layout)?;
        if layout.span().end > self.storage.len || (op == InPlaceOp::Write && !layout.is_injective()) {
            return Err(crate::Error::argument(
                op.name(),
                "the view leaves the tensor or names an element twice",
            ));
        }
        let source = source.cast(self.dtype())?.expand(layout.shape())?;
        op.run_at(&mut [&mut self.storage], &[layout], &[&source])
    }
}
