//! Reading `#[parameters(..)]`.

use syn::{Attribute, Error, LitStr, Path, Result};

/// What a field asks for.
#[derive(Default)]
pub struct FieldOptions {
    pub skip: bool,
    pub flatten: bool,
    pub rename: Option<String>,
}

impl FieldOptions {
    pub fn read(attributes: &[Attribute]) -> Result<Self> {
        let mut options = FieldOptions::default();
        for attribute in attributes.iter().filter(|a| a.path().is_ident("parameters")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("skip") {
                    options.skip = true;
                } else if meta.path.is_ident("flatten") {
                    options.flatten = true;
                } else if meta.path.is_ident("rename") {
                    options.rename = Some(name(&meta.value()?.parse()?)?);
                } else {
                    return Err(
                        meta.error("unknown option; a field takes `skip`, `flatten` or `rename = \"name\"`")
                    );
                }
                Ok(())
            })?;
            let asked = [options.skip, options.flatten, options.rename.is_some()];
            if asked.iter().filter(|&&asked| asked).count() > 1 {
                return Err(Error::new_spanned(
                    attribute,
                    "`skip`, `flatten` and `rename` exclude each other: give one of them",
                ));
            }
        }
        Ok(options)
    }
}

fn name(literal: &LitStr) -> Result<String> {
    let name = literal.value();
    if name.is_empty() || name.contains('.') {
        return Err(Error::new_spanned(
            literal,
            "a name in a state dict is not empty and has no dot: dots separate levels",
        ));
    }
    Ok(name)
}

/// The path given by `#[parameters(crate = "..")]` on the type.
pub fn crate_path(attributes: &[Attribute]) -> Result<Option<Path>> {
    let mut found = None;
    for attribute in attributes.iter().filter(|a| a.path().is_ident("parameters")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("unknown option; a type takes `crate = \"path\"`"));
            }
            found = Some(meta.value()?.parse::<LitStr>()?.parse()?);
            Ok(())
        })?;
    }
    Ok(found)
}
