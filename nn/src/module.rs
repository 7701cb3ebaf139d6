//! From one tensor to one tensor.

use std::fmt;

use gradus_tensor_core::{Error, Result, Tensor};

use crate::{Parameters, Stage, Visitor, VisitorMut, chain};

/// A tree of parameters with a forward pass from one tensor to one tensor.
///
/// Object safe: `Vec<Box<dyn Module>>` and replacing a layer at run time are ordinary code. A model with
/// another signature derives [`Parameters`] and has a `forward` of its own; everything but containers works
/// with it as well.
pub trait Module: Parameters + Send + Sync {
    /// Computes the output.
    ///
    /// # Errors
    /// The input does not fit the module, or the device fails.
    fn forward(&self, input: &Tensor) -> Result<Tensor>;

    /// What this computes now, if it is a step that [`chain`] fuses with its neighbours.
    fn stage(&self) -> Stage<'_> {
        Stage::Other
    }
}

impl<M: Module + ?Sized> Module for Box<M> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        (**self).forward(input)
    }

    fn stage(&self) -> Stage<'_> {
        (**self).stage()
    }
}

/// One after the other.
impl<M: Module> Module for Vec<M> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        chain(self.iter().enumerate(), input)
    }
}

/// One after the other.
impl<M: Module, const N: usize> Module for [M; N] {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        chain(self.iter().enumerate(), input)
    }
}

/// The module if there is one, the input itself otherwise.
impl<M: Module> Module for Option<M> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Some(module) => module.forward(input),
            None => Ok(input.clone()),
        }
    }
}

/// Says in which part of a model an error happened.
pub trait Within {
    /// Puts the name of a part before the error; names of nested parts join to one dotted path, as in
    /// `layer1.0.conv1: conv2d: input has 3 channels but …`.
    ///
    /// ```
    /// # use gradus_nn::{Linear, Module, Within};
    /// # use gradus_tensor_core::{Result, Tensor};
    /// # struct Mlp { up: Linear, down: Linear }
    /// # impl Mlp {
    /// fn forward(&self, x: &Tensor) -> Result<Tensor> {
    ///     let x = self.up.forward(x).within("up")?.gelu()?;
    ///     self.down.forward(&x).within("down")
    /// }
    /// # }
    /// ```
    #[must_use]
    fn within(self, part: impl fmt::Display) -> Self;
}

impl<T> Within for Result<T> {
    fn within(self, part: impl fmt::Display) -> Self {
        self.map_err(|error| match error {
            Error::Context { context, source } if is_path(&context) => {
                Error::Context { context: format!("{part}.{context}"), source }
            }
            error => error.context(part.to_string()),
        })
    }
}

fn is_path(context: &str) -> bool {
    context.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.')
}

/// A function as a module without parameters.
///
/// ```
/// use gradus_nn::{Func, Sequential};
/// let model = Sequential::new().then(Func::new(|x| x.mul(2.0)));
/// ```
pub struct Func<F>(F);

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Func<F> {
    /// A module that calls the function.
    pub fn new(function: F) -> Self {
        Func(function)
    }
}

impl<F> Parameters for Func<F> {
    fn visit(&self, _: &mut dyn Visitor) {}
    fn visit_mut(&mut self, _: &mut dyn VisitorMut) {}
}

impl<F: Fn(&Tensor) -> Result<Tensor> + Send + Sync> Module for Func<F> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        (self.0)(input)
    }
}

impl<F> fmt::Debug for Func<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Func")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_nested_parts_join_to_one_path_before_the_message() {
        let error = || Err::<(), _>(Error::argument("conv2d", "does not fit"));
        let nested = error().within("conv1").within(0).within("layer1").unwrap_err();
        assert_eq!(nested.to_string(), "layer1.0.conv1: conv2d: does not fit");
        let noted = error().map_err(|e| e.context("while warming up")).within("layer1").unwrap_err();
        assert_eq!(noted.to_string(), "layer1: while warming up: conv2d: does not fit");
    }
}
