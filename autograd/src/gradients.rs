//! The result of a backward pass.

use std::collections::BTreeMap;

use gradus_tensor_core::{Result, Tensor};

use crate::{Autograd, LeafId};

/// Gradients by leaf, in the order the leaves were made.
///
/// A leaf that the loss does not depend on has no entry; optimizers report such parameters by name.
#[derive(Clone, Debug, Default)]
pub struct Gradients(BTreeMap<LeafId, Tensor>);

impl Gradients {
    /// No gradients.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradient of a leaf: of its shape and dtype, on the device under its autodiff device. `None` if the
    /// tensor is not a leaf or the loss does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.get_id(leaf.leaf_id()?)
    }

    /// The gradient of the leaf of that identity.
    pub fn get_id(&self, leaf: LeafId) -> Option<&Tensor> {
        self.0.get(&leaf)
    }

    /// Changes the gradient of the leaf of that identity.
    pub fn get_id_mut(&mut self, leaf: LeafId) -> Option<&mut Tensor> {
        self.0.get_mut(&leaf)
    }

    /// Takes out the gradient of a leaf.
    pub fn take(&mut self, leaf: &Tensor) -> Option<Tensor> {
        self.take_id(leaf.leaf_id()?)
    }

    /// Takes out the gradient of the leaf of that identity.
    pub fn take_id(&mut self, leaf: LeafId) -> Option<Tensor> {
        self.0.remove(&leaf)
    }

    /// Sets the gradient of a leaf; returns the one it had.
    pub fn insert(&mut self, leaf: LeafId, gradient: Tensor) -> Option<Tensor> {
        self.0.insert(leaf, gradient)
    }

    /// The number of leaves with a gradient.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no leaf has a gradient.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Leaves and gradients, oldest leaf first.
    pub fn iter(&self) -> impl Iterator<Item = (LeafId, &Tensor)> {
        self.0.iter().map(|(id, g)| (*id, g))
    }

    /// Leaves and gradients, oldest leaf first, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (LeafId, &mut Tensor)> {
        self.0.iter_mut().map(|(id, g)| (*id, g))
    }

    /// Adds other gradients to these, in place where nobody else holds a gradient: accumulation over
    /// micro-batches.
    ///
    /// # Errors
    /// The gradients of a leaf have different shapes, or a device fails.
    pub fn accumulate(&mut self, other: Gradients) -> Result<()> {
        for (id, gradient) in other.0 {
            self.add(id, gradient)?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, id: LeafId, gradient: Tensor) -> Result<()> {
        match self.0.get_mut(&id) {
            Some(sum) => sum.add_assign(&gradient),
            None => {
                self.0.insert(id, gradient);
                Ok(())
            }
        }
    }

    /// Multiplies every gradient with a number, in place where possible.
    ///
    /// # Errors
    /// A device fails.
    pub fn scale(&mut self, factor: f64) -> Result<()> {
        self.0.values_mut().try_for_each(|g| g.mul_assign(factor))
    }
}
