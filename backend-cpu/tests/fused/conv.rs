//! Convolutions in all three passes.

use gradus_backend_cpu::Precision;
use gradus_tensor_core::op::Conv;
use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check, run_on};

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
        // Rows of whole registers: of several images, or a part of one.
        case(&[7, 24, 9, 16], 24, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[3, 24, 6, 48], 24, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[2, 24, 5, 64], 24, &[3, 3], [1; 3], [1, 0, 0], [1; 3], 1),
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
        // Runs of a register, less and more, one or two apart; groups and odd depths; the gradient in several parts.
        case(&[2, 18, 5, 71], 34, &[3, 3], [1, 2, 1], [1, 0, 1], [2, 1, 1], 2),
        case(&[2, 17, 9, 70], 19, &[2, 3], [1; 3], [1, 2, 0], [1, 3, 1], 1),
        case(&[3, 21, 15, 33], 39, &[3, 3], [2; 3], [1; 3], [1; 3], 3),
        case(&[19, 33, 9, 9], 50, &[3, 3], [3, 2, 1], [0, 1, 0], [1; 3], 1),
        case(&[1, 9, 33, 33], 2048, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[4, 4, 36, 36], 4, &[3, 3], [1; 3], [1; 3], [1; 3], 4),
        // Depthwise: in lanes with images together, in lanes with rows longer than a vector, too large for lanes.
        case(&[11, 40, 4, 4], 40, &[3, 3], [1; 3], [1; 3], [1; 3], 40),
        case(&[9, 33, 8, 8], 33, &[3, 3], [2; 3], [1; 3], [1; 3], 33),
        case(&[4, 19, 36, 35], 19, &[3, 3], [1; 3], [1; 3], [1; 3], 19),
        case(&[5, 16, 33, 34], 32, &[3, 3], [2; 3], [1; 3], [1; 3], 16),
        case(&[1, 6, 92, 91], 6, &[3, 3], [1; 3], [1; 3], [1; 3], 6),
    ]
}

/// The three passes of a case, the first one also with a bias, each with its operands.
fn passes(case: &Case, dtype: DType, lie: Lie) -> Vec<(Op, Vec<Operand>)> {
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
    vec![
        (Op::Conv(conv), vec![x.clone(), w.clone()]),
        (Op::Conv(conv), vec![x.clone(), w.clone(), b]),
        (Op::ConvBackwardInput { conv, size: three(&case.x[2..]) }, vec![g.clone(), w]),
        (Op::ConvBackwardWeight { conv, kernel: three(case.kernel) }, vec![g, x]),
    ]
}

