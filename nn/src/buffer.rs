//! Tensors that are saved with a model but not trained.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use gradus_tensor_core::{Result, Tensor};

use crate::{Parameters, Visitor, VisitorMut};
use gradus_autograd::Autograd;

/// A tensor that a model saves but does not train, such as the running mean of a batch normalization. It can
/// be changed through a shared reference, because a forward pass has no other.
pub struct Buffer(RwLock<Tensor>);

impl Buffer {
    /// A buffer of these values; what a graph knows of them is dropped.
    ///
    /// # Errors
    /// The device fails.
    pub fn new(value: Tensor) -> Result<Self> {
        Ok(Buffer(RwLock::new(value.detach()?)))
    }

    /// The values: a snapshot that later changes do not show in.
    pub fn value(&self) -> Tensor {
        // A panic of another thread leaves a whole tensor behind, so a poisoned lock is as good as any.
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the values; what a graph knows of them is dropped.
    ///
    /// # Errors
    /// The device fails; then nothing is changed.
    pub fn set(&self, value: Tensor) -> Result<()> {
        let value = value.detach()?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = value;
        Ok(())
    }

    /// Changes the values, in place if there are no snapshots. Concurrent updates happen one after the other.
    ///
    /// # Errors
    /// What `change` returns; the buffer keeps what `change` left in it.
    pub fn update<T>(&self, change: impl FnOnce(&mut Tensor) -> Result<T>) -> Result<T> {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The copy has the same values and changes on its own.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        Buffer(RwLock::new(self.value()))
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.value().meta())
    }
}

impl Parameters for Buffer {
    fn visit(&self, visitor: &mut dyn Visitor) {
        visitor.buffer(self);
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.buffer(self);
    }
}
