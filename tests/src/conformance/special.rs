//! NaN, infinities, signed zeros and large numbers.

use gradus_tensor_core::op::{
    ArgReduce, Attention, CrossEntropy, Norm, NormKind, Pool, PoolKind, Reduce, Scan, Softmax, Sort,
};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{
    AxisSet, BinaryOp, CompareOp, DType, Device, Element, HostArray, Op, ReduceKind, Result, Shape, Tensor,
    UnaryOp, with_dtype,
};

use super::ops::against_reference;
use super::{Findings, Tolerance, unexpected};

const NAN: f64 = f64::NAN;
const INF: f64 = f64::INFINITY;

/// Numbers at the edges, all of which every float dtype holds (but for the rounding of 0.3).
const EDGES: [f64; 14] =
    [NAN, INF, -INF, 0.0, -0.0, 1.0, -1.0, 0.3, -0.3, 2.0, -3.0, 12.0, 60000.0, -60000.0];

fn array(values: &[f64], dims: &[usize], dtype: DType) -> Result<HostArray> {
    let shape = Shape::new(dims)?;
    with_dtype!(dtype, T => HostArray::new(values.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>(), shape))
}

fn check(findings: &mut Findings, device: &Device, op: Op, values: Result<Vec<HostArray>>, ulps: f64) {
    let tolerance = Tolerance { ulps, scale: 0.1, roundings: 1.0 };
    let outcome = || {
        let values = values?;
        let operands = values.iter().map(|v| device.upload(v)).collect::<Result<Vec<_>>>()?;
        Ok((operands, values))
    };
    let outcome: Result<_> = outcome();
    let outcome = match &outcome {
        Ok((operands, values)) => against_reference(device, &op, operands, values, tolerance)
            .map_err(|text| format!("  operands {values:?}\n{text}")),
        Err(error) => Err(unexpected(error)),
    };
    findings.check(|| format!("{} {op:?} of special values", op.name()), outcome);
}

pub(super) fn run(device: &Device) -> Findings {
    let mut findings = Findings::default();
    for dtype in DType::FLOATS {
        unary(&mut findings, device, dtype);
        binary(&mut findings, device, dtype);
        along(&mut findings, device, dtype);
        neural(&mut findings, device, dtype);
        uniform(&mut findings, device, dtype);
    }
    let wild = [NAN, INF, -INF, 1e30, -1e30, 3.99, -3.99, -0.0];
    for from in DType::FLOATS {
        for to in
            [DType::Bool, DType::I8, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64]
        {
            let exact = array(&wild, &[8], from).map(|x| vec![x]);
            check(&mut findings, device, Op::Cast(to), exact, 0.0);
        }
        // -3.99 to u8 saturates at 0.
        check(&mut findings, device, Op::Cast(DType::U8), array(&wild, &[8], from).map(|x| vec![x]), 0.0);
    }
    findings
}

fn unary(findings: &mut Findings, device: &Device, dtype: DType) {
    for op in UnaryOp::ALL.into_iter().filter(|&op| op != UnaryOp::Not) {
        // Sines of large numbers measure the reduction of the angle, which is not what this is about.
        let periodic = matches!(op, UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan);
        let values: Vec<f64> =
            EDGES.into_iter().filter(|x| !periodic || x.abs() < 100.0 || !x.is_finite()).collect();
        let x = array(&values, &[values.len()], dtype).map(|x| vec![x]);
        check(findings, device, Op::Unary(op), x, 16.0);
    }
}

/// All pairs of edges.
fn pairs(dtype: DType, edges: &[f64]) -> Result<Vec<HostArray>> {
    let n = edges.len();
    let a: Vec<f64> = (0..n * n).map(|i| edges[i / n]).collect();
    let b: Vec<f64> = (0..n * n).map(|i| edges[i % n]).collect();
    Ok(vec![array(&a, &[n, n], dtype)?, array(&b, &[n, n], dtype)?])
}

fn binary(findings: &mut Findings, device: &Device, dtype: DType) {
    for op in BinaryOp::ALL.into_iter().filter(|op| op.takes(dtype)) {
        // Quotients and remainders of large by small numbers are ill conditioned.
        let edges: Vec<f64> = EDGES
            .into_iter()
            .filter(|x| op != BinaryOp::Rem || x.abs() != 60000.0 && x.abs() != 0.3)
            .collect();
        check(findings, device, Op::Binary(op), pairs(dtype, &edges), 16.0);
    }
    for op in CompareOp::ALL {
        check(findings, device, Op::Compare(op), pairs(dtype, &EDGES), 0.0);
    }
}

