//! Matrix products.

use gradus_tensor_core::op::Linear;
use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check};

#[test]
fn products_of_any_layout_dtype_and_shape_are_right() {
    let devices = Devices::new();
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[1, 1], &[1, 1]),
        (&[3, 5], &[5, 2]),
        (&[1, 70], &[70, 33]),
        (&[33, 70], &[70, 1]),
        (&[2, 3, 4, 5], &[2, 3, 5, 6]),
        (&[3, 0], &[0, 4]),
        (&[0, 3, 4], &[0, 4, 5]),
    ];
    for dtype in DType::FLOATS {
        for (a, b) in shapes {
            for (i, (la, lb)) in LIES.iter().flat_map(|a| LIES.map(|b| (*a, b))).enumerate() {
                let operands = [Operand::random(a, dtype, la, i as u64), Operand::random(b, dtype, lb, 99)];
                check(&devices, &Op::MatMul, &operands, dtype);
            }
        }
    }
}

#[test]
fn products_that_are_cut_for_threads_are_right_in_every_tile() {
    let devices = Devices::new();
    for (m, n, k) in [(130, 517, 150), (1, 3000, 700), (2000, 3, 300), (9, 1000, 300)] {
        for (la, lb) in [(Lie::Contiguous, Lie::Transposed), (Lie::Flipped, Lie::Contiguous)] {
            let a = Operand::random(&[m, k], DType::F32, la, 1);
            let b = Operand::random(&[k, n], DType::F32, lb, 2);
            check(&devices, &Op::MatMul, &[a, b], DType::F32);
        }
    }
}

#[test]
fn products_over_many_steps_are_right_whole_and_in_part() {
    let devices = Devices::new();
    // Transposed on the left and row by row on the right: as the gradient of a weight is.
    for (m, n, k) in [(64, 32, 512), (130, 45, 700), (70, 530, 513)] {
        for (la, lb) in [(Lie::Transposed, Lie::Contiguous), (Lie::Transposed, Lie::Flipped)] {
            let a = Operand::random(&[m, k], DType::F32, la, 1);
            let b = Operand::random(&[k, n], DType::F32, lb, 2);
            check(&devices, &Op::MatMul, &[a, b], DType::F32);
        }
    }
}

#[test]
fn products_whose_left_operand_is_packed_and_whose_last_columns_are_few_are_right() {
    let devices = Devices::new();
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        // The last panel has one column, or fills one vector or two of any register in part.
        for (m, n, k) in [(135, 97, 1030), (200, 66, 40), (261, 112, 257), (128, 31, 300), (133, 16, 70)] {
            for lie in [Lie::Transposed, Lie::Contiguous, Lie::Flipped] {
                let a = Operand::random(&[m, k], dtype, lie, 1);
                let b = Operand::random(&[k, n], dtype, [Lie::Contiguous, Lie::Transposed][k % 3 % 2], 2);
                check(&devices, &Op::MatMul, &[a, b], dtype);
            }
        }
    }
}

#[test]
fn products_of_few_rows_and_of_small_matrices_are_right() {
    let devices = Devices::new();
    // One micro-tile to a panel of 96, 48, 24 or 12 columns; and just small enough, or too large by one, to be summed
    // without micro-tiles.
    let few = [(1, 100, 300), (5, 97, 70), (8, 96, 260), (2, 200, 40), (6, 24, 31), (4, 12, 257)];
    let small = [(4, 4, 4), (16, 16, 64), (17, 16, 64), (16, 17, 64), (16, 16, 65), (13, 7, 5), (1, 8, 1)];
    for dtype in [DType::F32, DType::F64, DType::BF16] {
        for (m, n, k) in few.into_iter().chain(small) {
            for (la, lb) in LIES.iter().flat_map(|a| LIES.map(|b| (*a, b))) {
                let operands =
                    [Operand::random(&[m, k], dtype, la, 1), Operand::random(&[k, n], dtype, lb, 2)];
                check(&devices, &Op::MatMul, &operands, dtype);
            }
            let batch = [
                Operand::random(&[3, m, k], dtype, Lie::Contiguous, 1),
                Operand::random(&[3, k, n], dtype, Lie::Transposed, 2),
            ];
            check(&devices, &Op::MatMul, &batch, dtype);
            let x = Operand::random(&[m, k], dtype, Lie::Contiguous, 3);
            let (w, b) = (
                Operand::random(&[n, k], dtype, Lie::Contiguous, 4),
                Operand::random(&[n], dtype, Lie::Contiguous, 5),
            );
            check(&devices, &Op::Linear(Linear::default()), &[x, w, b], dtype);
        }
    }
}

#[test]
fn products_whose_right_operand_is_packed_for_all_tiles_are_right() {
    let devices = Devices::new();
    for dtype in DType::FLOATS {
        // Several tiles both ways, blocks of the depth of which the last is odd, and a last panel that is filled in part.
        for (m, n, k, lie) in [(300, 600, 1101, Lie::Contiguous), (270, 130, 601, Lie::Transposed)] {
            let x = Operand::random(&[m, k], dtype, lie, 1);
            let w = Operand::random(&[n, k], dtype, lie, 2);
            let b = Operand::random(&[n], dtype, Lie::Contiguous, 3);
            check(&devices, &Op::Linear(Linear::default()), &[x, w, b], dtype);
        }
    }
}

#[test]
fn what_is_not_finite_passes_through_products() {
    let devices = Devices::new();
    let odd = |u: f64| match (u * 40.0) as u64 {
        0 => f64::INFINITY,
        1 => f64::NEG_INFINITY,
        2 => f64::NAN,
        3..10 => 0.0,
        _ => u - 0.5,
    };
    for dtype in DType::FLOATS {
        for k in [7, 24] {
            let a = Operand::map(&[37, k], dtype, Lie::Contiguous, 1, odd);
            let b = Operand::map(&[k, 50], dtype, Lie::Transposed, 2, odd);
            check(&devices, &Op::MatMul, &[a, b], dtype);
        }
    }
}

#[test]
fn integers_wrap() {
    let devices = Devices::new();
    for dtype in [DType::I64, DType::I32, DType::I8, DType::U8] {
        let big = |u: f64| (u * 250.0).floor();
        let a = Operand::map(&[2, 7, 30], dtype, Lie::Transposed, 1, big);
        let b = Operand::map(&[2, 30, 9], dtype, Lie::Flipped, 2, big);
        check(&devices, &Op::MatMul, &[a, b], dtype);
    }
}

#[test]
fn linear_is_a_product_with_the_transposed_weight_and_a_bias() {
    let devices = Devices::new();
    let shapes: [(&[usize], usize); 6] =
        [(&[5], 3), (&[4, 6], 7), (&[2, 3, 5], 4), (&[0, 5], 3), (&[130, 200], 300), (&[3, 0], 2)];
    for dtype in DType::FLOATS {
        for (x, out) in shapes {
            for lie in LIES {
                let x = Operand::random(x, dtype, lie, 1);
                let w = Operand::random(&[out, x_features(&x)], dtype, lie, 2);
                let b = Operand::random(&[out], dtype, lie, 3);
                check(&devices, &Op::Linear(Linear::default()), &[x.clone(), w.clone()], dtype);
                check(&devices, &Op::Linear(Linear::default()), &[x, w, b], dtype);
            }
        }
    }
}

fn x_features(x: &Operand) -> usize {
    x.dims().last().copied().unwrap_or(0)
}
