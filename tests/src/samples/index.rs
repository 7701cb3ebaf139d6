//! Samples of ops that move elements.

use gradus_tensor_core::Op;

use super::{Input, NUMBERS, Sample};

/// A sample for gradients over floats, and the same over all number dtypes.
fn both(samples: &mut Vec<Sample>, op: Op, inputs: Vec<Input>) {
    samples.push(Sample::new(op.clone(), inputs.clone()).within(8.0, 4.0));
    samples.push(Sample::new(op, inputs).over(&NUMBERS).within(8.0, 4.0).rough());
}

pub(super) fn index() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (dims, axis, rows) in
        [(&[6][..], 0, 9), (&[3, 5], 1, 4), (&[5, 3], 0, 7), (&[2, 4, 3], 1, 5), (&[3, 2], 1, 0)]
    {
        let mut picked = dims.to_vec();
        picked[axis] = rows;
        let index = || Input::index(&picked, dims[axis]);
        both(&mut samples, Op::Gather { axis }, vec![Input::number(dims), index()]);
        both(
            &mut samples,
            Op::ScatterAdd { axis },
            vec![Input::number(dims), index(), Input::number(&picked)],
        );
        let vector = || Input::index(&[rows], dims[axis]);
        both(&mut samples, Op::IndexSelect { axis }, vec![Input::number(dims), vector()]);
        both(
            &mut samples,
            Op::IndexAdd { axis },
            vec![Input::number(dims), vector(), Input::number(&picked)],
        );
    }
    let joins: [(usize, &[&[usize]]); 5] = [
        (0, &[&[3]]),
        (0, &[&[2], &[3], &[1]]),
        (1, &[&[2, 3], &[2, 1]]),
        (0, &[&[2, 3], &[0, 3], &[1, 3]]),
        (1, &[&[2, 3, 2], &[2, 2, 2]]),
    ];
    for (axis, parts) in joins {
        both(&mut samples, Op::Concat { axis }, parts.iter().map(|dims| Input::number(dims)).collect());
    }
    samples
}
