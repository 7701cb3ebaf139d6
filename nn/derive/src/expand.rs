//! The generated implementation.

use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, Path, Result, Type, parse_quote};

use crate::attributes::{FieldOptions, crate_path};

pub fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let root = match crate_path(&input.attrs)? {
        Some(path) => path,
        None => default_path(),
    };
    let variants = match &input.data {
        Data::Struct(data) => vec![Variant::read(quote!(Self), &data.fields, false)?],
        Data::Enum(data) => data
            .variants
            .iter()
            .map(|v| {
                let name = &v.ident;
                Variant::read(quote!(Self::#name), &v.fields, true)
            })
            .collect::<Result<_>>()?,
        Data::Union(_) => {
            return Err(Error::new_spanned(
                &input.ident,
                "Parameters can be derived for structs and enums, not for unions",
            ));
        }
    };

    let mut generics = input.generics.clone();
    let parameters: HashSet<String> =
        input.generics.type_params().map(|parameter| parameter.ident.to_string()).collect();
    let bounded: Vec<&Type> = variants
        .iter()
        .flat_map(|v| &v.fields)
        .filter(|f| !f.options.skip && mentions(f.ty.to_token_stream(), &parameters))
        .map(|f| &f.ty)
        .collect();
    if !bounded.is_empty() {
        let clause = generics.make_where_clause();
        for ty in bounded {
            clause.predicates.push(parse_quote!(#ty: #root::Parameters));
        }
    }

    let name = &input.ident;
    let (implemented, used, clause) = generics.split_for_impl();
    let shared = variants.iter().map(|v| v.arm(&root, &format_ident!("visit")));
    let exclusive = variants.iter().map(|v| v.arm(&root, &format_ident!("visit_mut")));
    // An enum without variants has no arms; matching on the dereferenced value makes that exhaustive.
    let (by_ref, by_mut) =
        if variants.is_empty() { (quote!(*self), quote!(*self)) } else { (quote!(self), quote!(self)) };
    Ok(quote! {
        #[automatically_derived]
        impl #implemented #root::Parameters for #name #used #clause {
            fn visit(&self, visitor: &mut dyn #root::Visitor) {
                let _ = &visitor;
                match #by_ref { #(#shared)* }
            }
            fn visit_mut(&mut self, visitor: &mut dyn #root::VisitorMut) {
                let _ = &visitor;
                match #by_mut { #(#exclusive)* }
            }
        }
    })
}

/// A struct, or one variant of an enum.
struct Variant {
    path: TokenStream,
    fields: Vec<Field>,
}

struct Field {
    /// How the pattern names it: an identifier or a number.
    member: TokenStream,
    binding: Ident,
    ty: Type,
    name: String,
    options: FieldOptions,
}

impl Variant {
    fn read(path: TokenStream, fields: &Fields, in_enum: bool) -> Result<Self> {
        // `enum Norm { Batch(BatchNorm2d), Layer(LayerNorm) }` is one module or another: no level of its own.
        let transparent = in_enum && matches!(fields, Fields::Unnamed(f) if f.unnamed.len() == 1);
        let fields = fields
            .iter()
            .enumerate()
            .map(|(i, field)| {
                let mut options = FieldOptions::read(&field.attrs)?;
                options.flatten |= transparent && !options.skip && options.rename.is_none();
                let (member, name) = match &field.ident {
                    Some(ident) => {
                        let name = ident.to_string();
                        (ident.to_token_stream(), name.strip_prefix("r#").unwrap_or(&name).to_owned())
                    }
                    None => (syn::Index::from(i).to_token_stream(), i.to_string()),
                };
                let name = options.rename.clone().unwrap_or(name);
                Ok(Field { member, binding: format_ident!("field_{i}"), ty: field.ty.clone(), name, options })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut seen = HashSet::new();
        for field in fields.iter().filter(|f| !f.options.skip && !f.options.flatten) {
            if !seen.insert(&field.name) {
                return Err(Error::new_spanned(
                    &field.ty,
                    format!("two fields are named `{}` in the state dict", field.name),
                ));
            }
        }
        Ok(Variant { path, fields })
    }

    /// The match arm that visits every field.
    fn arm(&self, root: &Path, method: &Ident) -> TokenStream {
        let path = &self.path;
        let visited: Vec<&Field> = self.fields.iter().filter(|f| !f.options.skip).collect();
        let patterns = visited.iter().map(|f| {
            let (member, binding) = (&f.member, &f.binding);
            quote!(#member: #binding)
        });
        let visits = visited.iter().map(|f| {
            let (binding, name) = (&f.binding, &f.name);
            // Spanned at the type, so that a type without `Parameters` is reported there.
            let visit = quote_spanned!(f.ty.span()=> #root::Parameters::#method(#binding, visitor););
            if f.options.flatten {
                visit
            } else {
                quote! {
                    visitor.enter(#name);
                    #visit
                    visitor.leave();
                }
            }
        });
        quote!(#path { #(#patterns,)* .. } => { #(#visits)* })
    }
}

/// Whether the tokens of a type name one of these type parameters.
fn mentions(tokens: TokenStream, parameters: &HashSet<String>) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => parameters.contains(&ident.to_string()),
        TokenTree::Group(group) => mentions(group.stream(), parameters),
        _ => false,
    })
}

/// `gradus_nn` for crates that depend on it themselves, the facade's re-export otherwise.
fn default_path() -> Path {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .and_then(|dir| std::fs::read_to_string(std::path::Path::new(&dir).join("Cargo.toml")).ok());
    match manifest {
        Some(text) if !text.contains("gradus-nn") && text.contains("gradus") => parse_quote!(::gradus::nn),
        _ => parse_quote!(::gradus_nn),
    }
}
