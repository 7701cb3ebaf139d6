//! Every sample, over dtypes and layouts.

use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, HostArray, Layout, Op, Result, Tensor};

use super::{Findings, Tolerance, compare, unexpected};
use crate::arrange::Arrangement;
use crate::samples::{Family, Kind, Sample};
use crate::{Options, Reference, gradcheck};

/// How many times each sample runs per dtype: contiguous, then otherwise.
const LAYOUTS: u64 = 4;

pub(super) fn run(device: &Device, family: Family) -> Findings {
    let mut findings = Findings::default();
    for (number, sample) in family.samples().iter().enumerate() {
        for &dtype in &sample.dtypes {
            for variant in 0..LAYOUTS {
                let key = Key { seed: 0xC0F0, stream: number as u64 * 64 + variant };
                let arrangements = arrangements(sample, variant, key);
                let outcome = check(device, sample, dtype, key, &arrangements);
                findings.check(|| describe(sample, dtype, &arrangements), outcome);
            }
        }
    }
    findings
}

/// Variant 0 is contiguous, the last repeats an axis of the free operands, others are random.
fn arrangements(sample: &Sample, variant: u64, key: Key) -> Vec<Arrangement> {
    let arrange = |(i, input): (usize, &crate::samples::Input)| {
        let (rank, key) = (input.dims.len(), key.fold(1000 + i as u64));
        match variant {
            0 => Arrangement::CONTIGUOUS,
            v if v + 1 == LAYOUTS && rank > 0 && matches!(input.kind, Kind::Number { .. }) => {
                let axis = key.below(99, rank as u64) as usize;
                Arrangement { step: [1; 8], ..Arrangement::random(rank, key) }.repeating(axis)
            }
            _ => Arrangement::random(rank, key),
        }
    };
    sample.inputs.iter().enumerate().map(arrange).collect()
}

fn describe(sample: &Sample, dtype: DType, arrangements: &[Arrangement]) -> String {
    let mut text = format!("{} {:?} over {dtype}", sample.op.name(), sample.op);
    for (i, (input, arrangement)) in sample.inputs.iter().zip(arrangements).enumerate() {
        let shape = gradus_tensor_core::Shape::new(&input.dims).ok();
        if let Some((_, layout)) = shape.and_then(|shape| arrangement.layout(&shape).ok()) {
            text += &format!("\n  operand {i}: {}", layout_text(&layout));
        }
    }
    text
}

pub(super) fn layout_text(layout: &Layout) -> String {
    format!("{}, strides {:?}, offset {}", layout.shape(), layout.strides(), layout.offset())
}

fn check(
    device: &Device,
    sample: &Sample,
    dtype: DType,
    key: Key,
    arrangements: &[Arrangement],
) -> Result<(), String> {
    let settle = |i: usize, values: HostArray| match arrangements.get(i) {
        Some(arrangement) => arrangement.settled(values),
        None => values,
    };
    let values =
        sample.values_with(dtype, key, settle).map_err(|e| format!("  the sample itself failed: {e}"))?;
    let place = |(i, values): (usize, &HostArray)| {
        // Operands that other ops computed have another rank than their arrangement was made for.
        let computed = matches!(sample.inputs[i].kind, Kind::Output { .. });
        let arrangement = match arrangements.get(i) {
            Some(arrangement) if !computed => *arrangement,
            _ => Arrangement::CONTIGUOUS,
        };
        arrangement.place(values, device)
    };
    let operands: Vec<Tensor> =
        values.iter().enumerate().map(place).collect::<Result<_>>().map_err(|e| unexpected(&e))?;
    let tolerance = tolerance(sample);
    against_reference(device, &sample.op, &operands, &values, tolerance)
}

fn tolerance(sample: &Sample) -> Tolerance {
    let roundings = match sample.op {
        // Adding one after the other at one place rounds every time.
        Op::ScatterAdd { .. } | Op::IndexAdd { .. } | Op::PoolGrad { .. } => 8.0,
        // A kernel may use the output it is given, which was rounded; the definition computes it again.
        Op::AttentionGrad(_) => 2.0,
        _ => 1.0,
    };
    Tolerance { ulps: sample.ulps, scale: sample.scale, roundings }
}

/// Runs an op on a device and compares all outputs with those of the reference, which computes floats in double
/// precision wherever the op does not name a dtype itself. If the reference refuses, so must the device.
pub(super) fn against_reference(
    device: &Device,
    op: &Op,
    operands: &[Tensor],
    values: &[HostArray],
    tolerance: Tolerance,
) -> Result<(), String> {
    let own_dtype =
        matches!(op, Op::Fill(_) | Op::Arange(_) | Op::Random(_) | Op::Cast(_) | Op::LinearDynamic);
    let reference = Reference::device();
    let wide = |values: &HostArray| -> Result<Tensor> {
        let x = reference.upload(values)?;
        if values.dtype().is_float() && !own_dtype { x.cast(DType::F64) } else { Ok(x) }
    };
    let expected = || -> Result<Vec<HostArray>> {
        let x: Vec<Tensor> = values.iter().map(wide).collect::<Result<_>>()?;
        reference.execute(op, &x.iter().collect::<Vec<_>>())?.iter().map(Tensor::to_host).collect()
    };
    let actual = || -> Result<Vec<HostArray>> {
        device.execute(op, &operands.iter().collect::<Vec<_>>())?.iter().map(Tensor::to_host).collect()
    };
    let (expected, actual) = match (expected(), actual()) {
        (Ok(expected), Ok(actual)) => (expected, actual),
        (Err(_), Err(_)) => return Ok(()),
        (Ok(_), Err(error)) => return Err(unexpected(&error)),
        (Err(error), Ok(_)) => return Err(format!("  succeeded where the reference fails: {error}")),
    };
    for (i, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
        compare(actual, expected, tolerance).map_err(|text| format!("  output {i} {text}"))?;
    }
    Ok(())
}

/// Gradients of every smooth sample. One contiguous run each, along random directions: that layouts do not
/// matter was checked above, and that rules are right is for the autograd crate to prove element by element.
pub(super) fn gradients(device: &Device) -> Findings {
    let mut findings = Findings::default();
    let samples = Family::ALL.into_iter().flat_map(Family::samples);
    for (number, sample) in samples.filter(|s| s.smooth && s.dtypes.contains(&DType::F64)).enumerate() {
        let key = Key { seed: 0x96AD, stream: number as u64 };
        findings.check(
            || format!("the gradient of {} {:?}", sample.op.name(), sample.op),
            gradient(device, &sample, key).map_err(|text| format!("  {text}")),
        );
    }
    findings
}

fn gradient(device: &Device, sample: &Sample, key: Key) -> Result<(), String> {
    let values = sample.values(DType::F64, key).map_err(|e| e.to_string())?;
    let inputs: Vec<Tensor> =
        values.iter().map(|v| device.upload(v)).collect::<Result<_>>().map_err(|e| e.to_string())?;
    let free: Vec<&Tensor> = inputs.iter().collect();
    gradcheck(|x| sample.function(x), &free, Options::fast()).map(drop).map_err(|e| e.to_string())
}
