//! Attention backward: a task owns a batch entry (a head of a sample) and sums over its blocks in order.

use std::ops::Range;

use gradus_tensor_core::{Result, View};

use super::head::{Head, Pass};
use super::{KEYS, QUERIES, Scores, blocks, rows};
use crate::kernels::dense::{Dense, Parts, Real, Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::kernels::real::sum2;
use crate::level::Kernel;
use crate::{Cpu, CpuBuffer};

/// The output's gradient and what the forward pass saved.
pub(super) struct Given<'a, T> {
    g: Dense<'a, T>,
    y: Dense<'a, T>,
    lse: Dense<'a, T>,
}

impl<'a, T: Real> Given<'a, T> {
    pub(super) fn new(
        cpu: &Cpu,
        g: &View<'a, CpuBuffer>,
        y: &View<'a, CpuBuffer>,
        lse: &View<'a, CpuBuffer>,
    ) -> Result<Self> {
        Ok(Self { g: Dense::new(cpu, g)?, y: Dense::new(cpu, y)?, lse: Dense::new(cpu, lse)? })
    }
}

pub(super) fn backward<T: Real + Stored<Computed = T>>(
    cpu: &Cpu,
    scores: &Scores<'_, T>,
    given: &Given<'_, T>,
    [gq, gk, gv]: [&mut [T]; 3],
) -> Result<()> {
    if [&gq, &gk, &gv].iter().all(|gradient| gradient.is_empty()) {
        return Ok(());
    }
    let (d, e) = (scores.width, scores.value_width);
    let (gqs, gks, gvs) = (Parts::new(gq), Parts::new(gk), Parts::new(gv));
    let cost = scores.cost() * scores.queries.div_ceil(QUERIES) * 3;
    tasks(cpu, scores.batches, cost, |batch| {
        let queries = batch * scores.queries..(batch + 1) * scores.queries;
        let keys = batch * scores.keys..(batch + 1) * scores.keys;
        let scaled = |range: &Range<usize>, width: usize| range.start * width..range.end * width;
        // SAFETY: batch entries are disjoint.
        let (gq, gk, gv) = unsafe {
            (gqs.part(scaled(&queries, d)), gks.part(scaled(&keys, d)), gvs.part(scaled(&keys, e)))
        };
        let (g, y) = (&given.g[scaled(&queries, e)], &given.y[scaled(&queries, e)]);
        let lse = &given.lse[queries];
        gq.fill(T::ZERO);
        gk.fill(T::ZERO);
        gv.fill(T::ZERO);
        let mut scratch = Scratch::new(cpu, 2 * QUERIES * KEYS)?;
        let (weights, slopes) = scratch.slice().split_at_mut(QUERIES * KEYS);
        Head::with(cpu, scores, (batch, 0..scores.queries), Pass::Backward, |head| {
            for block in blocks(0..scores.queries, QUERIES) {
                let (g_rows, y_rows) = (&g[scaled(&block, e)], &y[scaled(&block, e)]);
                let mut delta = [T::ZERO; QUERIES];
                cpu.level().run(Delta { g: g_rows, y: y_rows, width: e, delta: &mut delta });
                let g_block = rows(g, &block, e);
                for keys in scores.key_blocks(&block) {
                    let shape = [block.len(), keys.len()];
                    let weights = &mut weights[..shape[0] * shape[1]];
                    let slopes = &mut slopes[..shape[0] * shape[1]];
                    scores.block(head, &block, &keys, weights);
                    let mut to = MatMut::new(slopes, shape[0], shape[1]);
                    let values = head.turned_values(&keys);
                    product(scores.precision, &mut to, Old::Ignore, T::ONE, g_block, values);
                    cpu.level().run(Slopes {
                        weights: &mut *weights,
                        slopes: &mut *slopes,
                        keys: shape[1],
                        lse: &lse[block.clone()],
                        delta: &delta,
                        scale: T::of(scores.op.scale),
                    });
                    let weights = Mat::new(weights, shape[0], shape[1]);
                    let slopes = Mat::new(slopes, shape[0], shape[1]);
                    let q = head.queries(&block);
                    let mut to = MatMut::new(&mut gv[scaled(&keys, e)], shape[1], e);
                    product(scores.precision, &mut to, Old::Keep, T::ONE, weights.t(), g_block);
                    let mut to = MatMut::new(&mut gq[scaled(&block, d)], shape[0], d);
                    product(scores.precision, &mut to, Old::Keep, T::ONE, slopes, head.keys(&keys));
                    let mut to = MatMut::new(&mut gk[scaled(&keys, d)], shape[1], d);
                    product(scores.precision, &mut to, Old::Keep, T::ONE, slopes.t(), q);
                }
            }
            Ok(())
        })
    })
}

/// `sum of g * y` for each query: what the softmax's gradient subtracts.
struct Delta<'a, T> {
    g: &'a [T],
    y: &'a [T],
    width: usize,
    delta: &'a mut [T; QUERIES],
}

impl<T: Real> Kernel for Delta<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let width = self.width.max(1);
        let rows = self.g.chunks_exact(width).zip(self.y.chunks_exact(width));
        for (delta, (g, y)) in self.delta.iter_mut().zip(rows) {
            *delta = sum2(g, y, |acc, g, y| g.fma(y, acc));
        }
    }
}

/// Scores become weights, and the weights' gradients become the scores'.
struct Slopes<'a, T> {
    weights: &'a mut [T],
    slopes: &'a mut [T],
    keys: usize,
    lse: &'a [T],
    delta: &'a [T; QUERIES],
    scale: T,
}

impl<T: Real> Kernel for Slopes<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let rows = self.weights.chunks_exact_mut(self.keys).zip(self.slopes.chunks_exact_mut(self.keys));
        for (i, (weights, slopes)) in rows.enumerate() {
            let (lse, delta) = (self.lse[i], self.delta[i]);
            if lse == T::NEG_INFINITY {
                weights.fill(T::ZERO);
                slopes.fill(T::ZERO);
                continue;
            }
            for (weight, slope) in weights.iter_mut().zip(slopes) {
                *weight = (*weight - lse).exp();
                *slope = *weight * (*slope - delta) * self.scale;
            }
        }
    }
}
