//! The dtypes of results.

use std::collections::BTreeMap;

use gradus_tensor_core::{DType, Device, Result, Scalar, Tensor};
use serde::Deserialize;

use super::cases::path;

type Table = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Deserialize)]
struct Promotion {
    tensors: Table,
    scalars: Table,
}

pub fn dtype(name: &str) -> DType {
    // What PyTorch puts `u8` and `i8` in; the next wider dtype there is here.
    let name = if name == "i16" { "i32" } else { name };
    DType::ALL.into_iter().find(|d| d.name() == name).unwrap_or_else(|| panic!("a dtype called {name}"))
}

/// Multiplies a tensor of each dtype with one of each other, and with each kind of plain number.
pub fn promotion(device: &Device) {
    let text = std::fs::read_to_string(path("promotion.json")).expect("the table is there");
    let table: Promotion = serde_json::from_str(&text).expect("the table is readable");
    let one = |name: &str| Tensor::ones([2], dtype(name), device);
    let tensors = |a: &str, b: &str| -> Result<DType> { Ok(one(a)?.mul(&one(b)?)?.dtype()) };
    let scalars = |a: &str, b: &str| -> Result<DType> {
        let scalar = match b {
            "bool" => Scalar::Bool(true),
            "int" => Scalar::Int(1),
            "float" => Scalar::Float(1.0),
            other => panic!("a kind of number called {other}"),
        };
        Ok(one(a)?.mul(scalar)?.dtype())
    };
    let mut wrong = Vec::new();
    let mut compare = |table: &Table, found: &dyn Fn(&str, &str) -> Result<DType>| {
        for (a, row) in table {
            for (b, expected) in row {
                match found(a, b) {
                    Ok(found) if found == dtype(expected) => {}
                    Ok(found) => wrong.push(format!("{a} with {b} is {found}, expected {expected}")),
                    Err(error) => wrong.push(format!("{a} with {b}: {error}")),
                }
            }
        }
    };
    compare(&table.tensors, &tensors);
    compare(&table.scalars, &scalars);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
