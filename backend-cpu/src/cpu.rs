//! The backend value and how to make one.

use std::fmt;
use std::sync::{Arc, LazyLock, OnceLock};

use gradus_tensor_core::{DType, Device, Error, MemoryStats, Meta, Result};

use crate::alloc::Allocator;
use crate::buffer::Fresh;
use crate::team::Team;
use crate::{CpuBuffer, Level, Precision};

/// The CPU as a backend: a feature level, a number of threads and an allocator of its own.
#[derive(Debug)]
pub struct Cpu {
    level: Level,
    precision: Precision,
    threads: usize,
    // Made at the first op that is large enough, so that a process that needs no threads starts none.
    team: OnceLock<Option<Team>>,
    allocator: Arc<Allocator>,
}

impl Cpu {
    /// The shared device: every core, one allocator. All handles of it are one device.
    pub fn device() -> Device {
        static DEVICE: LazyLock<Device> = LazyLock::new(|| Device::new(Cpu::new(cores())));
        DEVICE.clone()
    }

    /// Makes a device with a pool and an allocator of its own.
    pub fn builder() -> CpuBuilder {
        CpuBuilder::default()
    }

    /// What this machine offers and what of it is used.
    pub fn features() -> Features {
        Features { level: Level::detect(), cores: cores() }
    }

    /// Returns the memory that the allocator keeps for reuse to the system.
    pub fn trim(&self) {
        self.allocator.trim();
    }

    /// The number of threads that ops may use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The instructions that kernels use.
    pub fn level(&self) -> Level {
        self.level
    }

    /// How exactly products of `f32` are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How exactly products are computed whose operands were of a dtype, and are `f32` now. Numbers that were `bf16` lose
    /// nothing by being rounded to it; those of `f16` would.
    pub(crate) fn precision_of(&self, dtype: DType) -> Precision {
        match dtype {
            DType::F32 => self.precision,
            DType::BF16 => Precision::Medium,
            _ => Precision::Highest,
        }
    }

    /// A backend whose buffers lie beside pages that nobody may touch.
    #[cfg(all(test, unix))]
    pub(crate) fn guarded(threads: usize, side: crate::guard::Side) -> Self {
        let mut allocator = Allocator::new();
        allocator.guard = Some(crate::guard::Guard::new(side));
        Self { allocator: Arc::new(allocator), ..Self::new(threads) }
    }

    pub(crate) fn new(threads: usize) -> Self {
        Self {
            level: Level::detect(),
            precision: Precision::default(),
            threads,
            team: OnceLock::new(),
            allocator: Arc::new(Allocator::new()),
        }
    }

    /// A new buffer of that shape and dtype; the kernel writes every element.
    #[inline]
    pub(crate) fn alloc(&self, meta: &Meta) -> Result<CpuBuffer> {
        CpuBuffer::new(&self.allocator, meta.dtype, meta.shape.numel())
    }

    /// A new buffer for an element-wise op to return; the kernel writes every element.
    #[inline]
    pub(crate) fn fresh(&self, dtype: DType, len: usize) -> Result<Fresh> {
        Fresh::new(&self.allocator, dtype, len)
    }

    /// A new buffer of that many elements; the kernel writes every one.
    #[inline]
    pub(crate) fn alloc_len(&self, dtype: DType, len: usize) -> Result<CpuBuffer> {
        CpuBuffer::new(&self.allocator, dtype, len)
    }

    /// That the system has not so many bytes.
    #[cold]
    pub(crate) fn exhausted(&self, requested: usize) -> Error {
        self.allocator.exhausted(requested)
    }

    /// Bytes of blocks, and the number of buffers: each holds the allocator once, and so does this.
    pub(crate) fn stats(&self) -> MemoryStats {
        MemoryStats { buffers: Arc::strong_count(&self.allocator) - 1, ..self.allocator.stats() }
    }

    /// The threads, or `None` if there is one, or the system gave none: then the calling thread does the work.
    pub(crate) fn team(&self) -> Option<&Team> {
        self.team.get_or_init(|| Team::new(self.threads)).as_ref()
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// Options of a CPU device of one's own.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBuilder {
    threads: Option<usize>,
    precision: Precision,
}

impl CpuBuilder {
    /// The number of threads that ops may use, at least 1. By default one per core.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// How exactly products of `f32` are computed. By default [`Precision::Highest`].
    ///
    /// ```
    /// use gradus_backend_cpu::{Cpu, Precision};
    /// use gradus_tensor_core::Tensor;
    /// # fn main() -> gradus_tensor_core::Result<()> {
    /// let device = Cpu::builder().precision(Precision::Medium).build()?;
    /// let thirds = Tensor::from_vec(vec![1.0f32 / 3.0; 64 * 64], [64, 64], &device)?;
    /// let sum = thirds.matmul(&thirds)?.to_vec::<f32>()?[0];
    /// assert!((sum - 64.0 / 9.0).abs() < 0.05); // 7.11 has lost some digits, where that is faster
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The device.
    ///
    /// # Errors
    /// The number of threads is 0.
    pub fn build(self) -> Result<Device> {
        match self.threads.unwrap_or_else(cores) {
            0 => Err(Error::argument("cpu", "0 threads cannot compute; ask for at least 1")),
            threads => Ok(Device::new(Cpu { precision: self.precision, ..Cpu::new(threads) })),
        }
    }
}

/// What the machine offers: for `doctor` commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// The instructions that kernels use.
    pub level: Level,
    /// The number of threads that run at once.
    pub cores: usize,
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} threads", self.level, self.cores)
    }
}
