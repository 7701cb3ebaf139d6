//! Ops that change their targets.

use gradus_tensor_core::op::{Adam, Sgd};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{BinaryOp, DType, Device, HostArray, InPlaceOp, Layout, Result, Tensor, UnaryOp};

use super::{Findings, Tolerance, compare, unexpected};
use crate::Reference;
use crate::arrange::Arrangement;
use crate::samples::{Input, Kind, NUMBERS};

fn ops() -> Vec<(InPlaceOp, &'static [DType])> {
    let sgd =
        Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, first: false };
    let adam = Adam {
        lr: 0.01,
        betas: (0.9, 0.99),
        eps: 1e-6,
        weight_decay: 0.0,
        decoupled: false,
        amsgrad: false,
        step: 3,
    };
    let floats: &[DType] = &[DType::F32, DType::F64];
    let mut all: Vec<(InPlaceOp, &[DType])> = vec![
        (InPlaceOp::Write, &DType::ALL),
        (InPlaceOp::Accumulate, &NUMBERS),
        (InPlaceOp::Sgd(sgd), floats),
        (InPlaceOp::Sgd(Sgd { weight_decay: 0.01, ..sgd }), floats),
        (InPlaceOp::Sgd(Sgd { momentum: 0.9, first: true, ..sgd }), floats),
        (InPlaceOp::Sgd(Sgd { momentum: 0.9, dampening: 0.1, ..sgd }), floats),
        (InPlaceOp::Sgd(Sgd { momentum: 0.9, nesterov: true, weight_decay: 0.01, ..sgd }), floats),
        (InPlaceOp::Adam(adam), floats),
        (InPlaceOp::Adam(Adam { weight_decay: 0.1, step: 1, ..adam }), floats),
        (InPlaceOp::Adam(Adam { weight_decay: 0.1, decoupled: true, ..adam }), floats),
        (InPlaceOp::Adam(Adam { amsgrad: true, ..adam }), floats),
    ];
    for op in [UnaryOp::Relu, UnaryOp::Exp, UnaryOp::Affine { mul: 2.0, add: -1.0 }, UnaryOp::Tanh] {
        all.push((InPlaceOp::Unary(op), &DType::FLOATS));
    }
    for op in [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Maximum] {
        all.push((InPlaceOp::Binary(op), &NUMBERS));
    }
    all
}

pub(super) fn run(device: &Device) -> Findings {
    let mut findings = Findings::default();
    for (number, (op, dtypes)) in ops().into_iter().enumerate() {
        for &dtype in dtypes {
            for variant in 0..4 {
                let key = Key { seed: 0x1417, stream: number as u64 * 8 + variant };
                let outcome = match check(device, op, dtype, variant, key) {
                    Ok(outcome) => outcome,
                    Err(error) => Err(unexpected(&error)),
                };
                findings.check(
                    || format!("{} {op:?} in place over {dtype}, layouts {variant}", op.name()),
                    outcome,
                );
            }
        }
    }
    for dtype in NUMBERS {
        findings.check(
            || format!("accumulating {dtype} where a layout names elements more than once"),
            overlapping(device, dtype).unwrap_or_else(|error| Err(unexpected(&error))),
        );
    }
    findings
}

fn values(dims: &[usize], dtype: DType, positive: bool, key: Key) -> Result<HostArray> {
    let low = if positive { 0.1 } else { -2.0 };
    let kind = if dtype == DType::Bool { Kind::Truth } else { Kind::Number { low, high: 2.0 } };
    match Input::new(dims, kind).value(dtype, key)? {
        Some(values) => Ok(values),
        None => unreachable!("numbers are not computed from other operands"),
    }
}