fn along(findings: &mut Findings, device: &Device, dtype: DType) {
    let rows: [&[f64]; 6] = [
        &[1.0, NAN, 3.0, -2.0, NAN, 0.0, 5.0, 4.0, 2.0, 1.0, 0.0],
        &[1.0, INF, 3.0, -2.0, 7.0, 0.0, 5.0, 4.0, 2.0, 1.0, INF],
        &[-INF, -INF, -INF, -INF, -INF, -INF, -INF, -INF, -INF, -INF, -INF],
        &[INF, 1.0, -INF, 2.0, 0.0, -0.0, 5.0, 4.0, 2.0, 1.0, 0.0],
        &[0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0, -0.0, 0.0],
        &[2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, NAN],
    ];
    let x = || array(&rows.concat(), &[6, 11], dtype).map(|x| vec![x]);
    for kind in ReduceKind::ALL {
        for axis in 0..2 {
            let axes = AxisSet::single(axis);
            check(findings, device, Op::Reduce(Reduce { kind, axes }), x(), 16.0);
            for reverse in [false, true] {
                check(findings, device, Op::Scan(Scan { kind, axis, reverse }), x(), 16.0);
            }
        }
    }
    for axis in 0..2 {
        for yes in [false, true] {
            check(findings, device, Op::ArgReduce(ArgReduce { largest: yes, axis }), x(), 0.0);
            check(findings, device, Op::Sort(Sort { axis, descending: yes }), x(), 0.0);
            check(findings, device, Op::Softmax(Softmax { axis, log: yes }), x(), 64.0);
        }
    }
    // Numbers whose exponentials overflow.
    let large = array(&[1000.0, 999.0, 0.0, -1000.0, 20000.0, 20001.0], &[2, 3], dtype).map(|x| vec![x]);
    check(findings, device, Op::Softmax(Softmax { axis: 1, log: false }), large, 64.0);
}

fn neural(findings: &mut Findings, device: &Device, dtype: DType) {
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [2; 3],
        stride: [2; 3],
        padding: [1; 3],
        dilation: [1; 3],
        ceil_mode: false,
    };
    // A NaN wins its window, padding never does, not even against -inf.
    let x = array(&[-INF, -INF, 1.0, NAN, NAN, 2.0, 3.0, 3.0, -5.0], &[1, 1, 3, 3], dtype);
    check(findings, device, Op::Pool(pool), x.map(|x| vec![x]), 0.0);

    let logits = array(&[100.0, -100.0, 0.0, -INF, 1.0, 2.0], &[2, 3], dtype);
    let target = || HostArray::new(vec![1i64, 2], Shape::new(&[2])?);
    let operands = logits.and_then(|x| Ok(vec![x, target()?]));
    check(findings, device, Op::CrossEntropy(CrossEntropy::default()), operands, 16.0);

    let rows = array(&[3.0, 3.0, 3.0, 3.0, 1.0, -1.0, 1.0, -1.0], &[2, 4], dtype).map(|x| vec![x]);
    check(findings, device, Op::Norm(Norm { kind: NormKind::Layer { dims: 1 }, eps: 1e-5 }), rows, 64.0);

    // The second query sees no key at all.
    let q = || array(&[1.0, 2.0, 0.5, -1.0], &[2, 2], dtype);
    let mask = || array(&[0.0, -INF, -INF, -INF], &[2, 2], dtype);
    let operands = || -> Result<Vec<HostArray>> { Ok(vec![q()?, q()?, q()?, mask()?]) };
    check(findings, device, Op::Attention(Attention { scale: 0.7, causal: false }), operands(), 32.0);
}

/// Draws from an interval in which many, rounded to nearest, would become the bound above.
fn uniform(findings: &mut Findings, device: &Device, dtype: DType) {
    let (low, high) = match dtype {
        DType::F64 => (1e15, 1e15 + 1.0),
        DType::F32 => (1e5, 1e5 + 1.0),
        _ => (0.0, 1.0),
    };
    let draw = || -> Result<(f64, f64)> {
        let x = Tensor::uniform(low, high, Key { seed: 1, stream: 2 }, 4096, dtype, device)?;
        Ok((x.amin_all()?.item()?, x.amax_all()?.item()?))
    };
    let outcome = match draw() {
        Ok((least, most)) if low <= least && most < high => Ok(()),
        Ok((least, most)) => Err(format!("  the numbers drawn are in {least}..={most}")),
        Err(error) => Err(unexpected(&error)),
    };
    findings.check(|| format!("{dtype} numbers uniform in {low}..{high}"), outcome);
}
