//! Ops that move elements: gather, scatter, concatenation, and writing in place.

use gradus_tensor_core::{Error, Layout, Result, ViewMut};

use super::{Buffer, Operand, Values};

/// For each element of `index`, in row-major order, the position that it names in a contiguous array of the
/// shape of `x`: its own coordinates, but `index` on the axis.
fn named(op: &'static str, axis: usize, x: &Layout, index: Operand<'_>) -> Result<Vec<usize>> {
    let shape = x.shape();
    let inner: usize = shape[axis + 1..].iter().product();
    let (size, rows) = (shape[axis], index.layout.shape()[axis]);
    let place = |(i, k): (usize, i64)| match usize::try_from(k) {
        Ok(k) if k < size => Ok((i / (rows * inner) * size + k) * inner + i % inner),
        _ => Err(Error::Index { op, index: k, size }),
    };
    Values::of(index).ints().into_iter().enumerate().map(place).collect()
}

pub(super) fn gather(axis: usize, x: Operand<'_>, index: Operand<'_>) -> Result<Values> {
    Ok(Values::of(x).pick(named("gather", axis, x.layout, index)?.into_iter()))
}

pub(super) fn scatter_add(axis: usize, x: Operand<'_>, index: Operand<'_>, y: Operand<'_>) -> Result<Values> {
    let places = named("scatter_add", axis, x.layout, index)?;
    Ok(added(Values::of(x), places.into_iter(), y).cast(x.dtype))
}

/// The values with each element of `y`, in order, added at its place.
fn added(mut values: Values, places: impl Iterator<Item = usize>, y: Operand<'_>) -> Values {
    match (&mut values, Values::of(y)) {
        (Values::Int(v), y) => places.zip(y.ints()).for_each(|(p, y)| v[p] = v[p].wrapping_add(y)),
        (Values::Float(v), y) => places.zip(y.floats()).for_each(|(p, y)| v[p] += y),
    }
    values
}

/// Joins along an axis: for each index of the axes before it, a chunk of every operand in turn.
pub(super) fn concat(axis: usize, x: &[Operand<'_>]) -> Values {
    let outer: usize = x[0].layout.shape()[..axis].iter().product();
    let chunk = |x: &Operand<'_>| x.layout.numel() / outer.max(1);
    let all = x.iter().map(|&x| Values::of(x)).reduce(Values::followed_by).expect("one operand at least");
    let starts = x.iter().scan(0, |end, x| Some(std::mem::replace(end, *end + x.layout.numel())));
    let starts: Vec<(usize, usize)> = starts.zip(x.iter().map(chunk)).collect();
    let rows = (0..outer).flat_map(|o| starts.iter().map(move |&(start, n)| (start + o * n, n)));
    all.pick(rows.flat_map(|(start, n)| start..start + n))
}

pub(super) fn write(target: &mut ViewMut<'_, Buffer>, source: Operand<'_>) {
    let places = target.layout.positions();
    match (&mut target.buffer.values, Values::of(source)) {
        (Values::Int(v), y) => places.zip(y.ints()).for_each(|(p, y)| v[p] = y),
        (Values::Float(v), y) => places.zip(y.floats()).for_each(|(p, y)| v[p] = y),
    }
}

pub(super) fn accumulate(target: &mut ViewMut<'_, Buffer>, source: Operand<'_>) {
    let sum = added(target.buffer.values.clone(), target.layout.positions(), source);
    target.buffer.values = sum.cast(target.dtype);
}
