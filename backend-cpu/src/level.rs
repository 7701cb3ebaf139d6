//! SIMD by run-time detection.
//!
//! A kernel is written once, as a plain loop in a [`Kernel`] whose methods are all `#[inline(always)]`, and
//! compiled once per feature level: [`Level::run`] calls the copy that this machine executes fastest, in which
//! the compiler vectorizes with that level's registers. Loops use fixed lane counts and explicit
//! `mul_add`, so every level gives the same bits; a machine without FMA pays for that with a function call.
//! Builds with debug assertions leave out the copies for AVX-512, which are a third of the compile time.

use std::fmt;
use std::sync::LazyLock;

/// Instructions that kernels may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What every machine of the target architecture has.
    Scalar,
    /// AVX2, FMA and F16C: x86-64-v3.
    Avx2,
    /// AVX-512 F, BW, CD, DQ and VL: x86-64-v4.
    Avx512,
    /// AVX-512, and tiles that multiply matrices of `bf16` and of bytes, on Linux. Loops are compiled as for [`Level::Avx512`]; large
    /// products of matrices are another thing.
    Amx,
}

impl Level {
    /// The best level of this machine, at most the one that `GRADUS_CPU_LEVEL` names (`scalar`, `avx2`,
    /// `avx512`, `amx`).
    pub fn detect() -> Level {
        static LEVEL: LazyLock<Level> = LazyLock::new(|| {
            let cap = match std::env::var("GRADUS_CPU_LEVEL").as_deref() {
                Ok("scalar") => Level::Scalar,
                Ok("avx2") => Level::Avx2,
                Ok("avx512") => Level::Avx512,
                _ => Level::Amx,
            };
            match Level::machine() {
                // (Masked tiles are not looked for: that asks the system for them.)
                Level::Avx512 if cap == Level::Amx && has_tiles() => Level::Amx,
                level => level.min(cap),
            }
        });
        *LEVEL
    }

    #[cfg(target_arch = "x86_64")]
    fn machine() -> Level {
        let avx2 = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        match (avx2, avx512) {
            (true, true) => Level::Avx512,
            (true, false) => Level::Avx2,
            _ => Level::Scalar,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn machine() -> Level {
        Level::Scalar
    }

    /// Whether this level has an instruction that sums products of `bf16`. Not every machine with AVX-512 does.
    pub(crate) fn has_bf16_dot(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self >= Level::Avx512 && is_x86_feature_detected!("avx512bf16");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Whether this level has instructions that multiply bytes and sum the products in 32 bits. Not every machine
    /// with AVX-512 does.
    pub(crate) fn has_vnni(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self >= Level::Avx512 && is_x86_feature_detected!("avx512vnni");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The name that `GRADUS_CPU_LEVEL` knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Amx => "amx",
        }
    }

    /// Runs the kernel's copy for this level.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
            // SAFETY: a level is only ever at most what the machine was found to have.
            Level::Avx512 | Level::Amx => unsafe { avx512(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above; a machine with AVX-512 has AVX2.
            #[allow(unreachable_patterns)]
            Level::Avx2 | Level::Avx512 | Level::Amx => unsafe { avx2(kernel) },
            _ => kernel.run(),
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_tiles() -> bool {
    crate::kernels::matmul::amx::is_there()
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
fn has_tiles() -> bool {
    false
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A loop to be compiled once per feature level. `run` and everything hot that it calls must be
/// `#[inline(always)]`: code that stays out of line is compiled for the lowest level.
pub(crate) trait Kernel {
    /// What the loop computes.
    type Output;
    /// The loop.
    fn run(self) -> Self::Output;
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(all(target_arch = "x86_64", not(debug_assertions)))]
#[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run()
}

#[cfg(test)]
mod tests {
    use super::Level;
    use crate::kernels::matmul::panels::Packed;

    #[test]
    fn tiles_come_with_all_that_avx512_has() {
        assert!(Level::Amx > Level::Avx512);
        assert_eq!(Level::Amx.has_bf16_dot(), Level::Avx512.has_bf16_dot());
        assert_eq!(Level::Amx.has_vnni(), Level::Avx512.has_vnni());
        assert_eq!(f32::width(Level::Amx), f32::width(Level::Avx512));
    }
}
