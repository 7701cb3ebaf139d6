//! Products of bytes: linear layers whose weights are `i8`.
//!
//! [`quantize`] turns the rows of the input into unsigned bytes. A product of those with the signed bytes of the weight
//! is summed exactly, in 32 bits: by instructions that multiply and add four pairs at once ([`vnni`]), or sixteen-bit
//! pairs, or one after the other ([`dot`]), or whole tiles ([`tiles`]). All of them give the same integers, which is why levels and numbers of
//! threads never change a bit of the result. With `q` the bytes of a row and `w` a row of the weight,
//!
//! ```text
//! sum (q - zero) * w  =  sum q * w  -  zero * sum w
//! ```
//!
//! so the instructions see unsigned bytes, and the zero point costs one sum per row of the weight.

mod dot;
mod quantize;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles;
mod vnni;

use std::ops::Range;

use gradus_tensor_core::{Meta, Outcome, Result, View};

use self::quantize::{Rows, Scale};
use super::copy::packed;
use super::dense::{Dense, Output, Parts, tasks};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use super::matmul::amx::Instructions;
#[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
use super::matmul::amx::emulator::Emulator;
use crate::execute::{Done, done};
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer, Level};

/// The longest rows whose sums fit 32 bits: `65536 * 255 * 128 < 2^31`.
const MAX_DEPTH: usize = 1 << 16;
/// Columns of the output (rows of the weight) that one task computes.
const COLUMNS: usize = 64;
/// Rows that one task computes.
const ROWS: usize = 512;
/// Below so many rows, bringing the weight into the order that [`vnni`] wants takes longer than what it saves.
const FEW: usize = 4;
/// Below so many rows, a tile would be filled up with zeros.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const TILE: usize = 16;
/// Products of bytes in the time of one element, as [`Cpu::for_chunks`] counts it.
const PER_COST: usize = 16;

/// `Op::LinearDynamic`.
pub(crate) fn linear_dynamic(cpu: &Cpu, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let [n, k] = *inputs[1].layout.shape().dims() else { return Ok(Outcome::Unsupported) };
    if k > MAX_DEPTH {
        return Ok(Outcome::Unsupported);
    }
    let weight = packed(cpu, &inputs[1])?;
    let x = Dense::<f32>::new(cpu, &inputs[0])?;
    let scale = Dense::<f32>::new(cpu, &inputs[2])?;
    let bias = inputs.get(3).map(|b| Dense::<f32>::new(cpu, b)).transpose()?;
    let mut y = Output::<f32>::new(cpu, out)?;
    if out.shape.numel() == 0 {
        return done(y.finish(cpu)?);
    }
    let rows = out.shape.numel() / n;
    let job = Job {
        x: Rows::new(cpu, &x, rows, k)?,
        weight: weight.as_slice(),
        scale: &scale,
        bias: bias.as_deref(),
        sizes: [rows, n, k],
        level: cpu.level(),
        y: Parts::new(y.slice()),
    };
    job.run(cpu, Path::of(cpu.level(), rows))?;
    done(y.finish(cpu)?)
}

/// How bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    Scalar,
    Avx2,
    Vnni,
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Tiles,
    /// As [`Path::Tiles`], without the machine's unit.
    #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
    Emulated,
}

impl Path {
    /// The fastest one for so many rows.
    fn of(level: Level, rows: usize) -> Path {
        match level {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Level::Amx if rows >= TILE && level.has_vnni() => Path::Tiles,
            level if level.has_vnni() && rows >= FEW => Path::Vnni,
            Level::Scalar => Path::Scalar,
            Level::Avx2 | Level::Avx512 | Level::Amx => Path::Avx2,
        }
    }
}

/// All that a task reads, and where it writes.
struct Job<'a> {
    x: Rows,
    /// `[n, k]`
    weight: &'a [i8],
    scale: &'a [f32],
    bias: Option<&'a [f32]>,
    /// Rows, columns, depth.
    sizes: [usize; 3],
    level: Level,
    y: Parts<'a, f32>,
}

impl Job<'_> {
    fn run(&self, cpu: &Cpu, path: Path) -> Result<()> {
        let [rows, n, k] = self.sizes;
        let (down, across) = (rows.div_ceil(ROWS), n.div_ceil(COLUMNS));
        let cost = rows.min(ROWS) * COLUMNS.min(n) * k / PER_COST;
        tasks(cpu, down * across, cost, |task| {
            let (r, c) = (task / across * ROWS, task % across * COLUMNS);
            let (rows, columns) = (r..(r + ROWS).min(rows), c..(c + COLUMNS).min(n));
            match path {
                #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
                // SAFETY: this path is taken where the level says that the machine has the unit.
                Path::Tiles => unsafe { tiles::block::<Instructions>(cpu, self, rows, columns) },
                #[cfg(all(test, target_arch = "x86_64", target_os = "linux"))]
                // SAFETY: the emulator is always there, and tests ask for it where the machine has the other instructions.
                Path::Emulated => unsafe { tiles::block::<Emulator>(cpu, self, rows, columns) },
                Path::Vnni => vnni::block(cpu, self, rows, columns),
                Path::Avx2 => dot::block::<dot::Avx2>(self, rows, columns),
                Path::Scalar => dot::block::<dot::Scalar>(self, rows, columns),
            }
        })
    }

    /// Some columns of row `r` of the output.
    ///
    /// # Safety
    /// No other task has both.
    #[inline]
    #[allow(clippy::mut_from_ref)] // disjointness is the caller's promise
    unsafe fn outputs(&self, r: usize, columns: &Range<usize>) -> &mut [f32] {
        let n = self.sizes[1];
        // SAFETY: promised by the caller.
        unsafe { self.y.part(r * n + columns.start..r * n + columns.end) }
    }

    /// Writes a piece of row `r` of the output, whose first column is `first`: from the sums of products and those of
    /// the weight's rows.
    #[inline]
    fn finish(&self, r: usize, first: usize, products: &[i32], sums: &[i32]) {
        let columns = first..first + products.len();
        // SAFETY: tasks have different rows or columns.
        let y = unsafe { self.outputs(r, &columns) };
        let (scale, bias) = (&self.scale[columns.clone()], self.bias.map(|b| &b[columns]));
        self.level.run(Finish { y, of: self.x.scale(r), products, sums, scale, bias });
    }
}

/// Integers back to floats.
struct Finish<'a> {
    y: &'a mut [f32],
    of: Scale,
    products: &'a [i32],
    sums: &'a [i32],
    scale: &'a [f32],
    bias: Option<&'a [f32]>,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Finish { y, of: Scale { step, zero }, products, sums, scale, bias } = self;
        let whole = products.iter().zip(sums).map(|(p, s)| p.wrapping_sub(zero.wrapping_mul(*s)));
        for ((y, whole), scale) in y.iter_mut().zip(whole).zip(scale) {
            *y = whole as f32 * (step * scale);
        }
        if let Some(bias) = bias {
            y.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias);
        }
    }
}

#[cfg(test)]
mod tests;
