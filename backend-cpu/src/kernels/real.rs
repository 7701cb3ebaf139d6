//! The types that kernels compute in, and reductions over slices of them.
//!
//! Everything is `#[inline(always)]`, for use inside [`crate::level::Kernel`]s. Sums run in a fixed number of
//! lanes, so they have the same bits at every feature level.

use gradus_tensor_core::Element;

/// Independent partial results of a reduction: four AVX2 or two AVX-512 registers of `f32`.
pub(crate) const LANES: usize = 32;

/// `f32` or `f64`, with the functions of [`crate::math`].
pub(crate) trait Real:
    crate::math::real::Real
    + std::ops::AddAssign
    + std::ops::MulAssign
    + super::matmul::multiplied::Multiplied
    + super::matmul::registers::Registers
{
    const NEG_INFINITY: Self;
    /// The larger of both; of a number and NaN the number. (As the compiler knows it: comparisons written out become
    /// vectors in one loop and not in the next.)
    fn larger(self, other: Self) -> Self;
}

impl Real for f32 {
    const NEG_INFINITY: Self = f32::NEG_INFINITY;
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Real for f64 {
    const NEG_INFINITY: Self = f64::NEG_INFINITY;
    #[inline(always)]
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
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

/// Sums over pieces of a long sequence. They run in lanes over many short pieces together, since folding lanes takes as
/// long as adding some tens of elements, and from so many elements on in `f64`.
pub(crate) struct Sums<T, const N: usize> {
    lanes: [[T; LANES]; N],
    /// Elements that are in the lanes.
    held: usize,
    most: usize,
    totals: [f64; N],
}

impl<T: Real, const N: usize> Sums<T, N> {
    /// Nothing yet; the lanes are folded before they hold more than `most` elements.
    #[inline(always)]
    pub(crate) fn new(most: usize) -> Self {
        Self { lanes: [[T::ZERO; LANES]; N], held: 0, most, totals: [0.0; N] }
    }

    /// Says that a piece of so many elements follows.
    #[inline(always)]
    pub(crate) fn piece(&mut self, len: usize) {
        if self.held + len > self.most {
            self.fold();
        }
        self.held += len;
    }

    /// Adds the elements of a pair of pieces of one length, by what they make of the sums; or of parts of pieces, all but
    /// the last of whole blocks of lanes.
    #[inline(always)]
    pub(crate) fn add(&mut self, x: &[T], y: &[T], term: impl Fn([T; N], T, T) -> [T; N]) {
        let (xs, x_rest) = x.as_chunks::<LANES>();
        let (ys, y_rest) = y.as_chunks::<LANES>();
        let mut lanes = self.lanes;
        for (x, y) in xs.iter().zip(ys) {
            // (All of them anew: what is changed in place stays out of registers.)
            let mut new = lanes;
            for i in 0..LANES {
                let sums = term(std::array::from_fn(|k| lanes[k][i]), x[i], y[i]);
                for k in 0..N {
                    new[k][i] = sums[k];
                }
            }
            lanes = new;
        }
        if !x_rest.is_empty() {
            let (x, y) = (padded(x_rest), padded(y_rest));
            for i in 0..LANES {
                let sums = term(std::array::from_fn(|k| lanes[k][i]), x[i], y[i]);
                for k in 0..N {
                    lanes[k][i] = if i < x_rest.len() { sums[k] } else { lanes[k][i] };
                }
            }
        }
        self.lanes = lanes;
    }

    #[inline(always)]
    fn fold(&mut self) {
        for k in 0..N {
            self.totals[k] += fold(self.lanes[k], |a, b| a + b).to_f64();
            self.lanes[k] = [T::ZERO; LANES];
        }
        self.held = 0;
    }

    /// The sums.
    #[inline(always)]
    pub(crate) fn finish(mut self) -> [f64; N] {
        self.fold();
        self.totals
    }
}

/// The last elements as a whole block. A loop over a variable part of the partial results would force them out of
/// registers, in every other loop as well.
#[inline(always)]
pub(crate) fn padded<E: Element>(rest: &[E]) -> [E; LANES] {
    let mut block = [E::default(); LANES];
    let n = rest.len().min(LANES);
    block[..n].copy_from_slice(&rest[..n]);
    block
}

/// Joins the partial results: halves, again and again. (Each half is an array of its own size, so that it stays in a
/// register.)
#[inline(always)]
pub(crate) fn fold<T: Real>(acc: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    #[inline(always)]
    fn halve<T: Real, const N: usize, const HALF: usize>(x: [T; N], join: impl Fn(T, T) -> T) -> [T; HALF] {
        std::array::from_fn(|i| join(x[i], x[i + HALF]))
    }
    let acc: [T; 16] = halve(acc, &join);
    let acc: [T; 8] = halve(acc, &join);
    let acc: [T; 4] = halve(acc, &join);
    let [a, b]: [T; 2] = halve(acc, &join);
    join(a, b)
}

/// The sum of a slice.
#[inline(always)]
pub(crate) fn sum<T: Real>(x: &[T]) -> T {
    reduce(x, T::ZERO, |v| v, |a, b| a + b)
}

/// The largest element that is not NaN; negative infinity if there is none.
#[inline(always)]
pub(crate) fn max<T: Real>(x: &[T]) -> T {
    reduce(x, T::NEG_INFINITY, |v| v, T::larger)
}

/// The larger of a number and anything: the number, if that is NaN. (One instruction, where [`Real::larger`] takes three,
/// in the loops of which the compiler makes vectors.)
#[inline(always)]
pub(crate) fn above<T: Real>(number: T, other: T) -> T {
    if other > number { other } else { number }
}
