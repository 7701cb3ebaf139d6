//! The outputs of an op, as a backend returns them.

use std::sync::Arc;

use crate::Few;

/// The output buffers of one op; almost always one.
///
/// A buffer that is put in lies where tensors will share it from then on, so a backend's buffer type may be a large
/// value at no cost: it is moved once.
///
/// ```
/// use gradus_tensor_core::Buffers;
///
/// let one = Buffers::from(vec![1.0, 2.0]);
/// let two = Buffers::from_iter([vec![1.0], vec![2.0]]);
/// assert_eq!((one.len(), two.len()), (1, 2));
/// assert_eq!(two.iter().map(|buffer| buffer[0]).sum::<f64>(), 3.0);
/// ```
#[derive(Debug)]
pub struct Buffers<B>(Few<Arc<B>>);

impl<B> Buffers<B> {
    /// One buffer, for backends that make it where tensors will share it: `buffer` is its only handle.
    #[inline]
    pub fn made(buffer: Arc<B>) -> Self {
        Buffers(Few::One(buffer))
    }

    /// The number of buffers.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The buffers in the order of the outputs.
    pub fn iter(&self) -> impl Iterator<Item = &B> {
        self.0.as_slice().iter().map(Arc::as_ref)
    }

    /// The buffers, to be shared.
    #[inline]
    pub(crate) fn shared(self) -> Few<Arc<B>> {
        self.0
    }
}

impl<B> From<B> for Buffers<B> {
    #[inline]
    fn from(buffer: B) -> Self {
        Buffers::made(Arc::new(buffer))
    }
}

impl<B> FromIterator<B> for Buffers<B> {
    fn from_iter<I: IntoIterator<Item = B>>(buffers: I) -> Self {
        Buffers(buffers.into_iter().map(Arc::new).collect())
    }
}

impl<B> IntoIterator for Buffers<B> {
    type Item = B;
    type IntoIter = std::iter::FilterMap<<Few<Arc<B>> as IntoIterator>::IntoIter, fn(Arc<B>) -> Option<B>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().filter_map(Arc::into_inner)
    }
}
