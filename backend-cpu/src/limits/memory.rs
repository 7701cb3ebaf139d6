//! Streams through memory.

use std::hint::black_box;

use gradus_tensor_core::{DType, Result};

use super::{Limit, best};
use crate::kernels::dense::Parts;
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer, Level, stream};

/// Elements of a stream: 96 MiB, several times a large cache.
const STREAM: usize = 24 << 20;
/// Elements that are read in independent chains.
const LANES: usize = 64;
/// How far ahead of a read its line is asked for, in elements: measured, a tenth more than without.
const AHEAD: usize = 1024;

/// Streams to measure [`Bandwidth`] with, as often as it may have changed: others use the same memory.
#[derive(Debug)]
pub struct Streams {
    cpu: Cpu,
    threads: usize,
    /// One that is written and two that are read.
    all: [CpuBuffer; 3],
}

/// Bytes a second between memory and some threads, by the share that is written: `read` of a stream, `triad` from two
/// to a third, `copy` from one to another, and `write`. Reads and writes are both counted, and writes go around
/// the caches where the machine can.
#[derive(Clone, Debug)]
pub struct Bandwidth([Limit; 4]);

impl Streams {
    /// Streams for that many threads.
    ///
    /// # Errors
    /// There is no memory for three streams.
    pub fn new(threads: usize) -> Result<Self> {
        let threads = threads.max(1);
        let cpu = Cpu::new(threads);
        // From the backend's own allocator: the pages that its tensors get.
        let all = [filled(&cpu)?, filled(&cpu)?, filled(&cpu)?];
        Ok(Self { cpu, threads, all })
    }

    /// The best of so many runs, of some ten milliseconds each.
    pub fn measure(&mut self, runs: usize) -> Bandwidth {
        let Self { cpu, threads, all: [a, b, c] } = self;
        let (level, threads) = (cpu.level(), *threads);
        let (a, b, c) = (a.slice_mut::<f32>(), &*b.slice_mut::<f32>(), &*c.slice_mut::<f32>());
        let n = (STREAM / threads).next_multiple_of(LANES);
        let part = |t: usize| (t * n).min(STREAM)..((t + 1) * n).min(STREAM);
        let bytes = (STREAM * size_of::<f32>()) as f64 / threads as f64;
        let limit = |what, read: usize, written: usize, body: &(dyn Fn(usize) + Sync)| Limit {
            what,
            with: level.name(),
            per_second: best(runs, threads, (read + written) as f64 * bytes, body),
            written: Some(written as f64 / (read + written) as f64),
        };
        let parts = Parts::new(a);
        // SAFETY: threads have disjoint parts.
        let target = |t: usize| unsafe { parts.part(part(t)) };
        Bandwidth([
            limit("read", 1, 0, &|t| {
                black_box(level.run(Sum(&b[part(t)])));
            }),
            limit("triad", 2, 1, &|t| triad(level, target(t), &b[part(t)], &c[part(t)])),
            limit("copy", 1, 1, &|t| copy(level, target(t), &b[part(t)])),
            limit("write", 0, 1, &|t| write(level, target(t))),
        ])
    }
}

impl Bandwidth {
    /// The streams, from reads to writes.
    pub fn limits(&self) -> &[Limit] {
        &self.0
    }

    /// Bytes a second if that share of them is written: between two streams' times for a byte, in proportion.
    pub fn at(&self, written: f64) -> f64 {
        let points = self.0.each_ref().map(|limit| (limit.written.unwrap_or(0.0), 1.0 / limit.per_second));
        let [first, .., last] = points;
        let between = points.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&written));
        let seconds = match between {
            Some(&[(from, low), (to, high)]) => low + (high - low) * (written - from) / (to - from),
            _ if written < first.0 => first.1,
            _ => last.1,
        };
        1.0 / seconds
    }

    /// The median of several measurements, stream by stream; `None` of none.
    pub fn median(all: &[Bandwidth]) -> Option<Bandwidth> {
        let mut result = all.first()?.clone();
        for (i, limit) in result.0.iter_mut().enumerate() {
            let mut rates: Vec<f64> = all.iter().map(|measured| measured.0[i].per_second).collect();
            rates.sort_by(f64::total_cmp);
            limit.per_second = (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0;
        }
        Some(result)
    }
}

