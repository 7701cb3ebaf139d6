//! Named tensors in `.safetensors` files: weights and state dicts, exchanged with PyTorch and others.
//!
//! The bytes depend only on the tensors, their names and the metadata: tensors are ordered as the reference
//! implementation orders them, by alignment, then by name. Tensors are downloaded, written, read and uploaded
//! one at a time, so the host never holds more than the largest one twice.
//!
//! ```
//! use std::collections::BTreeMap;
//! use gradus_tensor_core::{DType, Result, Tensor, io::safetensors};
//! # fn main() -> Result<()> {
//! # let dir = tempfile::tempdir().unwrap();
//! let device = gradus_backend_cpu::Cpu::device();
//! let path = dir.path().join("model.safetensors");
//! let weight = Tensor::ones([2, 3], DType::F32, &device)?;
//! let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
//! safetensors::save(&path, [("layer.weight", &weight)], &metadata)?;
//! assert_eq!(safetensors::load(&path, &device)?["layer.weight"].dims(), [2, 3]);
//! assert_eq!(safetensors::read_metadata(&path)?, metadata);
//! # Ok(()) }
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};

use super::atomic::AtomicFile;
use super::bytes;
use crate::{DType, Device, Error, Result, Shape, Tensor};

/// The reference implementation reads no larger header.
const MAX_HEADER: usize = 100_000_000;

fn outside(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::I32 => Dtype::I32,
        DType::I64 => Dtype::I64,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F64 => Dtype::F64,
    }
}

fn inside(dtype: Dtype) -> Option<DType> {
    DType::ALL.into_iter().find(|&ours| outside(ours) == dtype)
}

fn malformed(message: impl Into<String>) -> Error {
    Error::format("safetensors", message)
}

/// Saves tensors under their names, with metadata, which may be empty. The file at `path` is replaced
/// atomically. Strided views are written as contiguous tensors.
///
/// # Errors
/// A name is given twice or is `__metadata__`, a device fails, or the file cannot be written.
pub fn save<'a, N: Into<String>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, &'a Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let path = path.as_ref();
    let tensors = ordered(tensors)?;
    let mut file = AtomicFile::create(path)?;
    write(&mut file, &tensors, metadata, path)?;
    Ok(file.commit()?)
}

/// The bytes that [`save`] would write.
///
/// # Errors
/// As [`save`].
pub fn to_bytes<'a, N: Into<String>>(
    tensors: impl IntoIterator<Item = (N, &'a Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(&mut bytes, &ordered(tensors)?, metadata, Path::new("(memory)"))?;
    Ok(bytes)
}

/// Loads every tensor of a file to a device.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is truncated, its header does not
/// describe its data, or a tensor has a dtype or rank that tensors here do not have; the device fails.
pub fn load(path: impl AsRef<Path>, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    let (mut file, len) = open(path)?;
    read(&mut file, len, device, path).map_err(|e| bytes::at(e, path))
}

/// Loads every tensor of a file that is in memory.
///
/// # Errors
/// As [`load`].
pub fn from_bytes(bytes: &[u8], device: &Device) -> Result<BTreeMap<String, Tensor>> {
    read(&mut Cursor::new(bytes), bytes.len() as u64, device, Path::new("(memory)"))
}

/// The metadata that a file was saved with; reads no tensor.
///
/// # Errors
/// As [`load`].
pub fn read_metadata(path: impl AsRef<Path>) -> Result<BTreeMap<String, String>> {
    let path = path.as_ref();
    let (mut file, len) = open(path)?;
    let header = read_header(&mut file, len, path).map_err(|e| bytes::at(e, path))?;
    Ok(header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect())
}

fn open(path: &Path) -> Result<(BufReader<File>, u64)> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    Ok((BufReader::with_capacity(1 << 16, file), len))
}

/// Names with tensors in the order of the file: the largest elements first, so that all are aligned.
fn ordered<'a, N: Into<String>>(
    tensors: impl IntoIterator<Item = (N, &'a Tensor)>,
) -> Result<Vec<(String, &'a Tensor)>> {
    let mut tensors: Vec<_> = tensors.into_iter().map(|(name, t)| (name.into(), t)).collect();
    tensors.sort_by(|(a, x), (b, y)| outside(y.dtype()).cmp(&outside(x.dtype())).then_with(|| a.cmp(b)));
    let mut seen = std::collections::BTreeSet::new();
    for (name, _) in &tensors {
        if name == "__metadata__" {
            return Err(Error::argument("safetensors", "`__metadata__` cannot be the name of a tensor"));
        }
        if !seen.insert(name) {
            return Err(Error::argument("safetensors", format!("two tensors are named `{name}`")));
        }
    }
    Ok(tensors)
}

