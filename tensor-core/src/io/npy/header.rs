//! The header: a Python dictionary literal in a frame of magic, version and length.

use std::io::Read;
use std::path::Path;

use super::{bytes::Order, code, malformed};
use crate::{DType, Error, Meta, Result, Shape};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy pads headers so that the data begins at a multiple of this.
const ALIGN: usize = 64;
/// Longer than any header of a plain array; a length beyond it is a lie.
const MAX_HEADER: u64 = 1 << 20;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) dtype: DType,
    pub(super) order: Order,
    pub(super) fortran: bool,
    pub(super) shape: Shape,
}

/// The header of a C-ordered little-endian array, as NumPy writes it.
pub(super) fn encode(meta: &Meta) -> Result<Vec<u8>> {
    let Some(code) = code(meta.dtype) else {
        return Err(Error::argument("npy", format!("the format has no {}; cast to f32 first", meta.dtype)));
    };
    let order = if meta.dtype.size() == 1 { '|' } else { '<' };
    let shape = match meta.shape.dims() {
        [one] => format!("({one},)"),
        dims => format!("({})", dims.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
    };
    let text = format!("{{'descr': '{order}{code}', 'fortran_order': False, 'shape': {shape}, }}");
    let frame = MAGIC.len() + 4; // and two bytes each of version and length
    let len = (frame + text.len() + 1).next_multiple_of(ALIGN) - frame;
    let mut bytes = Vec::with_capacity(frame + len);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[1, 0]);
    bytes.extend_from_slice(&(len as u16).to_le_bytes()); // eight numbers of 20 digits fit thrice
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(frame + len - 1, b' ');
    bytes.push(b'\n');
    Ok(bytes)
}

impl Header {
    pub(super) fn meta(&self) -> Meta {
        Meta::new(self.shape, self.dtype)
    }

    /// Reads the header; gives how many of the `len` bytes follow it, too.
    pub(super) fn read(file: &mut impl Read, len: u64, path: &Path) -> Result<(Header, u64)> {
        let mut left = len;
        let mut take = |n: u64| -> Result<Vec<u8>> {
            left =
                left.checked_sub(n).ok_or_else(|| malformed(format!("{len} bytes end within the header")))?;
            let mut bytes = vec![0; n as usize];
            file.read_exact(&mut bytes).map_err(|e| Error::io(path, e))?;
            Ok(bytes)
        };
        let frame = take(8)?;
        if !frame.starts_with(MAGIC) {
            return Err(malformed("does not begin as this format does"));
        }
        let size = match frame[6] {
            1 => take(2)?,
            2 | 3 => take(4)?,
            other => return Err(malformed(format!("version {other} is unknown; 1, 2 and 3 are supported"))),
        };
        let size = size.iter().rev().fold(0, |size, &byte| size << 8 | u64::from(byte));
        if size > MAX_HEADER {
            return Err(malformed(format!(
                "the header claims {size} bytes; at most {MAX_HEADER} are allowed"
            )));
        }
        let text = take(size)?;
        // Version 3 is UTF-8, the others Latin 1; a plain array's header is ASCII in all of them.
        let text = std::str::from_utf8(&text).map_err(|_| malformed("the header is not text"))?;
        Ok((Literal { text }.header()?, left))
    }
}

/// What is left to read of the dictionary.
struct Literal<'a> {
    text: &'a str,
}

impl<'a> Literal<'a> {
    fn header(mut self) -> Result<Header> {
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        self.expect('{')?;
        while !self.eat('}') {
            let key = self.string()?;
            self.expect(':')?;
            let again = match key {
                "descr" => descr.replace(self.descr()?).is_some(),
                "fortran_order" => fortran.replace(self.boolean()?).is_some(),
                "shape" => shape.replace(self.shape()?).is_some(),
                other => {
                    return Err(malformed(format!("the header has an unknown entry `{}`", short(other))));
                }
            };
            if again {
                return Err(malformed(format!("the header has two entries `{key}`")));
            }
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        if !self.text.trim().is_empty() {
            return Err(malformed(format!("`{}` follows the header", short(self.text.trim()))));
        }
        let missing = |name: &str| malformed(format!("the header lacks `{name}`"));
        let (dtype, order) = descr.ok_or_else(|| missing("descr"))?;
        Ok(Header {
            dtype,
            order,
            fortran: fortran.ok_or_else(|| missing("fortran_order"))?,
            shape: shape.ok_or_else(|| missing("shape"))?,
        })
    }

    fn eat(&mut self, c: char) -> bool {
        self.text = self.text.trim_start();
        match self.text.strip_prefix(c) {
            Some(rest) => {
                self.text = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: char) -> Result<()> {
        if self.eat(c) { Ok(()) } else { Err(self.unexpected(&format!("`{c}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> Error {
        malformed(format!("the header has `{}` where {wanted} should be", short(self.text)))
    }

    fn string(&mut self) -> Result<&'a str> {
        for quote in ['\'', '"'] {
            if self.eat(quote) {
                let (string, rest) =
                    self.text.split_once(quote).ok_or_else(|| self.unexpected("a string"))?;
                self.text = rest;
                return Ok(string);
            }
        }
        Err(self.unexpected("a string"))
    }

    fn boolean(&mut self) -> Result<bool> {
        self.text = self.text.trim_start();
        for (name, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.text.strip_prefix(name) {
                self.text = rest;
                return Ok(value);
            }
        }
        Err(self.unexpected("True or False"))
    }

    fn descr(&mut self) -> Result<(DType, Order)> {
        self.text = self.text.trim_start();
        if self.text.starts_with(['[', '(']) {
            return Err(malformed("structured dtypes are not supported; save each field by itself"));
        }
        let descr = self.string()?;
        let native = if cfg!(target_endian = "little") { Order::Little } else { Order::Big };
        let (order, name) = match descr.as_bytes().first() {
            Some(b'<') => (Order::Little, &descr[1..]),
            Some(b'>') => (Order::Big, &descr[1..]),
            Some(b'|' | b'=') => (native, &descr[1..]),
            _ => (native, descr),
        };
        match DType::ALL.into_iter().find(|&dtype| code(dtype) == Some(name)) {
            Some(dtype) => Ok((dtype, order)),
            None => {
                let ours: Vec<&str> = DType::ALL.into_iter().filter_map(code).collect();
                Err(malformed(format!(
                    "dtype `{}` is not supported; these are: {}",
                    short(descr),
                    ours.join(", ")
                )))
            }
        }
    }

    fn shape(&mut self) -> Result<Shape> {
        self.expect('(')?;
        let mut dims = Vec::new();
        while !self.eat(')') {
            self.text = self.text.trim_start();
            let end = self.text.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.text.len());
            let (digits, rest) = self.text.split_at(end);
            dims.push(digits.parse().map_err(|_| self.unexpected("a size"))?);
            self.text = rest.strip_prefix('L').unwrap_or(rest); // Python 2 marked long integers
            if !self.eat(',') {
                self.expect(')')?;
                break;
            }
        }
        Shape::new(&dims).map_err(|e| malformed(e.to_string()))
    }
}

/// The beginning of what may be long.
fn short(text: &str) -> &str {
    text.char_indices().nth(20).map_or(text, |(end, _)| &text[..end])
}
