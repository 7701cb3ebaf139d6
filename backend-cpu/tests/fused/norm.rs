//! Normalizations.

use gradus_tensor_core::op::{BatchNormBlock, Norm, NormKind};
use gradus_tensor_core::{DType, HostArray, Op, Tensor, UnaryOp};

use crate::common::{Devices, LIES, Lie, Operand, check_within, run, tolerance};

fn cases() -> Vec<(NormKind, &'static [usize])> {
    vec![
        (NormKind::Layer { dims: 1 }, &[3, 4, 37]),
        (NormKind::Layer { dims: 2 }, &[100, 5, 7]),
        (NormKind::Layer { dims: 1 }, &[0, 5]),
        (NormKind::Rms { dims: 1 }, &[40, 70]),
        (NormKind::Rms { dims: 2 }, &[3, 2, 3]),
        (NormKind::Batch, &[30, 5]),
        (NormKind::Batch, &[4, 3, 3, 5]),
        (NormKind::Batch, &[3, 6, 80, 70]),
        (NormKind::Batch, &[2, 0, 3]),
        (NormKind::Batch, &[9, 37, 2, 2]),
        (NormKind::Batch, &[7, 21, 4, 4]),
        (NormKind::Batch, &[5, 18, 7, 8]),
        (NormKind::Group { groups: 2 }, &[3, 20]),
        (NormKind::Group { groups: 3 }, &[4, 6, 5, 9]),
        (NormKind::Group { groups: 1 }, &[2, 3, 90, 80]),
    ]
}

#[test]
fn norms_and_their_gradients_are_right() {
    let devices = Devices::new();
    for dtype in DType::FLOATS {
        for (kind, dims) in cases() {
            for lie in LIES {
                let op = Norm { kind, eps: 1e-5 };
                let rms = matches!(kind, NormKind::Rms { .. });
                let x = Operand::map(dims, dtype, lie, 1, |u| 3.0 * u - 1.0);
                let affine = match kind {
                    NormKind::Layer { dims: n } | NormKind::Rms { dims: n } => &dims[dims.len() - n..],
                    _ => &dims[1..2],
                };
                let (w, b) = (Operand::random(affine, dtype, lie, 2), Operand::random(affine, dtype, lie, 3));
                // What has no variance but rounding is multiplied by 1 / sqrt(eps).
                let amplified = if lie == Lie::Broadcast { 300.0 } else { 1.0 };
                let forward = |operands: &[Operand]| {
                    check_within(&devices, &Op::Norm(op), operands, amplified * tolerance(dtype));
                };
                let mut operands = vec![x.clone()];
                forward(&operands);
                operands.push(w.clone());
                forward(&operands);
                if !rms {
                    operands.push(b);
                    forward(&operands);
                }
                let outputs = run(&devices, &Op::Norm(op), &operands);
                let g = Operand::random(dims, dtype, lie, 4);
                let mut operands = vec![g, x, outputs[1].clone(), outputs[2].clone()];
                let tolerance = 4.0 * amplified * tolerance(dtype);
                check_within(&devices, &Op::NormGrad(op), &operands, tolerance);
                operands.push(w);
                check_within(&devices, &Op::NormGrad(op), &operands, tolerance);
            }
        }
    }
}

#[test]
fn a_variance_is_never_less_than_nothing() {
    let devices = Devices::new();
    let kinds = [NormKind::Batch, NormKind::Group { groups: 1 }, NormKind::Layer { dims: 2 }];
    for (kind, area) in kinds.iter().flat_map(|&kind| [9, 300].map(|area| (kind, area))) {
        for k in 1..200 {
            let x = Operand::map(&[7, 3, area], DType::F32, Lie::Contiguous, 1, |_| 0.1 * k as f64);
            let variance = run(&devices, &Op::Norm(Norm { kind, eps: 1e-5 }), &[x])[2].clone();
            let least = variance.values().into_iter().fold(f64::INFINITY, f64::min);
            assert!(least >= 0.0, "{kind:?} of {area} times {k} / 10: {least:e}");
        }
    }
}

