//! Attention that never holds the matrix of scores.
//!
//! Scores are computed for a block of queries and a block of keys at a time. Going forward, each query keeps
//! the largest score so far, the sum of exponentials relative to it and the weighted sum of values, and rescales
//! the latter two when a larger score comes. The gradient computes the blocks again from the saved logarithm of
//! the denominator. Blocks of keys that causality hides are skipped. A task has some blocks of queries of one batch entry
//! (a head of a sample) and brings keys and values in shape for all of them ([`head`]).

mod backward;
mod forward;
mod head;

use std::ops::Range;

use gradus_tensor_core::op::Attention;
use gradus_tensor_core::{Meta, Result, View};

use self::head::Head;
use super::dense::{Output, Real, Stored, finished, with_real, with_stored};
use super::matmul::gemm::{Mat, MatMut, Old, product};
use super::matmul::operand::Operand;
use crate::execute::Done;
use crate::math::real::Real as _;
use crate::{Cpu, CpuBuffer, Precision};

/// Queries of a block.
const QUERIES: usize = 32;
/// Keys of a block: with [`QUERIES`] a 32 kB block of scores.
const KEYS: usize = 128;

/// The operands that both passes read.
struct Scores<'a, S: Stored> {
    op: Attention,
    q: Operand<'a, S>,
    k: Operand<'a, S>,
    v: Operand<'a, S>,
    mask: Option<Operand<'a, S::Computed>>,
    batches: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
    precision: Precision,
}

impl<'a, S: Stored> Scores<'a, S> {
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

    /// The keys that some of the queries see.
    fn seen(&self, queries: &Range<usize>) -> usize {
        if self.op.causal { queries.end.min(self.keys) } else { self.keys }
    }

    /// The blocks of keys that some of the queries see.
    fn key_blocks(&self, queries: &Range<usize>) -> impl Iterator<Item = Range<usize>> + use<S> {
        blocks(0..self.seen(queries), KEYS)
    }

    /// Writes scaled and masked scores; hidden keys get negative infinity.
    fn block(
        &self,
        head: &Head<'_, S::Computed>,
        queries: &Range<usize>,
        keys: &Range<usize>,
        to: &mut [S::Computed],
    ) {
        let (rows, cols) = (queries.len(), keys.len());
        let mut scores = MatMut::new(to, rows, cols);
        let scale = S::Computed::of(self.op.scale);
        product(
            self.precision,
            &mut scores,
            Old::Ignore,
            scale,
            head.queries(queries),
            head.turned_keys(keys),
        );
        if let Some(mask) = &self.mask {
            let start = mask.start(head.batch);
            for (i, row) in queries.clone().zip(to.chunks_exact_mut(cols)) {
                for (j, score) in keys.clone().zip(row) {
                    *score += mask.get(start, i, j);
                }
            }
        }
        if self.op.causal && keys.end > queries.start + 1 {
            for (i, row) in queries.clone().zip(to.chunks_exact_mut(cols)) {
                let seen = (i + 1).saturating_sub(keys.start).min(cols);
                row[seen..].fill(S::Computed::NEG_INFINITY);
            }
        }
    }

    /// What a block of queries costs, as `Cpu::for_blocks` counts it.
    fn cost(&self) -> usize {
        QUERIES.min(self.queries) * self.keys * (self.width + self.value_width + 16) / 4
    }
}

fn blocks(all: Range<usize>, block: usize) -> impl Iterator<Item = Range<usize>> {
    all.clone().step_by(block).map(move |start| start..(start + block).min(all.end))
}

/// `Op::Attention`; operands `q`, `k`, `v` and optionally the mask.
pub(crate) fn attention(cpu: &Cpu, op: &Attention, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    with_stored!(out[0].dtype, S => {
        let scores = Scores::<S>::new(cpu, op, &inputs[..3], inputs.get(3))?;
        let mut y = Output::<S>::new(cpu, &out[0])?;
        let mut lse = Output::<<S as Stored>::Computed>::new(cpu, &out[1])?;
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
