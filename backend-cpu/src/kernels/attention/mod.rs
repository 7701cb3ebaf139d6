//! Attention that never holds the matrix of scores.
//!
//! Scores are computed for a block of queries and a block of keys at a time. Going forward, each query keeps
//! the largest score so far, the sum of exponentials relative to it and the weighted sum of values, and rescales
//! the latter two when a larger score comes. The gradient computes the blocks again from the saved logarithm of
//! the denominator. Blocks of keys that causality hides are skipped.

mod backward;
mod forward;

use std::ops::Range;

use gradus_tensor_core::op::Attention;
use gradus_tensor_core::{Meta, Result, View};

use super::dense::{Output, Real, finished, with_real};
use super::matmul::gemm::{Mat, MatMut, Old, product};
use super::matmul::operand::Operand;
use crate::execute::Done;
use crate::{Cpu, CpuBuffer, Precision};

/// Queries of a block.
const QUERIES: usize = 32;
/// Keys of a block: with [`QUERIES`] a 32 kB block of scores.
const KEYS: usize = 128;

/// The operands that both passes read.
struct Scores<'a, T> {
    op: Attention,
    q: Operand<'a, T>,
    k: Operand<'a, T>,
    v: Operand<'a, T>,
    mask: Option<Operand<'a, T>>,
    batches: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
    precision: Precision,
}

impl<'a, T: Real> Scores<'a, T> {
    fn new(
        cpu: &Cpu,
        op: &Attention,
        qkv: &[View<'a, CpuBuffer>],
        mask: Option<&View<'a, CpuBuffer>>,
    ) -> Result<Self> {
        let (q, k, v) = (qkv[0].layout.shape(), qkv[1].layout.shape(), qkv[2].layout.shape());
        let r = q.rank();
        Ok(Self {
            op: *op,
            batches: q[..r - 2].iter().product(),
            queries: q[r - 2],
            keys: k[r - 2],
            width: q[r - 1],
            value_width: v[r - 1],
            precision: cpu.precision_of(qkv[0].dtype),
            q: Operand::new(cpu, &qkv[0])?,
            k: Operand::new(cpu, &qkv[1])?,
            v: Operand::new(cpu, &qkv[2])?,
            mask: mask.map(|mask| Operand::new(cpu, mask)).transpose()?,
        })
    }

    /// The blocks of queries.
    fn query_blocks(&self) -> impl Iterator<Item = Range<usize>> + use<T> {
        blocks(self.queries, QUERIES)
    }

    /// The blocks of keys that some of the queries see.
    fn key_blocks(&self, queries: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<T> {
        blocks(if self.op.causal { queries.end.min(self.keys) } else { self.keys }, KEYS)
    }

    /// Writes scaled and masked scores; hidden keys get negative infinity.
    fn block(&self, batch: usize, queries: &Range<usize>, keys: &Range<usize>, to: &mut [T]) {
        let (rows, cols) = (queries.len(), keys.len());
        let q = self.q.matrix(batch).rows(queries.clone());
        let k = self.k.matrix(batch).rows(keys.clone());
        let mut scores = MatMut::new(to, rows, cols);
        product(self.precision, &mut scores, Old::Ignore, T::of(self.op.scale), q, k.t());
        if let Some(mask) = &self.mask {
            let start = mask.start(batch);
            for (i, row) in queries.clone().zip(to.chunks_exact_mut(cols)) {
                for (j, score) in keys.clone().zip(row) {
                    *score += mask.get(start, i, j);
                }
            }
        }
        if self.op.causal && keys.end > queries.start + 1 {
            for (i, row) in queries.clone().zip(to.chunks_exact_mut(cols)) {
                let seen = (i + 1).saturating_sub(keys.start).min(cols);
                row[seen..].fill(T::NEG_INFINITY);
            }
        }
    }

    /// What a block of queries costs, as `Cpu::for_blocks` counts it.
    fn cost(&self) -> usize {
        QUERIES.min(self.queries) * self.keys * (self.width + self.value_width + 16) / 4
    }
}

fn blocks(n: usize, block: usize) -> impl Iterator<Item = Range<usize>> {
    (0..n).step_by(block).map(move |start| start..(start + block).min(n))
}

/// `Op::Attention`; operands `q`, `k`, `v` and optionally the mask.
pub(crate) fn attention(cpu: &Cpu, op: &Attention, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_real!(out[0].dtype, T => {
        let scores = Scores::<T>::new(cpu, op, &inputs[..3], inputs.get(3))?;
        let (mut y, mut lse) = (Output::<T>::new(cpu, &out[0])?, Output::<T>::new(cpu, &out[1])?);
        forward::forward(cpu, &scores, y.slice(), lse.slice())?;
        finished([y.finish(cpu)?, lse.finish(cpu)?])
    })
}

/// `Op::AttentionGrad`; operands `g`, `q`, `k`, `v`, `y`, `lse` and optionally the mask.
pub(crate) fn attention_grad(
    cpu: &Cpu,
    op: &Attention,
    inputs: &[View<'_, CpuBuffer>],
    out: &[Meta],
) -> Done {
    with_real!(out[0].dtype, T => {
        let scores = Scores::<T>::new(cpu, op, &inputs[1..4], inputs.get(6))?;
        let given = backward::Given::new(cpu, &inputs[0], &inputs[4], &inputs[5])?;
        let mut gq = Output::<T>::new(cpu, &out[0])?;
        let mut gk = Output::<T>::new(cpu, &out[1])?;
        let mut gv = Output::<T>::new(cpu, &out[2])?;
        backward::backward(cpu, &scores, &given, [gq.slice(), gk.slice(), gv.slice()])?;
        finished([gq.finish(cpu)?, gk.finish(cpu)?, gv.finish(cpu)?])
    })
}

/// A contiguous matrix of some rows.
fn rows<'a, T>(all: &'a [T], range: &Range<usize>, width: usize) -> Mat<'a, T> {
    Mat::new(&all[range.start * width..range.end * width], range.len(), width)
}