fn check_passes(devices: &Devices, case: &Case, dtype: DType, lie: Lie) {
    for (op, operands) in passes(case, dtype, lie) {
        check(devices, &op, &operands, dtype);
    }
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
        check_passes(&devices, &case, DType::BF16, Lie::Contiguous);
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

/// Convolutions that large tiles can compute: rows and columns that they divide and do not, one plane and many, every
/// padding, images together in a register and rows longer than one; many tiles, and large weights.
fn tiles() -> Vec<Case> {
    let case = |x, outputs, padding| case(x, outputs, &[3, 3], [1; 3], padding, [1; 3], 1);
    vec![
        case(&[32, 24, 4, 4], 25, [1; 3]),
        case(&[3, 33, 19, 23], 24, [0; 3]),
        case(&[1, 24, 29, 71], 26, [1; 3]),
        case(&[5, 27, 11, 9], 31, [2, 2, 0]),
        case(&[7, 24, 7, 8], 40, [1, 2, 0]),
        case(&[9, 25, 15, 3], 24, [0, 1, 0]),
        case(&[6, 30, 12, 12], 70, [3, 0, 0]),
        case(&[18, 24, 16, 16], 24, [1; 3]),
        case(&[5, 24, 33, 32], 24, [0, 1, 0]),
        case(&[3, 24, 9, 48], 25, [1; 3]),
        case(&[1, 24, 9, 128], 25, [1; 3]),
        case(&[7, 280, 4, 4], 170, [1; 3]),
        case(&[5, 96, 7, 7], 330, [1; 3]),
    ]
}

/// The root mean square of what differs, relative to that of what is wanted.
fn error(got: &[f64], want: &[f64]) -> f64 {
    let squares: f64 = got.iter().zip(want).map(|(got, want)| (got - want).powi(2)).sum();
    (squares / want.iter().map(|want| want * want).sum::<f64>()).sqrt()
}

/// Checks the passes of a case against double precision on several devices, each with what an error may be, of the error
/// of rounding the exact result once; and that threads do not change a bit.
fn check_errors(devices: &[(&Devices, f64)], case: &Case, dtype: DType) {
    for (op, operands) in passes(case, dtype, Lie::Contiguous) {
        let exact: Vec<_> = operands.iter().map(|x| x.cast(DType::F64)).collect();
        let want = run_on(&devices[0].0.reference, &op, &exact).remove(0);
        let rounded = error(&want.cast(dtype).values(), &want.values());
        for (devices, most) in devices {
            let outputs: Vec<_> =
                devices.cpus.iter().map(|cpu| run_on(cpu, &op, &operands).remove(0).values()).collect();
            let got = error(&outputs[0], &want.values());
            let what =
                || format!("{} of {:?} to {} channels, {:?}", op.name(), case.x, case.outputs, case.conv);
            assert!(got < most * rounded, "an error of {got}, of {rounded} by rounding, in {}", what());
            assert!(outputs.iter().all(|o| *o == outputs[0]), "threads change the bits of {}", what());
        }
    }
}

#[test]
fn convolutions_of_half_precision_are_as_good_as_direct_sums_rounded_once() {
    let devices = Devices::new();
    for case in tiles() {
        check_errors(&[(&devices, 1.0001)], &case, DType::BF16);
        check_errors(&[(&devices, 1.002)], &case, DType::F16);
    }
    // And in every place: images of several parts, tiles that are mostly outside.
    for case in sizes() {
        check_passes(&devices, &case, DType::BF16, Lie::Contiguous);
    }
}

/// Convolutions that are direct sums: strided, dilated, in groups, of few channels, of one tap.
fn direct() -> Vec<Case> {
    vec![
        case(&[5, 24, 17, 15], 40, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[9, 40, 8, 8], 72, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
        case(&[6, 56, 4, 4], 37, &[1, 1], [2; 3], [0; 3], [1; 3], 1),
        case(&[2, 3, 32, 32], 64, &[3, 3], [1; 3], [1; 3], [1; 3], 1),
        case(&[3, 36, 11, 13], 54, &[3, 2], [1, 2, 1], [2, 0, 0], [2, 1, 1], 3),
        case(&[2, 80, 40, 40], 60, &[1, 1], [1; 3], [0; 3], [1; 3], 1),
        case(&[2, 300, 6, 6], 33, &[3, 3], [2; 3], [1; 3], [1; 3], 1),
    ]
}

#[test]
fn direct_sums_of_half_precision_are_rounded_once() {
    let devices = Devices::new();
    for case in direct() {
        check_errors(&[(&devices, 1.0001)], &case, DType::BF16);
        check_errors(&[(&devices, 1.0001)], &case, DType::F16);
    }
}

#[test]
fn errors_of_single_precision_are_what_the_device_was_asked_for() {
    let [highest, high, medium] = [Precision::Highest, Precision::High, Precision::Medium].map(Devices::of);
    // Rounding once is an error of 2.5e-8: at most 6e-7, 4e-6 and 4e-3.
    let devices = [(&highest, 24.0), (&high, 160.0), (&medium, 1.6e5)];
    for case in tiles() {
        check_errors(&devices, &case, DType::F32);
    }
}
