//! The caching allocator.
//!
//! Training allocates the same sizes over and over: every step makes and drops the same activations. Asking
//! the operating system each time is what costs: a fresh 64 MB block means 16,000 page faults, more time than
//! the addition that fills it. So a block that is dropped is kept, and the next request of its size class
//! takes it, pages and all.
//!
//! **Size classes.** Sizes are rounded up to four steps per doubling (128, 160, 192, 224, 256, 320, …), so
//! that at most a fifth of a block is unused, and blocks of nearly equal tensors are interchangeable. Each
//! class has a free list behind a lock of its own, held for one push or pop: threads meet only if they
//! ask for the same class in the same few nanoseconds. Blocks are 64-byte aligned (a cache line, an AVX-512
//! register). Elements that fit 64 bytes never come here: a [`CpuBuffer`](crate::CpuBuffer) holds them inside, and
//! counting their bytes too would cost more than the additions that are done with them.
//!
//! **Bounds.** Moving a block between live and cached changes nothing in total. Only a fresh block can grow
//! the footprint, so that is where the bound is: before the total would pass the highest need seen so far
//! plus a quarter plus a constant, every cached block is returned to the system. After a change of shapes
//! this throws away the blocks of the old ones; in a steady state it never happens. If the system has no
//! memory, the cache is emptied and the request tried once more before it is an error.
//!
//! **Contents.** Fresh blocks come zeroed (large ones as new pages, see [`pages`]), recycled ones hold old values. Memory
//! is therefore never uninitialized, and kernels write every element.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_tensor_core::{Error, MemoryStats, Result};

use crate::pages;

/// Bytes that a block's address is a multiple of.
pub(crate) const ALIGNMENT: usize = 64;
/// The smallest block, as a power of two: 128 bytes.
const MIN_LOG: u32 = 7;
/// Four classes for each power of two up to 2^62.
const CLASSES: usize = (63 - MIN_LOG as usize) * 4;
/// Bytes of cache allowed however little was ever in use.
const SLACK: usize = 256 << 20;

/// Hands out blocks and keeps dropped ones. One per [`Cpu`](crate::Cpu).
#[derive(Debug)]
pub(crate) struct Allocator {
    free: Box<[Mutex<Vec<Free>>]>,
    allocated: AtomicUsize,
    peak: AtomicUsize,
    cached: AtomicUsize,
    /// Where buffers come from instead, in the test that none is overrun.
    #[cfg(all(test, unix))]
    pub(crate) guard: Option<crate::guard::Guard>,
}

/// A cached block.
#[derive(Debug)]
struct Free(NonNull<u8>);
// SAFETY: a cached block is owned by the free list alone; nothing else points to it.
unsafe impl Send for Free {}

/// A block in use: where it is and its class. Must be given back to the allocator that made it.
#[derive(Debug)]
pub(crate) struct Block {
    /// The first byte.
    pub(crate) start: NonNull<u8>,
    // (A word: see `DType`.)
    class: usize,
}

/// The class of a request, and the size of its blocks; `None` beyond what memory can address.
fn class_of(bytes: usize) -> Option<(usize, usize)> {
    let bytes = bytes.max(1 << MIN_LOG);
    let step = 1usize << (bytes.ilog2() - 2);
    let size = bytes.checked_next_multiple_of(step)?;
    let log = size.ilog2();
    let class = ((log - MIN_LOG) * 4) as usize + ((size >> (log - 2)) & 3);
    (class < CLASSES).then_some((class, size))
}

/// The size of a class's blocks: the inverse of [`class_of`].
fn size_of(class: usize) -> usize {
    let log = class / 4 + MIN_LOG as usize;
    (4 + class % 4) << (log - 2)
}

