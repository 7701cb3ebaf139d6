//! One stage of a reduction: `[outer, n, inner]` to `[outer, inner]`.
//!
//! Rows (`inner` is 1) are cut into blocks of [`ROW_BLOCK`] elements, each combined in [`LANES`] independent
//! chains that fill vector registers. Columns are combined row by row of [`COLUMNS`] adjacent elements, at most
//! [`COLUMN_BLOCK`] rows at a time. The blocks' results are an array of the same form, only shorter, and go
//! through the same again.

use std::marker::PhantomData;

use gradus_tensor_core::Result;

use super::combine::{Accumulator, Combine, Load};
use crate::kernels::copy::Along;
use crate::level::Kernel;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Elements of a row that are combined at a time.
const ROW_BLOCK: usize = 2048;
/// Independent chains within a block of a row.
const LANES: usize = 32;
/// Rows that are combined into one at a time.
const COLUMN_BLOCK: usize = 64;
/// Adjacent columns that are combined at a time: what fits the first-level cache as accumulators.
const COLUMNS: usize = 4096;

/// Combines along the middle axis. `x` has `outer * n * inner` elements, `n > 0`.
pub(super) fn stage<T: Load<A>, A: Accumulator, C: Combine<A>>(
    cpu: &Cpu,
    x: &[T],
    along: Along,
) -> Result<CpuBuffer> {
    let (reduced, blocks) =
        if along.inner == 1 { rows::<T, A, C>(cpu, x, along)? } else { columns::<T, A, C>(cpu, x, along)? };
    if blocks <= 1 {
        return Ok(reduced);
    }
    // SAFETY: the blocks' results fill the buffer.
    let partial = unsafe { std::slice::from_raw_parts(reduced.ptr::<A>(), reduced.len()) };
    stage::<A, A, C>(cpu, partial, Along { n: blocks, ..along })
}

/// Each row's blocks combined: `[outer, blocks]`.
fn rows<T: Load<A>, A: Accumulator, C: Combine<A>>(
    cpu: &Cpu,
    x: &[T],
    Along { outer, n, .. }: Along,
) -> Result<(CpuBuffer, usize)> {
    let blocks = n.div_ceil(ROW_BLOCK);
    let mut out = cpu.alloc_len(A::DTYPE, outer * blocks)?;
    let (to, level) = (SendPtr(out.ptr_mut::<A>()), cpu.level());
    cpu.for_chunks(outer * blocks, n.min(ROW_BLOCK) + LANES, |range| {
        for t in range {
            let (row, block) = (t / blocks, t % blocks);
            let part = &x[row * n + block * ROW_BLOCK..row * n + ((block + 1) * ROW_BLOCK).min(n)];
            // SAFETY: each task writes its own element.
            unsafe { to.get().add(t).write(level.run(FoldRow::<T, A, C>(part, PhantomData))) };
        }
    });
    Ok((out, blocks))
}

struct FoldRow<'a, T, A, C>(&'a [T], PhantomData<(A, C)>);

impl<T: Load<A>, A: Accumulator, C: Combine<A>> Kernel for FoldRow<'_, T, A, C> {
    type Output = A;
    #[inline(always)]
    fn run(self) -> A {
        let mut lanes = [C::identity(); LANES];
        let mut chunks = self.0.chunks_exact(LANES);
        for chunk in &mut chunks {
            for lane in 0..LANES {
                lanes[lane] = C::combine(lanes[lane], chunk[lane].load());
            }
        }
        for (lane, &x) in chunks.remainder().iter().enumerate() {
            lanes[lane] = C::combine(lanes[lane], x.load());
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] = C::combine(lanes[lane], lanes[lane + width]);
            }
            width /= 2;
        }
        lanes[0]
    }
}

/// Blocks of rows combined into one row each: `[outer, blocks, inner]`.
fn columns<T: Load<A>, A: Accumulator, C: Combine<A>>(
    cpu: &Cpu,
    x: &[T],
    Along { outer, n, inner }: Along,
) -> Result<(CpuBuffer, usize)> {
    let (blocks, strips) = (n.div_ceil(COLUMN_BLOCK), inner.div_ceil(COLUMNS));
    let mut out = cpu.alloc_len(A::DTYPE, outer * blocks * inner)?;
    let (to, level) = (SendPtr(out.ptr_mut::<A>()), cpu.level());
    let cost = n.min(COLUMN_BLOCK) * inner.min(COLUMNS);
    cpu.for_chunks(outer * blocks * strips, cost, |range| {
        for t in range {
            let (group, strip) = (t / strips, t % strips);
            let (o, block) = (group / blocks, group % blocks);
            let first = block * COLUMN_BLOCK;
            let rows = COLUMN_BLOCK.min(n - first);
            let column = strip * COLUMNS;
            let width = COLUMNS.min(inner - column);
            let x = &x[(o * n + first) * inner + column..(o * n + first + rows - 1) * inner + column + width];
            // SAFETY: each task writes its own columns of its own row.
            let sums = unsafe { to.get().add(group * inner + column) };
            level.run(FoldColumns::<T, A, C> { x, stride: inner, rows, width, sums, kind: PhantomData });
        }
    });
    Ok((out, blocks))
}

struct FoldColumns<'a, T, A, C> {
    x: &'a [T],
    stride: usize,
    rows: usize,
    width: usize,
    /// Room for as many. (Old contents may be no value of the type: there is no slice before they are overwritten.)
    sums: *mut A,
    kind: PhantomData<C>,
}

impl<T: Load<A>, A: Accumulator, C: Combine<A>> Kernel for FoldColumns<'_, T, A, C> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let Self { x, stride, rows, width, sums, .. } = self;
        for (i, &x) in x[..width].iter().enumerate() {
            // SAFETY: whoever made the kernel promised the room to it alone.
            unsafe { sums.add(i).write(x.load()) };
        }
        // SAFETY: as above; all were just written.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums, width) };
        let row = |r: usize| &x[r * stride..r * stride + width];
        let mut r = 1;
        // Four rows at once: the accumulators are read and written a quarter as often.
        while r + 4 <= rows {
            let [a, b, c, d] = [row(r), row(r + 1), row(r + 2), row(r + 3)];
            for i in 0..width {
                let pairs =
                    C::combine(C::combine(a[i].load(), b[i].load()), C::combine(c[i].load(), d[i].load()));
                sums[i] = C::combine(sums[i], pairs);
            }
            r += 4;
        }
        for r in r..rows {
            for (sum, &x) in sums.iter_mut().zip(row(r)) {
                *sum = C::combine(*sum, x.load());
            }
        }
    }
}
