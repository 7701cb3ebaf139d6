//! `#[derive(Parameters)]` for `gradus-nn`.
//!
//! Every field is visited under its own name, so that a model's dotted names are PyTorch's. Which types can be
//! fields is decided by the trait, not by this macro: `gradus_nn::Parameters` is implemented for parameters,
//! buffers, modules, containers of them and plain numbers, and a field of any other type is a compile error
//! that points at the field.
//!
//! Attributes, on a field:
//! * `#[parameters(skip)]`: the field holds nothing that is trained or saved.
//! * `#[parameters(rename = "0")]`: another name in the state dict.
//! * `#[parameters(flatten)]`: the field's contents under the names of this level.
//!
//! On the type: `#[parameters(crate = "path::to::gradus_nn")]`, for crates that reach `gradus-nn` by another
//! name.
#![forbid(unsafe_code)]

mod attributes;
mod expand;

use proc_macro::TokenStream;

/// Implements `gradus_nn::Parameters`: see the crate's documentation.
#[proc_macro_derive(Parameters, attributes(parameters))]
pub fn derive_parameters(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    expand::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
