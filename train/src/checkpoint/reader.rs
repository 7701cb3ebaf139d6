//! Opening a checkpoint: every byte is verified before anything is believed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::Damage;
use super::format::{Header, PREAMBLE, Preamble, Section, TRAILER, check};
use crate::{Error, Result};

/// Bytes verified at a time.
const CHUNK: usize = 1 << 20;

/// An open checkpoint whose every byte has been verified. Sections are read when asked for, so a large
/// one is in memory only once.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    file: File,
    header: Header,
    /// Where the first section begins, from the start of the file, in bytes.
    payload: u64,
}

/// Why a read failed: the disk, or the bytes.
enum Failure {
    Io(io::Error),
    Damage(Damage),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

impl Failure {
    fn at(self, path: &Path) -> Error {
        match self {
            Self::Io(source) => Error::io("read", path, source),
            Self::Damage(damage) => Error::Checkpoint { path: path.to_path_buf(), damage },
        }
    }
}

impl Checkpoint {
    /// Opens a checkpoint and verifies all of it.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Checkpoint`] if it is not a whole and
    /// undamaged checkpoint that this program understands.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let (header, payload) = verify(&mut file).map_err(|failure| failure.at(path))?;
        Ok(Self { path: path.to_path_buf(), file, header, payload })
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The optimizer step it was made after.
    pub fn step(&self) -> u64 {
        self.header.step
    }

    /// The names of its sections, in the file's order.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.header.sections.iter().map(|s| s.name.as_str())
    }

    /// Reads a section.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if there is no such section, or its bytes changed since the file was opened.
    pub fn section(&mut self, name: &str) -> Result<Vec<u8>> {
        let Some(section) = self.header.sections.iter().find(|s| s.name == name) else {
            let present = self.sections().map(str::to_owned).collect();
            return Err(self.damaged(Damage::MissingSection { name: name.to_owned(), present }));
        };
        read_section(&mut self.file, self.payload, section).map_err(|failure| failure.at(&self.path))
    }

    /// Reads a section that holds JSON.
    ///
    /// # Errors
    /// As [`section`](Self::section); also [`Error::Checkpoint`] if the JSON is not a `T`.
    pub fn json<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        let bytes = self.section(name)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.damaged(Damage::Content { name: name.to_owned(), message: e.to_string() }))
    }

    fn damaged(&self, damage: Damage) -> Error {
        Error::Checkpoint { path: self.path.clone(), damage }
    }
}

/// Reads the file through once, from the start, and returns its header and where its sections begin.
fn verify(file: &mut File) -> Result<(Header, u64), Failure> {
    let found = file.metadata()?.len();
    let mut start = Vec::with_capacity(PREAMBLE);
    file.by_ref().take(PREAMBLE as u64).read_to_end(&mut start)?;
    let preamble = Preamble::parse(&start, found)?;

    // `parse` has compared the lengths with the file's, so neither can ask for more memory than it has bytes.
    let mut json = vec![0; preamble.header_length as usize];
    file.read_exact(&mut json)?;
    check("the header", preamble.header_crc, crc32c::crc32c(&json))?;
    let payload = (PREAMBLE + json.len()) as u64;
    let header = Header::parse(&json, preamble.file_length - payload - TRAILER as u64)?;

    let mut whole = crc32c::crc32c_append(crc32c::crc32c(&start), &json);
    let longest = header.sections.iter().map(|s| s.length).max().unwrap_or(0);
    let mut chunk = vec![0; CHUNK.min(usize::try_from(longest).unwrap_or(CHUNK))];
    for section in &header.sections {
        let crc = checksum(file, section.length, &mut chunk)?;
        check(format!("section `{}`", section.name), section.crc32c, crc)?;
        let length = usize::try_from(section.length).map_err(|_| too_large(section))?;
        whole = crc32c::crc32c_combine(whole, crc, length);
    }
    let mut trailer = [0; TRAILER];
    file.read_exact(&mut trailer)?;
    check("the trailer", u32::from_le_bytes(trailer), whole)?;
    Ok((header, payload))
}

/// The CRC-32C of the next `length` bytes.
fn checksum(file: &mut File, length: u64, chunk: &mut [u8]) -> io::Result<u32> {
    let (mut left, mut crc) = (length, 0);
    while left > 0 {
        let take = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut chunk[..take])?;
        crc = crc32c::crc32c_append(crc, &chunk[..take]);
        left -= take as u64;
    }
    Ok(crc)
}

fn read_section(file: &mut File, payload: u64, section: &Section) -> Result<Vec<u8>, Failure> {
    file.seek(SeekFrom::Start(payload + section.offset))?;
    let mut bytes = vec![0; usize::try_from(section.length).map_err(|_| too_large(section))?];
    file.read_exact(&mut bytes)?;
    check(format!("section `{}`", section.name), section.crc32c, crc32c::crc32c(&bytes))?;
    Ok(bytes)
}

fn too_large(section: &Section) -> Failure {
    let message =
        format!("section `{}` of {} bytes exceeds this machine's memory", section.name, section.length);
    Failure::Damage(Damage::Header { message })
}