fn filled(cpu: &Cpu) -> Result<CpuBuffer> {
    let mut buffer = cpu.alloc_len(DType::F32, STREAM)?;
    buffer.slice_mut::<f32>().fill(1.0);
    Ok(buffer)
}

struct Sum<'a>(&'a [f32]);

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut sums = [0.0; LANES];
        for chunk in self.0.as_chunks::<LANES>().0 {
            stream::expect(chunk.as_ptr().wrapping_add(AHEAD), LANES);
            for i in 0..LANES {
                sums[i] += chunk[i];
            }
        }
        sums.into_iter().sum()
    }
}

fn copy(level: Level, to: &mut [f32], from: &[f32]) {
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a level is only ever at most what the machine was found to have.
        level if level >= Level::Avx2 => unsafe { x86::copy(to, from) },
        _ => to.copy_from_slice(from),
    }
}

fn triad(level: Level, a: &mut [f32], b: &[f32], c: &[f32]) {
    let s = black_box(0.5);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        level if level >= Level::Avx2 => unsafe { x86::triad(a, b, c, s) },
        _ => a.iter_mut().zip(b).zip(c).for_each(|((a, b), c)| *a = b + s * c),
    }
}

fn write(level: Level, to: &mut [f32]) {
    let value = black_box(1.5);
    match level {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        level if level >= Level::Avx2 => unsafe { x86::write(to, value) },
        _ => to.fill(value),
    }
}

/// With writes that go around the caches. Parts of streams begin at multiples of 64 elements of aligned blocks.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2")]
    pub(super) fn copy(to: &mut [f32], from: &[f32]) {
        for (to, from) in to.as_chunks_mut::<8>().0.iter_mut().zip(from.as_chunks::<8>().0) {
            assert!(to.as_ptr().addr() % 32 == 0);
            // SAFETY: both are eight elements, and the target is aligned.
            unsafe { _mm256_stream_ps(to.as_mut_ptr(), _mm256_loadu_ps(from.as_ptr())) };
        }
        _mm_sfence();
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn write(to: &mut [f32], value: f32) {
        let value = _mm256_set1_ps(value);
        for to in to.as_chunks_mut::<8>().0 {
            assert!(to.as_ptr().addr() % 32 == 0);
            // SAFETY: the target is eight elements, and aligned.
            unsafe { _mm256_stream_ps(to.as_mut_ptr(), value) };
        }
        _mm_sfence();
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn triad(a: &mut [f32], b: &[f32], c: &[f32], s: f32) {
        let s = _mm256_set1_ps(s);
        let pairs = b.as_chunks::<8>().0.iter().zip(c.as_chunks::<8>().0);
        for (a, (b, c)) in a.as_chunks_mut::<8>().0.iter_mut().zip(pairs) {
            assert!(a.as_ptr().addr() % 32 == 0);
            // SAFETY: all are eight elements, and the target is aligned.
            unsafe {
                let (b, c) = (_mm256_loadu_ps(b.as_ptr()), _mm256_loadu_ps(c.as_ptr()));
                _mm256_stream_ps(a.as_mut_ptr(), _mm256_fmadd_ps(c, s, b));
            }
        }
        _mm_sfence();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_lies_between_the_streams_that_are_nearest_to_it() {
        let limit = |written, per_second| Limit { what: "", with: "", per_second, written: Some(written) };
        let measured =
            Bandwidth([limit(0.0, 40.0), limit(1.0 / 3.0, 48.0), limit(0.5, 50.0), limit(1.0, 25.0)]);
        for (written, expected) in [(0.0, 40.0), (0.5, 50.0), (1.0, 25.0), (0.75, 1.0 / 0.03)] {
            assert!((measured.at(written) - expected).abs() < 1e-9, "{written}: {}", measured.at(written));
        }
        let low = measured.at(0.1);
        assert!(40.0 < low && low < 48.0);
    }
}