fn lock(list: &Mutex<Vec<Free>>) -> MutexGuard<'_, Vec<Free>> {
    // A panic cannot leave a list half changed.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Allocator {
    pub(crate) fn new() -> Self {
        Self {
            free: (0..CLASSES).map(|_| Mutex::default()).collect(),
            allocated: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            #[cfg(all(test, unix))]
            guard: None,
        }
    }

    /// A block of at least that many bytes.
    pub(crate) fn take(&self, bytes: usize) -> Result<Block> {
        let Some((class, size)) = class_of(bytes) else { return Err(self.exhausted(bytes)) };
        #[cfg(all(test, unix))]
        if let Some(guard) = &self.guard {
            let start = guard.take(bytes).ok_or_else(|| self.exhausted(bytes))?;
            return Ok(Block { start, class });
        }
        let recycled = lock(&self.free[class]).pop();
        let start = match recycled {
            Some(Free(start)) => {
                self.cached.fetch_sub(size, Relaxed);
                start
            }
            None => self.fresh(size).ok_or_else(|| self.exhausted(bytes))?,
        };
        let now = self.allocated.fetch_add(size, Relaxed) + size;
        if now > self.peak.load(Relaxed) {
            self.peak.fetch_max(now, Relaxed);
        }
        Ok(Block { start, class })
    }

    /// Takes a block back and keeps it for reuse.
    pub(crate) fn give(&self, block: &Block) {
        #[cfg(all(test, unix))]
        if let Some(guard) = &self.guard {
            return guard.give(block.start);
        }
        let class = block.class;
        let size = size_of(class);
        self.allocated.fetch_sub(size, Relaxed);
        self.cached.fetch_add(size, Relaxed);
        lock(&self.free[class]).push(Free(block.start));
    }

    /// Returns every cached block to the system.
    pub(crate) fn trim(&self) {
        for (class, list) in self.free.iter().enumerate() {
            let blocks = std::mem::take(&mut *lock(list));
            if blocks.is_empty() {
                continue;
            }
            let size = size_of(class);
            self.cached.fetch_sub(size * blocks.len(), Relaxed);
            for Free(start) in blocks {
                // SAFETY: the block came from `fresh` with this size, and the list was its only owner.
                unsafe { pages::release(start, size) };
            }
        }
    }

    /// Bytes of blocks. Buffers are counted by their handles of the allocator (see `Cpu::stats`).
    pub(crate) fn stats(&self) -> MemoryStats {
        MemoryStats {
            allocated: self.allocated.load(Relaxed),
            peak: self.peak.load(Relaxed),
            cached: self.cached.load(Relaxed),
            buffers: 0,
        }
    }

    /// A block from the system, emptying the cache first if the total grew too large or memory ran out.
    #[cold]
    fn fresh(&self, size: usize) -> Option<NonNull<u8>> {
        let stats = self.stats();
        let need = stats.allocated.saturating_add(size);
        let bound = stats.peak.max(need).saturating_add(stats.peak / 4).saturating_add(SLACK);
        if need.saturating_add(stats.cached) > bound {
            self.trim();
        }
        pages::zeroed(size).or_else(|| {
            self.trim();
            pages::zeroed(size)
        })
    }

    /// That the system has not so many bytes.
    #[cold]
    pub(crate) fn exhausted(&self, requested: usize) -> Error {
        let MemoryStats { allocated, cached, .. } = self.stats();
        Error::OutOfMemory { requested, allocated, cached, backend: "cpu".into() }
    }
}

impl Drop for Allocator {
    fn drop(&mut self) {
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_request_and_wastes_at_most_a_fifth() {
        for bytes in (65..5000).chain([1 << 20, (1 << 20) + 1, (1 << 40) - 1, 3 << 33]) {
            let (class, size) = class_of(bytes).unwrap();
            assert_eq!(size_of(class), size);
            assert!(size >= bytes && (size - bytes) * 5 <= size.max(5 * 64), "{bytes} in {size}");
        }
    }

    #[test]
    fn dropped_blocks_are_reused_and_trimmed() {
        let allocator = Allocator::new();
        let a = allocator.take(1000).unwrap();
        let address = a.start;
        allocator.give(&a);
        assert_eq!(allocator.stats().cached, 1024);
        let b = allocator.take(900).unwrap();
        assert_eq!(b.start, address);
        assert_eq!(allocator.stats(), MemoryStats { allocated: 1024, peak: 1024, cached: 0, buffers: 0 });
        allocator.give(&b);
        allocator.trim();
        assert_eq!(allocator.stats(), MemoryStats { peak: 1024, ..MemoryStats::default() });
    }

    #[test]
    fn the_cache_is_bounded_when_sizes_keep_changing() {
        let allocator = Allocator::new();
        for k in 0..200usize {
            let block = allocator.take((1 << 20) + (k % 40) * (1 << 20)).unwrap();
            allocator.give(&block);
            let stats = allocator.stats();
            assert!(stats.allocated + stats.cached <= stats.peak + stats.peak / 4 + SLACK);
        }
    }

    #[test]
    fn an_impossible_request_is_an_error_and_changes_nothing() {
        let allocator = Allocator::new();
        assert!(matches!(allocator.take(isize::MAX as usize / 2), Err(Error::OutOfMemory { .. })));
        assert!(matches!(allocator.take(usize::MAX), Err(Error::OutOfMemory { .. })));
        assert_eq!(allocator.stats(), MemoryStats::default());
    }
}