/// Runs the op on targets that are views of larger buffers, and the op's definition on the reference.
fn check(device: &Device, op: InPlaceOp, dtype: DType, variant: u64, key: Key) -> Result<Result<(), String>> {
    let dims = [3, 4, 5];
    let (targets, sources) = op.arity();
    let arrange = |i: usize| match variant {
        0 => Arrangement::CONTIGUOUS,
        // Parameter, state and gradient often have one layout, and then it need not be dense.
        1 => Arrangement::random(3, key),
        _ => Arrangement::random(3, key.fold(50 + i as u64)),
    };
    let reference = Reference::device();
    let (mut placed, mut old, mut inputs, mut wide_inputs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let wide = |v: &HostArray| -> Result<Tensor> {
        let x = reference.upload(v)?;
        if dtype.is_float() { x.cast(DType::F64) } else { Ok(x) }
    };
    for i in 0..targets + sources {
        // Second moments are sums of squares.
        let positive = matches!(op, InPlaceOp::Adam(_)) && (i == 2 || i == 3) && i < targets;
        let v = values(&dims, dtype, positive, key.fold(i as u64))?;
        let wide = wide(&v)?;
        if i < targets {
            placed.push(arrange(i).place(&v, device)?);
            old.push(wide);
        } else {
            inputs.push(arrange(i).place(&v, device)?);
            wide_inputs.push(wide);
        }
    }
    let new: Vec<Tensor> = match op {
        InPlaceOp::Write => vec![wide_inputs[0].clone()],
        InPlaceOp::Accumulate => vec![old[0].add(&wide_inputs[0])?],
        op => op.decompose(&old, &wide_inputs)?,
    };
    let beside: Vec<Vec<f64>> = placed.iter().map(gaps).collect::<Result<_>>()?;
    op.run(&mut placed.iter_mut().collect::<Vec<_>>(), &inputs.iter().collect::<Vec<_>>())?;
    let tolerance = Tolerance { ulps: 16.0, scale: 1.0, roundings: 2.0 };
    for (i, (target, new)) in placed.iter().zip(&new).enumerate() {
        let new = new.cast(if dtype.is_float() { DType::F64 } else { dtype })?;
        if let Err(text) = compare(&target.to_host()?, &new.to_host()?, tolerance) {
            return Ok(Err(format!("  target {i} {text}")));
        }
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        if bits(&gaps(target)?) != bits(&beside[i]) {
            return Ok(Err(format!("  elements beside the view of target {i} changed")));
        }
    }
    Ok(Ok(()))
}

/// The elements of the buffer that the tensor does not show.
fn gaps(x: &Tensor) -> Result<Vec<f64>> {
    let mut shown = vec![false; x.buffer_len()];
    x.layout().positions().for_each(|p| shown[p] = true);
    let all = x.flat().to_vec::<f64>()?;
    Ok(all.into_iter().zip(shown).filter(|(_, shown)| !shown).map(|(x, _)| x).collect())
}

/// Windows of 3 with step 1 over a line of 8: an inner element is in three of them.
fn overlapping(device: &Device, dtype: DType) -> Result<Result<(), String>> {
    let window = |layout: &Layout| layout.unfold(1, 3, 1, 1);
    let make = |device: &Device| -> Result<HostArray> {
        let line = Input::new(&[2, 8], Kind::Ties).value(dtype, Key { seed: 1, stream: 1 })?;
        let source = Input::new(&[2, 6, 3], Kind::Ties).value(dtype, Key { seed: 1, stream: 2 })?;
        let (Some(line), Some(source)) = (line, source) else { unreachable!("ties are not computed") };
        let mut line = device.upload(&line)?;
        line.view_accumulate(&device.upload(&source)?, window)?;
        line.view_accumulate(
            &device.upload(&source)?.narrow(2, 0, 1)?.squeeze(2)?.expand([5, 2, 6])?,
            |layout| {
                layout.narrow(1, 1, 6)?.unsqueeze(0)?.expand(gradus_tensor_core::Shape::new(&[5, 2, 6])?)
            },
        )?;
        line.to_host()
    };
    let tolerance = Tolerance { ulps: 8.0, scale: 8.0, roundings: 8.0 };
    Ok(compare(&make(device)?, &make(&Reference::device())?, tolerance)
        .map_err(|text| format!("  the line {text}")))
}
