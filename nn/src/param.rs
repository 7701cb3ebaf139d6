//! Trained tensors.

use std::fmt;
use std::sync::OnceLock;

use gradus_autograd::{Autograd, LeafId, leaf};
use gradus_tensor_core::{Error, Result, Tensor};

use crate::{Parameters, Visitor, VisitorMut};

/// A trained tensor: a leaf of every graph it takes part in, under one identity for life.
///
/// It owns the plain tensor and, while it is trained, hands out one tracked leaf over it
/// ([`Param::value`]). An optimizer changes the plain tensor in place with [`Param::update`]; that drops the
/// leaf first, so nobody else holds the memory once backward has consumed the graph, and nothing is copied. If
/// a graph is still alive, the change goes to a copy and the graph keeps the old values.
pub struct Param {
    plain: Tensor,
    id: LeafId,
    requires_grad: bool,
    /// Made on first use after each change.
    tracked: OnceLock<Tensor>,
}

impl Param {
    /// A parameter of these values, to be trained.
    ///
    /// # Errors
    /// The tensor is not floating-point, or it is tracked: detach it first.
    pub fn new(value: Tensor) -> Result<Self> {
        let plain = own(&value)?;
        Ok(Param { plain, id: LeafId::fresh(), requires_grad: true, tracked: OnceLock::new() })
    }

    /// The tensor to compute with: tracked, or plain if the parameter is frozen.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn value(&self) -> Result<&Tensor> {
        if !self.requires_grad {
            return Ok(&self.plain);
        }
        if let Some(tracked) = self.tracked.get() {
            return Ok(tracked);
        }
        let tracked = leaf(self.plain.clone(), self.id)?;
        // Two threads may come here at once: both get the one that was stored.
        Ok(self.tracked.get_or_init(|| tracked))
    }

    /// The plain values, which no graph tracks.
    pub fn tensor(&self) -> &Tensor {
        &self.plain
    }

    /// Under which the parameter's gradient is found in `Gradients`.
    pub fn id(&self) -> LeafId {
        self.id
    }

    /// Whether the parameter is trained.
    pub fn requires_grad(&self) -> bool {
        self.requires_grad
    }

    /// Freezes the parameter, or trains it again.
    pub fn set_requires_grad(&mut self, requires_grad: bool) {
        self.requires_grad = requires_grad;
        self.tracked.take();
    }

    /// Changes the plain values: in place if no graph holds them, in a copy otherwise. The parameter keeps its
    /// identity, and it keeps the values that `change` leaves, also if that fails or panics.
    ///
    /// # Errors
    /// What `change` returns, or `change` put a tensor in its place that cannot be a parameter.
    pub fn update<T>(&mut self, change: impl FnOnce(&mut Tensor) -> Result<T>) -> Result<T> {
        self.tracked.take();
        let device = self.plain.device().clone();
        let out = change(&mut self.plain)?;
        // (Almost always it is where it was and what it was, and is not looked at more closely.)
        if *self.plain.device() != device || !is_whole(&self.plain) || !self.plain.dtype().is_float() {
            self.plain = own(&self.plain)?;
        }
        Ok(out)
    }

    /// Replaces the values; shape, dtype and device may change with them.
    ///
    /// # Errors
    /// As [`Param::new`]; then nothing is changed.
    pub fn set(&mut self, value: Tensor) -> Result<()> {
        let plain = own(&value)?;
        self.tracked.take();
        self.plain = plain;
        Ok(())
    }
}

/// The tensor as a parameter holds it: plain, and alone in its buffer, so that a leaf needs no copy.
fn own(value: &Tensor) -> Result<Tensor> {
    if !value.dtype().is_float() {
        return Err(Error::argument(
            "param",
            format!("a {} tensor cannot be trained; use a floating-point dtype, or a Buffer", value.dtype()),
        ));
    }
    if value.is_tracked() {
        return Err(Error::argument("param", "the value is tracked by a graph; pass `value.detach()?`"));
    }
    let plain = value.detach()?;
    if is_whole(&plain) { Ok(plain) } else { plain.copy() }
}

/// Whether a tensor is all of its buffer, in order.
fn is_whole(tensor: &Tensor) -> bool {
    tensor.layout().covers(tensor.buffer_len())
}

/// The copy has the same values and an identity of its own: copying a model makes another model.
impl Clone for Param {
    fn clone(&self) -> Self {
        Param {
            plain: self.plain.clone(),
            id: LeafId::fresh(),
            requires_grad: self.requires_grad,
            tracked: OnceLock::new(),
        }
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let frozen = if self.requires_grad { "" } else { ", frozen" };
        write!(f, "Param({}{frozen})", self.plain.meta())
    }
}

impl Parameters for Param {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.param(self);
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.param(self);
    }
}
