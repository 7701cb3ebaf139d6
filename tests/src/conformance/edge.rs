//! Tensors without elements, and indices out of range.

use gradus_tensor_core::op::{
    Arange, ArgReduce, Attention, BatchNormBlock, Conv, ConvBlock, CrossEntropy, Fill, Linear, Norm,
    NormKind, Pool, PoolKind, Reduce, Scan, Softmax, Sort,
};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{
    AxisSet, BinaryOp, CompareOp, DType, Device, Error, HostArray, Meta, Op, ReduceKind, Result, Scalar,
    Shape, Tensor, UnaryOp,
};

use super::ops::against_reference;
use super::{Findings, Tolerance, unexpected};
use crate::samples::INTEGERS;

/// Zeros: an array that may be empty.
fn zeros(dims: &[usize], dtype: DType) -> Result<HostArray> {
    Tensor::zeros(dims, dtype, &crate::Reference::device())?.to_host()
}

pub(super) fn empty(device: &Device) -> Findings {
    let mut findings = Findings::default();
    for (op, shapes) in empty_cases() {
        let values: Result<Vec<HostArray>> = shapes.iter().map(|(dims, dtype)| zeros(dims, *dtype)).collect();
        let outcome = || -> Result<_> {
            let values = values?;
            let operands = values.iter().map(|v| device.upload(v)).collect::<Result<Vec<_>>>()?;
            Ok((operands, values))
        };
        let outcome = match outcome() {
            Ok((x, values)) => against_reference(
                device,
                &op,
                &x,
                &values,
                Tolerance { ulps: 8.0, scale: 1.0, roundings: 1.0 },
            ),
            Err(error) => Err(unexpected(&error)),
        };
        findings.check(|| format!("{} {op:?} of {shapes:?}", op.name()), outcome);
    }
    findings
}

type Shapes = Vec<(Vec<usize>, DType)>;

