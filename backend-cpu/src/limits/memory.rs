//! Streams through memory.

use std::hint::black_box;

use gradus_tensor_core::{DType, Result};

use super::{Limit, best};
use crate::kernels::dense::Parts;
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer, Level};

/// Elements of a stream: 96 MiB, several times a large cache.
const STREAM: usize = 24 << 20;
/// Elements that are read in independent chains.
const LANES: usize = 64;

pub(super) fn bandwidth(threads: usize) -> Result<Vec<Limit>> {
    let cpu = Cpu::new(threads);
    // From the backend's own allocator: the pages that its tensors get.
    let mut a = filled(&cpu)?;
    let (b, c) = (filled(&cpu)?, filled(&cpu)?);
    let (Some(b), Some(c)) = (b.as_slice::<f32>(), c.as_slice::<f32>()) else { return Ok(Vec::new()) };
    let n = (STREAM / threads).next_multiple_of(LANES);
    let part = |t: usize| (t * n).min(STREAM)..((t + 1) * n).min(STREAM);
    let bytes = (STREAM * size_of::<f32>()) as f64 / threads as f64;
    let limit = |what, streams: usize, body: &(dyn Fn(usize) + Sync)| Limit {
        what,
        with: cpu.level().name(),
        per_second: best(threads, streams as f64 * bytes, body),
        is_memory: true,
    };
    let read = limit("read", 2, &|t| {
        black_box(cpu.level().run(Sum(&b[part(t)])) + cpu.level().run(Sum(&c[part(t)])));
    });
    let parts = Parts::new(a.slice_mut::<f32>());
    // SAFETY: threads have disjoint parts.
    let target = |t: usize| unsafe { parts.part(part(t)) };
    let level = cpu.level();
    let copy = limit("copy", 2, &|t| copy(level, target(t), &b[part(t)]));
    let triad = limit("triad", 3, &|t| triad(level, target(t), &b[part(t)], &c[part(t)]));
    Ok(vec![read, copy, triad])
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
