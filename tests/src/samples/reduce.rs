//! Samples of reductions, scans and sorts.

use gradus_tensor_core::op::{ArgReduce, Reduce, Scan, Sort};
use gradus_tensor_core::{AxisSet, DType, Op, ReduceKind};

use super::{Input, Kind, NUMBERS, Sample};

fn axes(list: &[usize]) -> AxisSet {
    list.iter().map(|&a| AxisSet::single(a)).fold(AxisSet::EMPTY, AxisSet::union)
}

/// Numbers that suit a kind of reduction: products stay near 1, extremes have no ties.
fn numbers(kind: ReduceKind, dims: &[usize]) -> Input {
    match kind {
        ReduceKind::Sum => Input::number(dims),
        ReduceKind::Prod => Input::new(dims, Kind::Number { low: 0.7, high: 1.3 }),
        ReduceKind::Max | ReduceKind::Min => Input::new(dims, Kind::Apart),
    }
}

pub(super) fn reduce() -> Vec<Sample> {
    let mut samples = Vec::new();
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[], &[]),
        (&[13], &[0]),
        (&[5, 7], &[0]),
        (&[5, 7], &[1]),
        (&[3, 4, 5], &[0, 2]),
        (&[2, 3, 4, 2], &[1, 2]),
        (&[2, 3, 4], &[0, 1, 2]),
        (&[3, 1, 5], &[1]),
    ];
    for kind in ReduceKind::ALL {
        for (dims, over) in shapes {
            let op = || Op::Reduce(Reduce { kind, axes: axes(over) });
            samples.push(Sample::new(op(), [numbers(kind, dims)]).within(32.0, 8.0));
            samples.push(
                Sample::new(op(), [Input::new(dims, Kind::Ties)]).over(&NUMBERS).within(32.0, 8.0).rough(),
            );
        }
        let bools =
            Sample::new(Op::Reduce(Reduce { kind, axes: axes(&[1]) }), [Input::new(&[3, 5], Kind::Truth)]);
        samples.push(bools.over(&[DType::Bool]).rough());
    }
    // Long enough for vectors, blocks and threads to show.
    let long = |dims: &[usize], over| {
        let sum = Op::Reduce(Reduce { kind: ReduceKind::Sum, axes: axes(over) });
        Sample::new(sum, [Input::number(dims)]).within(64.0, 64.0).rough()
    };
    samples.extend([
        long(&[3001], &[0]),
        long(&[70, 130], &[0]),
        long(&[70, 130], &[1]),
        long(&[70, 130], &[0, 1]),
    ]);
    for largest in [true, false] {
        for (dims, axis) in [(&[11][..], 0), (&[4, 9], 0), (&[4, 9], 1), (&[3, 5, 4], 1)] {
            let op = Op::ArgReduce(ArgReduce { largest, axis });
            let numbers = [DType::Bool].iter().chain(&NUMBERS).copied().collect::<Vec<_>>();
            samples.push(Sample::new(op, [Input::new(dims, Kind::Ties)]).over(&numbers).rough());
        }
    }
    samples
}

pub(super) fn scan() -> Vec<Sample> {
    let mut samples = Vec::new();
    for kind in ReduceKind::ALL {
        for reverse in [false, true] {
            for (dims, axis) in [(&[9][..], 0), (&[3, 5], 0), (&[3, 5], 1), (&[2, 4, 3], 1)] {
                let op = || Op::Scan(Scan { kind, axis, reverse });
                samples.push(Sample::new(op(), [numbers(kind, dims)]).within(32.0, 8.0));
                samples.push(
                    Sample::new(op(), [Input::new(dims, Kind::Ties)])
                        .over(&NUMBERS)
                        .within(32.0, 8.0)
                        .rough(),
                );
            }
        }
    }
    samples
}

pub(super) fn sort() -> Vec<Sample> {
    let mut samples = Vec::new();
    for descending in [false, true] {
        for (dims, axis) in [(&[10][..], 0), (&[4, 6], 0), (&[4, 6], 1), (&[2, 5, 3], 1), (&[300], 0)] {
            let op = || Op::Sort(Sort { axis, descending });
            let smooth = dims.len() > 1 || dims[0] < 100;
            let apart = Sample::new(op(), [Input::new(dims, Kind::Apart)]);
            samples.push(if smooth { apart } else { apart.rough() });
            samples.push(Sample::new(op(), [Input::new(dims, Kind::Ties)]).over(&NUMBERS).rough());
        }
    }
    samples
}
