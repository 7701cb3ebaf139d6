//! The CPU backend: vectorized, threaded kernels and a caching allocator.
//!
//! ```
//! use gradus_backend_cpu::Cpu;
//! use gradus_tensor_core::Tensor;
//! # fn main() -> gradus_tensor_core::Result<()> {
//! let device = Cpu::device();
//! let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &device)?;
//! assert_eq!((&x + &x)?.to_vec::<f32>()?, [2.0, 4.0, 6.0, 8.0]);
//! # Ok(()) }
//! ```
//!
//! How it is built:
//!
//! - [`Cpu`] is the backend value: a feature level, a thread pool and an allocator. [`Cpu::device`] is the
//!   shared one; [`Cpu::builder`] makes others, so that ranks in one process do not fight.
//! - `execute` is one exhaustive match over `Op`; it calls one function per op family in `kernels`.
//! - `kernels` hold loops over contiguous memory. Strided operands are brought to them piece by piece by
//!   `elementwise`, so a kernel is compiled for its op and dtype, not for layouts.
//! - `level` compiles each loop per SIMD feature level and picks at run time; `math` has the vectorizable
//!   functions; `parallel` splits work so that results have the same bits for any number of threads.
//! - [`limits`] measures what the machine can do at best.
//! - `alloc` keeps dropped memory for the next op: see its essay.

mod alloc;
mod buffer;
mod cpu;
mod elementwise;
mod execute;
#[cfg(all(test, unix))]
mod guard;
mod kernels;
mod level;
pub mod limits;
mod math;
mod pages;
mod parallel;
mod precision;
mod stream;
mod team;

pub use buffer::CpuBuffer;
pub use cpu::{Cpu, CpuBuilder, Features};
pub use level::Level;
pub use precision::Precision;
