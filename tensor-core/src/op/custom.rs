//! Ops that users define.

use std::any::Any;
use std::fmt::Debug;

use crate::{Meta, Metas, Result, Tensor};

/// What differentiation does at a custom op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differentiation {
    /// Differentiate the ops that [`CustomOp::forward`] is made of.
    Forward,
    /// Call [`CustomOp::backward`].
    Backward,
    /// The outputs are constants: no gradient flows, by intent.
    Constant,
}

/// An op defined outside this crate: any number of inputs and outputs.
///
/// `forward` defines its value in terms of other ops, so it runs on every backend; a backend that knows the
/// type (through [`CustomOp::as_any`]) may execute it whole.
pub trait CustomOp: Debug + Send + Sync + 'static {
    /// A name for errors and profiles.
    fn name(&self) -> &'static str;

    /// Checks the operands; gives shape and dtype of each output.
    ///
    /// # Errors
    /// The operands do not fit.
    fn infer(&self, inputs: &[Meta]) -> Result<Metas>;

    /// The outputs, computed with other ops.
    ///
    /// # Errors
    /// Whatever those ops return.
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// What differentiation does here.
    fn differentiation(&self) -> Differentiation {
        Differentiation::Forward
    }

    /// The gradient of each input, of its shape and dtype (`None`: no gradient flows to it), given inputs, outputs and
    /// the gradient of each output (`None`: that output was not used). Called if [`CustomOp::differentiation`] says so.
    ///
    /// # Errors
    /// Whatever its ops return.
    fn backward(
        &self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        grads: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let _ = (inputs, outputs, grads);
        Err(crate::Error::NotDifferentiable {
            op: self.name(),
            message: "it declares a backward of its own but has none".into(),
        })
    }

    /// This op as `Any`, for backends that look for types they know.
    fn as_any(&self) -> &dyn Any;
}
