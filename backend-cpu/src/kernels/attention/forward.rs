//! Attention forward: a task owns a block of queries.

use gradus_tensor_core::Result;

use super::{KEYS, QUERIES, Scores};
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::kernels::real::{max, sum};
use crate::level::Kernel;

pub(super) fn forward<T: Real>(cpu: &Cpu, scores: &Scores<'_, T>, y: &mut [T], lse: &mut [T]) -> Result<()> {
    let (queries, width) = (scores.queries, scores.value_width);
    let blocks: Vec<_> = scores.query_blocks().collect();
    let (ys, lses) = (Parts::new(y), Parts::new(lse));
    tasks(cpu, scores.batches * blocks.len(), scores.cost(), |i| {
        let (batch, block) = (i / blocks.len(), &blocks[i % blocks.len()]);
        let first = batch * queries;
        // SAFETY: blocks of queries are disjoint.
        let (y, lse) = unsafe {
            (
                ys.part((first + block.start) * width..(first + block.end) * width),
                lses.part(first + block.start..first + block.end),
            )
        };
        let mut scratch = Scratch::new(cpu, QUERIES * KEYS)?;
        let (mut top, mut total) = ([T::NEG_INFINITY; QUERIES], [T::ZERO; QUERIES]);
        y.fill(T::ZERO);
        for keys in scores.key_blocks(block) {
            let weights = &mut scratch.slice()[..block.len() * keys.len()];
            scores.block(batch, block, &keys, weights);
            cpu.level().run(Online {
                weights: &mut *weights,
                keys: keys.len(),
                y: &mut *y,
                width,
                top: &mut top,
                total: &mut total,
            });
            let weights = Mat::new(weights, block.len(), keys.len());
            let values = scores.v.matrix(batch).rows(keys);
            product(
                scores.precision,
                &mut MatMut::new(y, block.len(), width),
                Old::Keep,
                T::ONE,
                weights,
                values,
            );
        }
        cpu.level().run(Finish { y, width, top: &top, total: &total, lse });
        Ok(())
    })
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
            for weight in row.iter_mut() {
                *weight = (*weight - shift).exp();
            }
            self.total[i] += sum(row);
        }
    }
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
