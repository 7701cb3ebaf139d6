//! How close is close enough, and where two arrays part.

use gradus_tensor_core::{DType, HostArray};

/// How far a device may be from the exact value.
///
/// An element is right if it is within `roundings` units of its own precision, and on top of that within `ulps`
/// units of the precision that is computed in (`f32` for half precision), of the larger of its magnitude and
/// `scale`. Integers, truth values, infinities and NaN must be equal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Units in the last place of the computing dtype.
    pub ulps: f64,
    /// The magnitude of what was added up.
    pub scale: f64,
    /// Roundings to the output's own dtype, if it is narrower than the computing one. More than one means that
    /// something on the way is rounded too, at a magnitude of up to 1 even where the result is smaller.
    pub roundings: f64,
}

impl Tolerance {
    /// Equality, but for the one rounding to half precision that hardware does in two steps.
    pub const EXACT: Tolerance = Tolerance { ulps: 0.0, scale: 0.0, roundings: 1.0 };

    fn allowed(&self, expected: f64, dtype: DType) -> f64 {
        let eps = |dtype: DType| match dtype {
            DType::F64 => f64::EPSILON,
            DType::F32 => f32::EPSILON as f64,
            DType::F16 => 1.0 / 1024.0,
            DType::BF16 => 1.0 / 128.0,
            _ => 0.0,
        };
        let computed = self.ulps * eps(dtype.accumulator()) * expected.abs().max(self.scale);
        let narrow = matches!(dtype, DType::F16 | DType::BF16);
        // Half precision has few small numbers: its smallest step is absolute.
        let step = if dtype == DType::F16 { 6e-8 } else { 0.0 };
        let magnitude = expected.abs().max(if self.roundings > 1.0 { self.scale.min(1.0) } else { 0.0 });
        let rounded = if narrow { self.roundings * (eps(dtype) * magnitude + step) } else { 0.0 };
        computed + rounded
    }

    fn accepts(&self, expected: f64, actual: f64, dtype: DType) -> bool {
        if expected.is_nan() || actual.is_nan() {
            return expected.is_nan() && actual.is_nan();
        }
        expected == actual
            || (expected - actual).abs() <= self.allowed(expected, dtype) && expected.is_finite()
    }
}

/// Compares what a device gave with what is right: of the same shape; `expected` may be of a wider dtype.
///
/// # Errors
/// A text that says where they part first and by how much.
pub fn compare(actual: &HostArray, expected: &HostArray, tolerance: Tolerance) -> Result<(), String> {
    let dtype = actual.dtype();
    if actual.shape() != expected.shape() || dtype.category() != expected.dtype().category() {
        return Err(format!("got {}, expected {}", actual.meta(), expected.meta()));
    }
    let float = |array: &HostArray, i| array.get_f64(i).unwrap_or(f64::NAN);
    let right = |i: usize| match dtype.is_float() {
        true => tolerance.accepts(narrowed(float(expected, i), dtype), float(actual, i), dtype),
        false => actual.get_i64(i) == expected.get_i64(i),
    };
    let wrong: Vec<usize> = (0..actual.len()).filter(|&i| !right(i)).collect();
    let Some(&first) = wrong.first() else { return Ok(()) };
    let mut index = vec![0; actual.shape().rank()];
    let mut flat = first;
    for axis in (0..index.len()).rev() {
        index[axis] = flat % actual.shape()[axis];
        flat /= actual.shape()[axis];
    }
    let place = format!("differs first at {index:?} (and at {} of {} elements)", wrong.len(), actual.len());
    Err(if dtype.is_float() {
        let (a, e) = (float(actual, first), float(expected, first));
        let allowed = tolerance.allowed(e, dtype);
        format!("{place}: got {a:e}, expected {e:e}, off by {:.1e} (allowed {allowed:.1e})", (a - e).abs())
    } else {
        let of = |array: &HostArray| array.get_i64(first).map_or("nothing".into(), |v| v.to_string());
        format!("{place}: got {}, expected {}", of(actual), of(expected))
    })
}

/// Values beyond the range of a dtype are infinite in it; others stay as exact as they are.
fn narrowed(x: f64, dtype: DType) -> f64 {
    let largest = match dtype {
        DType::F16 => 65519.99,
        DType::F32 | DType::BF16 => f32::MAX as f64 * (1.0 + f32::EPSILON as f64 / 4.0),
        _ => f64::MAX,
    };
    if x.abs() > largest { f64::INFINITY.copysign(x) } else { x }
}
