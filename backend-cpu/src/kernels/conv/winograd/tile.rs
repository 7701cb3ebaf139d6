//! The small transforms: F(2, 3) and F(4, 3) in one dimension, over rows that hold one value of many tiles each.
//!
//! Some outputs of a filter of three taps are the sum of products of transformed inputs and transformed taps (Winograd;
//! Lavin and Gray, arXiv:1509.09308): two take four products instead of six, four take six instead of twelve. Applied to
//! rows and then to columns, a tile of 2 x 2 outputs takes 16 products instead of 36, and one of 4 x 4 takes 36 instead of
//! 144.
//!
//! A filter is a polynomial of its taps, and so are the inputs; the products are values of both at some points. All
//! constants of [`Two`](super::two::Two), whose points are 0, 1, -1 and infinity, are 0, 1 and one half, so its result is about as accurate
//! as the direct sum. [`Four`](super::four::Four) needs two points more. With 0, 1, 2 and their negatives its error is ten
//! times that of the direct sum, with 0, 5/8, 3/2 and their negatives, the best of some hundred that were tried, about four
//! times: 0.8e-6 to 1.1e-6 of the result for 64 and 256 channels. That is more than `f32` promises, and nothing beside the
//! 1.7e-3 of rounding to `bf16`. Points of both signs share their even and odd parts, which keeps the transforms short.
//!
//! The gradient of the weight needs the adjoints: what is linear is transposed.
//!
//! Everything works on registers that hold one value of as many tiles as they have lanes.

use super::super::super::matmul::registers::Lanes;
use crate::math::real::Real as _;

/// Taps of the filter along an axis.
pub(super) const TAPS: usize = 3;
/// The most values of any tile along an axis. Arrays are that long, and values that a tile does not have are 0.
pub(super) const MOST: usize = 6;

/// F(`OUT`, 3).
pub(super) trait Tile: Copy + Send + Sync {
    /// Outputs of a tile along an axis.
    const OUT: usize;
    /// Inputs that a tile reads along an axis.
    const IN: usize = Self::OUT + TAPS - 1;
    /// Products of a tile: as many matrix products make up the convolution.
    const PRODUCTS: usize = Self::IN * Self::IN;

    /// What the products take of the inputs.
    ///
    /// # Safety
    /// The machine has the register: here and in all that follow.
    unsafe fn input<V: Lanes>(d: [V; MOST]) -> [V; MOST];
    /// What the products take of the taps.
    ///
    /// # Safety
    /// As above.
    unsafe fn filter<V: Lanes>(g: [V; MOST]) -> [V; MOST];
    /// The outputs of the products.
    ///
    /// # Safety
    /// As above.
    unsafe fn output<V: Lanes>(m: [V; MOST]) -> [V; MOST];
    /// The adjoint of [`Tile::output`].
    ///
    /// # Safety
    /// As above.
    unsafe fn output_adjoint<V: Lanes>(y: [V; MOST]) -> [V; MOST];
    /// The adjoint of [`Tile::filter`].
    ///
    /// # Safety
    /// As above.
    unsafe fn filter_adjoint<V: Lanes>(u: [V; MOST]) -> [V; MOST];

    /// Of `OUT` registers that follow each other, of which each tile has `OUT` elements, the first elements of all tiles, the
    /// second ones, and so on.
    ///
    /// # Safety
    /// As above.
    unsafe fn split<V: Lanes>(line: [V; MOST]) -> [V; MOST];

    /// The reverse of [`Tile::split`].
    ///
    /// # Safety
    /// As above.
    unsafe fn join<V: Lanes>(values: [V; MOST]) -> [V; MOST];
}

/// Registers that follow each other, as many as a tile has outputs along an axis.
///
/// # Safety
/// The machine has the register, and they can be read.
#[inline(always)]
pub(super) unsafe fn load<V: Lanes, F: Tile>(from: *const V::Element) -> [V; MOST] {
    // SAFETY: promised by the caller.
    unsafe {
        let mut registers = [V::splat(V::Element::ZERO); MOST];
        for (r, register) in registers.iter_mut().take(F::OUT).enumerate() {
            *register = V::load(from.add(r * V::LANES));
        }
        registers
    }
}

/// All inputs of as many tiles as there are lanes, from what is their own ([`Tile::split`]) and the elements that follow.
///
/// # Safety
/// The machine has the register, and so many elements can be read as tiles overlap.
#[inline(always)]
pub(super) unsafe fn inputs<V: Lanes, F: Tile>(mut own: [V; MOST], next: *const V::Element) -> [V; MOST] {
    for k in F::OUT..F::IN {
        // SAFETY: promised by the caller.
        own[k] = unsafe { own[k - F::OUT].shifted(*next.add(k - F::OUT)) };
    }
    own
}

/// A linear function of the values along an axis of a tile.
pub(super) trait Transform<F> {
    /// So many values it takes, and so many it makes.
    const SIZES: [usize; 2];

    /// Applies it to values of as many tiles as there are lanes.
    ///
    /// # Safety
    /// The machine has the register.
    unsafe fn apply<V: Lanes>(x: [V; MOST]) -> [V; MOST];
}

macro_rules! transforms {
    ($($name:ident, $function:ident, $from:expr => $to:expr;)*) => {$(
        #[doc = concat!("[`Tile::", stringify!($function), "`].")]
        pub(super) struct $name;

        impl<F: Tile> Transform<F> for $name {
            const SIZES: [usize; 2] = [$from, $to];

            #[inline(always)]
            unsafe fn apply<V: Lanes>(x: [V; MOST]) -> [V; MOST] {
                // SAFETY: promised by the caller.
                unsafe { F::$function(x) }
            }
        }
    )*};
}
transforms! {
    Input, input, F::IN => F::IN;
    Filter, filter, TAPS => F::IN;
    Output, output, F::IN => F::OUT;
    OutputAdjoint, output_adjoint, F::OUT => F::IN;
    FilterAdjoint, filter_adjoint, F::IN => TAPS;
}

