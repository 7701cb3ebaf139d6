//! Splitting work over threads.
//!
//! Work below a grain stays on the calling thread: telling another one costs a microsecond, waking it many. Above it,
//! the [`team`](crate::team) of the backend runs chunks. What a chunk computes never depends on how many threads there are:
//! element-wise work may be cut anywhere ([`Cpu::for_chunks`]), and a reduction is cut into blocks of a fixed
//! size whose partial results are combined in order ([`Cpu::for_blocks`]).

use std::ops::Range;

use crate::Cpu;

/// Work worth a thread, in units of about one f32 element read, added and written from cache (0.1 ns).
pub(crate) const GRAIN: usize = 1 << 16;
/// Chunks begin at multiples of this many items, so that no two threads write one cache line.
const ALIGN: usize = 64;
/// Chunks per thread: enough that a late thread does not hold up the others, few enough to cost nothing.
const CHUNKS_PER_THREAD: usize = 4;

/// A pointer that threads may share: each writes where no other does.
#[derive(Debug)]
pub(crate) struct SendPtr<T>(pub(crate) *mut T);
impl<T> Clone for SendPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for SendPtr<T> {}
// SAFETY: the users of a `SendPtr` write disjoint elements from different threads.
unsafe impl<T> Send for SendPtr<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// The pointer. (A method, so that closures capture the whole and not the field.)
    #[inline(always)]
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

impl Cpu {
    /// Calls `body` on ranges that cover `0..items`, in parallel if `items * cost` is worth it. For work in
    /// which every item is independent: the cuts depend on the number of threads.
    #[inline]
    pub(crate) fn for_chunks(&self, items: usize, cost: usize, body: impl Fn(Range<usize>) + Sync) {
        let work = items.saturating_mul(cost.max(1));
        if work >= 2 * GRAIN && self.threads() > 1 {
            self.split(items, work, &body);
        } else if items > 0 {
            body(0..items);
        }
    }

    #[inline(never)]
    fn split(&self, items: usize, work: usize, body: &(dyn Fn(Range<usize>) + Sync)) {
        let chunks = (work / GRAIN).min(self.threads().saturating_mul(CHUNKS_PER_THREAD));
        let mut size = items.div_ceil(chunks);
        if size >= ALIGN {
            size = size.next_multiple_of(ALIGN);
        }
        self.in_team(items.div_ceil(size), &|i| body(i * size..((i + 1) * size).min(items)));
    }

    /// Calls `body(b, range)` for every block `b` of `block` items (the last one shorter), in parallel if
    /// `items * cost` is worth it. The cuts depend on `block` alone.
    pub(crate) fn for_blocks(
        &self,
        items: usize,
        block: usize,
        cost: usize,
        body: impl Fn(usize, Range<usize>) + Sync,
    ) {
        let block = block.max(1);
        let blocks = items.div_ceil(block);
        let per_block = block.saturating_mul(cost.max(1));
        // Small blocks travel together, so that handing them over costs little.
        let together = (GRAIN / per_block.max(1)).max(1);
        // Even shares, rather than a small rest.
        let together = blocks.div_ceil(blocks.div_ceil(together).max(1)).max(1);
        let run = |g: usize| {
            for b in g * together..((g + 1) * together).min(blocks) {
                body(b, b * block..((b + 1) * block).min(items));
            }
        };
        let groups = blocks.div_ceil(together);
        if groups < 2 || self.threads() == 1 {
            (0..groups).for_each(run);
        } else {
            self.in_team(groups, &run);
        }
    }

    /// Calls `body(0)` … `body(n - 1)` on the backend's threads.
    fn in_team(&self, n: usize, body: &(dyn Fn(usize) + Sync)) {
        match self.team() {
            Some(team) => team.run(n, body),
            None => (0..n).for_each(body),
        }
    }
}
