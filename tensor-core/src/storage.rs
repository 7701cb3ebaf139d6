//! Storages: what tensors share.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::{DType, Device, Error, Few, Layout, Result, Shape, Tensor, View};

/// A buffer of some backend.
pub(crate) type Erased = Arc<dyn Any + Send + Sync>;

/// The storages of one op's outputs.
pub type Storages = Few<Storage>;

/// A run of elements on a device, without the way a tensor reads it. Cloning is cheap and shares the elements.
///
/// A backend around a device keeps these as its buffers: it passes operands on by pairing the storage inside with
/// the layout of the outer operand ([`Storage::view`], [`Device::execute_views`]).
#[derive(Clone)]
pub struct Storage {
    pub(crate) buffer: Erased,
    pub(crate) device: Device,
    pub(crate) len: usize,
    pub(crate) dtype: DType,
}

impl Storage {
    /// The number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the elements live.
    #[inline]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The elements as a vector.
    pub fn flat(&self) -> Tensor {
        let layout = Layout::contiguous(Shape::trusted(&[self.len]));
        Tensor { storage: self.clone(), layout }
    }

    /// The elements read through a layout, as a tensor.
    ///
    /// # Errors
    /// The layout reaches beyond the storage.
    pub fn tensor(&self, layout: Layout) -> Result<Tensor> {
        self.check(&layout)?;
        Ok(Tensor { storage: self.clone(), layout })
    }

    /// Whether a layout stays inside.
    #[inline]
    pub(crate) fn check(&self, layout: &Layout) -> Result<()> {
        if layout.covers(self.len) || layout.span().end <= self.len {
            return Ok(());
        }
        let message = format!("layout reaches position {} of a buffer of {}", layout.span().end, self.len);
        Err(Error::argument("with_layout", message))
    }

    /// The buffer as the type of its backend, for backends that are built around other devices.
    pub fn buffer<B: 'static>(&self) -> Option<&B> {
        self.buffer.downcast_ref()
    }

    /// The elements read through a layout, as an operand for [`Device::execute_views`]. Nothing is checked: what
    /// the layout reaches is checked where it is read.
    #[inline]
    pub fn view<'a>(&'a self, layout: &'a Layout) -> View<'a, Storage> {
        View { buffer: self, layout, dtype: self.dtype }
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} {} on {})", self.len, self.dtype, self.device.name())
    }
}
