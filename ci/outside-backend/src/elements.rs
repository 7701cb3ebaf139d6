//! Ops of single elements, and products of matrices.

use gradus_tensor_core::op::{Distribution, Random};
use gradus_tensor_core::{BinaryOp, CompareOp, DType, Error, HostArray, Meta, Result, UnaryOp};

use crate::Operand;
use crate::wide::{Wide, read, write};

/// Element `i` is a pure function of the key and `i`: 64-bit floats from 64 bits, everything else from 32.
pub(crate) fn random(op: &Random) -> Result<HostArray> {
    let (key, wide) = (op.key, op.out.dtype == DType::F64);
    let indices = 0..op.out.shape.numel() as u64;
    match op.distribution {
        Distribution::Uniform { low, high } => {
            let unit = |i| if wide { key.uniform64(i) } else { f64::from(key.uniform32(i)) };
            let largest = Distribution::largest(low, high, op.out.dtype);
            write(indices.map(|i| (low + (high - low) * unit(i)).min(largest)).collect(), op.out)
        }
        Distribution::Normal { mean, std } => {
            let normal = |i| if wide { key.normal64(i) } else { key.normal32(i) };
            write(indices.map(|i| mean + std * normal(i)).collect(), op.out)
        }
        Distribution::Bernoulli { p } => {
            write(indices.map(|i| i64::from(f64::from(key.uniform32(i)) < p)).collect(), op.out)
        }
        Distribution::Integer { low, high } => {
            let span = high.wrapping_sub(low) as u64;
            write(indices.map(|i| low.wrapping_add(key.below(i, span) as i64)).collect(), op.out)
        }
        other => Err(Error::argument("random", format!("plain does not know {other:?}"))),
    }
}

pub(crate) fn unary<W: Wide>(op: UnaryOp, x: Operand<'_>, out: Meta) -> Result<HostArray> {
    write(read::<W>(x)?.into_iter().map(|x| W::unary(op, x)).collect(), out)
}

pub(crate) fn binary<W: Wide>(op: BinaryOp, a: Operand<'_>, b: Operand<'_>, out: Meta) -> Result<HostArray> {
    let pairs = read::<W>(a)?.into_iter().zip(read::<W>(b)?);
    let values: Option<Vec<W>> = pairs.map(|(a, b)| W::binary(op, a, b)).collect();
    write(values.ok_or_else(|| Error::argument(op.name(), "an integer was divided by zero"))?, out)
}

pub(crate) fn compare<W: Wide>(
    op: CompareOp,
    a: Operand<'_>,
    b: Operand<'_>,
    out: Meta,
) -> Result<HostArray> {
    let pairs = read::<W>(a)?.into_iter().zip(read::<W>(b)?);
    write(pairs.map(|(a, b)| i64::from(op.eval(&a, &b))).collect(), out)
}

pub(crate) fn select<W: Wide>(
    condition: Operand<'_>,
    a: Operand<'_>,
    b: Operand<'_>,
    out: Meta,
) -> Result<HostArray> {
    let pairs = read::<W>(a)?.into_iter().zip(read::<W>(b)?);
    let picked = read::<i64>(condition)?.into_iter().zip(pairs).map(|(c, (a, b))| if c != 0 { a } else { b });
    write(picked.collect(), out)
}

/// `[.., m, k]` times `[.., k, n]`.
pub(crate) fn matmul<W: Wide>(a: Operand<'_>, b: Operand<'_>, out: Meta) -> Result<HostArray> {
    let rank = out.shape.rank();
    let (m, n, k) = (out.shape[rank - 2], out.shape[rank - 1], a.layout.shape()[rank - 1]);
    let (a, b) = (read::<W>(a)?, read::<W>(b)?);
    let dot = |at: usize| {
        let (batch, row, column) = (at / (m * n), at / n % m, at % n);
        (0..k).fold(W::ZERO, |sum, l| {
            sum.plus(a[(batch * m + row) * k + l].times(b[(batch * k + l) * n + column]))
        })
    };
    write((0..out.shape.numel()).map(dot).collect(), out)
}
