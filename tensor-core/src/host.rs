//! Arrays in host memory: what goes into and comes out of a device.

use half::{bf16, f16};

use crate::{DType, Element, Error, Meta, Result, Shape};

/// A contiguous, typed array in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostArray {
    shape: Shape,
    data: HostData,
}

/// The elements of a [`HostArray`], row-major.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum HostData {
    F64(Vec<f64>),
    F32(Vec<f32>),
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    Bool(Vec<bool>),
}

/// Conversion between typed vectors and [`HostData`]; implemented by every [`Element`].
pub trait HostElement: Element {
    /// The vector as an enum value.
    fn wrap(data: Vec<Self>) -> HostData;
    /// The elements, if they are of this type.
    fn slice(data: &HostData) -> Option<&[Self]>;
    /// The vector, if it is of this type.
    fn unwrap(data: HostData) -> Option<Vec<Self>>;
}

macro_rules! host_element {
    ($($t:ty, $variant:ident;)*) => {
        $(impl HostElement for $t {
            fn wrap(data: Vec<Self>) -> HostData { HostData::$variant(data) }
            fn slice(data: &HostData) -> Option<&[Self]> {
                if let HostData::$variant(v) = data { Some(v) } else { None }
            }
            fn unwrap(data: HostData) -> Option<Vec<Self>> {
                if let HostData::$variant(v) = data { Some(v) } else { None }
            }
        })*
        impl HostArray {
            /// The element type.
            pub fn dtype(&self) -> DType {
                match self.data { $(HostData::$variant(_) => DType::$variant,)* }
            }

            /// The number of elements.
            pub fn len(&self) -> usize {
                match &self.data { $(HostData::$variant(v) => v.len(),)* }
            }

            /// Element `i` in row-major order as a double; `None` beyond the end.
            pub fn get_f64(&self, i: usize) -> Option<f64> {
                match &self.data { $(HostData::$variant(v) => v.get(i).map(|x| x.to_f64()),)* }
            }

            /// Element `i` in row-major order as an integer; `None` beyond the end.
            pub fn get_i64(&self, i: usize) -> Option<i64> {
                match &self.data { $(HostData::$variant(v) => v.get(i).map(|x| x.to_i64()),)* }
            }

            /// The elements converted to another type, as a cast would.
            pub fn convert<T: HostElement>(&self) -> Vec<T> {
                match &self.data {
                    $(HostData::$variant(v) => match T::slice(&self.data) {
                        Some(same) => same.to_vec(),
                        None if DType::$variant.is_float() => v.iter().map(|x| T::from_f64(x.to_f64())).collect(),
                        None => v.iter().map(|x| T::from_i64(x.to_i64())).collect(),
                    },)*
                }
            }
        }
    };
}
host_element! { f64, F64; f32, F32; f16, F16; bf16, BF16; i64, I64; i32, I32; i8, I8; u8, U8; bool, Bool; }

impl HostArray {
    /// An array of these elements in row-major order.
    ///
    /// # Errors
    /// Their number is not that of the shape.
    pub fn new<T: HostElement>(data: Vec<T>, shape: Shape) -> Result<Self> {
        if data.len() != shape.numel() {
            return Err(Error::argument(
                "from_vec",
                format!("{} elements do not fill shape {shape} ({} elements)", data.len(), shape.numel()),
            ));
        }
        Ok(Self { shape, data: T::wrap(data) })
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Shape and dtype.
    pub fn meta(&self) -> Meta {
        Meta::new(self.shape, self.dtype())
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements.
    pub fn data(&self) -> &HostData {
        &self.data
    }

    /// The elements as a slice of `T`, if that is their type.
    pub fn as_slice<T: HostElement>(&self) -> Option<&[T]> {
        T::slice(&self.data)
    }

    /// The elements as a vector of `T`, if that is their type.
    pub fn into_vec<T: HostElement>(self) -> Option<Vec<T>> {
        T::unwrap(self.data)
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// The number of elements differs.
    pub fn reshaped(self, shape: Shape) -> Result<Self> {
        if shape.numel() != self.len() {
            return Err(Error::argument("reshape", format!("{} elements do not fill {shape}", self.len())));
        }
        Ok(Self { shape, ..self })
    }
}
