//! Leaves in another dtype, cast once.
//!
//! Mixed precision reads every weight in a lower precision, often several times between two changes of it. The cast
//! values are kept *in the leaf's buffer*, so they cannot outlive what they were cast from, and whatever changes the
//! buffer drops them: there is no key that could be stale. [`LeafCasts`] is the scope: when it goes, so do the values
//! that were cast through it. Each use is recorded anew (a node, no memory), so gradients need no cache at all, and
//! those of several uses add up in the leaf's dtype.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use gradus_tensor_core::{DType, Op, Result, Storage, Tensor, View};

use crate::backend::{Autodiff, record, wrap};
use crate::node::Tracked;
use crate::{anomaly, is_grad_enabled};

/// The values of a leaf in one other dtype, on the inner device.
pub(crate) type Slot = Arc<Mutex<Option<Storage>>>;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced as a whole or not at all.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Casts of leaves that are made once: until the leaf changes or is dropped, or this is.
///
/// ```
/// use gradus_autograd::{Autograd, LeafCasts};
/// use gradus_tensor_core::{DType, Tensor};
/// # let device = gradus_testkit::Reference::device();
/// let casts = LeafCasts::default();
/// let w = Tensor::ones([2, 2], DType::F32, &device)?.requires_grad()?;
/// let once = casts.cast(&w, DType::BF16)?;
/// let again = casts.cast(&w, DType::BF16)?; // the same memory
/// let gradients = once.mul(&again)?.sum_all()?.backward()?;
/// assert_eq!(gradients.get(&w).unwrap().dtype(), DType::F32);
/// # Ok::<(), gradus_tensor_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct LeafCasts {
    /// The slots that were filled through this.
    filled: Mutex<Vec<Weak<Mutex<Option<Storage>>>>>,
}

impl LeafCasts {
    /// `tensor.cast(dtype)`. If the tensor is the whole of a leaf's buffer, its values are cast the first time only.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn cast(&self, tensor: &Tensor, dtype: DType) -> Result<Tensor> {
        let whole = tensor.layout().covers(tensor.buffer_len());
        // With anomalies being looked for, every op is run and looked at.
        if !whole || dtype == tensor.dtype() || !dtype.is_float() || anomaly::enabled() {
            return tensor.cast(dtype);
        }
        let leaf = tensor.device().backend::<Autodiff>().and(tensor.buffer::<Tracked>());
        match leaf.filter(|b| b.node.as_ref().is_some_and(|(node, _)| node.leaf_id().is_some())) {
            Some(buffer) => self.cast_leaf(tensor, buffer, dtype),
            None => tensor.cast(dtype),
        }
    }

    fn cast_leaf(&self, tensor: &Tensor, buffer: &Tracked, dtype: DType) -> Result<Tensor> {
        let slot = buffer.cast.get_or_init(Slot::default);
        let whole = buffer.inner.flat();
        let plain = {
            let mut kept = locked(slot);
            match &*kept {
                Some(plain) if plain.dtype() == dtype => plain.clone(),
                _ => {
                    let plain = whole.cast(dtype)?.into_whole()?;
                    *kept = Some(plain.clone());
                    self.remember(slot);
                    plain
                }
            }
        };
        let node = if is_grad_enabled() {
            let view = View { buffer, layout: whole.layout(), dtype: whole.dtype() };
            let outputs = std::slice::from_ref(&plain);
            Some((record(&Op::Cast(dtype), &[view], outputs, &[plain.flat().meta()])?, 0))
        } else {
            None
        };
        wrap(tensor.device(), Tracked::new(plain, node))?.reshape(tensor.shape())
    }

    fn remember(&self, slot: &Slot) {
        let mut filled = locked(&self.filled);
        if filled.len() == filled.capacity() {
            // Slots of leaves that are gone: looked for when the list would have to grow, so at a constant cost each.
            filled.retain(|slot| slot.strong_count() > 0);
        }
        filled.push(Arc::downgrade(slot));
    }

    /// Drops the values that were cast.
    pub fn clear(&self) {
        // Taken out first: `cast` locks a slot and then this list.
        let filled = std::mem::take(&mut *locked(&self.filled));
        for slot in filled.iter().filter_map(Weak::upgrade) {
            locked(&slot).take();
        }
    }
}

impl Drop for LeafCasts {
    fn drop(&mut self) {
        self.clear();
    }
}
