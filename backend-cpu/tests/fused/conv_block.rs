//! Convolutions with what follows them.

use gradus_tensor_core::op::ConvBlock;
use gradus_tensor_core::{DType, Device, HostArray, Op, Result, Tensor, UnaryOp};

use crate::common::{Devices, LIES, Lie, Operand, check_within, tolerance};
use crate::conv::{Case, kinds, sizes};

const ACTIVATIONS: [Option<UnaryOp>; 5] = [
    None,
    Some(UnaryOp::Relu),
    Some(UnaryOp::Clamp { min: 0.0, max: 6.0 }),
    Some(UnaryOp::Clamp { min: 0.5, max: -0.5 }),
    Some(UnaryOp::Silu),
];

/// The shape of the output.
fn output(case: &Case) -> Vec<usize> {
    let size = case.conv.output_size(&case.x[2..], case.kernel).unwrap();
    [&[case.x[0], case.outputs], &size[..case.x.len() - 2]].concat()
}

/// Operands of a block with a normalization by statistics in that dtype.
fn operands(case: &Case, op: &ConvBlock, dtype: DType, statistics: DType, lie: Lie) -> Vec<Operand> {
    let filters = [&[case.outputs, case.x[1] / case.conv.groups], case.kernel].concat();
    let vector =
        |dtype, seed, low: f64| Operand::map(&[case.outputs], dtype, Lie::Contiguous, seed, move |u| u + low);
    let mut all = vec![Operand::random(case.x, dtype, lie, 1), Operand::random(&filters, dtype, lie, 2)];
    all.extend(op.bias.then(|| vector(dtype, 3, -0.5)));
    if op.norm.is_some() {
        all.extend([vector(statistics, 4, -0.5), vector(statistics, 5, 0.2)]);
        all.extend([vector(dtype, 6, -0.5), vector(dtype, 7, -0.5)]);
    }
    all.extend(op.residual.then(|| Operand::random(&output(case), dtype, lie, 8)));
    all
}

/// Every choice of steps after the convolution, with some activation each.
fn blocks(case: &Case, number: usize) -> impl Iterator<Item = ConvBlock> {
    let conv = case.conv;
    (0..8usize).map(move |i| ConvBlock {
        conv,
        bias: i & 1 > 0,
        norm: (i & 2 > 0).then_some(1e-3),
        residual: i & 4 > 0,
        activation: ACTIVATIONS[(i + number) % ACTIVATIONS.len()],
    })
}

#[test]
fn every_kind_of_block_is_right() {
    let devices = Devices::new();
    for (number, case) in kinds().iter().enumerate() {
        for op in blocks(case, number) {
            let check = |dtype, statistics, lie| {
                let operands = operands(case, &op, dtype, statistics, lie);
                check_within(&devices, &Op::ConvBlock(op), &operands, 2.0 * tolerance(dtype));
            };
            for lie in LIES {
                check(DType::F64, DType::F64, lie);
            }
            check(DType::F32, DType::F32, Lie::Transposed);
            check(DType::F16, DType::F32, Lie::Contiguous);
            check(DType::BF16, DType::BF16, Lie::Contiguous);
        }
    }
}

#[test]
fn blocks_that_are_cut_for_threads_are_right() {
    let devices = Devices::new();
    for (number, case) in sizes().iter().enumerate() {
        for op in blocks(case, number).skip(5) {
            let operands = operands(case, &op, DType::F32, DType::F32, Lie::Contiguous);
            check_within(&devices, &Op::ConvBlock(op), &operands, 2.0 * tolerance(DType::F32));
        }
        if let Some(op) = blocks(case, number).last() {
            let operands = operands(case, &op, DType::BF16, DType::F32, Lie::Contiguous);
            check_within(&devices, &Op::ConvBlock(op), &operands, 2.0 * tolerance(DType::BF16));
        }
    }
}

/// The steps one by one.
fn steps(op: &ConvBlock, x: &[Tensor]) -> Result<Tensor> {
    let operands: Vec<&Tensor> = x.iter().collect();
    let (conv, rest) = operands.split_at(2 + usize::from(op.bias));
    let mut y = Op::Conv(op.conv).run1(conv)?;
    if let Some(eps) = op.norm {
        y = Op::BatchNormEval { eps }.run1(&[&y, rest[0], rest[1], rest[2], rest[3]])?;
    }
    if op.residual {
        y = y.add(x.last().unwrap())?;
    }
    op.activation.map_or(Ok(y.clone()), |activation| Op::Unary(activation).run1(&[&y]))
}

fn bits(x: &Tensor) -> Vec<u64> {
    let host: HostArray = x.to_host().unwrap();
    // Zeros are equal whatever their sign.
    (0..host.len()).map(|i| (host.get_f64(i).unwrap() + 0.0).to_bits()).collect()
}

#[test]
fn a_block_has_the_bits_of_its_steps() {
    let devices = Devices::new();
    let device: &Device = &devices.cpus[0];
    for (number, case) in kinds().iter().chain(&sizes()).enumerate() {
        for op in blocks(case, number) {
            let operands = operands(case, &op, DType::F32, DType::F32, Lie::Contiguous);
            let x: Vec<Tensor> = operands.iter().map(|o| o.on(device).unwrap()).collect();
            let fused = Op::ConvBlock(op).run1(&x.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(bits(&fused), bits(&steps(&op, &x).unwrap()), "{op:?} of {:?}", case.x);
        }
    }
}

#[test]
fn what_is_not_a_number_stays_so_through_every_activation() {
    let devices = Devices::new();
    for device in &devices.cpus {
        let x = Tensor::from_vec(vec![f32::NAN, 1.0, -1.0, f32::INFINITY], [1, 1, 4], device).unwrap();
        let w = Tensor::ones([1, 1, 1], DType::F32, device).unwrap();
        for activation in ACTIVATIONS {
            let op = ConvBlock { activation, ..ConvBlock::new(Default::default()) };
            let fused = Op::ConvBlock(op).run1(&[&x, &w]).unwrap().to_vec::<f32>().unwrap();
            let expected = steps(&op, &[x.clone(), w.clone()]).unwrap().to_vec::<f32>().unwrap();
            for (a, b) in fused.iter().zip(&expected) {
                assert!(a == b || a.is_nan() && b.is_nan(), "{activation:?}: {fused:?} is not {expected:?}");
            }
        }
    }
}
