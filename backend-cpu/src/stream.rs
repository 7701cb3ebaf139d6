//! Writes that go around the caches.
//!
//! An ordinary write to memory that is not cached reads the line first, and puts out of the cache what somebody may
//! still want. For an output that is larger than any cache this is a third of an addition's traffic. So large outputs
//! are computed piece by piece in a scratch array and streamed from there. A piece is a few lines: small enough that
//! the processor computes the next ones while these are on their way. With pieces of 4 KiB, reads and writes took turns
//! and an addition took a quarter longer.
//!
//! A kernel that goes over each row several times, as layer norm does, reads memory in one of its passes only. It must ask
//! for the next row in the others ([`expect`]), or memory rests meanwhile, which costs as much as streaming saves. Where
//! arithmetic takes as long as memory, as in softmax, that is not enough: its passes over several rows run side by side.

use std::mem::MaybeUninit;
use std::ops::Range;

use gradus_tensor_core::Element;

use crate::Level;

/// Outputs of at least this many bytes are streamed: nobody will find them in a cache.
const LARGE: usize = 48 << 20;
/// Bytes of a piece.
const PIECE: usize = 256;

/// Bytes of a cache line, which is written whole.
const LINE: usize = 64;
/// Bytes of the vectors that are streamed.
#[cfg(target_arch = "x86_64")]
const ALIGN: usize = 32;
/// Work per element, as [`Cpu::for_chunks`](crate::Cpu::for_chunks) counts it, up to which memory is what takes the time.
const CHEAP: usize = 2;

/// Whether rows of such an output are to be streamed, one by one: no cache holds it, and rows end with lines.
pub(crate) fn pays_by_row<T>(level: Level, output: &[T], row: usize) -> bool {
    pays(level, size_of_val(output), 0) && (row * size_of::<T>()).is_multiple_of(LINE)
}

/// Whether no cache holds an output of so many bytes.
#[inline]
pub(crate) fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

/// Whether an output of so many bytes is to be streamed, if its elements take so much work.
#[inline]
pub(crate) fn pays(level: Level, bytes: usize, cost: usize) -> bool {
    is_large(bytes) && cost <= CHEAP && level >= Level::Avx2 && cfg!(target_arch = "x86_64")
}

/// Has `compute(first, to, n)` write the elements `first..first + n` at `to`, a scratch array, for pieces of
/// `elements`, and streams them to `target`.
///
/// # Safety
/// `target` has room for the elements, of `size` bytes each, and the caller alone uses it; the machine has that level
/// and [streaming pays](pays); `compute` writes all that it is asked to.
pub(crate) unsafe fn pieces(
    target: *mut u8,
    size: usize,
    elements: usize,
    compute: impl Fn(usize, *mut u8, usize),
) {
    #[repr(align(64))]
    struct Scratch(MaybeUninit<[u8; PIECE]>);
    let mut scratch = Scratch(MaybeUninit::uninit());
    let scratch = scratch.0.as_mut_ptr().cast::<u8>();
    let piece = PIECE / size;
    for first in (0..elements).step_by(piece) {
        let n = piece.min(elements - first);
        compute(first, scratch, n);
        // SAFETY: the scratch holds a piece, which `compute` wrote; the rest is promised by the caller.
        unsafe { copy(scratch, target.add(first * size), n * size) };
    }
    fence();
}

/// Writes a piece around the caches, if its place begins at a multiple of 32 bytes. [`fence`] must follow. (Without a call:
/// one inside a kernel's loop would empty its registers.)
#[inline(always)]
pub(crate) fn write<T: Element, const N: usize>(level: Level, from: &[T; N], to: &mut [T; N]) {
    #[cfg(target_arch = "x86_64")]
    if level >= Level::Avx2
        && to.as_ptr().addr().is_multiple_of(ALIGN)
        && size_of_val(to).is_multiple_of(ALIGN)
    {
        // SAFETY: two places of that many bytes, whole vectors, the target aligned to them; there is AVX2.
        unsafe { x86::write(from.as_ptr().cast(), to.as_mut_ptr().cast(), size_of_val(from)) };
        return;
    }
    let _ = level;
    *to = *from;
}

/// Streams bytes from one place to another. [`fence`] must follow before another thread reads them.
///
/// # Safety
/// Both places have that many bytes, which do not overlap and of which the target belongs to the caller; the machine
/// has AVX2.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: promised by the caller.
    unsafe {
        x86::copy(from, to, bytes);
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: promised by the caller.
    unsafe {
        std::ptr::copy_nonoverlapping(from, to, bytes);
    }
}

