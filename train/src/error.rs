//! What can go wrong: files, formats, arguments, and whatever a run calls.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use gradus_tensor_core::io::atomic::Refused;

use crate::checkpoint::Damage;
use crate::trainer::Place;

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
    /// A step of training or evaluation failed: the model, the loss or the optimizer.
    #[error("{place}: {source}")]
    Step {
        /// Which one.
        place: Place,
        /// What the model, the loss or the optimizer said.
        source: gradus_tensor_core::Error,
    },
    /// A run has diverged: a loss, a gradient or a parameter is not a finite number.
    #[error(
        "{place}: {what} is not finite; the run has diverged: lower the learning rate, clip gradients, or run \
         with `detect_anomaly` to find the op that made it{}", LastGood(checkpoint.as_deref())
    )]
    NotFinite {
        /// Where.
        place: Place,
        /// What is not finite, as in `the loss, NaN,`.
        what: String,
        /// The newest checkpoint from before, which is kept.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint was made by another run than the one that should go on from it.
    #[error("cannot resume from {}: {message}", path.display())]
    Resume {
        /// The checkpoint.
        path: PathBuf,
        /// What was found and what would do.
        message: String,
    },
    /// A tensor op, a model or an optimizer failed outside a step.
    #[error(transparent)]
    Tensor(#[from] gradus_tensor_core::Error),
    /// Data could not be loaded; the message names the sample.
    #[error(transparent)]
    Data(#[from] gradus_data::Error),
    /// An error of code that this crate called: a callback of the user's own.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
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

    /// An [`Error::Other`] from an error of any type, or from a message.
    ///
    /// ```
    /// let error = gradus_train::Error::other("the dashboard does not answer");
    /// assert_eq!(error.to_string(), "the dashboard does not answer");
    /// ```
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }

    /// Whether there was no space left to write to (a full disk or an exhausted quota).
    pub fn is_disk_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Io { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }
}

impl From<Refused> for Error {
    fn from(Refused { action, path, source }: Refused) -> Self {
        Self::Io { action, path, source }
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

/// Where a diverged run can go on from.
struct LastGood<'a>(Option<&'a Path>);

impl fmt::Display for LastGood<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(path) => write!(f, ". The last good checkpoint is {}", path.display()),
            None => Ok(()),
        }
    }
}
