//! What can go wrong outside the tensors: files, formats and arguments.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::Damage;

/// The result of a fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, typed. Match on it; its `Display` is one readable sentence that
/// names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused. `source.kind()` says how: `PermissionDenied`, `StorageFull`, ...
    #[error("cannot {action} {}: {source}{}", path.display(), Hint(source.kind()))]
    Io {
        /// What was attempted, as in `create`.
        action: &'static str,
        /// The file or directory it was attempted on.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A file that should be a checkpoint is not one, or not a whole one.
    #[error("checkpoint {}: {damage}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// A metrics file does not fit what is to be appended to it.
    #[error("metrics {}: {message}", path.display())]
    Metrics {
        /// The file.
        path: PathBuf,
        /// What was found and what would do.
        message: String,
    },
    /// An argument is out of its domain.
    #[error("{call}: {message}")]
    Argument {
        /// The call that was made.
        call: &'static str,
        /// What was found and what would do.
        message: String,
    },
    /// The handler for Ctrl-C could not be installed.
    #[error("cannot install the Ctrl-C handler: {0}")]
    Interrupt(#[from] ctrlc::Error),
}

impl Error {
    /// Makes an [`Error::Io`] from what was attempted on which path.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// Makes an [`Error::Argument`].
    pub(crate) fn argument(call: &'static str, message: impl Into<String>) -> Self {
        Self::Argument { call, message: message.into() }
    }

    /// Whether there was no space left to write to (a full disk or an exhausted quota).
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

/// What would do, for the refusals that people meet.
struct Hint(io::ErrorKind);

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                "; choose a directory this user may write to"
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "; free some space or choose another directory (files already there are untouched)"
            }
            io::ErrorKind::NotADirectory => "; a part of this path is a file, not a directory",
            io::ErrorKind::AlreadyExists => "; resume it, remove it or choose another directory",
            _ => "",
        })
    }
}
