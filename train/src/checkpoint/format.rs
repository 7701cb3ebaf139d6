//! The layout of the file: what the writer and the reader must agree on.

use serde::{Deserialize, Serialize};

use super::Damage;

/// The version that this program writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The first bytes of every checkpoint.
pub(super) const MAGIC: [u8; 8] = *b"\x89GRADUS\n";

/// The length of the part before the header, in bytes. The same in every version.
pub(super) const PREAMBLE: usize = 32;

/// The length of the checksum at the end, in bytes.
pub(super) const TRAILER: usize = 4;

/// The shortest possible file: an empty header, no section.
pub(super) const SHORTEST: u64 = (PREAMBLE + TRAILER) as u64;

/// The fixed part at the beginning of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Preamble {
    /// Length of the JSON header, in bytes.
    pub header_length: u32,
    /// Length of the whole file, trailer included, in bytes.
    pub file_length: u64,
    /// CRC-32C of the JSON header.
    pub header_crc: u32,
}

impl Preamble {
    /// Lays the preamble out, its own checksum included.
    pub fn to_bytes(self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.header_length.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.file_length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.header_crc.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the preamble from the file's first bytes (all of them, if there are fewer than
    /// [`PREAMBLE`]) and the file's length.
    pub fn parse(start: &[u8], found: u64) -> Result<Self, Damage> {
        let magic = &start[..start.len().min(MAGIC.len())];
        if magic != &MAGIC[..magic.len()] {
            return Err(Damage::WrongMagic { found: magic.to_vec() });
        }
        let Ok(bytes) = <&[u8; PREAMBLE]>::try_from(start) else {
            return Err(Damage::Truncated { expected: SHORTEST, found });
        };
        check("the preamble", u32_at(bytes, 28), crc32c::crc32c(&bytes[..28]))?;
        let version = u32_at(bytes, 8);
        if version > VERSION {
            return Err(Damage::NewerVersion { found: version, supported: VERSION });
        }
        let file_length = u64::from(u32_at(bytes, 16)) | u64::from(u32_at(bytes, 20)) << 32;
        let preamble = Self { header_length: u32_at(bytes, 12), file_length, header_crc: u32_at(bytes, 24) };
        if found < file_length {
            return Err(Damage::Truncated { expected: file_length, found });
        }
        if found > file_length {
            return Err(Damage::TrailingBytes { expected: file_length, found });
        }
        if u64::from(preamble.header_length) + SHORTEST > file_length {
            return Err(Damage::Header { message: "it is longer than the file".into() });
        }
        Ok(preamble)
    }
}

/// The JSON header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// The optimizer step after which the checkpoint was made.
    pub step: u64,
    /// The sections, in the order in which they lie in the file.
    pub sections: Vec<Section>,
}

/// Where a section lies and what its bytes sum up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    pub name: String,
    /// From the first byte after the header, in bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    pub crc32c: u32,
}

impl Header {
    /// Reads a header whose checksum has been verified. The sections must fill `payload` bytes exactly.
    pub fn parse(json: &[u8], payload: u64) -> Result<Self, Damage> {
        let header: Self =
            serde_json::from_slice(json).map_err(|e| Damage::Header { message: e.to_string() })?;
        let mut end = 0_u64;
        for section in &header.sections {
            if section.offset != end {
                let message =
                    format!("section `{}` begins at {} and not at {end}", section.name, section.offset);
                return Err(Damage::Header { message });
            }
            end =
                end.checked_add(section.length).filter(|&e| e <= payload).ok_or_else(|| Damage::Header {
                    message: format!(
                        "section `{}` of {} bytes goes past the end",
                        section.name, section.length
                    ),
                })?;
        }
        if end != payload {
            let message = format!("its sections hold {end} bytes, the file {payload}");
            return Err(Damage::Header { message });
        }
        Ok(header)
    }
}

/// Compares a stored checksum with that of the bytes that are there.
pub(super) fn check(part: impl Into<String>, expected: u32, found: u32) -> Result<(), Damage> {
    if expected == found { Ok(()) } else { Err(Damage::Checksum { part: part.into(), expected, found }) }
}

fn u32_at(bytes: &[u8; PREAMBLE], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
