//! Convolutions in all three passes.

use gradus_tensor_core::op::Conv;
use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check};

struct Case {
    conv: Conv,
    /// `[N, C, *size]`
    x: &'static [usize],
    outputs: usize,
    kernel: &'static [usize],
}

fn case(
    x: &'static [usize],
    outputs: usize,
    kernel: &'static [usize],
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    groups: usize,
) -> Case {
    Case { conv: Conv { stride, padding, dilation, groups }, x, outputs, kernel }
}

/// Small ones, of every kind.
fn kinds() -> Vec<Case> {
    vec![
        case(&[2, 3, 10], 4, &[3], [1; 3], [1; 3], [1; 3], 1),
        case(&[3, 4, 11], 6, &[4], [3; 3], [2; 3], [2; 3], 2),
        case(&[2, 3, 6, 5], 4, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 4, 7, 9], 6, &[3, 2], [2, 3, 1], [1, 2, 0], [2, 1, 1], 2),
        case(&[2, 5, 4, 4], 3, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 5, 5, 6], 3, &[1, 1], [2; 3], [0; 3], [1; 3], 1),
        case(&[2, 5, 5, 6], 3, &[1, 1], [1; 3], [2; 3], [1; 3], 1),
        case(&[1, 2, 4, 5, 6], 3, &[2, 3, 2], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 2, 5, 5, 6], 4, &[3, 3, 2], [2, 1, 3], [1, 0, 1], [1, 2, 1], 2),
        // Depthwise, also with several outputs to a channel.
        case(&[2, 5, 6, 7], 5, &[3, 3], [1; 3], [1; 3], [1; 3], 5),
        case(&[2, 4, 9, 8], 8, &[3, 5], [2, 3, 1], [1, 2, 0], [2, 1, 1], 4),
        case(&[2, 3, 8], 6, &[3], [1; 3], [3; 3], [2; 3], 3),
        case(&[1, 3, 4, 5, 6], 3, &[2, 2, 3], [1, 2, 1], [1, 0, 1], [1; 3], 3),
        // Padding beyond the kernel, nothing to sum, nothing at all.
        case(&[1, 2, 3, 3], 2, &[1, 2], [1; 3], [3; 3], [1; 3], 1),
        case(&[0, 2, 3, 3], 2, &[2, 2], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 0, 3, 3], 2, &[2, 2], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 2, 0, 3], 2, &[2, 2], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 2, 0, 3], 2, &[2, 2], [1; 3], [1; 3], [1; 3], 2),
    ]
}

/// Larger ones, that are cut in every way: tiles of an image, images together, output channels, image ranges.
fn sizes() -> Vec<Case> {
    vec![
        case(&[2, 3, 40, 41], 8, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[9, 24, 6, 6], 70, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        // Fewer products: rows and columns that tiles do not divide, every padding, images in several parts.
        case(&[5, 33, 7, 9], 25, &[3, 3], [1; 3], [0; 3], [1; 3], 1),
        case(&[3, 24, 8, 5], 47, &[3, 3], [1; 3], [2, 3, 1], [1; 3], 1),
        case(&[40, 26, 4, 1], 24, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[24, 24, 3, 3], 24, &[3, 3], [1; 3], [0; 3], [1; 3], 1),
        case(&[7, 48, 30, 31], 40, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[20, 40, 5, 5], 20, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[1, 64, 12, 12], 96, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[20, 30, 7, 7], 10, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[4, 8, 36, 36], 8, &[3, 3], [1; 3], [1; 3], [1; 3], 8),
    ]
}

fn check_passes(devices: &Devices, case: &Case, dtype: DType, lie: Lie) {
    let conv = case.conv;
    let spatial = case.x.len() - 2;
    let out = conv.output_size(&case.x[2..], case.kernel).unwrap();
    let mut w = vec![case.outputs, case.x[1] / conv.groups];
    w.extend_from_slice(case.kernel);
    let mut y = vec![case.x[0], case.outputs];
    y.extend_from_slice(&out[..spatial]);
    let three = |dims: &[usize]| {
        let mut three = [1; 3];
        three[..spatial].copy_from_slice(dims);
        three
    };

    let x = Operand::random(case.x, dtype, lie, 1);
    let w = Operand::random(&w, dtype, lie, 2);
    let b = Operand::random(&[case.outputs], dtype, lie, 3);
    let g = Operand::random(&y, dtype, lie, 4);
    check(devices, &Op::Conv(conv), &[x.clone(), w.clone()], dtype);
    check(devices, &Op::Conv(conv), &[x.clone(), w.clone(), b], dtype);
    let op = Op::ConvBackwardInput { conv, size: three(&case.x[2..]) };
    check(devices, &op, &[g.clone(), w], dtype);
    let op = Op::ConvBackwardWeight { conv, kernel: three(case.kernel) };
    check(devices, &op, &[g, x], dtype);
}

#[test]
fn every_kind_of_convolution_is_right_in_all_passes() {
    let devices = Devices::new();
    for case in kinds() {
        for lie in LIES {
            check_passes(&devices, &case, DType::F64, lie);
            check_passes(&devices, &case, DType::F32, lie);
        }
        check_passes(&devices, &case, DType::F16, Lie::Contiguous);
        check_passes(&devices, &case, DType::BF16, Lie::Transposed);
    }
}

#[test]
fn convolutions_that_are_cut_for_threads_are_right_in_all_passes() {
    let devices = Devices::new();
    for case in sizes() {
        check_passes(&devices, &case, DType::F32, Lie::Contiguous);
    }
}
