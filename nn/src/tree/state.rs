//! Walks between a tree and a state dict.

use std::cell::RefCell;
use std::collections::BTreeSet;

use gradus_tensor_core::{Error, Result, Tensor};

use super::{each, each_mut};
use crate::{LoadReport, StateDict, Visitor, VisitorMut};

pub(crate) fn state_dict(walk: impl FnOnce(&mut dyn Visitor)) -> StateDict {
    let state = RefCell::new(StateDict::new());
    // Collecting cannot fail.
    let _ = each(
        &mut |name, param| {
            state.borrow_mut().insert(name, param.tensor().clone());
            Ok(())
        },
        &mut |name, buffer| {
            state.borrow_mut().insert(name, buffer.value());
            Ok(())
        },
        walk,
    );
    state.into_inner()
}

/// How a state dict fits a tree.
///
/// # Errors
/// Two parameters or buffers of the tree have one name.
pub(crate) fn compare(state: &StateDict, walk: impl FnOnce(&mut dyn Visitor)) -> Result<LoadReport> {
    let own = RefCell::new(StateDict::new());
    let insert = |name: &str, tensor: Tensor| match own.borrow_mut().insert(name, tensor) {
        None => Ok(()),
        Some(_) => Err(Error::argument(
            "load_state_dict",
            format!("two tensors of the model are named {name}; rename a field or a layer"),
        )),
    };
    each(
        &mut |name, param| insert(name, param.tensor().clone()),
        &mut |name, buffer| insert(name, buffer.value()),
        walk,
    )?;
    let own = own.into_inner();
    let mut report = LoadReport::default();
    let names: BTreeSet<&str> = own.names().collect();
    for (name, tensor) in own.iter() {
        match state.get(name) {
            None => report.missing.push((name.to_owned(), *tensor.shape())),
            Some(given) if given.shape() != tensor.shape() => {
                report.mismatched.push((name.to_owned(), *tensor.shape(), *given.shape()));
            }
            Some(_) => report.loaded.push(name.to_owned()),
        }
    }
    for (name, tensor) in state.iter() {
        if !names.contains(name) {
            report.unexpected.push((name.to_owned(), *tensor.shape()));
        }
    }
    Ok(report)
}

/// Takes over what is there under each name; shapes have been compared.
pub(crate) fn load(state: &StateDict, walk: impl FnOnce(&mut dyn VisitorMut)) -> Result<()> {
    each_mut(
        &mut |name, param| match state.get(name) {
            Some(given) => param.set(like(given, param.tensor())?),
            None => Ok(()),
        },
        &mut |name, buffer| match state.get(name) {
            Some(given) => buffer.set(like(given, &buffer.value())?),
            None => Ok(()),
        },
        &mut |_| (),
        walk,
    )
}

fn like(given: &Tensor, own: &Tensor) -> Result<Tensor> {
    given.to(own.device())?.cast(own.dtype())
}

/// At most a few names, for a message.
pub(super) fn listed(names: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut text = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        text.push_str("none");
    }
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}
