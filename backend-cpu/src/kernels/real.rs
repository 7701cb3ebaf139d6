//! The types that kernels compute in, and reductions over slices of them.
//!
//! Everything is `#[inline(always)]`, for use inside [`crate::level::Kernel`]s. Sums run in a fixed number of
//! lanes, so they have the same bits at every feature level.

/// Independent partial results of a reduction: four AVX2 or two AVX-512 registers of `f32`.
pub(crate) const LANES: usize = 32;

/// `f32` or `f64`, with the functions of [`crate::math`].
pub(crate) trait Real:
    crate::math::real::Real + std::ops::AddAssign + std::ops::MulAssign + super::matmul::micro::Multiplied
{
    const NEG_INFINITY: Self;
}

impl Real for f32 {
    const NEG_INFINITY: Self = f32::NEG_INFINITY;
}

impl Real for f64 {
    const NEG_INFINITY: Self = f64::NEG_INFINITY;
}

/// Combines `map` of the elements with `join`, in lanes.
#[inline(always)]
pub(crate) fn reduce<T: Real>(x: &[T], start: T, map: impl Fn(T) -> T, join: impl Fn(T, T) -> T) -> T {
    let mut acc = [start; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            acc[i] = join(acc[i], map(block[i]));
        }
    }
    if !rest.is_empty() {
        let block = padded(rest);
        for i in 0..LANES {
            let joined = join(acc[i], map(block[i]));
            acc[i] = if i < rest.len() { joined } else { acc[i] };
        }
    }
    fold(acc, join)
}

/// `y = map(x)`, and the sum of `y` in lanes. The slices have one length.
#[inline(always)]
pub(crate) fn map_sum<T: Real>(x: &[T], y: &mut [T], map: impl Fn(T) -> T) -> T {
    let mut acc = [T::ZERO; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks_mut::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            y[i] = map(x[i]);
            acc[i] += y[i];
        }
    }
    if !x_rest.is_empty() {
        let block = padded(x_rest).map(&map);
        for i in 0..LANES {
            acc[i] += if i < x_rest.len() { block[i] } else { T::ZERO };
        }
        y_rest.copy_from_slice(&block[..y_rest.len()]);
    }
    fold(acc, |a, b| a + b)
}

/// Sums `term` of the pairs, in lanes. The slices have one length.
#[inline(always)]
pub(crate) fn sum2<T: Real>(x: &[T], y: &[T], term: impl Fn(T, T, T) -> T) -> T {
    let mut acc = [T::ZERO; LANES];
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..LANES {
            acc[i] = term(acc[i], x[i], y[i]);
        }
    }
    if !x_rest.is_empty() {
        let (x, y) = (padded(x_rest), padded(y_rest));
        for i in 0..LANES {
            let sum = term(acc[i], x[i], y[i]);
            acc[i] = if i < x_rest.len() { sum } else { acc[i] };
        }
    }
    fold(acc, |a, b| a + b)
}

/// The sums of `x - centre` and of its square, in lanes.
#[inline(always)]
pub(crate) fn moments<T: Real>(x: &[T], centre: T) -> (T, T) {
    let (mut first, mut second) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for i in 0..LANES {
            let d = block[i] - centre;
            first[i] += d;
            second[i] = d.fma(d, second[i]);
        }
    }
    if !rest.is_empty() {
        let block = padded(rest);
        for i in 0..LANES {
            let d = if i < rest.len() { block[i] - centre } else { T::ZERO };
            first[i] += d;
            second[i] = d.fma(d, second[i]);
        }
    }
    (fold(first, |a, b| a + b), fold(second, |a, b| a + b))
}

/// The last elements as a whole block. A loop over a variable part of the partial results would force them out of
/// registers, in every other loop as well.
#[inline(always)]
fn padded<T: Real>(rest: &[T]) -> [T; LANES] {
    let mut block = [T::ZERO; LANES];
    let n = rest.len().min(LANES);
    block[..n].copy_from_slice(&rest[..n]);
    block
}

#[inline(always)]
fn fold<T: Real>(mut acc: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            acc[i] = join(acc[i], acc[i + width]);
        }
        width /= 2;
    }
    acc[0]
}

/// The sum of a slice.
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    reduce(x, T::ZERO, |v| v, |a, b| a + b)
}

/// The largest element that is not NaN; negative infinity if there is none.
#[inline(always)]
pub(crate) fn max<T: Real>(x: &[T]) -> T {
    reduce(x, T::NEG_INFINITY, |v| v, |a, b| if b > a { b } else { a })
}
