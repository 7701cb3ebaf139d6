//! Products of `f32` that may be less exact.

use gradus_backend_cpu::{Cpu, Precision};
use gradus_tensor_core::op::{Attention, Conv, Linear};
use gradus_tensor_core::{DType, Device, HostArray, Op, Tensor};
use gradus_testkit::Reference;

use crate::common::{Devices, check_within};
use crate::common::{Lie, Operand, run};

fn devices(precision: Precision) -> Devices {
    let cpu = |threads| Cpu::builder().threads(threads).precision(precision).build().unwrap();
    Devices { cpus: [1, 2, 3].map(cpu).into(), reference: Reference::device() }
}

/// What `Precision` says of errors, in root mean squares.
fn bound(precision: Precision) -> f64 {
    match precision {
        Precision::Highest => 1e-6,
        Precision::High => 1e-5,
        Precision::Medium => 3e-3,
    }
}

fn outputs(device: &Device, op: &Op, operands: &[Operand]) -> Vec<HostArray> {
    let tensors: Vec<Tensor> = operands.iter().map(|o| o.on(device).unwrap()).collect();
    let made = op.run(&tensors.iter().collect::<Vec<_>>()).unwrap();
    made.iter().map(|t| t.to_host().unwrap()).collect()
}

/// Products of every kind, with operands of about one size.
fn cases(dtype: DType) -> Vec<(Op, Vec<Operand>)> {
    let random = |dims: &[usize], lie, seed| Operand::random(dims, dtype, lie, seed);
    let mut cases = Vec::new();
    for (m, n, k) in [(16, 16, 16), (130, 70, 300), (37, 99, 1033), (200, 330, 65), (5, 300, 300)] {
        for (a, b) in [
            (Lie::Contiguous, Lie::Contiguous),
            (Lie::Transposed, Lie::Contiguous),
            (Lie::Contiguous, Lie::Transposed),
            (Lie::Transposed, Lie::Transposed),
            (Lie::Flipped, Lie::Flipped),
        ] {
            cases.push((Op::MatMul, vec![random(&[m, k], a, 1), random(&[k, n], b, 2)]));
        }
        let x = [random(&[2, m, k], Lie::Contiguous, 1), random(&[n, k], Lie::Contiguous, 2)];
        cases.push((Op::MatMul, vec![x[0].clone(), random(&[2, k, n], Lie::Contiguous, 3)]));
        cases.push((Op::Linear(Linear::default()), [&x[..], &[random(&[n], Lie::Contiguous, 3)]].concat()));
    }
    // Pointwise, by columns, and with fewer multiplications.
    for (kernel, stride) in [(1, 1), (3, 2), (3, 1)] {
        let conv = Conv { stride: [stride; 3], padding: [kernel / 2; 3], dilation: [1; 3], groups: 1 };
        let x = random(&[2, 32, 13, 14], Lie::Contiguous, 1);
        let w = random(&[40, 32, kernel, kernel], Lie::Contiguous, 2);
        let y = random(&[2, 40, 13usize.div_ceil(stride), 14 / stride], Lie::Contiguous, 3);
        cases.push((Op::Conv(conv), vec![x.clone(), w.clone()]));
        cases.push((Op::ConvBackwardInput { conv, size: [13, 14, 1] }, vec![y.clone(), w]));
        cases.push((Op::ConvBackwardWeight { conv, kernel: [kernel, kernel, 1] }, vec![y, x]));
    }
    let [q, k, v] = [1, 2, 3].map(|seed| random(&[2, 150, 40], Lie::Contiguous, seed));
    let op = Attention { scale: 0.2, causal: true };
    cases.push((Op::Attention(op), vec![q, k, v]));
    cases
}

#[test]
fn errors_are_what_each_precision_says() {
    let cases = cases(DType::F32);
    for precision in [Precision::Highest, Precision::High, Precision::Medium] {
        let devices = devices(precision);
        for (op, operands) in &cases {
            check_within(&devices, op, operands, 8.0 * bound(precision));
            let got = outputs(&devices.cpus[0], op, operands);
            let want = outputs(&devices.reference, op, operands);
            let (got, want): (Vec<f64>, Vec<f64>) = (got[0].convert(), want[0].convert());
            let errors: f64 = got.iter().zip(&want).map(|(a, b)| (a - b).powi(2)).sum();
            let values: f64 = want.iter().map(|x| x * x).sum();
            let error = (errors / values).sqrt();
            assert!(error <= bound(precision), "{precision}: {error:e} of {op:?}");
        }
    }
}

#[test]
fn gradients_of_attention_keep_to_their_precision() {
    for precision in [Precision::High, Precision::Medium] {
        let devices = devices(precision);
        let [q, k, v, g] =
            [1, 2, 3, 4].map(|seed| Operand::random(&[2, 150, 40], DType::F32, Lie::Contiguous, seed));
        let op = Attention { scale: 0.2, causal: false };
        let saved = run(&devices, &Op::Attention(op), &[q.clone(), k.clone(), v.clone()]);
        let all = [vec![g, q, k, v], saved].concat();
        check_within(&devices, &Op::AttentionGrad(op), &all, 8.0 * bound(precision));
    }
}

#[test]
fn other_dtypes_are_not_affected() {
    let [highest, medium] = [Precision::Highest, Precision::Medium].map(devices);
    for dtype in [DType::F64, DType::F16, DType::BF16] {
        for (op, operands) in cases(dtype) {
            let bits = |devices: &Devices| -> Vec<Vec<u64>> {
                let made = outputs(&devices.cpus[0], &op, &operands);
                made.iter().map(|x| x.convert::<f64>().into_iter().map(f64::to_bits).collect()).collect()
            };
            assert!(bits(&highest) == bits(&medium), "{op:?} of {dtype}");
        }
    }
}

#[test]
fn what_is_not_finite_or_hardly_finite_is_so_with_any_precision() {
    let odd = |u: f64| match (u * 400.0) as u64 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => f64::NAN,
        3..30 => 0.0,
        _ => u - 0.5,
    };
    // Numbers that `bf16` can only round to infinity, once in each row, beside small ones.
    let huge = |u: f64| if u < 0.02 { f32::MAX as f64 } else { 0.0 };
    for precision in [Precision::High, Precision::Medium] {
        let devices = devices(precision);
        for lie in [Lie::Contiguous, Lie::Transposed, Lie::Flipped] {
            for (m, n, k) in [(37, 50, 24), (130, 110, 300)] {
                let a = Operand::map(&[m, k], DType::F32, lie, 1, odd);
                let b = Operand::map(&[k, n], DType::F32, lie, 2, odd);
                check_within(&devices, &Op::MatMul, &[a, b], 8.0 * bound(precision));
                let a = Operand::map(&[m, k], DType::F32, lie, 1, huge);
                let b = Operand::map(&[k, n], DType::F32, lie, 2, |u| (u + 0.5) / 256.0);
                check_within(&devices, &Op::MatMul, &[a, b], 8.0 * bound(precision));
            }
        }
    }
}