fn empty_cases() -> Vec<(Op, Shapes)> {
    const F: DType = DType::F32;
    const I: DType = DType::I64;
    let mut cases: Vec<(Op, Shapes)> = Vec::new();
    let mut add = |op: Op, shapes: &[(&[usize], DType)]| {
        cases.push((op, shapes.iter().map(|(dims, dtype)| (dims.to_vec(), *dtype)).collect()));
    };
    let none = || Meta::new(Shape::new(&[0, 3]).unwrap_or(Shape::SCALAR), F);
    add(Op::Fill(Fill { value: Scalar::Int(1), out: none() }), &[]);
    let vector = Meta::new(Shape::new(&[0]).unwrap_or(Shape::SCALAR), F);
    add(Op::Arange(Arange { start: 0.0, step: 1.0, out: vector }), &[]);
    for dims in [&[0][..], &[0, 3], &[3, 0], &[2, 0, 4]] {
        add(Op::Copy, &[(dims, F)]);
        add(Op::Cast(I), &[(dims, F)]);
        add(Op::Unary(UnaryOp::Exp), &[(dims, F)]);
        add(Op::Binary(BinaryOp::Add), &[(dims, F), (dims, F)]);
        add(Op::Compare(CompareOp::Lt), &[(dims, F), (dims, F)]);
        add(Op::Select, &[(dims, DType::Bool), (dims, F), (dims, F)]);
        for axis in 0..dims.len() {
            for kind in ReduceKind::ALL {
                add(Op::Reduce(Reduce { kind, axes: AxisSet::single(axis) }), &[(dims, F)]);
                add(Op::Scan(Scan { kind, axis, reverse: false }), &[(dims, F)]);
            }
            add(Op::ArgReduce(ArgReduce { largest: true, axis }), &[(dims, F)]);
            add(Op::Sort(Sort { axis, descending: false }), &[(dims, F)]);
            add(Op::Softmax(Softmax { axis, log: false }), &[(dims, F)]);
            add(Op::Softmax(Softmax { axis, log: true }), &[(dims, F)]);
            add(Op::Gather { axis }, &[(dims, F), (dims, I)]);
            add(Op::ScatterAdd { axis }, &[(dims, F), (dims, I), (dims, F)]);
            add(Op::Concat { axis }, &[(dims, F), (dims, F)]);
        }
        add(Op::Dropout { p: 0.5, key: Key { seed: 1, stream: 1 } }, &[(dims, F)]);
    }
    for (m, k, n) in [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)] {
        add(Op::MatMul, &[(&[m, k], F), (&[k, n], F)]);
        add(Op::MatMul, &[(&[2, m, k], F), (&[2, k, n], F)]);
        add(Op::Linear(Linear::default()), &[(&[m, k], F), (&[n, k], F), (&[n], F)]);
        let layer = Linear { residual: true, activation: Some(UnaryOp::Gelu) };
        add(Op::Linear(layer), &[(&[m, k], F), (&[n, k], F), (&[n], F), (&[m, n], F)]);
    }
    add(Op::MatMul, &[(&[0, 2, 3], F), (&[0, 3, 2], F)]);
    for (m, k, n) in [(0, 2, 3), (2, 0, 3), (2, 3, 0), (0, 0, 0)] {
        add(Op::LinearDynamic, &[(&[m, k], F), (&[n, k], DType::I8), (&[n], F), (&[n], F)]);
    }
    add(Op::IndexSelect { axis: 0 }, &[(&[3, 2], F), (&[0], I)]);
    add(Op::IndexSelect { axis: 1 }, &[(&[0, 2], F), (&[4], I)]);
    add(Op::IndexAdd { axis: 0 }, &[(&[3, 2], F), (&[0], I), (&[0, 2], F)]);
    for kind in [
        NormKind::Layer { dims: 1 },
        NormKind::Rms { dims: 1 },
        NormKind::Batch,
        NormKind::Group { groups: 2 },
    ] {
        add(Op::Norm(Norm { kind, eps: 1e-5 }), &[(&[0, 4], F)]);
    }
    add(Op::BatchNormEval { eps: 1e-5 }, &[(&[0, 4], F), (&[4], F), (&[4], F)]);
    let block = BatchNormBlock { eps: 1e-5, residual: true, activation: Some(UnaryOp::Relu) };
    add(Op::BatchNormBlock(block), &[(&[0, 4], F), (&[4], F), (&[4], F), (&[0, 4], F)]);
    let planes = (&[2, 4, 0][..], F);
    add(Op::BatchNormBlockGrad(block), &[planes, planes, planes, (&[4], F), (&[4], F), (&[4], F)]);
    add(Op::Conv(Conv::default()), &[(&[0, 2, 5, 5], F), (&[3, 2, 3, 3], F)]);
    add(Op::Conv(Conv::default()), &[(&[2, 2, 5, 5], F), (&[0, 2, 3, 3], F)]);
    let block =
        ConvBlock { norm: Some(1e-5), activation: Some(UnaryOp::Relu), ..ConvBlock::new(Conv::default()) };
    let vector = (&[3][..], F);
    for (n, c) in [(0, 2), (2, 0)] {
        let (x, w) = ((&[n, c, 5, 5][..], F), (&[3, c, 3, 3][..], F));
        add(Op::ConvBlock(block), &[x, w, vector, vector, vector, vector]);
    }
    let [size, kernel] = [[5, 5, 1], [3, 3, 1]];
    let conv = Conv::default();
    add(Op::ConvBackwardInput { conv, size }, &[(&[0, 3, 3, 3], F), (&[3, 2, 3, 3], F)]);
    add(Op::ConvBackwardWeight { conv, kernel }, &[(&[0, 3, 3, 3], F), (&[0, 2, 5, 5], F)]);
    for kind in [PoolKind::Max, PoolKind::Average { count_include_pad: true }] {
        let pool = Pool {
            kind,
            kernel: [2; 3],
            stride: [2; 3],
            padding: [0; 3],
            dilation: [1; 3],
            ceil_mode: false,
        };
        add(Op::Pool(pool), &[(&[0, 2, 4, 4], F)]);
    }
    add(Op::CrossEntropy(CrossEntropy::default()), &[(&[0, 3], F), (&[0], I)]);
    let attention = Attention { scale: 1.0, causal: false };
    for (t, s) in [(0, 3), (3, 0), (0, 0)] {
        add(Op::Attention(attention), &[(&[2, t, 4], F), (&[2, s, 4], F), (&[2, s, 5], F)]);
    }
    add(Op::Attention(attention), &[(&[0, 2, 4], F), (&[0, 3, 4], F), (&[0, 3, 5], F)]);
    for hidden in [0, 2] {
        let [none, three, four] = [[0, 0, 4 * hidden], [2, 0, 3 * hidden], [2, 0, 4 * hidden]];
        let state: &[usize] = &[0, hidden];
        add(Op::Lstm, &[(&four, F), (&[4 * hidden, hidden], F), (state, F), (state, F)]);
        add(Op::Gru, &[(&three, F), (&[3 * hidden, hidden], F), (state, F)]);
        add(Op::Lstm, &[(&none, F), (&[4 * hidden, hidden], F), (state, F), (state, F)]);
    }
    cases
}

