//! Layers one after the other.

use std::fmt;

use gradus_tensor_core::{Result, Tensor};

use crate::{Module, Parameters, Visitor, VisitorMut, chain};

/// Layers one after the other, named `0`, `1`, … or as given.
///
/// ```
/// use gradus_nn::{Linear, Module, Relu, Sequential};
/// # fn build(device: &gradus_tensor_core::Device) -> gradus_tensor_core::Result<()> {
/// let model = Sequential::new()
///     .then(Linear::new(784, 128).init(device)?)  // `0.weight`, `0.bias`
///     .then(Relu)
///     .then(Linear::new(128, 10).init(device)?);  // `2.weight`, `2.bias`
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Sequential {
    layers: Vec<(String, Box<dyn Module>)>,
}

impl Sequential {
    /// No layers: the identity.
    pub fn new() -> Self {
        Self::default()
    }

    /// These layers and one more, named by its index.
    #[must_use]
    pub fn then(mut self, layer: impl Module + 'static) -> Self {
        self.push(layer);
        self
    }

    /// These layers and one more under a name.
    #[must_use]
    pub fn then_named(mut self, name: impl Into<String>, layer: impl Module + 'static) -> Self {
        self.layers.push((name.into(), Box::new(layer)));
        self
    }

    /// Adds a layer, named by its index.
    pub fn push(&mut self, layer: impl Module + 'static) {
        self.layers.push((self.layers.len().to_string(), Box::new(layer)));
    }

    /// The number of layers.
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether there are no layers.
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    /// Names and layers, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &dyn Module)> {
        self.layers.iter().map(|(name, layer)| (name.as_str(), &**layer))
    }

    /// The layer of a name, to be changed or replaced.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Box<dyn Module>> {
        self.layers.iter_mut().find(|(own, _)| own == name).map(|(_, layer)| layer)
    }
}

impl FromIterator<Box<dyn Module>> for Sequential {
    fn from_iter<I: IntoIterator<Item = Box<dyn Module>>>(layers: I) -> Self {
        let mut sequential = Sequential::new();
        layers.into_iter().for_each(|layer| sequential.push(layer));
        sequential
    }
}

impl Parameters for Sequential {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (name, layer) in &self.layers {
            visitor.enter(name);
            layer.visit(visitor);
            visitor.leave();
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        for (name, layer) in &mut self.layers {
            visitor.enter(name);
            layer.visit_mut(visitor);
            visitor.leave();
        }
    }
}

impl Module for Sequential {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        chain(self.layers.iter().map(|(name, layer)| (name, &**layer)), input)
    }
}

impl fmt::Debug for Sequential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.layers.iter().map(|(name, _)| name);
        f.debug_tuple("Sequential").field(&names.collect::<Vec<_>>()).finish()
    }
}
