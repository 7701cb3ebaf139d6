//! What there is almost always one of.

/// A list that almost always has one entry, which then lies in the list itself: what an op makes.
///
/// (A vector with room inside could be this too. But it is indexed and counted, and so lies in memory and is dropped by a
/// loop; here the one entry is a `match` away, in registers as often as not.)
#[derive(Debug)]
pub enum Few<T> {
    /// The only entry.
    One(T),
    /// Any other number of them.
    Many(Vec<T>),
}

impl<T> Few<T> {
    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Few::One(_) => 1,
            Few::Many(all) => all.len(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entries as a slice.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Few::One(one) => std::slice::from_ref(one),
            Few::Many(all) => all,
        }
    }

    /// The first entry.
    #[inline]
    pub fn into_first(self) -> Option<T> {
        match self {
            Few::One(one) => Some(one),
            Few::Many(all) => all.into_iter().next(),
        }
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut entries = entries.into_iter().fuse();
        match (entries.next(), entries.next()) {
            (Some(one), None) => Few::One(one),
            (first, second) => Few::Many(first.into_iter().chain(second).chain(entries).collect()),
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        let (one, all) = match self {
            Few::One(one) => (Some(one), Vec::new()),
            Few::Many(all) => (None, all),
        };
        one.into_iter().chain(all)
    }
}
