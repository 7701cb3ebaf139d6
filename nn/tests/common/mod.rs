//! Cases that PyTorch answered: see `tests/golden/README.md` at the root of the workspace.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::collections::BTreeMap;
use std::path::Path;

use gradus_autograd::{Autograd, GradOptions, grad};
use gradus_nn::StateDict;
use gradus_tensor_core::io::safetensors;
use gradus_tensor_core::{Device, Result, Tensor};
use gradus_testkit::Reference;
use serde_json::Value;

/// The definition of every op, and the backend that people use.
pub fn devices() -> [Device; 2] {
    [Reference::device(), gradus_backend_cpu::Cpu::device()]
}

/// All cases of a family.
pub struct Golden {
    pub cases: Vec<Value>,
    tensors: BTreeMap<String, Tensor>,
}

impl Golden {
    pub fn open(family: &str, device: &Device) -> Golden {
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data");
        let text = std::fs::read_to_string(data.join(format!("{family}.json"))).unwrap();
        let index: Value = serde_json::from_str(&text).unwrap();
        let tensors = safetensors::load(data.join(format!("{family}.safetensors")), device).unwrap();
        Golden { cases: index["cases"].as_array().unwrap().clone(), tensors }
    }

    /// Cases of one op.
    pub fn of(&self, op: &str) -> Vec<Case<'_>> {
        let cases: Vec<_> = self
            .cases
            .iter()
            .filter(|case| case["op"] == op)
            .map(|info| Case { golden: self, info, name: info["case"].as_str().unwrap() })
            .collect();
        assert!(!cases.is_empty(), "no case of {op}");
        cases
    }
}

/// One case.
pub struct Case<'a> {
    golden: &'a Golden,
    pub info: &'a Value,
    pub name: &'a str,
}

impl Case<'_> {
    pub fn params(&self) -> &Value {
        &self.info["params"]
    }

    pub fn number(&self, name: &str) -> f64 {
        self.params()[name].as_f64().unwrap_or_else(|| panic!("{}: no number {name}", self.name))
    }

    pub fn tensor(&self, suffix: &str) -> Tensor {
        let name = format!("{}.{suffix}", self.name);
        self.golden.tensors.get(&name).unwrap_or_else(|| panic!("no tensor {name}")).clone()
    }

    /// The tensors whose name goes on with `kind` and a dot.
    pub fn state(&self, kind: &str) -> StateDict {
        let prefix = format!("{}.{kind}.", self.name);
        let of = |name: &String| name.strip_prefix(&prefix).map(str::to_owned);
        self.golden.tensors.iter().filter_map(|(name, t)| Some((of(name)?, t.clone()))).collect()
    }

    /// The inputs; those whose gradient is recorded require one.
    pub fn inputs(&self) -> Vec<Tensor> {
        let n = self.info["inputs"].as_u64().unwrap() as usize;
        let wanted = |i: usize| self.info["grads"][i].as_bool().unwrap();
        (0..n)
            .map(|i| {
                let input = self.tensor(&format!("input.{i}"));
                if wanted(i) { input.requires_grad().unwrap() } else { input }
            })
            .collect()
    }

    /// Compares outputs, gradients and second-order sums of `f` with PyTorch's.
    pub fn check(&self, f: impl FnOnce(&[Tensor]) -> Result<Vec<Tensor>>) {
        let inputs = self.inputs();
        let outputs = f(&inputs).unwrap_or_else(|e| panic!("{}: {e}", self.name));
        self.check_outputs(&outputs);
        let wanted: Vec<(usize, &Tensor)> =
            inputs.iter().enumerate().filter(|(_, x)| x.is_tracked()).collect();
        if wanted.is_empty() {
            return;
        }
        let sources: Vec<&Tensor> = wanted.iter().map(|(_, x)| *x).collect();
        let second = self.info["second_order"] == true;
        let options = GradOptions { create_graph: second, ..GradOptions::default() };
        let grads = grad(&[(&self.loss(&outputs), None)], &sources, options)
            .unwrap_or_else(|e| panic!("{}: {e}", self.name));
        for ((i, x), g) in wanted.iter().zip(&grads) {
            let g = g.clone().unwrap_or_else(|| x.zeros_like().unwrap());
            close(&format!("{}.grad.{i}", self.name), &g, &self.tensor(&format!("grad.{i}")), 1e-10);
        }
        if second {
            let squares = grads.iter().flatten().map(|g| g.square().unwrap().sum_all().unwrap());
            let sum = squares.reduce(|a, b| a.add(&b).unwrap()).unwrap();
            // The gradient of a linear function is a constant.
            let all = if sum.is_tracked() {
                grad(&[(&sum, None)], &sources, GradOptions::default()).unwrap()
            } else {
                vec![None; sources.len()]
            };
            for ((i, x), g) in wanted.iter().zip(&all) {
                let g = g.clone().unwrap_or_else(|| x.zeros_like().unwrap());
                close(&format!("{}.second.{i}", self.name), &g, &self.tensor(&format!("second.{i}")), 1e-9);
            }
        }
    }

    pub fn check_outputs(&self, outputs: &[Tensor]) {
        assert_eq!(outputs.len() as u64, self.info["outputs"].as_u64().unwrap(), "{}", self.name);
        for (k, output) in outputs.iter().enumerate() {
            close(&format!("{}.output.{k}", self.name), output, &self.tensor(&format!("output.{k}")), 1e-10);
        }
    }

    /// The sum of outputs times cotangents.
    pub fn loss(&self, outputs: &[Tensor]) -> Tensor {
        let term = |(k, y): (usize, &Tensor)| {
            let cotangent = self.golden.tensors.get(&format!("{}.cotangent.{k}", self.name))?;
            Some(y.mul(cotangent).unwrap().sum_all().unwrap())
        };
        outputs.iter().enumerate().filter_map(term).reduce(|a, b| a.add(&b).unwrap()).unwrap()
    }
}

/// Panics unless both have one shape and their elements are equal up to `tolerance`, absolute below 1 and
/// relative above.
pub fn close(name: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    assert_eq!(ours.dims(), theirs.dims(), "{name}: shape");
    assert_eq!(ours.dtype(), theirs.dtype(), "{name}: dtype");
    let (a, b) = (ours.to_vec::<f64>().unwrap(), theirs.to_vec::<f64>().unwrap());
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let near = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
        assert!(near, "{name}: element {i} is {a}, PyTorch has {b}");
    }
}
