//! Multiply-adds in registers.

use std::hint::black_box;
use std::time::Instant;

use super::{Limit, RUNS, best};
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
    let mut all = vec![limit(threads, "f32", "scalar", 4, scalar)];
    #[cfg(target_arch = "x86_64")]
    {
        let level = Level::detect();
        if level >= Level::Avx2 {
            // SAFETY: a level is only ever at most what the machine was found to have.
            all.push(limit(threads, "f32", "avx2", 8, |n| unsafe { x86::avx2(n) }));
        }
        if level >= Level::Avx512 {
            // SAFETY: as above.
            all.push(limit(threads, "f32", "avx512", 16, |n| unsafe { x86::avx512(n) }));
            if is_x86_feature_detected!("avx512bf16") {
                // SAFETY: it was detected.
                all.push(limit(threads, "bf16", "avx512bf16", 32, |n| unsafe { x86::bf16(n) }));
            }
            if is_x86_feature_detected!("avx512vnni") {
                // SAFETY: it was detected.
                all.push(limit(threads, "int8", "avx512vnni", 64, |n| unsafe { x86::int8(n) }));
            }
        }
    }
    all
}

/// The rate of a loop of `CHAINS` instructions that do `lanes` multiply-adds each.
fn limit(
    threads: usize,
    what: &'static str,
    with: &'static str,
    lanes: usize,
    body: impl Fn(u64) + Sync,
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
    let work = (2 * lanes * CHAINS) as f64 * rounds as f64;
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
