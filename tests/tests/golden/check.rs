//! Running a case and comparing.

use std::collections::BTreeMap;

use gradus_autograd::{Autograd, GradOptions, grad};
use gradus_tensor_core::{DType, Device, Result, Tensor};

use super::cases::{self, Case, Params};
use super::{FEWER_OUTPUTS, INEXACT, SKIPPED, ops};

/// Runs every case of a family; panics with the list of those that differ.
pub fn family(family: &str, device: &Device) {
    let (cases, tensors) = cases::load(family, device);
    let mut wrong = Vec::new();
    for case in &cases {
        let skipped = SKIPPED.iter().any(|(prefix, _)| case.name.starts_with(prefix));
        match check(case, &tensors) {
            Ok(None) if skipped => {}
            Ok(None) => wrong.push(format!("{}: op {} is not run and not in SKIPPED", case.name, case.op)),
            Ok(Some(())) if skipped => wrong.push(format!("{}: runs although it is in SKIPPED", case.name)),
            Ok(Some(())) => {}
            Err(_) if skipped => {}
            Err(message) => wrong.push(format!("{}: {message}", case.name)),
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Outputs and gradients of one case; `None` if its op is not known here.
fn check(case: &Case, tensors: &BTreeMap<String, Tensor>) -> Result<Option<()>, String> {
    let tensor = |kind: &str, i: usize| tensors.get(&format!("{}.{kind}.{i}", case.name));
    let text = |e: gradus_tensor_core::Error| e.to_string();
    let mut inputs = Vec::new();
    let mut operands = Vec::new();
    for i in 0..case.inputs {
        let x = tensor("input", i).ok_or_else(|| format!("input {i} is not in the file"))?.clone();
        let x = if case.grads[i] { x.requires_grad().map_err(text)? } else { x };
        operands.push(viewed(&x, case.views.get(&i)).map_err(text)?);
        inputs.push(x);
    }
    let Some(outputs) = ops::run(&case.op, &case.params, &operands) else { return Ok(None) };
    let outputs = outputs.map_err(text)?;
    let count = FEWER_OUTPUTS.iter().find(|(op, _)| *op == case.op).map_or(case.outputs, |(_, n)| *n);
    if outputs.len() != count {
        return Err(format!("{} outputs instead of {count}", outputs.len()));
    }
    for (k, output) in outputs.iter().enumerate() {
        let expected = tensor("output", k).ok_or_else(|| format!("output {k} is not in the file"))?;
        same(case, &format!("output {k}"), output, expected)?;
    }

    let wanted: Vec<usize> = (0..case.inputs).filter(|&i| case.grads[i]).collect();
    let leaves: Vec<&Tensor> = wanted.iter().map(|&i| &inputs[i]).collect();
    let seeded: Vec<(&Tensor, Option<Tensor>)> = outputs
        .iter()
        .enumerate()
        .filter_map(|(k, y)| Some((y, Some(tensor("cotangent", k)?.clone()))))
        .collect();
    let first = gradients(&seeded, &leaves, case.second_order).map_err(text)?;
    for (&i, g) in wanted.iter().zip(&first) {
        let expected = tensor("grad", i).ok_or_else(|| format!("gradient {i} is not in the file"))?;
        same(case, &format!("gradient {i}"), g, expected)?;
    }
    if case.second_order {
        let squares = first.iter().map(|g| g.square()?.sum(..)).collect::<Result<Vec<_>>>().map_err(text)?;
        let sums: Vec<(&Tensor, Option<Tensor>)> = squares.iter().map(|s| (s, None)).collect();
        for (&i, g) in wanted.iter().zip(gradients(&sums, &leaves, false).map_err(text)?) {
            let expected =
                tensor("second", i).ok_or_else(|| format!("second order {i} is not in the file"))?;
            same(case, &format!("second order {i}"), &g, expected)?;
        }
    }
    Ok(Some(()))
}

/// The gradients of outputs; zeros with respect to what they do not depend on.
fn gradients(
    outputs: &[(&Tensor, Option<Tensor>)],
    leaves: &[&Tensor],
    create_graph: bool,
) -> Result<Vec<Tensor>> {
    let tracked: Vec<_> = outputs.iter().filter(|(y, _)| y.is_tracked()).cloned().collect();
    let found = if tracked.is_empty() {
        vec![None; leaves.len()]
    } else {
        grad(&tracked, leaves, GradOptions { create_graph, ..GradOptions::default() })?
    };
    found.into_iter().zip(leaves).map(|(g, x)| g.map_or_else(|| x.zeros_like(), Ok)).collect()
}

/// The tensor through the views that its case names.
fn viewed(x: &Tensor, views: Option<&Vec<Params>>) -> Result<Tensor> {
    views.into_iter().flatten().try_fold(x.clone(), |x, view| match view.text("view") {
        "permute" => x.permute(view.ints("dims")),
        "narrow" => x.narrow(view.int("dim"), view.size("start"), view.size("length")),
        "step" => x.slice(view.int("dim"), 0, x.dim(view.int("dim"))?, view.size("step")),
        "flip" => x.flip(&view.ints("dims")),
        "expand" => x.expand(view.sizes("shape")),
        other => panic!("a view called {other}"),
    })
}

/// How much a result may differ: relative to the expected value, and absolute. A few roundings of the dtype,
/// and for doubles what is left of the different order in which sums are taken.
fn tolerance(dtype: DType) -> (f64, f64) {
    match dtype {
        DType::F64 => (1e-9, 1e-10),
        DType::F32 => (1e-5, 1e-6),
        DType::F16 => (2e-3, 1e-4),
        DType::BF16 => (1.6e-2, 1e-3),
        DType::I64 | DType::I32 | DType::I8 | DType::U8 | DType::Bool => (0.0, 0.0),
        other => panic!("no golden numbers of {other}"),
    }
}

/// Compares shape, dtype and values; NaN equals NaN.
pub fn same(case: &Case, what: &str, found: &Tensor, expected: &Tensor) -> Result<(), String> {
    if found.meta() != expected.meta() {
        return Err(format!("{what} is {}, expected {}", found.meta(), expected.meta()));
    }
    let values = |t: &Tensor| t.to_vec::<f64>().map_err(|e| e.to_string());
    let (mut relative, absolute) = tolerance(expected.dtype());
    if let Some((_, inexact, _)) = INEXACT.iter().find(|(prefix, ..)| case.name.starts_with(prefix)) {
        relative = *inexact;
    }
    for (i, (a, b)) in values(found)?.into_iter().zip(values(expected)?).enumerate() {
        let equal = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= absolute + relative * b.abs();
        // A finite value is never within tolerance of an infinite one.
        if !equal || a.is_finite() != b.is_finite() {
            return Err(format!("{what}[{i}] is {a}, expected {b}"));
        }
    }
    Ok(())
}
