//! Recurrences.

use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Operand, check_within, run, tolerance};

/// Steps, samples and features: whole and partial panels, several blocks of the depth, more rows than are computed
/// together.
const SHAPES: [[usize; 3]; 7] =
    [[1, 1, 1], [3, 2, 5], [4, 9, 16], [2, 70, 8], [2, 3, 70], [1, 5, 300], [2, 0, 4]];

/// Small enough that states do not grow and sums do not cancel.
fn operand(dims: &[usize], dtype: DType, lie: crate::common::Lie, seed: u64, size: f64) -> Operand {
    Operand::map(dims, dtype, lie, seed, |u| size * (2.0 * u - 1.0))
}

/// Runs `body` with every shape, dtype and way to lie; the large shapes in single precision only.
fn each(mut body: impl FnMut([usize; 3], DType, &dyn Fn(&[usize], u64) -> Operand)) {
    for dtype in DType::FLOATS {
        for shape in SHAPES {
            if shape.iter().any(|&n| n > 16) && dtype != DType::F32 {
                continue;
            }
            for lie in LIES {
                let size = (1.0 / shape[2] as f64).sqrt();
                body(shape, dtype, &|dims, seed| {
                    operand(dims, dtype, lie, seed, if dims.len() == 3 { 1.0 } else { size })
                });
            }
        }
    }
}

#[test]
fn an_lstm_and_its_gradient_are_right() {
    let devices = Devices::new();
    each(|[time, batch, hidden], dtype, random| {
        let steps = |parts: usize, seed| random(&[time, batch, parts * hidden], seed);
        let (w_hh, c0) = (random(&[4 * hidden, hidden], 2), random(&[batch, hidden], 4));
        let operands = vec![steps(4, 1), w_hh.clone(), random(&[batch, hidden], 3), c0.clone()];
        check_within(&devices, &Op::Lstm, &operands, 2.0 * tolerance(dtype));
        let outputs = run(&devices, &Op::Lstm, &operands);
        let mut all = vec![outputs[2].clone(), outputs[1].clone(), w_hh, c0];
        for more in [steps(1, 5), steps(1, 6), steps(4, 7)] {
            all.push(more);
            check_within(&devices, &Op::LstmGrad, &all, 4.0 * tolerance(dtype));
        }
    });
}

#[test]
fn a_gru_and_its_gradient_are_right() {
    let devices = Devices::new();
    each(|[time, batch, hidden], dtype, random| {
        let steps = |parts: usize, seed| random(&[time, batch, parts * hidden], seed);
        let (w_hh, h0) = (random(&[3 * hidden, hidden], 2), random(&[batch, hidden], 3));
        let mut operands = vec![steps(3, 1), w_hh.clone(), h0.clone()];
        check_within(&devices, &Op::Gru, &operands, 2.0 * tolerance(dtype));
        operands.push(random(&[3 * hidden], 4));
        check_within(&devices, &Op::Gru, &operands, 2.0 * tolerance(dtype));
        let outputs = run(&devices, &Op::Gru, &operands);
        let mut all = vec![outputs[1].clone(), outputs[0].clone(), w_hh, h0];
        for more in [steps(1, 5), steps(4, 6)] {
            all.push(more);
            check_within(&devices, &Op::GruGrad, &all, 4.0 * tolerance(dtype));
        }
    });
}
