//! Training or evaluation.

use crate::{Parameters, Visitor, VisitorMut};

/// Whether a module is training: a field of modules that behave differently then. Starts out true;
/// [`Parameters::set_training`] changes every mode of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(bool);

impl Mode {
    /// Whether the module is training.
    pub fn is_training(&self) -> bool {
        self.0
    }

    /// Switches this one mode.
    pub fn set_training(&mut self, training: bool) {
        self.0 = training;
    }
}

impl Default for Mode {
    fn default() -> Self {
        Mode(true)
    }
}

impl Parameters for Mode {
    fn visit(&self, _: &mut dyn Visitor) {}
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        visitor.mode(self);
    }
}
