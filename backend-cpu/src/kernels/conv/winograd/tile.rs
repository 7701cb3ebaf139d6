//! The small transforms: F(2, 3) in one dimension, over rows that hold one value of many tiles each.
//!
//! Two outputs of a filter of three taps are a sum over four products of transformed inputs and transformed taps
//! (Winograd; Lavin and Gray, arXiv:1509.09308), instead of six products. Applied to rows and then to columns, a
//! tile of 2 x 2 outputs takes 16 products instead of 36. All constants are 0, 1 and one half, so the result is about
//! as accurate as the direct sum: the larger tiles, which take fewer products still, lose digits.
//!
//! The gradient of the weight needs the adjoints: what is linear is transposed.
//!
//! Everything works on registers that hold one value of as many tiles as they have lanes.

use super::super::super::matmul::registers::Lanes;
use crate::math::real::Real as _;

/// Outputs of a tile along an axis.
pub(super) const OUT: usize = 2;
/// Inputs that a tile reads along an axis.
pub(super) const IN: usize = 4;
/// Products of a tile: as many matrix products make up the convolution.
pub(super) const PRODUCTS: usize = IN * IN;
/// Taps of the filter along an axis.
pub(super) const TAPS: usize = 3;

/// # Safety
/// The machine has the register.
#[inline(always)]
unsafe fn add<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { V::splat(V::Element::ONE).fma(a, b) }
}

/// # Safety
/// The machine has the register.
#[inline(always)]
unsafe fn sub<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { V::splat(-V::Element::ONE).fma(b, a) }
}

/// A linear function of the values along an axis of a tile.
pub(super) trait Transform<const A: usize, const B: usize> {
    /// Applies it to values of as many tiles as there are lanes.
    ///
    /// # Safety
    /// The machine has the register.
    unsafe fn apply<V: Lanes>(x: [V; A]) -> [V; B];
}

/// What the products take of four inputs.
pub(super) struct Input;

impl Transform<IN, IN> for Input {
    #[inline(always)]
    unsafe fn apply<V: Lanes>(d: [V; IN]) -> [V; IN] {
        // SAFETY: promised by the caller.
        unsafe { [sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])] }
    }
}

/// What the products take of three taps.
pub(super) struct Filter;

impl Transform<TAPS, IN> for Filter {
    #[inline(always)]
    unsafe fn apply<V: Lanes>(g: [V; TAPS]) -> [V; IN] {
        // SAFETY: promised by the caller.
        unsafe {
            let (half, zero) = (V::splat(V::Element::of(0.5)), V::splat(V::Element::ZERO));
            let ends = add(g[0], g[2]);
            [g[0], half.fma(add(ends, g[1]), zero), half.fma(sub(ends, g[1]), zero), g[2]]
        }
    }
}

/// Two outputs of four products.
pub(super) struct Output;

impl Transform<IN, OUT> for Output {
    #[inline(always)]
    unsafe fn apply<V: Lanes>(m: [V; IN]) -> [V; OUT] {
        // SAFETY: promised by the caller.
        unsafe { [add(m[0], add(m[1], m[2])), sub(sub(m[1], m[2]), m[3])] }
    }
}

/// The adjoint of [`Output`].
pub(super) struct OutputAdjoint;

impl Transform<OUT, IN> for OutputAdjoint {
    #[inline(always)]
    unsafe fn apply<V: Lanes>(y: [V; OUT]) -> [V; IN] {
        // SAFETY: promised by the caller.
        unsafe { [y[0], add(y[0], y[1]), sub(y[0], y[1]), sub(V::splat(V::Element::ZERO), y[1])] }
    }
}

/// The adjoint of [`Filter`].
pub(super) struct FilterAdjoint;

impl Transform<IN, TAPS> for FilterAdjoint {
    #[inline(always)]
    unsafe fn apply<V: Lanes>(u: [V; IN]) -> [V; TAPS] {
        // SAFETY: promised by the caller.
        unsafe {
            let (half, zero) = (V::splat(V::Element::of(0.5)), V::splat(V::Element::ZERO));
            let (sum, difference) = (add(u[1], u[2]), sub(u[1], u[2]));
            [half.fma(sum, u[0]), half.fma(difference, zero), half.fma(sum, u[3])]
        }
    }
}

/// Applies a transform along both axes, rows first, to as many tiles as there are lanes: from `A x A` values that lie
/// `step` elements apart, row by row, to `B x B` values.
///
/// (Without closures: what is not inlined is compiled without the register's features.)
///
/// # Safety
/// The machine has the register, and can read and write one at each of these places.
#[inline(always)]
pub(super) unsafe fn twice<V: Lanes, F: Transform<A, B>, const A: usize, const B: usize>(
    from: *const V::Element,
    step: usize,
    to: *mut V::Element,
    to_step: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        let zero = V::splat(V::Element::ZERO);
        // Column j of the tile's values, transformed over its rows.
        let mut columns = [[zero; B]; A];
        for (j, column) in columns.iter_mut().enumerate() {
            let mut values = [zero; A];
            for (i, value) in values.iter_mut().enumerate() {
                *value = V::load(from.add((i * A + j) * step));
            }
            *column = F::apply(values);
        }
        for i in 0..B {
            let mut values = [zero; A];
            for (value, column) in values.iter_mut().zip(&columns) {
                *value = column[i];
            }
            for (j, value) in F::apply(values).into_iter().enumerate() {
                value.store(to.add((i * B + j) * to_step));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::matmul::registers::PLAIN;

    const N: usize = PLAIN;

    fn all<F: Transform<A, B>, const A: usize, const B: usize>(from: &[[f64; N]]) -> Vec<[f64; N]> {
        assert_eq!(from.len(), A * A);
        let mut to = vec![[0.0; N]; B * B];
        // SAFETY: every machine has arrays; there are so many values, each followed by the next.
        unsafe {
            let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
            twice::<[f64; N], F, A, B>(from, N, to, N);
        }
        to
    }

    /// Tiles by their definition, and by the transforms.
    #[test]
    fn a_tile_is_the_correlation_and_its_adjoint_is_the_gradient_of_the_filter() {
        let values = |n: usize| -> Vec<[f64; N]> {
            let value = |i: usize| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
            (0..n).map(|k| std::array::from_fn(|l| value(k * N + l))).collect()
        };
        let product = |a: &[[f64; N]], b: &[[f64; N]]| -> Vec<[f64; N]> {
            a.iter().zip(b).map(|(a, b)| std::array::from_fn(|l| a[l] * b[l])).collect()
        };
        let (d, g) = (values(16), values(9));
        let (v, u) = (all::<Input, IN, IN>(&d), all::<Filter, TAPS, IN>(&g));
        let y = all::<Output, IN, OUT>(&product(&v, &u));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-13, "{a} instead of {b}");
        let input_at = |t: usize, o: usize, l: usize| d[(t / 3 + o / 2) * IN + t % 3 + o % 2][l];
        for l in 0..N {
            for (o, y) in y.iter().enumerate() {
                close(y[l], (0..9).map(|t| input_at(t, o, l) * g[t][l]).sum());
            }
        }
        // With y as the gradient of the outputs, the gradient of each tap is a sum over outputs.
        let m = all::<OutputAdjoint, OUT, IN>(&y);
        let gg = all::<FilterAdjoint, IN, TAPS>(&product(&v, &m));
        for l in 0..N {
            for (t, gg) in gg.iter().enumerate() {
                close(gg[l], (0..4).map(|o| input_at(t, o, l) * y[o][l]).sum());
            }
        }
    }
}
