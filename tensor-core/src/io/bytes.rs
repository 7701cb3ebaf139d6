//! Elements as bytes.

use std::borrow::Cow;
use std::io::{self, Read};

use bytemuck::{cast_slice, cast_slice_mut, zeroed_vec};
use half::{bf16, f16};

use crate::host::HostData;
use crate::{DType, Error, HostArray, HostElement, Result, Shape};

/// The order of the bytes of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    #[cfg_attr(not(feature = "npy"), allow(dead_code))]
    Big,
}

impl Order {
    fn is_native(self) -> bool {
        (self == Order::Little) == cfg!(target_endian = "little")
    }
}

/// The elements in row-major order as little-endian bytes.
pub(super) fn little_endian(host: &HostArray) -> Cow<'_, [u8]> {
    let bytes: &[u8] = match host.data() {
        HostData::F64(v) => cast_slice(v),
        HostData::F32(v) => cast_slice(v),
        HostData::F16(v) => cast_slice(v),
        HostData::BF16(v) => cast_slice(v),
        HostData::I64(v) => cast_slice(v),
        HostData::I32(v) => cast_slice(v),
        HostData::I8(v) => cast_slice(v),
        HostData::U8(v) => v,
        HostData::Bool(v) => cast_slice(v),
    };
    if Order::Little.is_native() {
        return Cow::Borrowed(bytes);
    }
    let mut bytes = bytes.to_vec();
    bytes.chunks_exact_mut(host.dtype().size()).for_each(<[u8]>::reverse);
    Cow::Owned(bytes)
}

/// Reads as many elements as `shape` has. The caller knows that the reader holds them: memory is reserved
/// for all at once.
pub(super) fn read(
    reader: &mut impl Read,
    dtype: DType,
    shape: Shape,
    order: Order,
) -> io::Result<Result<HostArray>> {
    fn numbers<T: HostElement + bytemuck::Pod>(
        reader: &mut impl Read,
        shape: Shape,
        order: Order,
    ) -> io::Result<Result<HostArray>> {
        let mut data: Vec<T> = zeroed_vec(shape.numel());
        let bytes: &mut [u8] = cast_slice_mut(&mut data);
        reader.read_exact(bytes)?;
        if !order.is_native() {
            bytes.chunks_exact_mut(size_of::<T>()).for_each(<[u8]>::reverse);
        }
        Ok(HostArray::new(data, shape))
    }
    match dtype {
        DType::F64 => numbers::<f64>(reader, shape, order),
        DType::F32 => numbers::<f32>(reader, shape, order),
        DType::F16 => numbers::<f16>(reader, shape, order),
        DType::BF16 => numbers::<bf16>(reader, shape, order),
        DType::I64 => numbers::<i64>(reader, shape, order),
        DType::I32 => numbers::<i32>(reader, shape, order),
        DType::I8 => numbers::<i8>(reader, shape, order),
        DType::U8 => numbers::<u8>(reader, shape, order),
        DType::Bool => {
            let mut bytes = vec![0u8; shape.numel()];
            reader.read_exact(&mut bytes)?;
            // As C does: whatever is not 0 is true.
            Ok(HostArray::new(bytes.into_iter().map(|b| b != 0).collect(), shape))
        }
    }
}

/// Puts the file's name into an [`Error::Format`] that has none yet.
pub(super) fn at(error: Error, file: &std::path::Path) -> Error {
    match error {
        Error::Format { format, path: None, message } => {
            Error::Format { format, path: Some(file.to_owned()), message }
        }
        other => other,
    }
}
