//! The one place where batches become arrays of `gradus-tensor-core`.

use crate::Result;

/// An array in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HostArray {
    shape: Vec<usize>,
    data: HostData,
}

/// An array in host memory.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum HostData {
    U8(Vec<u8>),
    I64(Vec<i64>),
    F32(Vec<f32>),
}

impl HostArray {
    /// An array in host memory.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl From<Vec<u8>> for HostData {
    fn from(v: Vec<u8>) -> Self {
        HostData::U8(v)
    }
}
impl From<Vec<i64>> for HostData {
    fn from(v: Vec<i64>) -> Self {
        HostData::I64(v)
    }
}
impl From<Vec<f32>> for HostData {
    fn from(v: Vec<f32>) -> Self {
        HostData::F32(v)
    }
}

pub(crate) fn from_vec<T>(data: Vec<T>, shape: &[usize]) -> Result<HostArray>
where
    HostData: From<Vec<T>>,
{
    Ok(HostArray { shape: shape.to_vec(), data: data.into() })
}
