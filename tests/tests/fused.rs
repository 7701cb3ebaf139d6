//! A fused op equals its decomposition, in value and in gradient, on the CPU.

use gradus_autograd::vjp;
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, Op, Result, Tensor};
use gradus_testkit::conformance::{Tolerance, compare};
use gradus_testkit::samples::{Family, Kind, Sample};

fn composites() -> impl Iterator<Item = (usize, Sample)> {
    Family::ALL.into_iter().flat_map(Family::samples).enumerate().filter(|(_, s)| !s.op.is_primitive())
}

fn inputs(sample: &Sample, number: usize, dtype: DType, device: &Device) -> Result<Vec<Tensor>> {
    let values = sample.values(dtype, Key { seed: 0xF, stream: number as u64 })?;
    values.iter().map(|v| device.upload(v)).collect()
}

#[test]
fn values_agree_in_single_and_double_precision() -> Result<()> {
    let device = Cpu::device();
    let (mut checked, mut failures) = (0, Vec::new());
    for (number, sample) in composites() {
        for dtype in [DType::F32, DType::F64] {
            let x = inputs(&sample, number, dtype, &device)?;
            let fused = sample.op.run(&x.iter().collect::<Vec<_>>())?;
            let parts = sample.op.decompose(&x).expect("a composite decomposes")?;
            assert_eq!(fused.len(), parts.len());
            let tolerance = Tolerance { ulps: 4.0 * sample.ulps, scale: sample.scale, roundings: 1.0 };
            for (fused, parts) in fused.iter().zip(&parts) {
                checked += 1;
                if let Err(text) = compare(&fused.to_host()?, &parts.to_host()?, tolerance) {
                    failures.push(format!("{:?} over {dtype}: {text}", sample.op));
                }
            }
        }
    }
    assert!(checked > 100);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[test]
fn gradients_agree_in_double_precision() -> Result<()> {
    let device = Cpu::device();
    let (mut checked, mut failures) = (0, Vec::new());
    // A gradient straight through rounding is not that of the ops that round: `quantized.rs` checks it.
    let smooth = |s: &Sample| s.dtypes.contains(&DType::F64) && !matches!(s.op, Op::LinearDynamic);
    for (number, sample) in composites().filter(|(_, s)| smooth(s)) {
        let x = inputs(&sample, number, DType::F64, &device)?;
        let free: Vec<usize> = (0..x.len()).filter(|&i| sample.inputs[i].is_free()).collect();
        let all = |given: &[Tensor]| {
            let mut all = x.clone();
            free.iter().zip(given).for_each(|(&i, g)| all[i] = g.clone());
            all
        };
        // Statistics that gradient ops are given are saved values, constants to both.
        if sample.inputs.iter().any(|i| matches!(i.kind, Kind::Output { .. })) {
            continue;
        }
        let leaves: Vec<&Tensor> = free.iter().map(|&i| &x[i]).collect();
        let fused = |given: &[Tensor]| Ok(sample.op.run(&all(given).iter().collect::<Vec<_>>())?.remove(0));
        let parts = |given: &[Tensor]| {
            Ok(sample.op.decompose(&all(given)).expect("a composite decomposes")?.remove(0))
        };
        let shape = *fused(&leaves.iter().map(|&t| t.clone()).collect::<Vec<_>>())?.shape();
        let seed =
            Tensor::from_vec((0..shape.numel()).map(|i| (i as f64).sin() + 0.1).collect(), shape, &device)?;
        let (_, left) = vjp(fused, &leaves, &seed)?;
        let (_, right) = vjp(parts, &leaves, &seed)?;
        for (i, (left, right)) in left.iter().zip(&right).enumerate() {
            checked += 1;
            let tolerance = Tolerance { ulps: 1e4, scale: sample.scale.max(1.0), roundings: 1.0 };
            if let Err(text) = compare(&left.to_host()?, &right.to_host()?, tolerance) {
                failures.push(format!("{:?}, operand {i}: {text}", sample.op));
            }
        }
    }
    assert!(checked > 100);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
