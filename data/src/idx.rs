//! IDX, the format of MNIST and its relatives: a magic number, the dimensions, the elements.
//!
//! ```text
//! 0 0 T N            two zero bytes, type code T, number of dimensions N
//! N × u32            sizes, big-endian
//! product × T        elements, big-endian, row-major
//! ```
//!
//! Nothing of the header is believed: no memory is taken for more elements than there are bytes to
//! fill it, and what follows the last element is an error.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An array read from an IDX file.
#[derive(Clone, Debug, PartialEq)]
pub struct Idx {
    /// The sizes of the dimensions, outermost first.
    pub shape: Vec<usize>,
    /// The elements, row-major.
    pub data: IdxData,
}

/// The elements of an [`Idx`], in the type that the file gives them.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // the names are the types
pub enum IdxData {
    U8(Vec<u8>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// What is wrong with an IDX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdxError {
    /// The file does not start with two zero bytes.
    #[error("not an IDX file: starts with bytes {found:02x?}, expected 00 00")]
    Magic {
        /// The first two bytes.
        found: [u8; 2],
    },
    /// The third byte names no element type.
    #[error("unknown IDX element type 0x{code:02x}; known are 08 u8, 09 i8, 0b i16, 0c i32, 0d f32, 0e f64")]
    Type {
        /// The type code.
        code: u8,
    },
    /// The header's dimensions make more bytes than memory can address.
    #[error("IDX header claims dimensions {dims:?}, more than memory can address")]
    TooLarge {
        /// The sizes in the header.
        dims: Vec<u32>,
    },
    /// The file ends inside its header.
    #[error("truncated: the IDX header ends after {found} of {expected} bytes")]
    TruncatedHeader {
        /// Bytes there are.
        found: usize,
        /// Bytes the header takes.
        expected: usize,
    },
    /// The file ends before its last element.
    #[error("truncated: dimensions {dims:?} need {expected} bytes of elements, the file has {found}")]
    Truncated {
        /// The sizes in the header.
        dims: Vec<u32>,
        /// Bytes of elements there are.
        found: usize,
        /// Bytes that the dimensions need.
        expected: usize,
    },
    /// The file goes on after its last element.
    #[error("bytes follow the {expected} bytes of elements that dimensions {dims:?} make")]
    Trailing {
        /// The sizes in the header.
        dims: Vec<u32>,
        /// Bytes that the dimensions need.
        expected: usize,
    },
    /// The bytes could not be read or decompressed.
    #[error("cannot be read or decompressed: {0}")]
    Read(#[from] std::io::Error),
}

/// Reads an IDX file, raw or gzipped (told apart by its first bytes, not by its name).
///
/// # Errors
/// [`Error::Io`] if the file cannot be opened, [`Error::Idx`] if it is not a whole IDX array.
pub fn read(path: impl AsRef<Path>) -> Result<Idx> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|source| Error::io(path, source))?;
    from_reader(BufReader::new(file), &path.display().to_string())
}

/// Reads an IDX array, raw or gzipped, from bytes in memory; `origin` names them in errors.
///
/// ```
/// let bytes = [0, 0, 8, 1, 0, 0, 0, 3, 10, 20, 30];
/// let array = gradus_data::idx::from_bytes(&bytes, "three bytes")?;
/// assert_eq!(array.shape, [3]);
/// assert_eq!(array.into_u8()?, [10, 20, 30]);
/// # Ok::<(), gradus_data::Error>(())
/// ```
///
/// # Errors
/// [`Error::Idx`] if they are not a whole IDX array.
pub fn from_bytes(bytes: &[u8], origin: &str) -> Result<Idx> {
    from_reader(Cursor::new(bytes), origin)
}

fn from_reader(mut source: impl BufRead, origin: &str) -> Result<Idx> {
    let parsed = source.fill_buf().map(|head| head.starts_with(&GZIP_MAGIC)).map_err(IdxError::from);
    parsed
        .and_then(|gzipped| if gzipped { parse(MultiGzDecoder::new(source)) } else { parse(source) })
        .map_err(|source| Error::Idx { origin: origin.to_owned(), source })
}

fn parse(mut source: impl Read) -> Result<Idx, IdxError> {
    let magic = header(&mut source, 4, 0)?;
    if magic[..2] != [0, 0] {
        return Err(IdxError::Magic { found: [magic[0], magic[1]] });
    }
    let code = magic[2];
    let size = match code {
        0x08 | 0x09 => 1,
        0x0b => 2,
        0x0c | 0x0d => 4,
        0x0e => 8,
        _ => return Err(IdxError::Type { code }),
    };
    let rank = usize::from(magic[3]);
    let dims: Vec<u32> = big_endian(&header(&mut source, 4 * rank, 4)?, u32::from_be_bytes);
    let expected = dims
        .iter()
        .try_fold(size, |bytes: usize, &dim| bytes.checked_mul(dim as usize))
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .ok_or_else(|| IdxError::TooLarge { dims: dims.clone() })?;

    // One byte more than is wanted, so that anything that follows is seen. (And reading to the end
    // is what makes the gzip decoder check its checksum.)
    let mut bytes = Vec::new();
    source.by_ref().take(expected as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() < expected {
        return Err(IdxError::Truncated { dims, found: bytes.len(), expected });
    }
    if bytes.len() > expected {
        return Err(IdxError::Trailing { dims, expected });
    }
    let shape = dims.iter().map(|&dim| dim as usize).collect();
    let data = match code {
        0x08 => IdxData::U8(bytes),
        0x09 => IdxData::I8(big_endian(&bytes, i8::from_be_bytes)),
        0x0b => IdxData::I16(big_endian(&bytes, i16::from_be_bytes)),
        0x0c => IdxData::I32(big_endian(&bytes, i32::from_be_bytes)),
        0x0d => IdxData::F32(big_endian(&bytes, f32::from_be_bytes)),
        _ => IdxData::F64(big_endian(&bytes, f64::from_be_bytes)),
    };
    Ok(Idx { shape, data })
}

/// The next `len` bytes of the header, of which `before` bytes have been read.
fn header(source: &mut impl Read, len: usize, before: usize) -> Result<Vec<u8>, IdxError> {
    let mut bytes = Vec::with_capacity(len);
    source.by_ref().take(len as u64).read_to_end(&mut bytes)?;
    if bytes.len() < len {
        return Err(IdxError::TruncatedHeader { found: before + bytes.len(), expected: before + len });
    }
    Ok(bytes)
}

fn big_endian<T, const N: usize>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&element| convert(element)).collect()
}

impl Idx {
    /// The elements, which must be bytes.
    ///
    /// # Errors
    /// [`Error::Argument`] if the elements are of another type.
    pub fn into_u8(self) -> Result<Vec<u8>> {
        match self.data {
            IdxData::U8(data) => Ok(data),
            other => Err(Error::argument("idx", format!("elements are {}, expected u8", other.type_name()))),
        }
    }
}

impl IdxData {
    fn type_name(&self) -> &'static str {
        match self {
            IdxData::U8(_) => "u8",
            IdxData::I8(_) => "i8",
            IdxData::I16(_) => "i16",
            IdxData::I32(_) => "i32",
            IdxData::F32(_) => "f32",
            IdxData::F64(_) => "f64",
        }
    }
}
