//! Convolutions in all three passes.

use gradus_tensor_core::op::Conv;
use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check};

pub struct Case {
    pub conv: Conv,
    /// `[N, C, *size]`
    pub x: &'static [usize],
    pub outputs: usize,
    pub kernel: &'static [usize],
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
pub fn kinds() -> Vec<Case> {
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
        // Depthwise, sixteen channels at a time: whole and partial blocks, planes narrower than a window.
        case(&[3, 16, 2, 2], 16, &[3, 3], [1; 3], [1; 3], [1; 3], 16),
        case(&[2, 35, 5, 4], 35, &[3, 3], [2; 3], [1; 3], [1; 3], 35),
        case(&[2, 17, 1, 1], 17, &[3, 3], [1; 3], [1; 3], [1; 3], 17),
        case(&[2, 7, 9, 7], 14, &[3, 3], [1; 3], [1; 3], [1; 3], 7),
        case(&[2, 6, 9, 8], 12, &[3, 3], [2, 3, 1], [2, 0, 0], [2, 1, 1], 6),
        case(&[2, 18, 7, 9], 18, &[5, 4], [1, 2, 1], [2, 1, 0], [1, 2, 1], 18),
        case(&[2, 9, 10, 11], 9, &[3, 3], [1; 3], [3, 4, 0], [2, 3, 1], 9),
        case(&[2, 20, 13], 40, &[3], [2; 3], [1; 3], [1; 3], 20),
        case(&[1, 8, 4, 5, 6], 8, &[3, 3, 3], [1, 2, 1], [1; 3], [1; 3], 8),
        case(&[1, 6, 3, 5, 6], 12, &[2, 3, 3], [2, 1, 2], [1, 0, 1], [1, 2, 1], 6),
        case(&[2, 6, 2, 2], 6, &[1, 1], [1; 3], [3; 3], [1; 3], 6),
        // Padding beyond the kernel, nothing to sum, nothing at all.
        case(&[1, 2, 3, 3], 2, &[1, 2], [1; 3], [3; 3], [1; 3], 1),
        case(&[0, 2, 3, 3], 2, &[2, 2], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 0, 3, 3], 2, &[2, 2], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 2, 0, 3], 2, &[2, 2], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 2, 0, 3], 2, &[2, 2], [1; 3], [1; 3], [1; 3], 2),
    ]
}

/// Larger ones, that are cut in every way: tiles of an image, images together, output channels, image ranges.
pub fn sizes() -> Vec<Case> {
    vec![
        case(&[2, 3, 40, 41], 8, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[9, 24, 6, 6], 70, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        // Fewer products: rows and columns that tiles do not divide, every padding, images in several parts.
        case(&[5, 33, 7, 9], 25, &[3, 3], [1; 3], [0; 3], [1; 3], 1),
        case(&[3, 24, 8, 5], 47, &[3, 3], [1; 3], [2, 3, 1], [1; 3], 1),
        case(&[40, 26, 4, 1], 24, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[24, 24, 3, 3], 24, &[3, 3], [1; 3], [0; 3], [1; 3], 1),
        case(&[7, 48, 30, 31], 40, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        // The same in blocks of tiles: rows longer than a block, outputs in several parts, images together that do not divide.
        case(&[3, 24, 7, 103], 70, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[31, 25, 10, 10], 66, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 24, 33, 50], 24, &[3, 3], [1; 3], [0, 2, 0], [1; 3], 1),
        // Images together for several cuts of the outputs: channels that do not divide, planes of known sizes; and planes alone.
        case(&[3, 9, 7, 7], 70, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[3, 34, 6, 7], 150, &[3, 3], [2; 3], [1; 3], [1; 3], 2),
        case(&[6, 41, 2, 2], 64, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[5, 33, 4, 4], 96, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[9, 5, 1], 80, &[1], [1; 3], [0; 3], [1; 3], 1),
        case(&[3, 20, 10, 11], 40, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[20, 40, 5, 5], 20, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[1, 64, 12, 12], 96, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[20, 30, 7, 7], 10, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[4, 4, 36, 36], 4, &[3, 3], [1; 3], [1; 3], [1; 3], 4),
        // Depthwise: in lanes with images together, in lanes with rows longer than a vector, too large for lanes.
        case(&[11, 40, 4, 4], 40, &[3, 3], [1; 3], [1; 3], [1; 3], 40),
        case(&[9, 33, 8, 8], 33, &[3, 3], [2; 3], [1; 3], [1; 3], 33),
        case(&[4, 19, 36, 35], 19, &[3, 3], [1; 3], [1; 3], [1; 3], 19),
        case(&[5, 16, 33, 34], 32, &[3, 3], [2; 3], [1; 3], [1; 3], 16),
        case(&[1, 6, 92, 91], 6, &[3, 3], [1; 3], [1; 3], [1; 3], 6),
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