pub(super) fn wrong_indices(device: &Device) -> Findings {
    let mut findings = Findings::default();
    let run = |op: Op, values: &[HostArray]| -> Result<()> {
        let x = values.iter().map(|v| device.upload(v)).collect::<Result<Vec<_>>>()?;
        device.execute(&op, &x.iter().collect::<Vec<_>>()).map(drop)
    };
    let cases = |bad: i64| -> Result<Vec<(Op, Vec<HostArray>)>> {
        let x = zeros(&[4, 3], DType::F32)?;
        let vector = |v: Vec<i64>| -> Result<HostArray> { HostArray::new(v, Shape::new(&[2])?) };
        let matrix = HostArray::new(vec![0, 1, 2, 3, bad, 0], Shape::new(&[2, 3])?)?;
        let logits = zeros(&[2, 4], DType::F32)?;
        Ok(vec![
            (Op::Gather { axis: 0 }, vec![x.clone(), matrix.clone()]),
            (Op::ScatterAdd { axis: 0 }, vec![x.clone(), matrix, zeros(&[2, 3], DType::F32)?]),
            (Op::IndexSelect { axis: 0 }, vec![x.clone(), vector(vec![0, bad])?]),
            (Op::IndexAdd { axis: 0 }, vec![x, vector(vec![bad, 1])?, zeros(&[2, 3], DType::F32)?]),
            (Op::CrossEntropy(CrossEntropy::default()), vec![logits, vector(vec![3, bad])?]),
        ])
    };
    for bad in [4, -1, i64::MAX, i64::MIN] {
        let cases = match cases(bad) {
            Ok(cases) => cases,
            Err(error) => {
                findings.require("preparing wrong indices", Err(error));
                continue;
            }
        };
        for (op, values) in cases {
            let outcome = match run(op.clone(), &values) {
                Err(error) => match error.root() {
                    Error::Index { index, size: 4, .. } if *index == bad => Ok(()),
                    other => Err(format!("  gave another error than Error::Index for {bad} of 4: {other}")),
                },
                Ok(()) => Err("  was accepted".into()),
            };
            findings.check(|| format!("{} with index {bad} where the size is 4", op.name()), outcome);
        }
    }
    for op in [BinaryOp::Div, BinaryOp::Rem] {
        for dtype in INTEGERS {
            let zeros = || -> Result<Vec<HostArray>> { Ok(vec![zeros(&[3], dtype)?, zeros(&[3], dtype)?]) };
            let refused = zeros().and_then(|x| run(Op::Binary(op), &x)).is_err();
            findings.check(
                || format!("{} of {dtype} by zero", op.name()),
                refused.then_some(()).ok_or_else(|| "  was accepted".into()),
            );
        }
    }
    let after = Tensor::ones([4], DType::F32, device).and_then(|x| x.add(&x)?.to_vec::<f32>());
    findings.check(
        || "adding after all those errors".into(),
        match after {
            Ok(v) if v == [2.0; 4] => Ok(()),
            other => Err(format!("  gave {other:?}")),
        },
    );
    findings
}
