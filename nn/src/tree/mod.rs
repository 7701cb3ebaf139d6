//! What the walks of [`crate::Parameters`] do: each takes the walk as a function that a visitor is given to.

mod pattern;
mod state;

pub(crate) use state::{compare, load, state_dict};

use gradus_tensor_core::{DType, Error, Result, Tensor};

use crate::visitor::PathName;
use crate::{Buffer, Mode, Param, Visitor, VisitorMut};

pub use pattern::matches;

type OnParam<'a> = &'a mut dyn FnMut(&str, &Param) -> Result<()>;
type OnBuffer<'a> = &'a mut dyn FnMut(&str, &Buffer) -> Result<()>;
type OnParamMut<'a> = &'a mut dyn FnMut(&str, &mut Param) -> Result<()>;
type OnBufferMut<'a> = &'a mut dyn FnMut(&str, &mut Buffer) -> Result<()>;

struct Each<'a> {
    path: PathName,
    result: Result<()>,
    param: OnParam<'a>,
    buffer: OnBuffer<'a>,
}

impl Visitor for Each<'_> {
    fn enter(&mut self, name: &str) {
        self.path.enter(name);
    }
    fn leave(&mut self) {
        self.path.leave();
    }
    fn param(&mut self, param: &Param) {
        if self.result.is_ok() {
            self.result = (self.param)(self.path.as_str(), param);
        }
    }
    fn buffer(&mut self, buffer: &Buffer) {
        if self.result.is_ok() {
            self.result = (self.buffer)(self.path.as_str(), buffer);
        }
    }
}

/// Calls the functions until one fails.
pub(crate) fn each(
    param: OnParam<'_>,
    buffer: OnBuffer<'_>,
    walk: impl FnOnce(&mut dyn Visitor),
) -> Result<()> {
    let mut each = Each { path: PathName::default(), result: Ok(()), param, buffer };
    walk(&mut each);
    each.result
}

struct EachMut<'a> {
    path: PathName,
    result: Result<()>,
    param: OnParamMut<'a>,
    buffer: OnBufferMut<'a>,
    mode: &'a mut dyn FnMut(&mut Mode),
}

impl VisitorMut for EachMut<'_> {
    fn enter(&mut self, name: &str) {
        self.path.enter(name);
    }
    fn leave(&mut self) {
        self.path.leave();
    }
    fn param(&mut self, param: &mut Param) {
        if self.result.is_ok() {
            self.result = (self.param)(self.path.as_str(), param);
        }
    }
    fn buffer(&mut self, buffer: &mut Buffer) {
        if self.result.is_ok() {
            self.result = (self.buffer)(self.path.as_str(), buffer);
        }
    }
    fn mode(&mut self, mode: &mut Mode) {
        (self.mode)(mode);
    }
}

/// Calls the functions until one fails.
pub(crate) fn each_mut(
    param: OnParamMut<'_>,
    buffer: OnBufferMut<'_>,
    mode: &mut dyn FnMut(&mut Mode),
    walk: impl FnOnce(&mut dyn VisitorMut),
) -> Result<()> {
    let mut each = EachMut { path: PathName::default(), result: Ok(()), param, buffer, mode };
    walk(&mut each);
    each.result
}

pub(crate) fn named_parameters(walk: impl FnOnce(&mut dyn Visitor)) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    let mut param = |name: &str, param: &Param| {
        all.push((name.to_owned(), param.tensor().clone()));
        Ok(())
    };
    // Collecting cannot fail.
    let _ = each(&mut param, &mut |_, _| Ok(()), walk);
    all
}

pub(crate) fn set_requires_grad(
    op: &'static str,
    pattern: &str,
    requires_grad: bool,
    walk: impl FnOnce(&mut dyn VisitorMut),
) -> Result<usize> {
    let mut matched = 0;
    let mut names = Vec::new();
    let mut param = |name: &str, param: &mut Param| {
        if matches(pattern, name) {
            param.set_requires_grad(requires_grad);
            matched += 1;
        } else {
            names.push(name.to_owned());
        }
        Ok(())
    };
    each_mut(&mut param, &mut |_, _| Ok(()), &mut |_| (), walk)?;
    if matched > 0 {
        return Ok(matched);
    }
    Err(Error::argument(
        op,
        format!("no parameter matches `{pattern}`; the parameters are {}", state::listed(&names)),
    ))
}

/// Replaces every parameter and buffer by a function of itself.
pub(crate) fn convert(
    to: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
    walk: impl FnOnce(&mut dyn VisitorMut),
) -> Result<()> {
    let to = std::cell::RefCell::new(to);
    each_mut(
        &mut |_, param| {
            let value = (to.borrow_mut())(param.tensor())?;
            param.set(value)
        },
        &mut |_, buffer| {
            let value = (to.borrow_mut())(&buffer.value())?;
            buffer.set(value)
        },
        &mut |_| (),
        walk,
    )
}

pub(crate) fn check_float(op: &'static str, dtype: DType) -> Result<()> {
    if dtype.is_float() {
        return Ok(());
    }
    Err(Error::argument(op, format!("parameters need a floating-point dtype, not {dtype}")))
}