/// # Safety
/// The machine has the register.
#[inline(always)]
pub(super) unsafe fn add<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { V::splat(V::Element::ONE).fma(a, b) }
}

/// # Safety
/// The machine has the register.
#[inline(always)]
pub(super) unsafe fn sub<V: Lanes>(a: V, b: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { V::splat(-V::Element::ONE).fma(b, a) }
}

/// `a * x + b`
///
/// # Safety
/// The machine has the register.
#[inline(always)]
pub(super) unsafe fn add_times<V: Lanes>(b: V, a: f64, x: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { V::splat(V::Element::of(a)).fma(x, b) }
}

/// # Safety
/// The machine has the register.
#[inline(always)]
pub(super) unsafe fn times<V: Lanes>(a: f64, x: V) -> V {
    // SAFETY: promised by the caller.
    unsafe { add_times(V::splat(V::Element::ZERO), a, x) }
}

/// Applies a transform along both axes, rows first: from the values of as many tiles as there are lanes, which lie `step`
/// elements apart, row by row, to what it makes of them.
///
/// (Without closures: what is not inlined is compiled without the register's features.)
///
/// # Safety
/// The machine has the register, and can read and write one at each of these places.
#[inline(always)]
pub(super) unsafe fn twice<V: Lanes, F: Tile, X: Transform<F>>(
    from: *const V::Element,
    step: isize,
    to: *mut V::Element,
    to_step: usize,
) {
    let [a, b] = X::SIZES;
    // SAFETY: promised by the caller.
    unsafe {
        let zero = V::splat(V::Element::ZERO);
        // Column j of the tile's values, transformed over its rows.
        let mut columns = [[zero; MOST]; MOST];
        for (j, column) in columns.iter_mut().take(a).enumerate() {
            let mut values = [zero; MOST];
            for (i, value) in values.iter_mut().take(a).enumerate() {
                *value = V::load(from.offset((i * a + j) as isize * step));
            }
            *column = X::apply(values);
        }
        for i in 0..b {
            let mut values = [zero; MOST];
            for (value, column) in values.iter_mut().zip(&columns) {
                *value = column[i];
            }
            for (j, value) in X::apply(values).into_iter().take(b).enumerate() {
                value.store(to.add((i * b + j) * to_step));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::four::Four;
    use super::super::two::Two;
    use super::*;
    use crate::kernels::matmul::registers::PLAIN;

    const N: usize = PLAIN;

    fn all<F: Tile, X: Transform<F>>(from: &[[f64; N]]) -> Vec<[f64; N]> {
        let [a, b] = X::SIZES;
        assert_eq!(from.len(), a * a);
        let mut to = vec![[0.0; N]; b * b];
        // SAFETY: every machine has arrays; there are so many values, each followed by the next.
        unsafe {
            let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
            twice::<[f64; N], F, X>(from, N as isize, to, N);
        }
        to
    }

    /// Tiles by their definition, and by the transforms.
    fn check<F: Tile>() {
        let (size, outputs) = (F::IN, F::OUT);
        let values = |n: usize| -> Vec<[f64; N]> {
            let value = |i: usize| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
            (0..n).map(|k| std::array::from_fn(|l| value(k * N + l))).collect()
        };
        let product = |a: &[[f64; N]], b: &[[f64; N]]| -> Vec<[f64; N]> {
            a.iter().zip(b).map(|(a, b)| std::array::from_fn(|l| a[l] * b[l])).collect()
        };
        let (d, g) = (values(size * size), values(9));
        let (v, u) = (all::<F, Input>(&d), all::<F, Filter>(&g));
        let y = all::<F, Output>(&product(&v, &u));
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        let input_at =
            |t: usize, o: usize, l: usize| d[(t / 3 + o / outputs) * size + t % 3 + o % outputs][l];
        for l in 0..N {
            for (o, y) in y.iter().enumerate() {
                close(y[l], (0..9).map(|t| input_at(t, o, l) * g[t][l]).sum());
            }
        }
        // With y as the gradient of the outputs, the gradient of each tap is a sum over outputs.
        let m = all::<F, OutputAdjoint>(&y);
        let gg = all::<F, FilterAdjoint>(&product(&v, &m));
        for l in 0..N {
            for (t, gg) in gg.iter().enumerate() {
                close(gg[l], (0..outputs * outputs).map(|o| input_at(t, o, l) * y[o][l]).sum());
            }
        }
    }

    #[test]
    fn a_tile_is_the_correlation_and_its_adjoint_is_the_gradient_of_the_filter() {
        check::<Two>();
        check::<Four>();
    }

    #[test]
    fn lines_are_split_and_joined() {
        fn check<F: Tile>() {
            let line: Vec<f64> = (0..F::OUT * (N + 1)).map(|i| i as f64).collect();
            // SAFETY: every machine has arrays; the line is long enough.
            let (own, all, joined) = unsafe {
                let own = F::split(load::<[f64; N], F>(line.as_ptr()));
                (own, inputs::<_, F>(own, line[F::OUT * N..].as_ptr()), F::join(own))
            };
            for (k, values) in all.iter().take(F::IN).enumerate() {
                assert_eq!(*values, std::array::from_fn(|j| (F::OUT * j + k) as f64));
            }
            assert_eq!(own[..F::OUT], all[..F::OUT]);
            let joined = joined[..F::OUT].concat();
            assert_eq!(joined, line[..F::OUT * N]);
        }
        check::<Two>();
        check::<Four>();
    }
}
