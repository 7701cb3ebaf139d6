//! Linear layers with what follows them.

use gradus_tensor_core::op::Linear;
use gradus_tensor_core::{DType, Device, HostArray, Op, Result, Tensor, UnaryOp};

use crate::common::{Devices, LIES, Lie, Operand, check_within, run_on, tolerance};

const ACTIVATIONS: [Option<UnaryOp>; 7] = [
    None,
    Some(UnaryOp::Relu),
    Some(UnaryOp::Gelu),
    Some(UnaryOp::Clamp { min: -0.5, max: 0.25 }),
    Some(UnaryOp::Silu),
    Some(UnaryOp::GeluTanh),
    Some(UnaryOp::Tanh),
];

/// The leading axes of the input, its features, and those of the output.
type Case = (&'static [usize], usize, usize);

/// Few rows and many, sums in registers alone, nothing to sum, nothing at all.
const SMALL: [Case; 10] = [
    (&[], 5, 3),
    (&[1], 300, 100),
    (&[2, 3], 7, 9),
    (&[5], 70, 97),
    (&[8], 260, 96),
    (&[4, 4], 64, 16),
    (&[130], 33, 48),
    (&[0], 5, 3),
    (&[3], 0, 2),
    (&[3], 2, 0),
];
/// Several tiles across, above each other, and both; blocks of the depth.
const LARGE: [Case; 6] = [
    (&[1], 1030, 2500),
    (&[3, 5], 1024, 1100),
    (&[300], 601, 130),
    (&[2, 600], 64, 50),
    (&[270], 257, 1200),
    (&[3000], 20, 3),
];

/// Every choice of steps after the product, with some activation each.
fn layers(number: usize) -> impl Iterator<Item = (bool, Linear)> {
    (0..4usize).map(move |i| {
        let activation = ACTIVATIONS[(2 * i + number) % ACTIVATIONS.len()];
        (i & 1 > 0, Linear { residual: i & 2 > 0, activation })
    })
}

fn operands(
    (lead, features, out): Case,
    (bias, op): (bool, Linear),
    dtypes: [DType; 2],
    lie: Lie,
) -> Vec<Operand> {
    let with = |last: usize| [lead, &[last]].concat();
    // Sums are of a size at which activations do something.
    let scale = 2.0 / (features.max(1) as f64).sqrt();
    let mut all = vec![
        Operand::random(&with(features), dtypes[0], lie, 1),
        Operand::map(&[out, features], dtypes[0], lie, 2, move |u| scale * (4.0 * u - 2.0)),
    ];
    all.extend(bias.then(|| Operand::random(&[out], dtypes[0], lie, 3)));
    all.extend(op.residual.then(|| Operand::random(&with(out), dtypes[1], lie, 4)));
    all
}

#[test]
fn layers_with_what_follows_them_are_right() {
    let devices = Devices::new();
    for (number, case) in SMALL.into_iter().chain(LARGE).enumerate() {
        for (bias, op) in layers(number) {
            let check = |dtypes: [DType; 2], lie| {
                let operands = operands(case, (bias, op), dtypes, lie);
                let out = dtypes[usize::from(op.residual)];
                check_within(&devices, &Op::Linear(op), &operands, 2.0 * tolerance(out));
            };
            for lie in LIES {
                check([DType::F32; 2], lie);
            }
            check([DType::F64; 2], LIES[number % 4]);
            for half in [DType::F16, DType::BF16] {
                check([half; 2], LIES[number % 4]);
                check([half, DType::F32], LIES[number % 4]);
            }
        }
    }
}

/// The steps one by one.
fn steps(op: &Linear, x: &[Tensor]) -> Result<Tensor> {
    let operands: Vec<&Tensor> = x.iter().collect();
    let (linear, residual) = operands.split_at(x.len() - usize::from(op.residual));
    let mut y = Op::Linear(Linear::default()).run1(linear)?;
    if let [residual] = *residual {
        y = y.add(residual)?;
    }
    op.activation.map_or(Ok(y.clone()), |activation| Op::Unary(activation).run1(&[&y]))
}

fn bits(x: &Tensor) -> Vec<u64> {
    let host: HostArray = x.to_host().unwrap();
    // Zeros are equal whatever their sign.
    (0..host.len()).map(|i| (host.get_f64(i).unwrap() + 0.0).to_bits()).collect()
}

#[test]
fn a_layer_has_the_bits_of_its_steps() {
    let devices = Devices::new();
    let device: &Device = &devices.cpus[1];
    for (number, case) in SMALL.into_iter().chain(LARGE).enumerate() {
        for (bias, op) in layers(number).chain(layers(number + 1)) {
            for dtype in [DType::F32, DType::F64] {
                let operands = operands(case, (bias, op), [dtype; 2], Lie::Contiguous);
                let x: Vec<Tensor> = operands.iter().map(|o| o.on(device).unwrap()).collect();
                let fused = Op::Linear(op).run1(&x.iter().collect::<Vec<_>>()).unwrap();
                assert_eq!(bits(&fused), bits(&steps(&op, &x).unwrap()), "{op:?} of {case:?}");
            }
        }
    }
}

/// The root mean square of what differs, relative to that of what is wanted.
fn error(got: &[f64], want: &[f64]) -> f64 {
    let squares: f64 = got.iter().zip(want).map(|(got, want)| (got - want).powi(2)).sum();
    (squares / want.iter().map(|want| want * want).sum::<f64>()).sqrt()
}

#[test]
fn half_precision_is_rounded_once_whatever_follows_the_product() {
    let devices = Devices::new();
    for (number, case) in [LARGE[0], LARGE[1], LARGE[2], LARGE[4]].into_iter().enumerate() {
        for (bias, op) in layers(number) {
            for half in [DType::BF16, DType::F16] {
                let operands = operands(case, (bias, op), [half; 2], Lie::Contiguous);
                let exact: Vec<_> = operands.iter().map(|x| x.cast(DType::F64)).collect();
                let want = run_on(&devices.reference, &Op::Linear(op), &exact).remove(0);
                let got = run_on(&devices.cpus[1], &Op::Linear(op), &operands).remove(0).values();
                let [got, once] = [got, want.cast(half).values()].map(|y| error(&y, &want.values()));
                assert!(
                    got < 1.002 * once,
                    "an error of {got}, of {once} by rounding once, {op:?} of {case:?}"
                );
            }
        }
    }
}

#[test]
fn a_residual_of_single_precision_loses_nothing_to_half_precision() {
    let devices = Devices::new();
    for case in [LARGE[1], LARGE[2]] {
        for half in [DType::BF16, DType::F16] {
            let op = Linear { residual: true, activation: None };
            let operands = operands(case, (true, op), [half, DType::F32], Lie::Contiguous);
            check_within(&devices, &Op::Linear(op), &operands, 2.0 * tolerance(DType::F32));
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so_through_every_activation() {
    let devices = Devices::new();
    for device in &devices.cpus {
        for dtype in [DType::F32, DType::BF16] {
            let x = Tensor::from_vec(vec![f32::NAN, 1.0, -1.0, f32::INFINITY], [4, 1], device).unwrap();
            let (x, w) = (x.cast(dtype).unwrap(), Tensor::ones([1, 1], dtype, device).unwrap());
            for activation in ACTIVATIONS {
                let op = Linear { activation, ..Linear::default() };
                let values = |y: Tensor| y.cast(DType::F32).unwrap().to_vec::<f32>().unwrap();
                let fused = values(Op::Linear(op).run1(&[&x, &w]).unwrap());
                let expected = values(steps(&op, &[x.clone(), w.clone()]).unwrap());
                for (a, b) in fused.iter().zip(&expected) {
                    assert!(
                        a == b || a.is_nan() && b.is_nan(),
                        "{activation:?}: {fused:?} is not {expected:?}"
                    );
                }
            }
        }
    }
}