#[test]
fn a_large_mean_costs_no_precision_of_the_variance() {
    let devices = Devices::new();
    for (kind, dims) in [(NormKind::Batch, [16, 2, 512]), (NormKind::Layer { dims: 1 }, [2, 3, 4096])] {
        // Multiples of 2^-8, so that the values themselves are exact in f32.
        let x = Operand::map(&dims, DType::F32, Lie::Contiguous, 7, |u| 1000.0 + (u * 256.0).floor() / 256.0);
        check_within(&devices, &Op::Norm(Norm { kind, eps: 0.0 }), &[x], 1e-4);
    }
}

#[test]
fn batch_norms_by_given_statistics_are_right() {
    let devices = Devices::new();
    let op = Op::BatchNormEval { eps: 1e-3 };
    let shapes: [&[usize]; 8] = [
        &[30, 5],
        &[1, 7],
        &[5, 3, 11],
        &[9, 37, 2, 2],
        &[4, 6, 9, 7],
        &[3, 5, 40, 41],
        &[2, 0, 3],
        &[0, 4, 3, 3],
    ];
    for dtype in DType::FLOATS {
        for (dims, lie) in shapes.iter().flat_map(|dims| LIES.map(|lie| (*dims, lie))) {
            let vector = |seed, dtype, low: f64| {
                Operand::map(&dims[1..2], dtype, Lie::Contiguous, seed, move |u| u + low)
            };
            let x = Operand::map(dims, dtype, lie, 1, |u| 3.0 * u - 1.0);
            // Half precision usually keeps its statistics in single precision.
            for statistics in [dtype, dtype.accumulator()] {
                let mut operands = vec![x.clone(), vector(2, statistics, -0.5), vector(3, statistics, 0.1)];
                check_within(&devices, &op, &operands, tolerance(dtype));
                operands.push(vector(4, dtype, -0.5));
                check_within(&devices, &op, &operands, tolerance(dtype));
                operands.push(vector(5, dtype, -0.5));
                check_within(&devices, &op, &operands, tolerance(dtype));
            }
        }
    }
}

/// Short and long planes, of odd sizes too; one of them longer than what is widened or summed at a time.
const PLANES: [&[usize]; 8] = [
    &[30, 5],
    &[4, 3, 3, 5],
    &[3, 4, 80, 70],
    &[2, 3, 0],
    &[9, 37, 2, 2],
    &[130, 3, 5],
    &[2, 3, 16, 16],
    &[5, 2, 257],
];

const ACTIVATIONS: [Option<UnaryOp>; 5] = [
    None,
    Some(UnaryOp::Relu),
    Some(UnaryOp::Clamp { min: 0.0, max: 6.0 }),
    Some(UnaryOp::Clamp { min: 0.5, max: -0.5 }),
    Some(UnaryOp::Tanh),
];

fn blocks() -> impl Iterator<Item = BatchNormBlock> {
    let all = ACTIVATIONS.into_iter().flat_map(|activation| [(activation, false), (activation, true)]);
    all.map(|(activation, residual)| BatchNormBlock { eps: 1e-3, residual, activation })
}

/// Operands of a block, and the gradient of its output.
fn block_operands(dims: &[usize], dtype: DType, lie: Lie, op: &BatchNormBlock) -> (Vec<Operand>, Operand) {
    let channels = &dims[1..2];
    let mut operands = vec![Operand::map(dims, dtype, lie, 1, |u| 6.0 * u - 2.0)];
    operands.extend([2, 3].map(|seed| Operand::random(channels, dtype, lie, seed)));
    operands.extend(op.residual.then(|| Operand::random(dims, dtype, lie, 4)));
    (operands, Operand::random(dims, dtype, lie, 5))
}

#[test]
fn blocks_of_batch_norm_and_their_gradients_are_right() {
    let devices = Devices::new();
    for dtype in DType::FLOATS {
        for dims in PLANES {
            for op in blocks() {
                for lie in [Lie::Contiguous, Lie::Transposed, Lie::Flipped] {
                    let (operands, g) = block_operands(dims, dtype, lie, &op);
                    check_within(&devices, &Op::BatchNormBlock(op), &operands, 2.0 * tolerance(dtype));
                    let outputs = run(&devices, &Op::BatchNormBlock(op), &operands);
                    let [y, mean, variance] = &outputs[..] else { panic!("{op:?}") };
                    let [x, weight] = [0, 1].map(|i| operands[i].clone());
                    let operands = [g, y.clone(), x, mean.clone(), variance.clone(), weight];
                    check_within(&devices, &Op::BatchNormBlockGrad(op), &operands, 8.0 * tolerance(dtype));
                }
            }
        }
    }
}

