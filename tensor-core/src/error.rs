//! The one error type: what was asked, what was found, what would do.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::{DType, Shape};

/// The result of a fallible call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The shape and dtype of a tensor, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
// Laid out as written, as layouts are: a shape is then copied in the same pieces out of and into both, and no load waits for
// two stores to end.
#[repr(C)]
pub struct Meta {
    /// The sizes of the dimensions.
    pub shape: Shape,
    /// The element type.
    pub dtype: DType,
}

impl Meta {
    /// The meta of a tensor of that shape and dtype.
    pub fn new(shape: Shape, dtype: DType) -> Self {
        Self { shape, dtype }
    }

    /// The size of a contiguous buffer of this meta, in bytes.
    pub fn bytes(&self) -> usize {
        self.shape.numel().saturating_mul(self.dtype.size())
    }
}

impl fmt::Display for Meta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.dtype, self.shape)
    }
}

/// Operands that break the rule of an op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpError {
    /// The op's name, as in `conv2d`.
    pub op: &'static str,
    /// The operands' shapes and dtypes, in order.
    pub operands: Vec<Meta>,
    /// What was found and what would do.
    pub rule: String,
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.rule)?;
        if !self.operands.is_empty() {
            write!(f, " (operands:")?;
            for (i, operand) in self.operands.iter().enumerate() {
                write!(f, "{} {operand}", if i == 0 { "" } else { "," })?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// Everything that can go wrong, typed. Match on it; its `Display` is one readable sentence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operands' shapes break the op's rule.
    #[error("{0}")]
    Shape(Box<OpError>),
    /// The operands' dtypes break the op's rule.
    #[error("{0}")]
    DType(Box<OpError>),
    /// An argument that is not a tensor is out of its domain.
    #[error("{op}: {message}")]
    Argument {
        /// The call that was made.
        op: &'static str,
        /// What was found and what would do.
        message: String,
    },
    /// An axis is out of range.
    #[error("{op}: axis {axis} is out of range for a tensor of rank {rank}")]
    Axis {
        /// The call that was made.
        op: &'static str,
        /// The axis as given.
        axis: isize,
        /// The tensor's rank.
        rank: usize,
    },
    /// A value used as an index is out of range.
    #[error("{op}: index {index} is out of range for size {size}")]
    Index {
        /// The op that indexed.
        op: &'static str,
        /// The offending index.
        index: i64,
        /// The number of valid positions.
        size: usize,
    },
    /// A shape of too many dimensions.
    #[error("shape {dims:?} has rank {rank}; the largest supported rank is 8")]
    Rank {
        /// The rank asked for.
        rank: usize,
        /// The shape asked for.
        dims: Vec<usize>,
    },
    /// A shape with more elements than memory can address.
    #[error("shape {dims:?} has more elements than memory can address")]
    TooLarge {
        /// The shape asked for.
        dims: Vec<usize>,
    },
    /// Tensors that live on devices that do not meet.
    #[error("{op}: tensors are on different devices: {left} and {right}; move one with `to(device)`")]
    Device {
        /// The op, or the call.
        op: &'static str,
        /// The first operand's device.
        left: String,
        /// The other operand's device.
        right: String,
    },
    /// A backend implements neither the op nor everything it decomposes into.
    #[error(
        "{op}: the backend {backend} supports neither this op nor a decomposition of it for {operands:?}"
    )]
    Unsupported {
        /// The op.
        op: &'static str,
        /// The backend's name.
        backend: String,
        /// The operands.
        operands: Vec<Meta>,
    },
    /// An op without a gradient met a tensor that requires one. Raised at forward time.
    #[error("{op} is not differentiable: {message}")]
    NotDifferentiable {
        /// The op.
        op: &'static str,
        /// Why, and what would do.
        message: String,
    },
    /// A graph was used in a way it does not allow.
    #[error("{op}: {message}")]
    Graph {
        /// The call that was made.
        op: &'static str,
        /// What was found and what would do.
        message: String,
    },
    /// A value was NaN or infinite where it may not be.
    #[error("{op}: {message}")]
    NotFinite {
        /// The op that made the value.
        op: String,
        /// Where, and what it was made from.
        message: String,
    },
    /// Memory ran out.
    #[error(
        "out of memory: asked for {requested} bytes with {allocated} bytes in use and {cached} bytes cached on {backend}"
    )]
    OutOfMemory {
        /// Bytes asked for.
        requested: usize,
        /// Bytes in use by live buffers.
        allocated: usize,
        /// Bytes held by the caching allocator.
        cached: usize,
        /// The backend's name.
        backend: String,
    },
    /// The operating system refused a file operation.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Bytes that are not what their format promises.
    #[error("{format}{at}: {message}", at = path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
    Format {
        /// The format: `npy`, `safetensors`, …
        format: &'static str,
        /// The file, if there is one.
        path: Option<PathBuf>,
        /// What was found and what was expected.
        message: String,
    },
    /// An error with a note of what was being done when it happened.
    #[error("{context}: {source}")]
    Context {
        /// What was being done.
        context: String,
        /// The error.
        source: Box<Error>,
    },
    /// An error of another crate: a backend, a dataset, a callback.
    #[error(transparent)]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// An [`Error::Shape`] about these operands.
    #[cold]
    pub fn shape(op: &'static str, operands: &[Meta], rule: impl Into<String>) -> Self {
        Error::Shape(Box::new(OpError { op, operands: operands.to_vec(), rule: rule.into() }))
    }

    /// An [`Error::DType`] about these operands.
    #[cold]
    pub fn dtype(op: &'static str, operands: &[Meta], rule: impl Into<String>) -> Self {
        Error::DType(Box::new(OpError { op, operands: operands.to_vec(), rule: rule.into() }))
    }

    /// An [`Error::Argument`].
    #[cold]
    pub fn argument(op: &'static str, message: impl Into<String>) -> Self {
        Error::Argument { op, message: message.into() }
    }

    /// An [`Error::Io`] about this file.
    #[cold]
    pub fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { path: path.as_ref().to_owned(), source }
    }

    /// An [`Error::Format`] about bytes with no file name yet.
    #[cold]
    pub fn format(format: &'static str, message: impl Into<String>) -> Self {
        Error::Format { format, path: None, message: message.into() }
    }

    /// This error, saying what was being done: `layer1.0.conv1: conv2d: …`.
    #[must_use]
    pub fn context(self, context: impl Into<String>) -> Self {
        Error::Context { context: context.into(), source: Box::new(self) }
    }

    /// The error itself, below every [`Error::Context`].
    pub fn root(&self) -> &Error {
        let mut error = self;
        while let Error::Context { source, .. } = error {
            error = source;
        }
        error
    }
}
