//! Normalizations.

use gradus_tensor_core::op::{Norm, NormKind};
use gradus_tensor_core::{DType, Op};

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
