//! Memory from the system: small blocks from the global allocator, large ones as pages of their own.
//!
//! A large block is mapped, not allocated, for three reasons. New pages come zeroed, where the global allocator would
//! clear a 64-byte aligned block by hand, all of it on the calling thread. Pages are given out when they are first
//! touched, which is then by the threads that compute. And the block can begin at a multiple of a huge page, of which
//! the system is asked to make it: one fault and one entry of the address cache for 2 MiB instead of 512.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;

use crate::alloc::ALIGNMENT;

/// Blocks of at least this many bytes are mapped.
const LARGE: usize = 1 << 20;
/// The size of a huge page, and what blocks that hold one are aligned to.
const HUGE: usize = 2 << 20;

/// A zeroed block of that many bytes, which are not 0, aligned to [`ALIGNMENT`]. To be [released](release) with the
/// same size.
pub(crate) fn zeroed(size: usize) -> Option<NonNull<u8>> {
    if size >= LARGE && cfg!(all(unix, not(miri))) {
        return map(size);
    }
    let layout = Layout::from_size_align(size, ALIGNMENT).ok()?;
    if size == 0 {
        return None;
    }
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) })
}

/// Returns a block to the system.
///
/// # Safety
/// The block came from [`zeroed`] with this size, and nothing refers to it.
pub(crate) unsafe fn release(start: NonNull<u8>, size: usize) {
    if size >= LARGE && cfg!(all(unix, not(miri))) {
        // SAFETY: promised by the caller.
        unsafe { unmap(start.as_ptr(), size) };
    } else if let Ok(layout) = Layout::from_size_align(size, ALIGNMENT) {
        // SAFETY: as above; the layout is the one it was allocated with.
        unsafe { dealloc(start.as_ptr(), layout) };
    }
}

#[cfg(unix)]
fn map(size: usize) -> Option<NonNull<u8>> {
    if size < HUGE {
        return reserve(size);
    }
    // More than is asked for, so that an aligned block lies in it; what lies before and after goes back.
    let whole = size.checked_add(HUGE)?;
    let first = reserve(whole)?;
    let before = first.as_ptr().align_offset(HUGE);
    // SAFETY: fewer than `HUGE` bytes are skipped, so the block ends inside the mapping. Its edges are multiples of a
    // page: so is the size of a block this large, and a huge page.
    unsafe {
        let start = first.add(before);
        if before > 0 {
            unmap(first.as_ptr(), before);
        }
        if before < HUGE {
            unmap(start.add(size).as_ptr(), HUGE - before);
        }
        #[cfg(target_os = "linux")]
        // Advice: whether it is taken changes only speed.
        let _ = libc::madvise(start.as_ptr().cast(), size, libc::MADV_HUGEPAGE);
        Some(start)
    }
}

#[cfg(unix)]
fn reserve(size: usize) -> Option<NonNull<u8>> {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANON);
    // SAFETY: a new anonymous mapping anywhere touches no memory in use.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

/// # Safety
/// The pages were mapped here, and nothing refers to them.
#[cfg(unix)]
unsafe fn unmap(start: *mut u8, size: usize) {
    // SAFETY: promised by the caller. It cannot fail for pages that are mapped, but for want of memory to note a hole
    // in a mapping; then they stay.
    unsafe { libc::munmap(start.cast(), size) };
}

#[cfg(not(unix))]
fn map(_: usize) -> Option<NonNull<u8>> {
    None
}

/// # Safety
/// Never called where nothing is mapped.
#[cfg(not(unix))]
unsafe fn unmap(_: *mut u8, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_every_size_are_zeroed_aligned_and_writable_to_their_end() {
        for size in [128, 4096, 896 << 10, LARGE, 1792 << 10, HUGE, 5 << 19, 7 << 20] {
            let block = zeroed(size).unwrap();
            assert_eq!(block.as_ptr().align_offset(if size >= HUGE { HUGE } else { ALIGNMENT }), 0);
            // SAFETY: the block has this size and is used by nobody else.
            unsafe {
                let bytes = std::slice::from_raw_parts_mut(block.as_ptr(), size);
                assert!(bytes.iter().all(|&b| b == 0));
                bytes.fill(1);
                release(block, size);
            }
        }
    }

    #[test]
    fn memory_that_nobody_has_is_none() {
        assert!(zeroed(isize::MAX as usize & !(HUGE - 1)).is_none());
    }
}
