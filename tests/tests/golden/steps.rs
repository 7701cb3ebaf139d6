//! The steps of the optimizers, as in-place ops.

use std::collections::BTreeMap;

use gradus_tensor_core::op::{Adam, InPlaceOp, Sgd};
use gradus_tensor_core::{Device, Result, Tensor};

use super::cases::{self, Case};
use super::check::same;

/// Five steps of SGD, Adam and AdamW with each option, on every parameter of a case. (Schedules and clipping
/// belong to the crate optim.)
pub fn optimizer_steps(device: &Device) {
    let (cases, tensors) = cases::load("optim", device);
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases.iter().filter(|c| ["sgd", "adam", "adamw"].contains(&c.op.as_str())) {
        count += 1;
        for parameter in 0..case.inputs {
            if let Err(message) = steps(case, &tensors, parameter) {
                wrong.push(format!("{}: {message}", case.name));
            }
        }
    }
    assert!(count > 0 && wrong.is_empty(), "of {count} cases differ:\n{}", wrong.join("\n"));
}

fn steps(case: &Case, tensors: &BTreeMap<String, Tensor>, parameter: usize) -> Result<(), String> {
    let tensor = |name: &str| {
        let name = format!("{}.{name}.{parameter}", case.name);
        tensors.get(&name).ok_or(format!("{name} is not in the file"))
    };
    let text = |e: gradus_tensor_core::Error| e.to_string();
    let start = tensor("input")?;
    let zeros = start.zeros_like().map_err(text)?;
    // The parameter and as much state as the op wants.
    let (mut p, mut state) = (start.clone(), [zeros.clone(), zeros.clone(), zeros]);
    for step in 0..case.steps {
        let op = op(case, step as u64);
        let mut targets: Vec<&mut Tensor> = std::iter::once(&mut p).chain(&mut state).collect();
        targets.truncate(op.arity().0);
        op.run(&mut targets, &[tensor(&format!("step_grad.{step}"))?]).map_err(text)?;
        same(case, &format!("step {step} of parameter {parameter}"), &p, tensor(&format!("step.{step}"))?)?;
    }
    Ok(())
}

fn op(case: &Case, step: u64) -> InPlaceOp {
    let p = &case.params;
    let number = |key| p.number(key).expect("a number");
    let (lr, weight_decay) = (number("lr"), number("weight_decay"));
    if case.op == "sgd" {
        return InPlaceOp::Sgd(Sgd {
            lr,
            weight_decay,
            momentum: number("momentum"),
            dampening: number("dampening"),
            nesterov: p.flag("nesterov"),
            first: step == 0,
        });
    }
    let betas = p.numbers("betas");
    InPlaceOp::Adam(Adam {
        lr,
        weight_decay,
        betas: (betas[0], betas[1]),
        eps: number("eps"),
        decoupled: case.op == "adamw",
        amsgrad: p.flag("amsgrad"),
        step: step + 1,
    })
}