fn write(
    file: &mut impl Write,
    tensors: &[(String, &Tensor)],
    metadata: &BTreeMap<String, String>,
    path: &Path,
) -> Result<()> {
    let json = |e: serde_json::Error| malformed(e.to_string());
    // Written entry by entry: the order of the header must be the order of the data, and that of a sorted map.
    let mut header = String::from("{");
    if !metadata.is_empty() {
        header.push_str(&format!("\"__metadata__\":{}", serde_json::to_string(metadata).map_err(json)?));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        let start = end;
        end += tensor.meta().bytes();
        let info = TensorInfo {
            dtype: outside(tensor.dtype()),
            shape: tensor.dims().to_vec(),
            data_offsets: (start, end),
        };
        let comma = if header.len() > 1 { "," } else { "" };
        let name = serde_json::to_string(name).map_err(json)?;
        header.push_str(&format!("{comma}{name}:{}", serde_json::to_string(&info).map_err(json)?));
    }
    header.push('}');
    // Spaces up to a multiple of 8, so that the data is aligned.
    let padded = header.len().next_multiple_of(8);
    header.extend(std::iter::repeat_n(' ', padded - header.len()));
    if header.len() > MAX_HEADER {
        return Err(Error::argument(
            "safetensors",
            format!("names and metadata make a header of {} bytes; at most {MAX_HEADER} fit", header.len()),
        ));
    }

    let io = |e| Error::io(path, e);
    file.write_all(&(header.len() as u64).to_le_bytes()).map_err(io)?;
    file.write_all(header.as_bytes()).map_err(io)?;
    for (name, tensor) in tensors {
        let host = tensor.to_host().map_err(|e| e.context(name.as_str()))?;
        if host.meta() != tensor.meta() {
            return Err(Error::argument(
                "safetensors",
                format!("`{name}` is {}, but its device returned {}", tensor.meta(), host.meta()),
            ));
        }
        file.write_all(&bytes::little_endian(&host)).map_err(io)?;
    }
    Ok(())
}

/// Reads and checks the header: afterwards the tensors lie one behind the other up to the end of the file.
fn read_header(file: &mut impl Read, len: u64, path: &Path) -> Result<Metadata> {
    let io = |e| Error::io(path, e);
    let Some(after_size) = len.checked_sub(8) else {
        return Err(malformed(format!("{len} bytes cannot hold a header")));
    };
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(io)?;
    let size = u64::from_le_bytes(size);
    if size > after_size {
        return Err(malformed(format!(
            "the header claims {size} bytes, but only {after_size} follow; truncated, or not this format"
        )));
    }
    if size > MAX_HEADER as u64 {
        return Err(malformed(format!("the header claims {size} bytes; at most {MAX_HEADER} are allowed")));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(io)?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|e| {
        let message = unknown_dtype(&header).unwrap_or_else(|| format!("the header is malformed: {e}"));
        malformed(message)
    })?;
    let (claimed, found) = (header.data_len() as u64, after_size - size);
    if claimed != found {
        let what = if claimed > found { "truncated" } else { "too long" };
        return Err(malformed(format!("{what}: the tensors take {claimed} bytes, the file has {found}")));
    }
    Ok(header)
}

/// What to say of a header that failed to parse because of a dtype that the format does not know.
fn unknown_dtype(header: &[u8]) -> Option<String> {
    let header: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header).ok()?;
    header.iter().find_map(|(name, info)| {
        let dtype = info.get("dtype")?.as_str()?;
        let known = serde_json::from_value::<Dtype>(dtype.into()).is_ok();
        (!known).then(|| unsupported(name, dtype))
    })
}

fn unsupported(name: &str, dtype: impl std::fmt::Display) -> String {
    let ours = DType::ALL.map(|d| outside(d).to_string()).join(", ");
    format!("tensor `{name}` has dtype {dtype}; supported are {ours}")
}

fn read(file: &mut impl Read, len: u64, device: &Device, path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let header = read_header(file, len, path)?;
    let infos = header.tensors();
    let mut metas = Vec::with_capacity(infos.len());
    // Everything is checked before the first upload.
    for name in header.offset_keys() {
        let Some(info) = infos.get(&name) else { continue };
        let dtype = inside(info.dtype).ok_or_else(|| malformed(unsupported(&name, info.dtype)))?;
        let shape = Shape::new(&info.shape).map_err(|e| malformed(format!("tensor `{name}`: {e}")))?;
        metas.push((name, dtype, shape));
    }
    let mut tensors = BTreeMap::new();
    for (name, dtype, shape) in metas {
        let host =
            bytes::read(file, dtype, shape, bytes::Order::Little).map_err(|e| Error::io(path, e))??;
        let tensor = device.upload(&host).map_err(|e| e.context(name.as_str()))?;
        tensors.insert(name, tensor);
    }
    Ok(tensors)
}
