//! Memory of the backend: a typed run of elements.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use gradus_tensor_core::{Buffers, DType, Element, Result};

use crate::alloc::{Allocator, Block};

/// Elements that take up to this many bytes live inside the buffer value: no allocation.
const INLINE: usize = 64;

/// A flat run of elements of one dtype. Up to 64 bytes are held inside, more in a 64-byte aligned block of the
/// backend's caching allocator, to which dropping the buffer returns it.
#[derive(Debug)]
pub struct CpuBuffer {
    dtype: DType,
    len: usize,
    storage: Storage,
    // Held by buffers without a block too: the handles are how live buffers are counted.
    allocator: Arc<Allocator>,
}

// The discriminant is a word: see `DType`.
#[derive(Debug)]
#[repr(usize)]
enum Storage {
    Inline(Inline),
    Heap(Block),
}

#[derive(Debug)]
struct Inline([u64; INLINE / 8]);

// SAFETY: a block is memory that only this buffer refers to; access goes through `&self` and `&mut self`.
unsafe impl Send for CpuBuffer {}
// SAFETY: as above.
unsafe impl Sync for CpuBuffer {}

impl CpuBuffer {
    /// A buffer of arbitrary old contents: the caller writes every element before anyone reads one.
    #[inline]
    pub(crate) fn new(allocator: &Arc<Allocator>, dtype: DType, len: usize) -> Result<Self> {
        if Self::fits_inside(allocator, dtype, len) {
            return Ok(Self::inside(allocator, dtype, len));
        }
        let storage = Storage::Heap(allocator.take(len.saturating_mul(dtype.size()))?);
        Ok(Self { dtype, len, storage, allocator: allocator.clone() })
    }

    #[inline]
    fn fits_inside(_allocator: &Allocator, dtype: DType, len: usize) -> bool {
        #[cfg(all(test, unix))]
        if _allocator.guard.is_some() {
            return false;
        }
        len.saturating_mul(dtype.size()) <= INLINE
    }

    #[inline]
    fn inside(allocator: &Arc<Allocator>, dtype: DType, len: usize) -> Self {
        Self { dtype, len, storage: Storage::Inline(Inline([0; INLINE / 8])), allocator: allocator.clone() }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The elements, if `T` is their type.
    pub fn as_slice<T: Element>(&self) -> Option<&[T]> {
        // SAFETY: the storage holds `len` elements of `dtype`, all written by the kernel that made the buffer,
        // and is aligned for every element type.
        (T::DTYPE == self.dtype).then(|| unsafe { std::slice::from_raw_parts(self.bytes().cast(), self.len) })
    }

    /// The address of the first element. Valid until the buffer is moved.
    #[inline]
    pub(crate) fn bytes(&self) -> *const u8 {
        match &self.storage {
            Storage::Inline(inline) => inline.0.as_ptr().cast(),
            Storage::Heap(block) => block.start.as_ptr(),
        }
    }

    /// The address of the first element, for writing. Valid until the buffer is moved.
    #[inline]
    pub(crate) fn bytes_mut(&mut self) -> *mut u8 {
        match &mut self.storage {
            Storage::Inline(inline) => inline.0.as_mut_ptr().cast(),
            Storage::Heap(block) => block.start.as_ptr(),
        }
    }

    /// The address of the first element as a `T`.
    ///
    /// # Panics
    /// `T` is not the element type: a bug in this crate, since `execute` compares dtypes first.
    #[inline]
    pub(crate) fn ptr<T: Element>(&self) -> *const T {
        assert!(T::DTYPE == self.dtype, "a kernel for {} got a buffer of {}", T::DTYPE, self.dtype);
        self.bytes().cast()
    }

    /// The address of the first element as a `T`, for writing.
    ///
    /// # Panics
    /// As [`CpuBuffer::ptr`].
    #[inline]
    pub(crate) fn ptr_mut<T: Element>(&mut self) -> *mut T {
        assert!(T::DTYPE == self.dtype, "a kernel for {} got a buffer of {}", T::DTYPE, self.dtype);
        self.bytes_mut().cast()
    }

    /// The elements as a slice of numbers. Not for `bool`, whose old contents may be no valid value: write
    /// those through [`CpuBuffer::ptr_mut`].
    ///
    /// # Panics
    /// As [`CpuBuffer::ptr`].
    #[inline]
    pub(crate) fn slice_mut<T: Element + bytemuck::Pod>(&mut self) -> &mut [T] {
        let start = self.ptr_mut();
        // SAFETY: the storage holds `len` elements of `T`; every bit pattern is one of a plain number.
        unsafe { std::slice::from_raw_parts_mut(start, self.len) }
    }
}

/// A buffer that is filled where tensors will share it: one that holds its elements inside is not moved then, which
/// would take longer than filling it.
#[derive(Debug)]
pub(crate) struct Fresh(
    // The only handle until it is given away.
    Arc<CpuBuffer>,
);

impl Fresh {
    /// As [`CpuBuffer::new`].
    #[inline]
    pub(crate) fn new(allocator: &Arc<Allocator>, dtype: DType, len: usize) -> Result<Self> {
        if CpuBuffer::fits_inside(allocator, dtype, len) {
            // Not by way of a result, from which it would be copied.
            return Ok(Fresh(Arc::new(CpuBuffer::inside(allocator, dtype, len))));
        }
        CpuBuffer::new(allocator, dtype, len).map(|buffer| Fresh(Arc::new(buffer)))
    }
}

impl Deref for Fresh {
    type Target = CpuBuffer;

    #[inline]
    fn deref(&self) -> &CpuBuffer {
        &self.0
    }
}

impl DerefMut for Fresh {
    #[inline]
    fn deref_mut(&mut self) -> &mut CpuBuffer {
        // SAFETY: the handle was made by `new` and is never cloned, and it is exclusively borrowed. (`Arc::get_mut` would
        // ask again, with two of the atomic operations that such a buffer has few of.)
        unsafe { &mut *Arc::as_ptr(&self.0).cast_mut() }
    }
}

impl From<Fresh> for Buffers<CpuBuffer> {
    #[inline]
    fn from(buffer: Fresh) -> Self {
        Buffers::made(buffer.0)
    }
}

impl Drop for CpuBuffer {
    #[inline]
    fn drop(&mut self) {
        if let Storage::Heap(block) = &self.storage {
            self.allocator.give(block);
        }
    }
}