fn bits(x: &Tensor) -> Vec<u64> {
    let host: HostArray = x.to_host().unwrap();
    (0..host.len()).map(|i| host.get_f64(i).unwrap().to_bits()).collect()
}

/// Limits do not tell zeros apart; steps one by one may keep the sign.
fn without_sign_of_zero(x: &Tensor) -> Vec<u64> {
    bits(&x.add(0.0).unwrap())
}

#[test]
fn a_block_of_batch_norm_has_the_bits_of_its_steps_rounded_once() {
    let devices = Devices::new();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for dims in PLANES {
            for op in blocks() {
                let (operands, g) = block_operands(dims, dtype, Lie::Contiguous, &op);
                for device in &devices.cpus {
                    let at = |o: &Operand| o.on(device).unwrap();
                    let all: Vec<Tensor> = operands.iter().map(at).collect();
                    let made = Op::BatchNormBlock(op).run(&all.iter().collect::<Vec<_>>()).unwrap();

                    let wide: Vec<Tensor> = all.iter().map(|t| t.cast(DType::F32).unwrap()).collect();
                    let norm = Norm { kind: NormKind::Batch, eps: op.eps };
                    let steps = Op::Norm(norm).run(&[&wide[0], &wide[1], &wide[2]]).unwrap();
                    let mut y = steps[0].clone();
                    if op.residual {
                        y = y.add(&wide[3]).unwrap();
                    }
                    if let Some(activation) = op.activation {
                        y = Op::Unary(activation).run1(&[&y]).unwrap();
                    }
                    let y = y.cast(dtype).unwrap();
                    let what = || format!("{op:?} of {dims:?}, {dtype}");
                    assert_eq!(without_sign_of_zero(&made[0]), without_sign_of_zero(&y), "{}", what());
                    assert_eq!(bits(&made[1]), bits(&steps[1]), "{}", what());
                    assert_eq!(bits(&made[2]), bits(&steps[2]), "{}", what());

                    let Some(activation) = op.activation else { continue };
                    // Before these the gradient is rounded in half precision, which a block does not do.
                    if activation == UnaryOp::Tanh && dtype != DType::F32 {
                        continue;
                    }
                    let g = at(&g);
                    let grad = [&g, &made[0], &all[0], &made[1], &made[2], &all[1]];
                    let made = Op::BatchNormBlockGrad(op).run(&grad).unwrap();
                    let before = Op::UnaryGrad(activation).run1(&grad[..2]).unwrap();
                    let steps =
                        Op::NormGrad(norm).run(&[&before, grad[2], grad[3], grad[4], grad[5]]).unwrap();
                    let steps = steps.iter().chain(op.residual.then_some(&before));
                    for (k, (made, step)) in made.iter().zip(steps).enumerate() {
                        assert_eq!(bits(made), bits(step), "gradient {k} of {}", what());
                    }
                }
            }
        }
    }
}

#[test]
fn a_gradient_passes_an_activation_as_its_derivative_says_for_every_output() {
    let devices = Devices::new();
    let device = &devices.cpus[0];
    let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 0.0, 6.0, 5.5, -1.0];
    let full = |v: Vec<f32>, dims: &[usize]| {
        Tensor::from_vec(v, gradus_tensor_core::Shape::new(dims).unwrap(), device).unwrap()
    };
    for area in [2, 300] {
        let dims = [4, 1, area];
        let y = full((0..4 * area).map(|i| special[i % special.len()]).collect(), &dims);
        let g = full((0..4 * area).map(|i| i as f32 - 3.0).collect(), &dims);
        let one = full(vec![1.0], &[1]);
        for dtype in [DType::F32, DType::BF16] {
            let [y, g, weight] = [&y, &g, &one].map(|t| t.cast(dtype).unwrap());
            for activation in ACTIVATIONS.into_iter().flatten().filter(|&a| a != UnaryOp::Tanh) {
                let op = BatchNormBlock { eps: 1e-3, residual: true, activation: Some(activation) };
                let all = Op::BatchNormBlockGrad(op).run(&[&g, &y, &g, &one, &one, &weight]).unwrap();
                let want = Op::UnaryGrad(activation).run1(&[&g, &y]).unwrap();
                assert_eq!(bits(&all[3]), bits(&want), "{activation:?}, {area}, {dtype}");
            }
        }
    }
}
