//! Putting a checkpoint together.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::Path;

use gradus_tensor_core::io::atomic;
use serde::Serialize;

use super::format::{Header, PREAMBLE, Preamble, Section, TRAILER};
use crate::{Error, Result};

/// Collects named sections, then writes them as one checkpoint.
#[derive(Clone, Debug, Default)]
pub struct CheckpointWriter<'a> {
    step: u64,
    sections: Vec<(String, Cow<'a, [u8]>)>,
}

impl<'a> CheckpointWriter<'a> {
    /// A checkpoint without sections, made after optimizer step `step`.
    pub fn new(step: u64) -> Self {
        Self { step, sections: Vec::new() }
    }

    /// The step it was made after.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Adds a section of bytes, borrowed or owned.
    #[must_use]
    pub fn section(mut self, name: impl Into<String>, bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        self.sections.push((name.into(), bytes.into()));
        self
    }

    /// Adds a section that holds `value` as JSON. Floats survive exactly, except that JSON has no NaN
    /// and no infinities: store those as bits.
    ///
    /// # Errors
    /// [`Error::Argument`] if `value` cannot be written as JSON (a map whose keys are not strings).
    pub fn json(self, name: impl Into<String>, value: &impl Serialize) -> Result<Self> {
        let name = name.into();
        let bytes = serde_json::to_vec(value)
            .map_err(|e| Error::argument("CheckpointWriter::json", format!("section `{name}`: {e}")))?;
        Ok(self.section(name, bytes))
    }

    /// Writes the checkpoint to `path`, atomically: afterwards it is there as a whole and durable, or
    /// whatever was there before is untouched.
    ///
    /// # Errors
    /// [`Error::Argument`] if two sections have one name, [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.check_names()?;
        Ok(atomic::write(path, |file| self.write_to(file))?)
    }

    /// Writes the bytes of the checkpoint to `out`.
    ///
    /// # Errors
    /// Those of `out`; `InvalidInput` if the header would exceed 4 GiB.
    pub fn write_to(&self, mut out: impl Write) -> io::Result<()> {
        let mut offset = 0;
        let mut sections = Vec::with_capacity(self.sections.len());
        for (name, bytes) in &self.sections {
            let length = bytes.len() as u64;
            sections.push(Section { name: name.clone(), offset, length, crc32c: crc32c::crc32c(bytes) });
            offset += length;
        }
        let header = serde_json::to_vec(&Header { step: self.step, sections: sections.clone() })?;
        let header_length = u32::try_from(header.len()).map_err(|_| {
            io::Error::new(io::ErrorKind::InvalidInput, "the names of the sections exceed 4 GiB")
        })?;
        let header_crc = crc32c::crc32c(&header);
        let file_length = (PREAMBLE + header.len() + TRAILER) as u64 + offset;
        let preamble = Preamble { header_length, file_length, header_crc }.to_bytes();

        let mut crc = crc32c::crc32c_append(crc32c::crc32c(&preamble), &header);
        out.write_all(&preamble)?;
        out.write_all(&header)?;
        for ((_, bytes), section) in self.sections.iter().zip(&sections) {
            crc = crc32c::crc32c_combine(crc, section.crc32c, bytes.len());
            out.write_all(bytes)?;
        }
        out.write_all(&crc.to_le_bytes())
    }

    fn check_names(&self) -> Result<()> {
        for (i, (name, _)) in self.sections.iter().enumerate() {
            if self.sections[..i].iter().any(|(earlier, _)| earlier == name) {
                let message =
                    format!("section `{name}` was added twice; give each section a name of its own");
                return Err(Error::argument("CheckpointWriter::save", message));
            }
        }
        Ok(())
    }
}
