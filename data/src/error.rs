//! The error type of this crate: which sample, which file, what was found, what would do.

use std::path::{Path, PathBuf};

use crate::idx::IdxError;

/// The result of a fallible call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a file and a batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is not the IDX array it claims to be.
    #[error("{origin}: {source}")]
    Idx {
        /// The file's path, or what else the bytes came from.
        origin: String,
        /// What is wrong with it.
        source: IdxError,
    },
    /// A data set is not where it was looked for.
    #[error("{data} is not in {}: {missing} is missing; {help}", dir.display())]
    Missing {
        /// The data set.
        data: &'static str,
        /// The folder that was searched.
        dir: PathBuf,
        /// The file that was not found.
        missing: String,
        /// How to get the data.
        help: String,
    },
    /// A data set was asked for a sample that it does not have.
    #[error("index {index} is out of range for a data set of {len} samples")]
    Index {
        /// The index asked for.
        index: usize,
        /// The number of samples there are.
        len: usize,
    },
    /// An argument, or a value of the data, is out of its domain.
    #[error("{what}: {message}")]
    Argument {
        /// The call that was made.
        what: &'static str,
        /// What was found and what would do.
        message: String,
    },
    /// Getting one sample of a batch failed.
    #[error("sample {index} (batch {batch} of epoch {epoch}): {source}")]
    Sample {
        /// The sample's index in the data set.
        index: usize,
        /// The batch it was wanted for.
        batch: usize,
        /// The epoch.
        epoch: u64,
        /// What the data set said.
        source: Box<Error>,
    },
    /// Making a batch of samples failed: the sampler or the collate function.
    #[error("batch {batch} of epoch {epoch}: {source}")]
    Batch {
        /// The batch.
        batch: usize,
        /// The epoch.
        epoch: u64,
        /// What went wrong.
        source: Box<Error>,
    },
    /// Code of a data set, sampler or collate function panicked; the loader caught it.
    #[error("{what} panicked: {message}")]
    Panic {
        /// What was running.
        what: &'static str,
        /// The panic's message.
        message: String,
    },
    /// A saved position does not fit the loader that should resume from it.
    #[error("cannot resume: the saved position has {field} {saved}, this loader has {found}")]
    State {
        /// The field that differs.
        field: &'static str,
        /// Its value in the saved position.
        saved: u64,
        /// Its value in this loader.
        found: u64,
    },
    /// A worker thread could not be started.
    #[error(
        "cannot start worker thread {worker}: {source}; use fewer workers, or 0 to load in the caller's thread"
    )]
    Spawn {
        /// The worker's number.
        worker: usize,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Making an array or a tensor of a batch failed.
    #[error(transparent)]
    Tensor(#[from] gradus_tensor_core::Error),
    /// An error of the code that this crate called: a data set or transform of the user's own.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An [`Error::Io`] about this file.
    #[cold]
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), source }
    }

    /// An [`Error::Argument`].
    #[cold]
    pub fn argument(what: &'static str, message: impl Into<String>) -> Self {
        Error::Argument { what, message: message.into() }
    }

    /// An [`Error::Other`] from an error of any type, or from a message.
    ///
    /// ```
    /// let error = gradus_data::Error::other("the label file has gone");
    /// assert_eq!(error.to_string(), "the label file has gone");
    /// ```
    #[cold]
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Error::Other(error.into())
    }
}

/// For code that works with tensors and with data under one `Result`.
impl From<Error> for gradus_tensor_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            error => gradus_tensor_core::Error::Other(Box::new(error)),
        }
    }
}
