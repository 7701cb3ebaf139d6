//! Matrix products.

use gradus_tensor_core::DType;

use super::{Operand, Values};

/// `out[.., i, j] = sum over l of a[.., i, l] * b[.., l, j]`.
pub(super) fn matmul(a: Operand<'_>, b: Operand<'_>, dtype: DType) -> Values {
    let (left, right) = (a.layout.shape(), b.layout.shape());
    let rank = left.rank();
    let (m, k, n) = (left[rank - 2], left[rank - 1], right[rank - 1]);
    let batches: usize = left[..rank - 2].iter().product();
    let places = (0..batches * m * n).map(|at| (at / (m * n), at / n % m, at % n));
    let pairs = |(batch, i, j): (usize, usize, usize)| {
        (0..k).map(move |l| ((batch * m + i) * k + l, (batch * k + l) * n + j))
    };
    match (Values::of(a), Values::of(b)) {
        (Values::Int(x), Values::Int(y)) => {
            let dot = |at| pairs(at).fold(0i64, |sum, (p, q)| sum.wrapping_add(x[p].wrapping_mul(y[q])));
            Values::from_i64(places.map(dot).collect(), dtype)
        }
        (x, y) => {
            let (x, y) = (x.floats(), y.floats());
            let dot = |at| pairs(at).map(|(p, q)| x[p] * y[q]).sum::<f64>();
            Values::from_f64(places.map(dot).collect(), dtype)
        }
    }
}
