//! Layers that compute nothing.

use gradus_tensor_core::{Result, Tensor};

use crate::{Module, Parameters};

/// Joins axes into one; by default all after the first.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct Flatten {
    /// The first axis to join.
    pub start: isize,
    /// The last axis to join.
    pub end: isize,
}

impl Flatten {
    /// Joins all axes after the first: `[N, C, H, W]` to `[N, C * H * W]`.
    pub fn new() -> Self {
        Flatten { start: 1, end: -1 }
    }
}

impl Default for Flatten {
    fn default() -> Self {
        Self::new()
    }
}

impl Module for Flatten {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.flatten(self.start, self.end)
    }
}

/// Splits one axis into several.
#[derive(Clone, Debug, Parameters)]
pub struct Unflatten {
    /// The axis to split.
    pub axis: isize,
    /// The sizes to split it into.
    pub sizes: Vec<usize>,
}

impl Unflatten {
    /// Splits an axis into axes of these sizes.
    pub fn new(axis: isize, sizes: impl Into<Vec<usize>>) -> Self {
        Unflatten { axis, sizes: sizes.into() }
    }
}

impl Module for Unflatten {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.unflatten(self.axis, &self.sizes)
    }
}

/// Gives back its input: where surgery takes a layer out.
#[derive(Clone, Copy, Debug, Default, Parameters)]
pub struct Identity;

impl Module for Identity {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.clone())
    }
}
