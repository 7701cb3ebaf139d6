//! NumPy's files: one array in `.npy`, named arrays in `.npz`.
//!
//! Reads versions 1 to 3, either byte order, C and Fortran order. Writes what NumPy itself writes for a
//! C-ordered array. `bf16` has no name in this format: cast it to `f32` first.
//!
//! ```
//! use gradus_tensor_core::{DType, Result, Tensor, io::npy};
//! # fn main() -> Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let device = gradus_backend_cpu::Cpu::device();
//! let (one, many) = (dir.path().join("x.npy"), dir.path().join("all.npz"));
//! let x = Tensor::arange(0, 6, DType::I64, &device)?.reshape([2, 3])?;
//! npy::save(&one, &x)?; // numpy.load("x.npy")
//! assert_eq!(npy::load(&one, &device)?.to_vec::<i64>()?, [0, 1, 2, 3, 4, 5]);
//! npy::save_npz(&many, [("x", &x), ("transposed", &x.t()?)])?;
//! assert_eq!(npy::load_npz(&many, &device)?["transposed"].dims(), [3, 2]);
//! # Ok(()) }
//! ```

mod header;
mod zipped;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

use self::header::Header;
pub use self::zipped::{load_npz, save_npz};
use super::atomic::AtomicFile;
use super::bytes;
use crate::{DType, Device, Error, HostArray, Layout, Result, Tensor, with_dtype};

fn malformed(message: impl Into<String>) -> Error {
    Error::format("npy", message)
}

/// Saves a tensor. The file at `path` is replaced atomically.
///
/// # Errors
/// The dtype is `bf16`, the device fails, or the file cannot be written.
pub fn save(path: impl AsRef<Path>, tensor: &Tensor) -> Result<()> {
    let path = path.as_ref();
    let mut file = AtomicFile::create(path)?;
    write(&mut file, tensor, path)?;
    Ok(file.commit()?)
}

/// The bytes that [`save`] would write.
///
/// # Errors
/// As [`save`].
pub fn to_bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut bytes, tensor, Path::new("(memory)"))?;
    Ok(bytes)
}

/// Loads an array to a device, contiguous.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is truncated, its header does not describe
/// its data, or its dtype or rank is none that tensors here have; the device fails.
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<Tensor> {
    let path = path.as_ref();
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let array = read(&mut BufReader::with_capacity(1 << 16, file), len, path);
    device.upload(&array.map_err(|e| bytes::at(e, path))?)
}

/// Loads an array that is in memory.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<Tensor> {
    device.upload(&read(&mut Cursor::new(bytes), bytes.len() as u64, Path::new("(memory)"))?)
}

fn write(file: &mut impl Write, tensor: &Tensor, path: &Path) -> Result<()> {
    let host = tensor.to_host()?;
    let io = |e| Error::io(path, e);
    file.write_all(&header::encode(&host.meta())?).map_err(io)?;
    file.write_all(&bytes::little_endian(&host)).map_err(io)
}

/// Reads an array from a reader that holds `len` bytes. Nothing is reserved that those could not fill.
fn read(file: &mut impl Read, len: u64, path: &Path) -> Result<HostArray> {
    let (header, left) = Header::read(file, len, path)?;
    let Header { dtype, order, fortran, shape } = header;
    let needed = header.meta().bytes() as u64;
    if needed != left {
        let what = if needed > left { "truncated" } else { "too long" };
        return Err(malformed(format!(
            "{what}: {} takes {needed} bytes, {left} follow the header",
            header.meta()
        )));
    }
    if !fortran {
        return bytes::read(file, dtype, shape, order).map_err(|e| Error::io(path, e))?;
    }
    // Column-major elements are the row-major ones of the array with its axes reversed.
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let layout = Layout::contiguous(crate::Shape::new(&reversed)?);
    let array = bytes::read(file, dtype, *layout.shape(), order).map_err(|e| Error::io(path, e))??;
    let layout = layout.permute(&(0..shape.rank()).rev().collect::<Vec<_>>())?;
    with_dtype!(dtype, T => {
        let columns: &[T] = array.as_slice().unwrap_or_default();
        HostArray::new(layout.positions().filter_map(|i| columns.get(i).copied()).collect(), shape)
    })
}

/// NumPy's letter and size.
fn code(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "b1",
        DType::U8 => "u1",
        DType::I8 => "i1",
        DType::I32 => "i4",
        DType::I64 => "i8",
        DType::F16 => "f2",
        DType::BF16 => return None,
        DType::F32 => "f4",
        DType::F64 => "f8",
    })
}
