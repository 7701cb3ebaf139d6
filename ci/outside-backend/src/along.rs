//! Ops along axes.

use std::cmp::Ordering;

use gradus_tensor_core::op::{ArgReduce, Reduce, Scan, Sort};
use gradus_tensor_core::{HostArray, Layout, Meta, ReduceKind, Result, Shape};

use crate::Operand;
use crate::wide::{Wide, read, write};

/// The lines of a contiguous array along an axis, each as the positions of its elements.
fn lines(shape: &Shape, axis: usize) -> impl Iterator<Item = Vec<usize>> {
    let (n, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
    let outer = shape[..axis].iter().product::<usize>();
    (0..outer * inner).map(move |at| {
        let start = at / inner * n * inner + at % inner;
        (0..n).map(|k| start + k * inner).collect()
    })
}

/// A broadcast read of the output says to which of its elements each element of `x` belongs.
pub(crate) fn reduce<W: Wide>(op: &Reduce, x: Operand<'_>, out: Meta) -> Result<HostArray> {
    let owners = Layout::contiguous(out.shape).expand(*x.layout.shape())?;
    let mut members: Vec<Vec<W>> = vec![Vec::new(); out.shape.numel()];
    for (owner, x) in owners.positions().zip(read::<W>(x)?) {
        members[owner].push(x);
    }
    let of_nothing = if op.kind == ReduceKind::Prod { W::ONE } else { W::ZERO };
    let combined = members.into_iter().map(|all| pairwise(op.kind, all).unwrap_or(of_nothing));
    write(combined.collect(), out)
}

/// Neighbours first, then neighbouring pairs, and so on: a running sum of thousands would lose digits.
fn pairwise<W: Wide>(kind: ReduceKind, mut all: Vec<W>) -> Option<W> {
    while all.len() > 1 {
        all = all
            .chunks(2)
            .map(|pair| pair.iter().skip(1).fold(pair[0], |a, &b| W::combine(kind, a, b)))
            .collect();
    }
    all.first().copied()
}

pub(crate) fn scan<W: Wide>(op: &Scan, x: Operand<'_>, out: Meta) -> Result<HostArray> {
    let mut values = read::<W>(x)?;
    for mut line in lines(x.layout.shape(), op.axis) {
        if op.reverse {
            line.reverse();
        }
        for pair in line.windows(2) {
            values[pair[1]] = W::combine(op.kind, values[pair[0]], values[pair[1]]);
        }
    }
    write(values, out)
}

/// NaN is larger than every number.
fn order<W: Wide>(a: W, b: W) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The first NaN if there is one, else the first of the extreme elements.
pub(crate) fn arg_reduce<W: Wide>(op: &ArgReduce, x: Operand<'_>, out: Meta) -> Result<HostArray> {
    let values = read::<W>(x)?;
    let best = |line: Vec<usize>| {
        let wins = if op.largest { Ordering::Greater } else { Ordering::Less };
        let nan = line.iter().position(|&p| values[p].is_nan());
        let extreme =
            || {
                (1..line.len()).fold(0, |best, k| {
                    if order(values[line[k]], values[line[best]]) == wins { k } else { best }
                })
            };
        nan.unwrap_or_else(extreme) as i64
    };
    write(lines(x.layout.shape(), op.axis).map(best).collect(), out)
}

/// Values in order, and where in its line each was.
pub(crate) fn sort<W: Wide>(op: &Sort, x: Operand<'_>, out: &[Meta]) -> Result<(HostArray, HostArray)> {
    let values = read::<W>(x)?;
    let (mut sorted, mut places) = (values.clone(), vec![0; values.len()]);
    for line in lines(x.layout.shape(), op.axis) {
        let mut from: Vec<usize> = (0..line.len()).collect();
        from.sort_by(|&a, &b| {
            let ascending = order(values[line[a]], values[line[b]]);
            if op.descending { ascending.reverse() } else { ascending }
        });
        for (&to, &k) in line.iter().zip(&from) {
            sorted[to] = values[line[k]];
            places[to] = k as i64;
        }
    }
    Ok((write(sorted, out[0])?, write(places, out[1])?))
}
