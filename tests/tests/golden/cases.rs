//! Cases as they are in the files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gradus_tensor_core::{Device, Tensor, io};
use serde::Deserialize;
use serde_json::Value;

/// One case: what to run on which operands. Its tensors are beside it, under its name.
#[derive(Debug, Deserialize)]
pub struct Case {
    #[serde(rename = "case")]
    pub name: String,
    pub op: String,
    pub params: Params,
    pub inputs: usize,
    pub outputs: usize,
    pub grads: Vec<bool>,
    pub second_order: bool,
    #[serde(default)]
    pub views: BTreeMap<usize, Vec<Params>>,
    #[serde(default)]
    pub steps: usize,
}

/// An op's parameters.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub struct Params(BTreeMap<String, Value>);

impl Params {
    fn get(&self, key: &str) -> &Value {
        self.0.get(key).unwrap_or_else(|| panic!("no parameter {key} among {:?}", self.0))
    }

    pub fn is_null(&self, key: &str) -> bool {
        self.get(key).is_null()
    }

    pub fn flag(&self, key: &str) -> bool {
        self.get(key).as_bool().expect("a bool")
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).as_str().expect("a string")
    }

    pub fn int(&self, key: &str) -> i64 {
        self.get(key).as_i64().expect("an integer")
    }

    pub fn size(&self, key: &str) -> usize {
        self.get(key).as_u64().expect("a size") as usize
    }

    /// A number; `None` for null and for words such as "inf".
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key).as_f64()
    }

    pub fn ints(&self, key: &str) -> Vec<i64> {
        self.get(key).as_array().expect("an array").iter().map(|v| v.as_i64().expect("an integer")).collect()
    }

    pub fn numbers(&self, key: &str) -> Vec<f64> {
        self.get(key).as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    pub fn sizes(&self, key: &str) -> Vec<usize> {
        self.ints(key).into_iter().map(|n| usize::try_from(n).expect("a size")).collect()
    }
}

#[derive(Deserialize)]
struct Family {
    cases: Vec<Case>,
}

/// Where a file of the golden numbers lies.
pub fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/data").join(file)
}

/// A family's cases, and all their tensors on a device.
pub fn load(family: &str, device: &Device) -> (Vec<Case>, BTreeMap<String, Tensor>) {
    let text = std::fs::read_to_string(path(&format!("{family}.json"))).expect("the cases are there");
    let cases = serde_json::from_str::<Family>(&text).expect("the cases are readable").cases;
    let tensors = io::safetensors::load(path(&format!("{family}.safetensors")), device).expect("tensors");
    (cases, tensors)
}
