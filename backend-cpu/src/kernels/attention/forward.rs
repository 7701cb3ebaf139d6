//! Attention forward: a task owns some blocks of queries.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::head::{Head, Pass};
use super::{KEYS, QUERIES, Scores, blocks};
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::kernels::real::{LANES, fold, max, padded};
use crate::level::Kernel;
use crate::math::real::Real as _;

/// Tasks that are enough to keep threads busy; with more, queries of one batch entry share a task.
const ENOUGH: usize = 64;

pub(super) fn forward<S: Stored>(
    cpu: &Cpu,
    scores: &Scores<'_, S>,
    y: &mut [S],
    lse: &mut [S::Computed],
) -> Result<()> {
    if lse.is_empty() {
        return Ok(());
    }
    let (queries, width) = (scores.queries, scores.value_width);
    let together =
        (scores.batches * queries.div_ceil(QUERIES) / ENOUGH).clamp(1, queries.div_ceil(QUERIES).max(1));
    let groups: Vec<_> = blocks(0..queries, together * QUERIES).collect();
    let (ys, lses) = (Parts::new(y), Parts::new(lse));
    tasks(cpu, scores.batches * groups.len(), scores.cost() * together, |i| {
        let (batch, group) = (i / groups.len(), &groups[i % groups.len()]);
        Head::with(cpu, scores, (batch, group.clone()), Pass::Forward, |head| {
            let mut scratch = Scratch::new(cpu, QUERIES * (KEYS + width))?;
            let (weights, sums) = scratch.slice().split_at_mut(QUERIES * KEYS);
            for block in blocks(group.clone(), QUERIES) {
                let (first, last) = (batch * queries + block.start, batch * queries + block.end);
                // SAFETY: blocks of queries are disjoint.
                let (y, lse) = unsafe { (ys.part(first * width..last * width), lses.part(first..last)) };
                let sums = &mut sums[..block.len() * width];
                attend(cpu, scores, head, &block, [&mut *weights, &mut *sums], lse);
                S::narrow(cpu.level(), sums, y);
            }
            Ok(())
        })
    })
}

/// Writes the output of a block of queries, and the logarithms of its denominators.
fn attend<S: Stored>(
    cpu: &Cpu,
    scores: &Scores<'_, S>,
    head: &Head<'_, S::Computed>,
    block: &Range<usize>,
    [weights, y]: [&mut [S::Computed]; 2],
    lse: &mut [S::Computed],
) {
    let width = scores.value_width;
    let (mut top, mut total) = ([S::Computed::NEG_INFINITY; QUERIES], [S::Computed::ZERO; QUERIES]);
    y.fill(S::Computed::ZERO);
    for keys in scores.key_blocks(block) {
        let weights = &mut weights[..block.len() * keys.len()];
        scores.block(head, block, &keys, weights);
        cpu.level().run(Online {
            weights: &mut *weights,
            keys: keys.len(),
            y: &mut *y,
            width,
            top: &mut top,
            total: &mut total,
        });
        let weights = Mat::new(weights, block.len(), keys.len());
        let mut sums = MatMut::new(&mut *y, block.len(), width);
        product(scores.precision, &mut sums, Old::Keep, S::Computed::ONE, weights, head.values(&keys));
    }
    cpu.level().run(Finish { y, width, top: &top, total: &total, lse });
}

/// Turns a block of scores into weights relative to each row's largest score so far.
struct Online<'a, T> {
    weights: &'a mut [T],
    keys: usize,
    y: &'a mut [T],
    width: usize,
    top: &'a mut [T; QUERIES],
    total: &'a mut [T; QUERIES],
}

impl<T: Real> Kernel for Online<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (i, row) in self.weights.chunks_exact_mut(self.keys).enumerate() {
            let old = self.top[i];
            let new = max(row);
            let new = if new > old { new } else { old };
            self.top[i] = new;
            // Nothing seen yet: every weight is 0 relative to anything.
            let shift = if new == T::NEG_INFINITY { T::ZERO } else { new };
            if new > old && old > T::NEG_INFINITY {
                let scale = (old - new).exp();
                self.total[i] *= scale;
                for y in &mut self.y[i * self.width..(i + 1) * self.width] {
                    *y *= scale;
                }
            }
            self.total[i] += exponentials(row, shift);
        }
    }
}

/// Exponentials of scores that are at most `shift`, relative to it; their sum.
#[inline(always)]
fn exponentials<T: Real>(scores: &mut [T], shift: T) -> T {
    let mut sums = [T::ZERO; LANES];
    let (blocks, rest) = scores.as_chunks_mut::<LANES>();
    let mut block_of = |block: &mut [T; LANES], used: usize| {
        for (l, x) in block.iter_mut().enumerate() {
            *x = (*x - shift).exp_falling();
            sums[l] += if l < used { *x } else { T::ZERO };
        }
    };
    for block in blocks {
        block_of(block, LANES);
    }
    if !rest.is_empty() {
        let mut block = padded(rest);
        block_of(&mut block, rest.len());
        rest.copy_from_slice(&block[..rest.len()]);
    }
    fold(sums, |a, b| a + b)
}

/// Divides by the denominators; a row without any key is zero.
struct Finish<'a, T> {
    y: &'a mut [T],
    width: usize,
    top: &'a [T; QUERIES],
    total: &'a [T; QUERIES],
    lse: &'a mut [T],
}

impl<T: Real> Kernel for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (i, lse) in self.lse.iter_mut().enumerate() {
            let total = self.total[i];
            *lse = if total == T::ZERO { T::NEG_INFINITY } else { self.top[i] + total.ln() };
            let scale = if total == T::ZERO { T::ZERO } else { T::ONE / total };
            for y in &mut self.y[i * self.width..(i + 1) * self.width] {
                *y *= scale;
            }
        }
    }
}
