//! The one trait that everything walks.

use gradus_tensor_core::{DType, Device, Result};

use crate::tree;
use crate::{Buffer, LoadReport, Mode, Param, StateDict, Visitor, VisitorMut};

/// A tree of named parameters, buffers and sub-modules. Derive it:
///
/// ```
/// use gradus_nn::{Linear, Param, Parameters};
///
/// #[derive(Parameters)]
/// struct Head {
///     scale: Param,          // `scale`
///     layers: Vec<Linear>,   // `layers.0.weight`, `layers.0.bias`, `layers.1.weight`, …
///     skip: Option<Linear>,  // `skip.weight`, … if there is one
///     heads: usize,          // plain: nothing to train or save
/// }
/// ```
///
/// Fields can be anything that implements the trait: parameters, buffers, modules, `Option`, `Vec`, `Box`,
/// arrays and tuples of those, and plain numbers, bools and strings. A field of any other type is a compile
/// error:
///
/// ```compile_fail
/// # use gradus_nn::{Linear, Parameters};
/// #[derive(Parameters)]
/// struct Head {
///     layer: Linear,
///     opened: std::time::Instant, // not Parameters: needs `#[parameters(skip)]`
/// }
/// ```
///
/// `#[parameters(skip)]` leaves a field out, `#[parameters(rename = "0")]` gives it another name, and
/// `#[parameters(flatten)]` puts its contents at this level.
///
/// ```
/// # use gradus_nn::{Linear, Parameters};
/// #[derive(Parameters)]
/// struct Head {
///     #[parameters(rename = "0")]
///     layer: Linear,
///     #[parameters(skip)]
///     opened: std::time::Instant,
/// }
/// ```
///
/// Mistakes in attributes are compile errors too: an unknown option, or two fields of one name.
///
/// ```compile_fail
/// # use gradus_nn::{Linear, Parameters};
/// #[derive(Parameters)]
/// struct Head {
///     #[parameters(frozen)]
///     layer: Linear,
/// }
/// ```
///
/// ```compile_fail
/// # use gradus_nn::{Linear, Parameters};
/// #[derive(Parameters)]
/// struct Head {
///     #[parameters(rename = "out")]
///     layer: Linear,
///     out: Linear,
/// }
/// ```
///
/// Only the first two methods are needed; the others are what a walk can do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a tree of parameters",
    label = "neither a parameter, nor a buffer, a module, a plain value or a container of those",
    note = "trained tensors are `Param`, saved ones are `Buffer`, modules derive `Parameters`",
    note = "a field that holds nothing to train or save is marked `#[parameters(skip)]`"
)]
pub trait Parameters {
    /// Shows every parameter and buffer to the visitor.
    fn visit(&self, visitor: &mut dyn Visitor);

    /// Lets the visitor change every parameter, buffer and mode.
    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut);

    /// Calls `f` with the dotted name of every parameter, until it fails.
    ///
    /// # Errors
    /// What `f` returns.
    fn for_each_param(&self, f: &mut dyn FnMut(&str, &Param) -> Result<()>) -> Result<()> {
        tree::each(f, &mut |_, _| Ok(()), |walk| self.visit(walk))
    }

    /// Calls `f` with the dotted name of every parameter, until it fails.
    ///
    /// # Errors
    /// What `f` returns; the parameters before it are changed.
    fn for_each_param_mut(&mut self, f: &mut dyn FnMut(&str, &mut Param) -> Result<()>) -> Result<()> {
        tree::each_mut(f, &mut |_, _| Ok(()), &mut |_| (), |walk| self.visit_mut(walk))
    }

    /// Calls `f` with the dotted name of every buffer, until it fails.
    ///
    /// # Errors
    /// What `f` returns.
    fn for_each_buffer(&self, f: &mut dyn FnMut(&str, &Buffer) -> Result<()>) -> Result<()> {
        tree::each(&mut |_, _| Ok(()), f, |walk| self.visit(walk))
    }

    /// The dotted names and the plain values of all parameters. The values are snapshots: they share memory
    /// with the parameters until either changes.
    fn named_parameters(&self) -> Vec<(String, gradus_tensor_core::Tensor)> {
        tree::named_parameters(|walk| self.visit(walk))
    }

    /// The number of trained numbers: the elements of all parameters, frozen ones included.
    fn num_parameters(&self) -> usize {
        tree::named_parameters(|walk| self.visit(walk)).iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Switches dropout, batch normalization and the like between training and evaluation.
    fn set_training(&mut self, training: bool) {
        let mut mode = |mode: &mut Mode| mode.set_training(training);
        // Nothing in this walk can fail.
        let _ =
            tree::each_mut(&mut |_, _| Ok(()), &mut |_, _| Ok(()), &mut mode, |walk| self.visit_mut(walk));
    }

    /// Stops training the parameters whose dotted names match a pattern, in which `*` stands for any
    /// characters (dots too) and `?` for one. Returns how many matched.
    ///
    /// # Errors
    /// No parameter matches.
    fn freeze(&mut self, pattern: &str) -> Result<usize> {
        tree::set_requires_grad("freeze", pattern, false, |walk| self.visit_mut(walk))
    }

    /// Trains the parameters again whose dotted names match a pattern, as in [`Parameters::freeze`].
    ///
    /// # Errors
    /// No parameter matches.
    fn unfreeze(&mut self, pattern: &str) -> Result<usize> {
        tree::set_requires_grad("unfreeze", pattern, true, |walk| self.visit_mut(walk))
    }

    /// Moves all parameters and buffers to a device.
    ///
    /// # Errors
    /// Either device fails; then some are moved and some are not.
    fn to_device(&mut self, device: &Device) -> Result<()> {
        tree::convert(&mut |tensor| tensor.to(device), |walk| self.visit_mut(walk))
    }

    /// Converts all floating-point parameters and buffers to a floating-point dtype; integers, such as a count
    /// of batches, stay what they are.
    ///
    /// # Errors
    /// The dtype is not floating-point, or memory runs out; then some are converted and some are not.
    fn to_dtype(&mut self, dtype: DType) -> Result<()> {
        tree::check_float("to_dtype", dtype)?;
        tree::convert(
            &mut |tensor| if tensor.dtype().is_float() { tensor.cast(dtype) } else { Ok(tensor.clone()) },
            |walk| self.visit_mut(walk),
        )
    }

    /// A snapshot of all parameters and buffers under their dotted names.
    fn state_dict(&self) -> StateDict {
        tree::state_dict(|walk| self.visit(walk))
    }

    /// Takes over all parameters and buffers from a state dict with exactly the same names and shapes. Values
    /// are cast to the dtype and moved to the device of what they replace.
    ///
    /// # Errors
    /// Names are missing or left over, or shapes differ: the error lists them all, with the nearest names.
    /// Then nothing was changed.
    fn load_state_dict(&mut self, state: &StateDict) -> Result<()> {
        let report = tree::compare(state, |walk| self.visit(walk))?;
        report.check_strict()?;
        tree::load(state, |walk| self.visit_mut(walk))
    }

    /// Takes over what the state dict and this tree have in common, and reports what they do not.
    ///
    /// # Errors
    /// Something under the same name has another shape. Then nothing was changed.
    fn load_state_dict_partial(&mut self, state: &StateDict) -> Result<LoadReport> {
        let report = tree::compare(state, |walk| self.visit(walk))?;
        report.check_shapes()?;
        tree::load(state, |walk| self.visit_mut(walk))?;
        Ok(report)
    }
}
