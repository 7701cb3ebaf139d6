//! [`Parameters`] of plain values and of standard containers.

use crate::{Parameters, Visitor, VisitorMut};

macro_rules! plain {
    ($($t:ty),* $(,)?) => {$(
        /// A plain value: nothing to train or save.
        impl Parameters for $t {
            fn visit(&self, _: &mut dyn Visitor) {}
            fn visit_mut(&mut self, _: &mut dyn VisitorMut) {}
        }
    )*};
}
plain!(
    (),
    bool,
    char,
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    String,
    &'static str,
    std::time::Duration,
    gradus_tensor_core::DType,
    gradus_tensor_core::Device,
    gradus_tensor_core::Shape,
    gradus_tensor_core::ConvOptions,
    gradus_tensor_core::PoolOptions,
);

impl<T: ?Sized> Parameters for std::marker::PhantomData<T> {
    fn visit(&self, _: &mut dyn Visitor) {}
    fn visit_mut(&mut self, _: &mut dyn VisitorMut) {}
}

/// The contents of a box stand for the box.
impl<T: Parameters + ?Sized> Parameters for Box<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        (**self).visit(visitor);
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        (**self).visit_mut(visitor);
    }
}

/// What is there, if anything is.
impl<T: Parameters> Parameters for Option<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        if let Some(inner) = self {
            inner.visit(visitor);
        }
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        if let Some(inner) = self {
            inner.visit_mut(visitor);
        }
    }
}

/// Elements are named by their index.
impl<T: Parameters> Parameters for [T] {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (i, element) in self.iter().enumerate() {
            visitor.enter(&i.to_string());
            element.visit(visitor);
            visitor.leave();
        }
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        for (i, element) in self.iter_mut().enumerate() {
            visitor.enter(&i.to_string());
            element.visit_mut(visitor);
            visitor.leave();
        }
    }
}

/// Elements are named by their index.
impl<T: Parameters> Parameters for Vec<T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.as_slice().visit(visitor);
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        self.as_mut_slice().visit_mut(visitor);
    }
}

/// Elements are named by their index.
impl<T: Parameters, const N: usize> Parameters for [T; N] {
    fn visit(&self, visitor: &mut dyn Visitor) {
        self.as_slice().visit(visitor);
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        self.as_mut_slice().visit_mut(visitor);
    }
}

/// Values are named by their key.
impl<T: Parameters> Parameters for std::collections::BTreeMap<String, T> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (name, value) in self {
            visitor.enter(name);
            value.visit(visitor);
            visitor.leave();
        }
    }
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        for (name, value) in self {
            visitor.enter(name);
            value.visit_mut(visitor);
            visitor.leave();
        }
    }
}

macro_rules! tuple {
    ($($t:ident $index:tt),*) => {
        /// Elements are named by their index.
        impl<$($t: Parameters),*> Parameters for ($($t,)*) {
            fn visit(&self, visitor: &mut dyn Visitor) {
                $(visitor.enter(stringify!($index));
                self.$index.visit(visitor);
                visitor.leave();)*
            }
            fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
                $(visitor.enter(stringify!($index));
                self.$index.visit_mut(visitor);
                visitor.leave();)*
            }
        }
    };
}
tuple!(A 0);
tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
