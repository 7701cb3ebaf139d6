//! A batch entry as a task computes with it: half precision widened, keys and values packed once for all queries.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::{KEYS, QUERIES, Scores, blocks};
use crate::Cpu;
use crate::kernels::dense::{Real, Scratch, Stored};
use crate::kernels::matmul::gemm::{Mat, Right};
use crate::kernels::matmul::operand::Operand;
use crate::kernels::matmul::ready::Packed;

/// Some queries of a batch entry, and the keys and values that they see.
pub(super) struct Head<'a, T> {
    pub(super) batch: usize,
    range: Range<usize>,
    q: Mat<'a, T>,
    k: Mat<'a, T>,
    v: Mat<'a, T>,
    blocks: Vec<Panels>,
}

/// A block of keys and values, packed; as each pass multiplies with them.
struct Panels {
    range: Range<usize>,
    turned_keys: Option<Packed>,
    values: Option<Packed>,
    /// For the gradient.
    keys: Option<Packed>,
    turned_values: Option<Packed>,
}

/// What a head is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Forward,
    Backward,
}

/// Memory for widened matrices: queries, keys and values.
pub(super) type Wide<T> = [Option<Scratch<T>>; 3];

impl<T: Real> Head<'_, T> {
    /// Runs a task with the head of some queries.
    pub(super) fn with<S: Stored<Computed = T>>(
        cpu: &Cpu,
        scores: &Scores<'_, S>,
        (batch, range): (usize, Range<usize>),
        pass: Pass,
        run: impl FnOnce(&Head<'_, T>) -> Result<()>,
    ) -> Result<()> {
        let seen = 0..scores.seen(&range);
        let mut wide: Wide<T> = [None, None, None];
        let [q, k, v] = &mut wide;
        let q = matrix(cpu, &scores.q, batch, range.clone(), q)?;
        let (k, v) = (
            matrix(cpu, &scores.k, batch, seen.clone(), k)?,
            matrix(cpu, &scores.v, batch, seen.clone(), v)?,
        );
        let pack = |b: Mat<'_, T>| Packed::new(cpu, scores.precision, b, QUERIES.min(scores.queries));
        let gradient = |b: Mat<'_, T>| if pass == Pass::Backward { pack(b) } else { Ok(None) };
        let blocks = blocks(seen, KEYS).map(|range| {
            let (k, v) = (k.rows(range.clone()), v.rows(range.clone()));
            Ok(Panels {
                range,
                turned_keys: pack(k.t())?,
                values: if pass == Pass::Forward { pack(v)? } else { None },
                keys: gradient(k)?,
                turned_values: gradient(v.t())?,
            })
        });
        let blocks = blocks.collect::<Result<_>>()?;
        run(&Head { batch, range, q, k, v, blocks })
    }

    /// A block of the queries.
    pub(super) fn queries(&self, block: &Range<usize>) -> Mat<'_, T> {
        self.q.rows(block.start - self.range.start..block.end - self.range.start)
    }

    /// The first keys of a block as columns.
    pub(super) fn turned_keys(&self, keys: &Range<usize>) -> Right<'_, T> {
        let panels = self.panels(keys);
        Right::new(self.k.rows(panels.range.clone()).t(), panels.turned_keys.as_ref()).cols(0..keys.len())
    }

    /// The values of the first keys of a block.
    pub(super) fn values(&self, keys: &Range<usize>) -> Right<'_, T> {
        let panels = self.panels(keys);
        Right::new(self.v.rows(panels.range.clone()), panels.values.as_ref()).first_rows(keys.len())
    }

    /// The first keys of a block.
    pub(super) fn keys(&self, keys: &Range<usize>) -> Right<'_, T> {
        let panels = self.panels(keys);
        Right::new(self.k.rows(panels.range.clone()), panels.keys.as_ref()).first_rows(keys.len())
    }

    /// The values of the first keys of a block as columns.
    pub(super) fn turned_values(&self, keys: &Range<usize>) -> Right<'_, T> {
        let panels = self.panels(keys);
        Right::new(self.v.rows(panels.range.clone()).t(), panels.turned_values.as_ref()).cols(0..keys.len())
    }

    fn panels(&self, keys: &Range<usize>) -> &Panels {
        &self.blocks[keys.start / KEYS]
    }
}

/// Some rows of a matrix of the batch: where they lie, or a widened copy.
fn matrix<'a, S: Stored>(
    cpu: &Cpu,
    operand: &'a Operand<'_, S>,
    batch: usize,
    rows: Range<usize>,
    wide: &'a mut Option<Scratch<S::Computed>>,
) -> Result<Mat<'a, S::Computed>> {
    if let Some(matrix) = operand.computed(batch) {
        return Ok(matrix.rows(rows));
    }
    let matrix = operand.matrix(batch).rows(rows);
    let memory = wide.insert(Scratch::new(cpu, matrix.rows * matrix.cols)?);
    matrix.widen(cpu.level(), memory.slice());
    Ok(Mat::new(memory.as_slice(), matrix.rows, matrix.cols))
}