/// A target that is made from its first element to its last: all at once, where it belongs, or, streamed, a piece at a
/// time. (No function that takes a closure: a large one stays out of line, and is compiled for the lowest level.)
pub(crate) struct Target<'a, T> {
    rest: &'a mut [T],
    /// Elements before the rest.
    done: usize,
    /// Elements that were handed out last.
    held: usize,
    scratch: [T; PIECE / 4],
    streamed: bool,
}

impl<'a, T: Element> Target<'a, T> {
    #[inline(always)]
    pub(crate) fn new(level: Level, streamed: bool, target: &'a mut [T]) -> Self {
        let streamed = streamed && level >= Level::Avx2;
        Self { rest: target, done: 0, held: 0, scratch: [T::default(); PIECE / 4], streamed }
    }

    /// The next elements: which, and where to write them. The last are at their place when there are no more.
    #[inline(always)]
    pub(crate) fn next(&mut self) -> Option<(Range<usize>, &mut [T])> {
        let (made, rest) = std::mem::take(&mut self.rest).split_at_mut(self.held);
        if self.streamed {
            // SAFETY: the scratch has as many elements; there is AVX2.
            unsafe { copy(self.scratch.as_ptr().cast(), made.as_mut_ptr().cast(), size_of_val(made)) };
        }
        self.rest = rest;
        self.done += self.held;
        self.held = if self.streamed { self.scratch.len().min(self.rest.len()) } else { self.rest.len() };
        if self.held == 0 {
            if self.streamed {
                fence();
            }
            return None;
        }
        let to = if self.streamed { &mut self.scratch[..self.held] } else { &mut self.rest[..] };
        Some((self.done..self.done + self.held, to))
    }
}

/// Says that so many elements will soon be read: their lines are on their way to the second-level cache meanwhile. The
/// place need not exist.
#[inline(always)]
pub(crate) fn expect<T>(from: *const T, elements: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..elements * size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a hint reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast::<i8>().wrapping_add(at)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, elements);
}

/// Orders streamed writes before all later ones.
#[inline]
pub(crate) fn fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 machine has it.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::ptr::copy_nonoverlapping;

    use super::{ALIGN, LINE};

    /// # Safety
    /// Both places have that many bytes, a multiple of [`ALIGN`], which do not overlap; the target is aligned to that.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn write(from: *const u8, to: *mut u8, bytes: usize) {
        for at in (0..bytes).step_by(ALIGN) {
            // SAFETY: inside of both.
            unsafe { _mm256_stream_si256(to.add(at).cast(), _mm256_loadu_si256(from.add(at).cast())) };
        }
    }

    /// # Safety
    /// As [`super::copy`].
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
        let head = to.align_offset(LINE).min(bytes);
        let lines = (bytes - head) / LINE;
        // SAFETY: head, lines and tail are parts of the bytes; lines are aligned.
        unsafe {
            // (Nearly never, and then by a call.)
            if head > 0 {
                copy_nonoverlapping(from, to, head);
            }
            let (from, to) = (from.add(head), to.add(head));
            for line in 0..lines {
                let (from, to) =
                    (from.add(line * LINE).cast::<__m256i>(), to.add(line * LINE).cast::<__m256i>());
                let (a, b) = (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)));
                _mm256_stream_si256(to, a);
                _mm256_stream_si256(to.add(1), b);
            }
            let done = lines * LINE;
            if head + done < bytes {
                copy_nonoverlapping(from.add(done), to.add(done), bytes - head - done);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_streamed_to_their_places_whatever_the_alignment() {
        if Level::detect() < Level::Avx2 {
            return;
        }
        for (start, n) in [(0, 1), (1, 5000), (3, 4096), (7, 63), (16, 1024), (5, 9999)] {
            let mut target = vec![0u32; start + n + 3];
            // SAFETY: the target has room for `n` elements after the first `start`; the machine has AVX2.
            unsafe {
                pieces(target.as_mut_ptr().add(start).cast(), 4, n, |first, to, n| {
                    (0..n).for_each(|i| to.cast::<u32>().add(i).write((first + i) as u32 + 1));
                });
            }
            let expected = (1..=n as u32).collect::<Vec<_>>();
            assert_eq!(target[start..start + n], expected);
            assert!(target[..start].iter().chain(&target[start + n..]).all(|&x| x == 0));
        }
    }
}
