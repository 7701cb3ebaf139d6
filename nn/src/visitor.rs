//! Walking a tree of parameters, and knowing where one is in it.

use crate::{Buffer, Mode, Param};

/// Sees every parameter and buffer of a tree. [`Visitor::enter`] and [`Visitor::leave`] surround each named
/// level, the names of parameters included: inside `enter("conv1")`, `enter("weight")` the parameter is
/// `conv1.weight`.
pub trait Visitor {
    /// The tree goes one level down.
    fn enter(&mut self, name: &str) {
        let _ = name;
    }

    /// The tree goes back up.
    fn leave(&mut self) {}

    /// A trained tensor.
    fn param(&mut self, param: &Param) {
        let _ = param;
    }

    /// A tensor that is saved but not trained.
    fn buffer(&mut self, buffer: &Buffer) {
        let _ = buffer;
    }
}

/// Sees every parameter, buffer and mode of a tree, and may change them.
pub trait VisitorMut {
    /// The tree goes one level down.
    fn enter(&mut self, name: &str) {
        let _ = name;
    }

    /// The tree goes back up.
    fn leave(&mut self) {}

    /// A trained tensor.
    fn param(&mut self, param: &mut Param) {
        let _ = param;
    }

    /// A tensor that is saved but not trained.
    fn buffer(&mut self, buffer: &mut Buffer) {
        let _ = buffer;
    }

    /// Whether a module is training.
    fn mode(&mut self, mode: &mut Mode) {
        let _ = mode;
    }
}

/// The dotted name of the level a walk is at.
#[derive(Clone, Debug, Default)]
pub struct PathName {
    text: String,
    ends: Vec<usize>,
}

impl PathName {
    /// Goes one level down.
    pub fn enter(&mut self, name: &str) {
        self.ends.push(self.text.len());
        if !self.text.is_empty() {
            self.text.push('.');
        }
        self.text.push_str(name);
    }

    /// Goes back up; at the top, nothing happens.
    pub fn leave(&mut self) {
        self.text.truncate(self.ends.pop().unwrap_or(0));
    }

    /// The name, like `layer1.0.conv1.weight`; empty at the top.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
