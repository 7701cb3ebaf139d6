//! Running combinations and positions of extremes along one axis.

use gradus_tensor_core::op::{ArgReduce, Scan};
use gradus_tensor_core::{Element, Meta, ReduceKind, View, with_dtype};

use crate::execute::{Done, done};
use crate::kernels::copy::{Along, packed};
use crate::level::Kernel;
use crate::parallel::SendPtr;
use crate::{Cpu, CpuBuffer};

/// Columns that are walked together.
const COLUMNS: usize = 64;

/// Calls `body(o, first, width)` for strips of adjacent columns, in parallel.
fn for_strips(cpu: &Cpu, along: Along, cost: usize, body: impl Fn(usize, usize, usize) + Sync) {
    let Along { outer, n, inner } = along;
    let strips = inner.div_ceil(COLUMNS);
    cpu.for_chunks(outer * strips, cost * n * inner.min(COLUMNS), |range| {
        for t in range {
            let (o, first) = (t / strips, (t % strips) * COLUMNS);
            body(o, first, COLUMNS.min(inner - first));
        }
    });
}

/// Running combination along an axis. Floats accumulate in double precision, integers wrap in 64 bits.
pub(crate) fn scan(cpu: &Cpu, op: &Scan, x: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    let x = packed(cpu, x)?;
    let mut buffer = cpu.alloc(out)?;
    if buffer.is_empty() {
        // Nothing may be very many lines of no elements.
        return done(buffer);
    }
    let along = Along::new(&out.shape, op.axis);
    with_dtype!(x.dtype(), T => with_dtype!(out.dtype, U => {
        // Outputs are of the input's type, or `i64`; other pairs are not reached.
        let (from, to) = (x.as_slice::<T>(), buffer.ptr_mut::<U>());
        if T::DTYPE.is_float() {
            run(cpu, along, op.reverse, from, to, T::to_f64, U::from_f64, |a, b| op.kind.eval(a, b));
        } else {
            let combine = |a: i64, b: i64| match op.kind {
                ReduceKind::Sum => a.wrapping_add(b),
                ReduceKind::Prod => a.wrapping_mul(b),
                ReduceKind::Max => a.max(b),
                ReduceKind::Min => a.min(b),
            };
            run(cpu, along, op.reverse, from, to, T::to_i64, U::from_i64, combine);
        }
    }));
    done(buffer)
}

#[allow(clippy::too_many_arguments)] // one call, of one function in two number systems
fn run<T: Element, U: Element, A: Copy + Default>(
    cpu: &Cpu,
    along: Along,
    reverse: bool,
    from: &[T],
    to: *mut U,
    load: impl Fn(T) -> A + Sync,
    store: impl Fn(A) -> U + Sync,
    combine: impl Fn(A, A) -> A + Sync,
) {
    let Along { n, inner, .. } = along;
    let to = SendPtr(to);
    for_strips(cpu, along, 4, |o, first, width| {
        let mut sums = [A::default(); COLUMNS];
        for k in 0..n {
            let row = if reverse { n - 1 - k } else { k };
            let start = (o * n + row) * inner + first;
            for (c, sum) in sums[..width].iter_mut().enumerate() {
                let x = load(from[start + c]);
                *sum = if k == 0 { x } else { combine(*sum, x) };
                // SAFETY: every element belongs to one strip.
                unsafe { to.get().add(start + c).write(store(*sum)) };
            }
        }
    });
}

/// The position of the largest or smallest element along an axis: the first of equals, NaN before any number.
pub(crate) fn arg_reduce(cpu: &Cpu, op: &ArgReduce, x: &View<'_, CpuBuffer>, out: &Meta) -> Done {
    let x = packed(cpu, x)?;
    let mut buffer = cpu.alloc(out)?;
    let along = Along::new(&x.meta().shape, op.axis);
    let Along { n, inner, .. } = along;
    let to = SendPtr(buffer.ptr_mut::<i64>());
    with_dtype!(x.dtype(), T => {
        let from = x.as_slice::<T>();
        if inner == 1 && n > 0 {
            let level = cpu.level();
            cpu.for_chunks(along.outer, n, |rows| {
                for row in rows {
                    let x = &from[row * n..(row + 1) * n];
                    // SAFETY: every row has its own output.
                    unsafe { to.get().add(row).write(level.run(Extreme(x, op.largest)) as i64) };
                }
            });
        } else if n > 0 {
            for_strips(cpu, along, 4, |o, first, width| {
                let start = o * n * inner + first;
                let mut best = [(T::default(), 0i64); COLUMNS];
                for (c, best) in best[..width].iter_mut().enumerate() {
                    *best = (from[start + c], 0);
                }
                for k in 1..n {
                    for (c, best) in best[..width].iter_mut().enumerate() {
                        let x = from[start + k * inner + c];
                        if beats(op.largest, x, best.0) {
                            *best = (x, k as i64);
                        }
                    }
                }
                for (c, best) in best[..width].iter().enumerate() {
                    // SAFETY: every output belongs to one strip.
                    unsafe { to.get().add(o * inner + first + c).write(best.1) };
                }
            });
        }
    });
    done(buffer)
}

/// The position of the extreme element of a row: first its value, in independent chains, then where it stands.
struct Extreme<'a, T>(&'a [T], bool);

impl<T: Element> Kernel for Extreme<'_, T> {
    type Output = usize;
    #[inline(always)]
    #[allow(clippy::eq_op)] // only NaN differs from itself
    fn run(self) -> usize {
        const LANES: usize = 16;
        let Extreme(x, largest) = self;
        let mut lanes = [x[0]; LANES];
        let (mut nan, chunks) = (false, x.chunks_exact(LANES));
        for (lane, &x) in chunks.remainder().iter().enumerate() {
            nan |= x != x;
            lanes[lane] = better(largest, x, lanes[lane]);
        }
        for chunk in chunks {
            for lane in 0..LANES {
                nan |= chunk[lane] != chunk[lane];
                lanes[lane] = better(largest, chunk[lane], lanes[lane]);
            }
        }
        let best = lanes.into_iter().fold(lanes[0], |a, b| better(largest, a, b));
        x.iter().position(|&x| if nan { x != x } else { x == best }).unwrap_or(0)
    }
}

/// The larger or the smaller of two numbers.
#[inline(always)]
fn better<T: Element>(largest: bool, a: T, b: T) -> T {
    if (largest && a > b) || (!largest && a < b) { a } else { b }
}

/// Whether `x` replaces the best so far.
#[inline(always)]
#[allow(clippy::eq_op)] // only NaN differs from itself
fn beats<T: Element>(largest: bool, x: T, best: T) -> bool {
    best == best && (x != x || if largest { x > best } else { x < best })
}
