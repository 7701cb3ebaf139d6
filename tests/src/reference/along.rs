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
    fn groups<T>(owner: Layout, n: usize, x: Vec<T>) -> Vec<Vec<T>> {
        let mut groups: Vec<Vec<T>> = (0..n).map(|_| Vec::new()).collect();
        owner.positions().zip(x).for_each(|(place, x)| groups[place].push(x));
        groups
    }
    let (kind, none) = (op.kind, identity(op.kind));
    match Values::of(x) {
        Values::Float(v) => {
            let combine = |group: Vec<f64>| match kind {
                ReduceKind::Sum => sum(&group),
                _ => group.into_iter().reduce(|a, b| kind.eval(a, b)).unwrap_or(none as f64),
            };
            Values::from_f64(groups(owner, out.numel(), v).into_iter().map(combine).collect(), dtype)
        }
        Values::Int(v) => {
            let combine =
                |group: Vec<i64>| group.into_iter().reduce(|a, b| combine_int(kind, a, b)).unwrap_or(none);
            Values::from_i64(groups(owner, out.numel(), v).into_iter().map(combine).collect(), dtype)
        }
    }
}

/// The sum, with what each addition rounds away added at the end (Neumaier, ZAMM 54, 1974): as good as exact, so
/// that the order in which a backend adds can be judged by it.
fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut lost) = (0.0, 0.0);
    for &x in values {
        let next: f64 = sum + x;
        lost += if f64::abs(sum) >= x.abs() { (sum - next) + x } else { (x - next) + sum };
        sum = next;
    }
    // Infinities and NaN are in the sum already and make nonsense of what was lost.
    if sum.is_finite() { sum + lost } else { sum }
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
