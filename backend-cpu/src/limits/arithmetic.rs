//! Multiply-adds in registers.

use std::hint::black_box;
use std::time::Instant;

use super::{Limit, RUNS, best};
#[cfg(target_arch = "x86_64")]
use crate::Level;

/// Independent chains: more than a multiply-add's latency times the number a machine starts at once, and with two
/// operands no more than 16 registers.
const CHAINS: usize = 12;
/// How long a run takes, in seconds.
const RUN: f64 = 0.01;

/// Operations a second of that many threads at every level that this machine has, at most the one that is set for
/// it, and with its instructions for narrower types.
pub fn arithmetic(threads: usize) -> Vec<Limit> {
    let threads = threads.max(1);
    let limit = |what, with, lanes: usize, body: &(dyn Fn(u64) + Sync)| {
        limit(threads, what, with, lanes * CHAINS, body)
    };
    #[cfg_attr(not(target_arch = "x86_64"), allow(unused_mut))]
    let mut all = vec![limit("f32", "scalar", 4, &scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        let level = Level::detect();
        if level >= Level::Avx2 {
            // SAFETY: a level is only ever at most what the machine was found to have.
            all.push(limit("f32", "avx2", 8, &|n| unsafe { x86::avx2(n) }));
        }
        if level >= Level::Avx512 {
            // SAFETY: as above.
            all.push(limit("f32", "avx512", 16, &|n| unsafe { x86::avx512(n) }));
            if is_x86_feature_detected!("avx512bf16") {
                // SAFETY: it was detected.
                all.push(limit("bf16", "avx512bf16", 32, &|n| unsafe { x86::bf16(n) }));
            }
            if is_x86_feature_detected!("avx512vnni") {
                // SAFETY: it was detected.
                all.push(limit("int8", "avx512vnni", 64, &|n| unsafe { x86::int8(n) }));
            }
        }
        #[cfg(target_os = "linux")]
        if level == Level::Amx {
            use crate::kernels::matmul::amx::Instructions;
            // SAFETY: as above.
            all.push(limit("bf16", "amx", TILE * 2, &|n| unsafe { tiles::<Instructions, false>(n) }));
            // SAFETY: as above.
            all.push(limit("int8", "amx", TILE * 4, &|n| unsafe { tiles::<Instructions, true>(n) }));
        }
    }
    all
}

/// The rate of a loop that does so many multiply-adds in each round.
fn limit(
    threads: usize,
    what: &'static str,
    with: &'static str,
    round: usize,
    body: &(dyn Fn(u64) + Sync),
) -> Limit {
    // Doubled until a run takes a fraction of what it should; then scaled.
    let mut rounds = 1000u64;
    let rounds = loop {
        let start = Instant::now();
        body(rounds);
        let seconds = start.elapsed().as_secs_f64();
        if seconds > RUN / 8.0 {
            break (rounds as f64 * RUN / seconds) as u64 + 1;
        }
        rounds *= 2;
    };
    let work = (2 * round) as f64 * rounds as f64;
    Limit { what, with, per_second: best(RUNS, threads, work, |_| body(rounds)), written: None }
}

/// What every machine of the target architecture has; on x86-64 a multiplication and an addition of four.
fn scalar(rounds: u64) {
    let (x, y) = (black_box([0.999f32; 4]), black_box([1e-3f32; 4]));
    let mut sums = [[0.0f32; 4]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            *sum = std::array::from_fn(|i| sum[i] * x[i] + y[i]);
        }
    }
    black_box(sums);
}

/// Sums of a tile, times groups of its depth.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const TILE: usize = 16 * 16 * 16;

/// Products of tiles of zeros, in as many chains as there are registers for.
///
/// # Safety
/// The machine has the unit.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
unsafe fn tiles<U: crate::kernels::matmul::amx::unit::Unit, const BYTES: bool>(rounds: u64) {
    // SAFETY: promised by the caller.
    unsafe {
        let mut unit = U::configure();
        unit.zero::<0>();
        unit.zero::<1>();
        unit.zero::<2>();
        unit.zero::<3>();
        unit.zero::<4>();
        unit.zero::<5>();
        unit.zero::<6>();
        unit.zero::<7>();
        for _ in 0..rounds {
            // (Two rounds of six registers: as many as `CHAINS`.)
            for _ in 0..CHAINS / 6 {
                if BYTES {
                    unit.dot_bytes::<0, 6, 7>();
                    unit.dot_bytes::<1, 6, 7>();
                    unit.dot_bytes::<2, 6, 7>();
                    unit.dot_bytes::<3, 6, 7>();
                    unit.dot_bytes::<4, 6, 7>();
                    unit.dot_bytes::<5, 6, 7>();
                } else {
                    unit.dot::<0, 6, 7>();
                    unit.dot::<1, 6, 7>();
                    unit.dot::<2, 6, 7>();
                    unit.dot::<3, 6, 7>();
                    unit.dot::<4, 6, 7>();
                    unit.dot::<5, 6, 7>();
                }
            }
        }
        unit.release();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::CHAINS;

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2(rounds: u64) {
        let (x, y) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(1e-3)));
        let mut sums = [_mm256_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, x, y);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn avx512(rounds: u64) {
        let (x, y) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(1e-3)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, x, y);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    pub(super) fn bf16(rounds: u64) {
        let ones = _mm512_set1_ps(black_box(1.0));
        let x = _mm512_cvtne2ps_pbh(ones, ones);
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, x, x);
            }
        }
        black_box(sums);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn int8(rounds: u64) {
        let x = _mm512_set1_epi32(black_box(0x0102_0304));
        let mut sums = [_mm512_setzero_si512(); CHAINS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, x, x);
            }
        }
        black_box(sums);
    }
}
