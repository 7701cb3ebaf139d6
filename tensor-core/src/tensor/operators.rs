//! `+ - * /` and unary `-` on references; they return [`Result`].

use crate::{Result, Tensor};

macro_rules! operators {
    ($($trait:ident, $method:ident;)*) => {$(
        impl std::ops::$trait<&Tensor> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: &Tensor) -> Result<Tensor> { Tensor::$method(self, other) }
        }
        impl std::ops::$trait<Tensor> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Tensor) -> Result<Tensor> { Tensor::$method(self, &other) }
        }
        impl std::ops::$trait<&Tensor> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: &Tensor) -> Result<Tensor> { Tensor::$method(&self, other) }
        }
        impl std::ops::$trait<Tensor> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: Tensor) -> Result<Tensor> { Tensor::$method(&self, &other) }
        }
        impl std::ops::$trait<f64> for &Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: f64) -> Result<Tensor> { Tensor::$method(self, other) }
        }
        impl std::ops::$trait<f64> for Tensor {
            type Output = Result<Tensor>;
            fn $method(self, other: f64) -> Result<Tensor> { Tensor::$method(&self, other) }
        }
    )*};
}
operators! { Add, add; Sub, sub; Mul, mul; Div, div; }

impl std::ops::Add<&Tensor> for f64 {
    type Output = Result<Tensor>;
    fn add(self, x: &Tensor) -> Result<Tensor> {
        x.add(self)
    }
}
impl std::ops::Sub<&Tensor> for f64 {
    type Output = Result<Tensor>;
    fn sub(self, x: &Tensor) -> Result<Tensor> {
        x.affine(-1, self)
    }
}
impl std::ops::Mul<&Tensor> for f64 {
    type Output = Result<Tensor>;
    fn mul(self, x: &Tensor) -> Result<Tensor> {
        x.mul(self)
    }
}
impl std::ops::Div<&Tensor> for f64 {
    type Output = Result<Tensor>;
    fn div(self, x: &Tensor) -> Result<Tensor> {
        x.recip()?.mul(self)
    }
}
impl std::ops::Neg for &Tensor {
    type Output = Result<Tensor>;
    fn neg(self) -> Result<Tensor> {
        Tensor::neg(self)
    }
}
