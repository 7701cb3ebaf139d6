//! Ops that move elements, and changes in place.

use gradus_tensor_core::{Error, HostArray, Layout, Meta, Result, ViewMut};

use crate::Operand;
use crate::wide::{Wide, read, write};

/// The position in a contiguous array of the shape of `x` that each element of `index` names: its own
/// coordinates, but the index on the axis.
fn places(op: &'static str, axis: usize, x: &Layout, index: Operand<'_>) -> Result<Vec<usize>> {
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let (size, rows) = (x.shape()[axis], index.layout.shape()[axis]);
    let place = |(at, index): (usize, i64)| match usize::try_from(index) {
        Ok(k) if k < size => Ok((at / (rows * inner) * size + k) * inner + at % inner),
        _ => Err(Error::Index { op, index, size }),
    };
    read::<i64>(index)?.into_iter().enumerate().map(place).collect()
}

pub(crate) fn gather<W: Wide>(
    axis: usize,
    x: Operand<'_>,
    index: Operand<'_>,
    out: Meta,
) -> Result<HostArray> {
    let values = read::<W>(x)?;
    write(places("gather", axis, x.layout, index)?.into_iter().map(|p| values[p]).collect(), out)
}

pub(crate) fn scatter_add<W: Wide>(
    axis: usize,
    x: Operand<'_>,
    index: Operand<'_>,
    source: Operand<'_>,
    out: Meta,
) -> Result<HostArray> {
    let mut values = read::<W>(x)?;
    for (p, source) in places("scatter_add", axis, x.layout, index)?.into_iter().zip(read::<W>(source)?) {
        values[p] = values[p].plus(source);
    }
    write(values, out)
}

/// For each index of the axes before the joined one, a chunk of every operand in turn.
pub(crate) fn concat<W: Wide>(axis: usize, x: &[Operand<'_>], out: Meta) -> Result<HostArray> {
    let outer: usize = out.shape[..axis].iter().product();
    let parts = x.iter().map(|&x| read::<W>(x)).collect::<Result<Vec<_>>>()?;
    let mut values = Vec::with_capacity(out.shape.numel());
    for row in 0..outer {
        for part in &parts {
            let chunk = part.len() / outer;
            values.extend_from_slice(&part[row * chunk..(row + 1) * chunk]);
        }
    }
    write(values, out)
}

/// Gives the elements that the target's layout names new values, made of the old ones and the source's. A layout
/// may name an element more than once: then each mention counts, in order, and the sum is rounded at the end.
pub(crate) fn change<W: Wide>(
    target: &mut ViewMut<'_, HostArray>,
    source: Operand<'_>,
    new: impl Fn(W, W) -> W,
) -> Result<()> {
    let whole = Operand {
        buffer: &*target.buffer,
        layout: &Layout::contiguous(*target.buffer.shape()),
        dtype: target.dtype,
    };
    let mut values = read::<W>(whole)?;
    for (p, source) in target.layout.positions().zip(read::<W>(source)?) {
        values[p] = new(values[p], source);
    }
    *target.buffer = write(values, target.buffer.meta())?;
    Ok(())
}
