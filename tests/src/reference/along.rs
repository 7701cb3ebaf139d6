//! Ops along axes: reductions, arg-reductions, scans and sorts.
//!
//! A "line" is the elements that differ only in their index along one axis. In a contiguous array of
//! `outer * n * inner` elements, the line `(o, i)` starts at `o * n * inner + i` and steps by `inner`.

use std::cmp::Ordering;

use gradus_tensor_core::op::{ArgReduce, Reduce, Scan, Sort};
use gradus_tensor_core::{BinaryOp, DType, Layout, ReduceKind, Shape};

use super::{Operand, Values};

/// The positions of each line along an axis of a contiguous array.
pub(super) fn lines(shape: &Shape, axis: usize) -> Vec<Vec<usize>> {
    let (outer, n) = (shape[..axis].iter().product::<usize>(), shape[axis]);
    let inner = shape[axis + 1..].iter().product::<usize>();
    let starts = (0..outer).flat_map(|o| (0..inner).map(move |i| o * n * inner + i));
    starts.map(|start| (0..n).map(|k| start + k * inner).collect()).collect()
}

/// Two integers combined.
fn combine_int(kind: ReduceKind, a: i64, b: i64) -> i64 {
    let op = match kind {
        ReduceKind::Sum => BinaryOp::Add,
        ReduceKind::Prod => BinaryOp::Mul,
        ReduceKind::Max => BinaryOp::Maximum,
        ReduceKind::Min => BinaryOp::Minimum,
    };
    op.eval_int(a, b).expect("none of these divides")
}

/// The result of combining no elements; extremes start from their first element instead.
fn identity(kind: ReduceKind) -> i64 {
    if kind == ReduceKind::Prod { 1 } else { 0 }
}

pub(super) fn reduce(op: &Reduce, x: Operand<'_>, dtype: DType) -> Values {
    // Element `i` belongs to output `owner[i]`: the reduced axes get stride 0 in the output's layout.
    let shape = *x.layout.shape();
    let out = shape.reduced(op.axes);
    let owner = Layout::contiguous(out).expand(shape).expect("a reduced shape expands to its origin");
    fn fold<T: Copy>(owner: Layout, n: usize, x: Vec<T>, none: T, f: impl Fn(T, T) -> T) -> Vec<T> {
        let mut all = vec![None; n];
        for (place, x) in owner.positions().zip(x) {
            all[place] = Some(all[place].map_or(x, |sum| f(sum, x)));
        }
        all.into_iter().map(|sum| sum.unwrap_or(none)).collect()
    }
    let (n, none) = (out.numel(), identity(op.kind));
    match Values::of(x) {
        Values::Float(v) => {
            Values::from_f64(fold(owner, n, v, none as f64, |a, b| op.kind.eval(a, b)), dtype)
        }
        Values::Int(v) => Values::from_i64(fold(owner, n, v, none, |a, b| combine_int(op.kind, a, b)), dtype),
    }
}

pub(super) fn scan(op: &Scan, x: Operand<'_>, dtype: DType) -> Values {
    fn run<T: Copy>(x: &mut [T], lines: Vec<Vec<usize>>, reverse: bool, f: impl Fn(T, T) -> T) {
        for mut line in lines {
            if reverse {
                line.reverse();
            }
            for pair in line.windows(2) {
                x[pair[1]] = f(x[pair[0]], x[pair[1]]);
            }
        }
    }
    let lines = lines(x.layout.shape(), op.axis);
    match Values::of(x) {
        Values::Float(mut v) => {
            run(&mut v, lines, op.reverse, |a, b| op.kind.eval(a, b));
            Values::from_f64(v, dtype)
        }
        Values::Int(mut v) => {
            run(&mut v, lines, op.reverse, |a, b| combine_int(op.kind, a, b));
            Values::from_i64(v, dtype)
        }
    }
}

/// The order of two elements of one run of values; NaN is larger than any number and equal to itself.
fn order(values: &Values, a: usize, b: usize) -> Ordering {
    match values {
        Values::Int(v) => v[a].cmp(&v[b]),
        Values::Float(v) => v[a].partial_cmp(&v[b]).unwrap_or_else(|| v[a].is_nan().cmp(&v[b].is_nan())),
    }
}

fn is_nan(values: &Values, i: usize) -> bool {
    matches!(values, Values::Float(v) if v[i].is_nan())
}

/// The first NaN if there is one, else the first of the extreme elements.
pub(super) fn arg_reduce(op: &ArgReduce, x: Operand<'_>) -> Values {
    let values = Values::of(x);
    let wins = if op.largest { Ordering::Greater } else { Ordering::Less };
    let position = |line: Vec<usize>| {
        let nan = line.iter().position(|&p| is_nan(&values, p));
        let first_best = || {
            (1..line.len())
                .fold(0, |best, k| if order(&values, line[k], line[best]) == wins { k } else { best })
        };
        nan.unwrap_or_else(first_best) as i64
    };
    Values::Int(lines(x.layout.shape(), op.axis).into_iter().map(position).collect())
}

pub(super) fn sort(op: &Sort, x: Operand<'_>) -> (Values, Values) {
    let values = Values::of(x);
    let n = x.layout.numel();
    let (mut source, mut place) = (vec![0; n], vec![0; n]);
    for line in lines(x.layout.shape(), op.axis) {
        let mut by: Vec<usize> = (0..line.len()).collect();
        by.sort_by(|&a, &b| {
            let ascending = order(&values, line[a], line[b]);
            if op.descending { ascending.reverse() } else { ascending }
        });
        for (&to, from) in line.iter().zip(by) {
            source[to] = line[from];
            place[to] = from as i64;
        }
    }
    (values.pick(source.into_iter()), Values::Int(place))
}
