//! Samples of matrix products.

use gradus_tensor_core::op::Linear;
use gradus_tensor_core::{Op, UnaryOp};

use super::{INTEGERS, Input, Kind, Sample};

pub(super) fn matmul() -> Vec<Sample> {
    let mut samples = Vec::new();
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[1, 1], &[1, 1]),
        (&[3, 4], &[4, 5]),
        (&[1, 7], &[7, 1]),
        (&[5, 1], &[1, 6]),
        (&[4, 3], &[3, 1]),
        (&[2, 3, 4], &[2, 4, 2]),
        (&[2, 1, 2, 3], &[2, 1, 3, 4]),
        (&[2, 0], &[0, 3]),
    ];
    for (a, b) in shapes {
        let op = || Op::MatMul;
        samples.push(Sample::new(op(), [Input::number(a), Input::number(b)]).within(16.0, 16.0));
        let ints = Sample::new(op(), [Input::number(a), Input::number(b)]);
        samples.push(ints.over(&INTEGERS).rough());
    }
    // Beyond the size of any register tile or cache block's edge.
    for (m, k, n) in [(33, 70, 41), (130, 17, 9), (64, 64, 64)] {
        let big = Sample::new(Op::MatMul, [Input::number(&[m, k]), Input::number(&[k, n])]);
        samples.push(big.within(32.0, k as f64).rough());
    }
    for lead in [&[][..], &[2], &[2, 3]] {
        let x = Input::number(&[lead, &[4]].concat());
        let (w, b) = (Input::number(&[5, 4]), Input::number(&[5]));
        samples.push(Sample::new(Op::Linear(Linear::default()), [x.clone(), w.clone()]).within(16.0, 16.0));
        samples.push(Sample::new(Op::Linear(Linear::default()), [x, w, b]).within(16.0, 16.0));
    }
    samples.extend(layers());
    samples.extend(linear_dynamic());
    samples
}

/// Linear layers with what follows them: functions whose derivative is told from the result, and one of which it is not.
fn layers() -> impl Iterator<Item = Sample> {
    let activations = [
        None,
        Some(UnaryOp::Tanh),
        Some(UnaryOp::Silu),
        Some(UnaryOp::Relu),
        Some(UnaryOp::Affine { mul: -0.5, add: 1.0 }),
    ];
    (0..20).map(move |i| {
        let op = Linear { residual: i % 4 < 2, activation: activations[i % 5] };
        let lead = [&[][..], &[3], &[2, 2]][i % 3];
        let with = |last: usize| Input::number(&[lead, &[last]].concat());
        let mut inputs = vec![with(4), Input::number(&[5, 4])];
        inputs.extend((i % 2 == 0).then(|| Input::number(&[5])));
        inputs.extend(op.residual.then(|| with(5)));
        let sample = Sample::new(Op::Linear(op), inputs).within(16.0, 16.0);
        // ReLU has a kink where finite differences say nothing.
        if op.activation == Some(UnaryOp::Relu) { sample.rough() } else { sample }
    })
}

/// Inputs of one sign and of both, of sizes around those of registers and blocks. The gradient is no finite difference.
fn linear_dynamic() -> Vec<Sample> {
    let shapes: [(&[usize], usize); 6] =
        [(&[4], 5), (&[2, 4], 5), (&[2, 3, 7], 66), (&[9, 130], 70), (&[8, 64], 64), (&[3, 33], 1)];
    let sample = |(x, out): (&[usize], usize), bias: bool, [low, high]: [f64; 2]| {
        let features = x.last().copied().unwrap_or(1);
        let mut inputs = vec![
            Input::new(x, Kind::Number { low, high }),
            Input::new(&[out, features], Kind::Bytes),
            Input::new(&[out], Kind::Single { low: 0.001, high: 0.01 }),
        ];
        if bias {
            inputs.push(Input::new(&[out], Kind::Single { low: -1.0, high: 1.0 }));
        }
        Sample::new(Op::LinearDynamic, inputs).within(2.0, 1.0).rough()
    };
    let ranges = [[-2.0, 2.0], [0.5, 2.0], [-2.0, -1.0]];
    shapes
        .into_iter()
        .enumerate()
        .flat_map(|(i, shape)| {
            [sample(shape, false, ranges[i % 3]), sample(shape, true, ranges[(i + 1) % 3])]
        })
        .collect()
}
