//! The small transforms: F(2, 3) in one dimension, over rows that hold one value of many tiles each.
//!
//! Two outputs of a filter of three taps are a sum over four products of transformed inputs and transformed taps
//! (Winograd; Lavin and Gray, arXiv:1509.09308), instead of six products. Applied to rows and then to columns, a
//! tile of 2 x 2 outputs takes 16 products instead of 36. All constants are 0, 1 and one half, so the result is about
//! as accurate as the direct sum: the larger tiles, which take fewer products still, lose digits.
//!
//! The gradient of the weight needs the adjoints: what is linear is transposed.
//!
//! Each line is a loop over contiguous memory with one output, which the compiler vectorizes at every level.

use super::super::super::dense::Real;

/// Outputs of a tile along an axis.
pub(super) const OUT: usize = 2;
/// Inputs that a tile reads along an axis.
pub(super) const IN: usize = 4;
/// Products of a tile: as many matrix products make up the convolution.
pub(super) const PRODUCTS: usize = IN * IN;
/// Taps of the filter along an axis.
pub(super) const TAPS: usize = 3;

#[inline(always)]
fn zip<T: Real>(to: &mut [T], a: &[T], b: &[T], f: impl Fn(T, T) -> T) {
    for ((to, &a), &b) in to.iter_mut().zip(a).zip(b) {
        *to = f(a, b);
    }
}

#[inline(always)]
fn zip3<T: Real>(to: &mut [T], [a, b, c]: [&[T]; 3], f: impl Fn(T, T, T) -> T) {
    for (((to, &a), &b), &c) in to.iter_mut().zip(a).zip(b).zip(c) {
        *to = f(a, b, c);
    }
}

/// What the products take of four inputs.
#[inline(always)]
pub(super) fn input<T: Real>(d: [&[T]; IN], to: [&mut [T]; IN]) {
    let [t0, t1, t2, t3] = to;
    zip(t0, d[0], d[2], |a, b| a - b);
    zip(t1, d[1], d[2], |a, b| a + b);
    zip(t2, d[2], d[1], |a, b| a - b);
    zip(t3, d[1], d[3], |a, b| a - b);
}

/// What the products take of three taps.
#[inline(always)]
pub(super) fn filter<T: Real>(g: [&[T]; TAPS], to: [&mut [T]; IN]) {
    let [t0, t1, t2, t3] = to;
    let half = T::of(0.5);
    t0.copy_from_slice(g[0]);
    zip3(t1, g, |a, b, c| ((a + c) + b) * half);
    zip3(t2, g, |a, b, c| ((a + c) - b) * half);
    t3.copy_from_slice(g[2]);
}

/// Two outputs of four products.
#[inline(always)]
pub(super) fn output<T: Real>(m: [&[T]; IN], to: [&mut [T]; OUT]) {
    let [t0, t1] = to;
    zip3(t0, [m[0], m[1], m[2]], |a, b, c| a + (b + c));
    zip3(t1, [m[1], m[2], m[3]], |a, b, c| (a - b) - c);
}

/// The adjoint of [`output`].
#[inline(always)]
pub(super) fn output_adjoint<T: Real>(y: [&[T]; OUT], to: [&mut [T]; IN]) {
    let [t0, t1, t2, t3] = to;
    t0.copy_from_slice(y[0]);
    zip(t1, y[0], y[1], |a, b| a + b);
    zip(t2, y[0], y[1], |a, b| a - b);
    t3.iter_mut().zip(y[1]).for_each(|(t, &y)| *t = -y);
}

/// The adjoint of [`filter`].
#[inline(always)]
pub(super) fn filter_adjoint<T: Real>(u: [&[T]; IN], to: [&mut [T]; TAPS]) {
    let [t0, t1, t2] = to;
    let half = T::of(0.5);
    zip3(t0, [u[0], u[1], u[2]], |a, b, c| a + (b + c) * half);
    zip(t1, u[1], u[2], |a, b| (a - b) * half);
    zip3(t2, [u[1], u[2], u[3]], |a, b, c| (a + b) * half + c);
}

/// Rows of equal length, one after the other.
#[inline(always)]
pub(super) fn rows<const N: usize, T>(from: &[T], len: usize) -> [&[T]; N] {
    std::array::from_fn(|i| &from[i * len..(i + 1) * len])
}

/// Rows of equal length, one after the other.
#[inline(always)]
pub(super) fn rows_mut<const N: usize, T>(from: &mut [T], len: usize) -> [&mut [T]; N] {
    let mut chunks = from.chunks_exact_mut(len.max(1));
    std::array::from_fn(|_| chunks.next().unwrap_or_default())
}

/// Applies a transform along both axes, rows first: from `A x A` rows of `from` to `B x B` rows of `to`, each of
/// `len` values; `between` has room for `A x B`.
#[inline(always)]
pub(super) fn twice<'a, 'b, T: Real, const A: usize, const B: usize>(
    from: impl Fn(usize, usize) -> &'a [T],
    between: &mut [T],
    mut to: impl FnMut(usize) -> [&'b mut [T]; B],
    len: usize,
    transform: impl Fn([&[T]; A], [&mut [T]; B]),
) {
    // Column j of the tile's values, transformed over its rows, lies at `[j][..]`.
    for j in 0..A {
        let between = &mut between[j * B * len..(j + 1) * B * len];
        transform(std::array::from_fn(|i| from(i, j)), rows_mut(between, len));
    }
    for i in 0..B {
        let row = |j: usize| &between[(j * B + i) * len..(j * B + i + 1) * len];
        transform(std::array::from_fn(row), to(i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<const A: usize, const B: usize>(
        from: &[f64],
        len: usize,
        transform: impl Fn([&[f64]; A], [&mut [f64]; B]),
    ) -> Vec<f64> {
        let mut to = vec![0.0; B * B * len];
        let mut between = vec![0.0; A * B * len];
        let mut each = to.chunks_exact_mut(B * len);
        let from = |i: usize, j: usize| &from[(i * A + j) * len..(i * A + j + 1) * len];
        twice(from, &mut between, |_| rows_mut(each.next().unwrap(), len), len, transform);
        to
    }

    /// Tiles by their definition, and by the transforms.
    #[test]
    fn a_tile_is_the_correlation_and_its_adjoint_is_the_gradient_of_the_filter() {
        const N: usize = 5;
        let values = |n: usize| (0..n * N).map(|i| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0).collect();
        let (d, g): (Vec<f64>, Vec<f64>) = (values(16), values(9));
        let (v, u) = (all(&d, N, input), all(&g, N, filter));
        let products: Vec<f64> = v.iter().zip(&u).map(|(v, u)| v * u).collect();
        let y = all(&products, N, output);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-13, "{a} instead of {b}");
        let input_at = |t: usize, o: usize, l: usize| d[((t / 3 + o / 2) * IN + t % 3 + o % 2) * N + l];
        for l in 0..N {
            for o in 0..4 {
                close(y[o * N + l], (0..9).map(|t| input_at(t, o, l) * g[t * N + l]).sum());
            }
        }
        // With y as the gradient of the outputs, the gradient of each tap is a sum over outputs.
        let m = all(&y, N, output_adjoint);
        let products: Vec<f64> = v.iter().zip(&m).map(|(v, m)| v * m).collect();
        let gg = all(&products, N, filter_adjoint);
        for l in 0..N {
            for t in 0..9 {
                close(gg[t * N + l], (0..4).map(|o| input_at(t, o, l) * y[o * N + l]).sum());
            }
        }
    }
}
