//! Nonlinearities as layers. Each is also a method of [`Tensor`].

use gradus_tensor_core::{Result, Tensor, UnaryOp};

use crate::{Module, Parameters, Stage};

macro_rules! activations {
    ($($name:ident, $method:ident, $doc:literal;)*) => {$(
        #[doc = $doc]
        #[derive(Clone, Copy, Debug, Default, Parameters)]
        pub struct $name;

        impl Module for $name {
            fn forward(&self, input: &Tensor) -> Result<Tensor> {
                input.$method()
            }

            fn stage(&self) -> Stage<'_> {
                Stage::Unary(UnaryOp::$name)
            }
        }
    )*};
}
activations! {
    Relu, relu, "`max(x, 0)`";
    Silu, silu, "`x * sigmoid(x)`, also called swish.";
    Mish, mish, "`x * tanh(softplus(x))`";
    Sigmoid, sigmoid, "`1 / (1 + e^-x)`";
    Tanh, tanh, "The hyperbolic tangent.";
    Softplus, softplus, "`ln(1 + e^x)`";
    Hardswish, hardswish, "`x * min(max(x + 3, 0), 6) / 6`";
    Hardsigmoid, hardsigmoid, "`min(max(x + 3, 0), 6) / 6`";
}

/// `min(max(x, 0), 6)`
#[derive(Clone, Copy, Debug, Default, Parameters)]
pub struct Relu6;

impl Module for Relu6 {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.clamp(0.0, 6.0)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Unary(UnaryOp::Clamp { min: 0.0, max: 6.0 })
    }
}

/// `x * Φ(x)` (Hendrycks and Gimpel, arXiv:1606.08415), exact or by the tanh approximation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Gelu {
    /// By the error function.
    #[default]
    Exact,
    /// By a hyperbolic tangent; what GPT-2 uses.
    Tanh,
}

impl Parameters for Gelu {
    fn visit(&self, _: &mut dyn crate::Visitor) {}
    fn visit_mut(&mut self, _: &mut dyn crate::VisitorMut) {}
}

impl Module for Gelu {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Gelu::Exact => input.gelu(),
            Gelu::Tanh => input.gelu_tanh(),
        }
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Unary(match self {
            Gelu::Exact => UnaryOp::Gelu,
            Gelu::Tanh => UnaryOp::GeluTanh,
        })
    }
}

/// `x` where positive, `slope * x` elsewhere.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct LeakyRelu(pub f64);

impl Default for LeakyRelu {
    /// Slope 0.01.
    fn default() -> Self {
        LeakyRelu(0.01)
    }
}

impl Module for LeakyRelu {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.leaky_relu(self.0)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Unary(UnaryOp::LeakyRelu(self.0))
    }
}

/// `x` where positive, `alpha * (e^x - 1)` elsewhere.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct Elu(pub f64);

impl Default for Elu {
    /// Alpha 1.
    fn default() -> Self {
        Elu(1.0)
    }
}

impl Module for Elu {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.elu(self.0)
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Unary(UnaryOp::Elu(self.0))
    }
}

/// `e^x / sum(e^x)` along an axis.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct Softmax(pub isize);

impl Module for Softmax {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.softmax(self.0)
    }
}

/// The logarithm of [`Softmax`], computed without overflow.
#[derive(Clone, Copy, Debug, Parameters)]
pub struct LogSoftmax(pub isize);

impl Module for LogSoftmax {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        input.log_softmax(self.0)
    }
}
