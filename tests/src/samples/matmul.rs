//! Samples of matrix products.

use gradus_tensor_core::{DType, Op};

use super::{Input, Sample};

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
        samples.push(ints.over(&[DType::U8, DType::I32, DType::I64]).rough());
    }
    // Beyond the size of any register tile or cache block's edge.
    for (m, k, n) in [(33, 70, 41), (130, 17, 9), (64, 64, 64)] {
        let big = Sample::new(Op::MatMul, [Input::number(&[m, k]), Input::number(&[k, n])]);
        samples.push(big.within(32.0, k as f64).rough());
    }
    for lead in [&[][..], &[2], &[2, 3]] {
        let x = Input::number(&[lead, &[4]].concat());
        let (w, b) = (Input::number(&[5, 4]), Input::number(&[5]));
        samples.push(Sample::new(Op::Linear, [x.clone(), w.clone()]).within(16.0, 16.0));
        samples.push(Sample::new(Op::Linear, [x, w, b]).within(16.0, 16.0));
    }
    samples
}
