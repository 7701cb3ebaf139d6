//! What can be wrong with a file that should be a checkpoint.

/// What is wrong with a file that should be a checkpoint. [`crate::Error::Checkpoint`] adds its path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The file does not begin with the magic bytes.
    #[error("not a Gradus checkpoint: it begins with {found:02x?}")]
    WrongMagic {
        /// Its first bytes, at most eight.
        found: Vec<u8>,
    },
    /// A newer program wrote the file.
    #[error(
        "format version {found} is newer than {supported}, the newest this program reads; use a newer program"
    )]
    NewerVersion {
        /// The file's version.
        found: u32,
        /// The newest version that this program reads.
        supported: u32,
    },
    /// The file ends early.
    #[error("truncated: {found} of {expected} bytes are there")]
    Truncated {
        /// How long the file should be, in bytes; for one cut before it says so, the shortest possible length.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// The file goes on after its end.
    #[error("{found} bytes long where its header says {expected}; something was appended to it")]
    TrailingBytes {
        /// How long the file should be, in bytes.
        expected: u64,
        /// How long it is.
        found: u64,
    },
    /// A checksum does not match: bytes have changed since the file was written.
    #[error("{part} is damaged: its checksum is {found:08x} and should be {expected:08x}")]
    Checksum {
        /// Which part of the file, as in ``section `model` ``.
        part: String,
        /// The checksum that was stored.
        expected: u32,
        /// The checksum of the bytes that are there.
        found: u32,
    },
    /// The header's checksum matches and yet it makes no sense.
    #[error("the header is invalid: {message}")]
    Header {
        /// What was found.
        message: String,
    },
    /// A section that was asked for is not there.
    #[error("it has no section `{name}`; it has: {}", present.join(", "))]
    MissingSection {
        /// The section asked for.
        name: String,
        /// The sections that are there.
        present: Vec<String>,
    },
    /// A section's bytes are whole and yet are not the JSON that was asked for.
    #[error("section `{name}` does not hold what was expected: {message}")]
    Content {
        /// The section.
        name: String,
        /// Where and how it differs.
        message: String,
    },
}
