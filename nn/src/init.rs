//! What parameters start as.
//!
//! Fans are PyTorch's: for a weight `[out, in, *kernel]` the fan in is `in * prod(kernel)` and the fan out is
//! `out * prod(kernel)`. Numbers come from the calling thread's ambient generator
//! ([`gradus_tensor_core::rng`]), so `manual_seed` makes a model reproducible.

use gradus_tensor_core::rng::{self, Key};
use gradus_tensor_core::{DType, Device, Error, IntoShape, Result, Shape, Tensor};

/// A distribution to draw a parameter from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Init {
    /// One value.
    Constant(f64),
    /// Uniform in `[low, high)`.
    Uniform {
        /// The smallest value.
        low: f64,
        /// The bound above.
        high: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// Normal, restricted to an interval.
    TruncNormal {
        /// The mean before the restriction.
        mean: f64,
        /// The standard deviation before the restriction.
        std: f64,
        /// The smallest value.
        low: f64,
        /// The largest value.
        high: f64,
    },
    /// Uniform with variance `2 * gain² / (fan_in + fan_out)` (Glorot and Bengio, AISTATS 2010).
    XavierUniform {
        /// See [`Gain`].
        gain: f64,
    },
    /// Normal with variance `2 * gain² / (fan_in + fan_out)`.
    XavierNormal {
        /// See [`Gain`].
        gain: f64,
    },
    /// Uniform with variance `gain² / fan` (He et al., arXiv:1502.01852).
    KaimingUniform {
        /// See [`Gain`].
        gain: f64,
        /// Which fan.
        fan: Fan,
    },
    /// Normal with variance `gain² / fan`.
    KaimingNormal {
        /// See [`Gain`].
        gain: f64,
        /// Which fan.
        fan: Fan,
    },
    /// Rows (or columns, if there are fewer) are orthogonal and of length `gain`, uniformly distributed (Saxe
    /// et al., arXiv:1312.6120); axes after the first count as columns.
    Orthogonal {
        /// The length.
        gain: f64,
    },
}

/// Whether to keep the variance of activations or of gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fan {
    /// Forward: the number of inputs of a unit.
    #[default]
    In,
    /// Backward: the number of units an input goes to.
    Out,
}

/// What a nonlinearity's loss of variance is made up with.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Gain {
    /// 1.
    Linear,
    /// `sqrt(2)`
    Relu,
    /// `sqrt(2 / (1 + slope²))`
    LeakyRelu(f64),
    /// 5/3.
    Tanh,
}

impl Gain {
    /// The factor.
    pub fn factor(self) -> f64 {
        match self {
            Gain::Linear => 1.0,
            Gain::Relu => 2f64.sqrt(),
            Gain::LeakyRelu(slope) => (2.0 / (1.0 + slope * slope)).sqrt(),
            Gain::Tanh => 5.0 / 3.0,
        }
    }
}

/// Fan in and fan out of a weight `[out, in, *kernel]`.
///
/// # Errors
/// The shape has fewer than two axes.
pub fn fans(shape: &Shape) -> Result<(usize, usize)> {
    if shape.rank() < 2 {
        return Err(Error::argument(
            "init",
            format!("fans need a weight of at least two axes, not {shape}; use Uniform or Normal"),
        ));
    }
    let kernel: usize = shape[2..].iter().product();
    Ok((shape[1] * kernel, shape[0] * kernel))
}

impl Init {
    /// All 0.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// All 1.
    pub const ONES: Init = Init::Constant(1.0);

    /// PyTorch's default of linear layers and convolutions: uniform in `±1 / sqrt(fan_in)`, which is Kaiming's
    /// with the gain of a leaky ReLU of slope `sqrt(5)`.
    pub fn default_weight() -> Init {
        Init::KaimingUniform { gain: (1.0f64 / 3.0).sqrt(), fan: Fan::In }
    }

    /// PyTorch's default bias beside a weight of that shape: uniform in `±1 / sqrt(fan_in)`.
    ///
    /// # Errors
    /// As [`fans`].
    pub fn default_bias(weight: &Shape) -> Result<Init> {
        let (fan_in, _) = fans(weight)?;
        let bound = if fan_in == 0 { 0.0 } else { 1.0 / (fan_in as f64).sqrt() };
        Ok(Init::Uniform { low: -bound, high: bound })
    }

    /// Draws a tensor.
    ///
    /// # Errors
    /// The dtype is not floating-point, a parameter of the distribution is out of its domain, the shape has no
    /// fans, or memory runs out.
    pub fn tensor(&self, shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Tensor> {
        let shape = shape.into_shape()?;
        crate::tree::check_float("init", dtype)?;
        match *self {
            Init::Constant(value) => Tensor::full(value, shape, dtype, device),
            Init::Uniform { low, high } => Tensor::uniform(low, high, rng::next_key(), shape, dtype, device),
            Init::Normal { mean, std } => Tensor::normal(mean, std, rng::next_key(), shape, dtype, device),
            Init::XavierUniform { gain } => uniform(xavier(gain, &shape)?, shape, dtype, device),
            Init::XavierNormal { gain } => normal(xavier(gain, &shape)?, shape, dtype, device),
            Init::KaimingUniform { gain, fan } => uniform(kaiming(gain, fan, &shape)?, shape, dtype, device),
            Init::KaimingNormal { gain, fan } => normal(kaiming(gain, fan, &shape)?, shape, dtype, device),
            Init::TruncNormal { mean, std, low, high } => {
                room(shape.numel(), device)?;
                let values = trunc_normal(mean, std, low, high, rng::next_key(), shape.numel())?;
                Tensor::from_vec(values, shape, device)?.cast(dtype)
            }
            Init::Orthogonal { gain } => {
                room(shape.numel(), device)?;
                let values = orthogonal(gain, rng::next_key(), &shape)?;
                Tensor::from_vec(values, shape, device)?.cast(dtype)
            }
        }
    }
}

/// Room for that many numbers on the host, on their way to a device.
///
/// # Errors
/// There is none: asked before it is taken, since a vector that cannot grow ends the process.
pub(crate) fn room(n: usize, device: &Device) -> Result<Vec<f64>> {
    let mut numbers = Vec::new();
    match numbers.try_reserve_exact(n) {
        Ok(()) => Ok(numbers),
        Err(_) => {
            let (memory, requested) = (device.memory(), n.saturating_mul(size_of::<f64>()));
            let (allocated, cached) = (memory.allocated, memory.cached);
            Err(Error::OutOfMemory { requested, allocated, cached, backend: device.name() })
        }
    }
}

fn xavier(gain: f64, shape: &Shape) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    Ok(gain * (2.0 / (fan_in + fan_out).max(1) as f64).sqrt())
}

fn kaiming(gain: f64, fan: Fan, shape: &Shape) -> Result<f64> {
    let (fan_in, fan_out) = fans(shape)?;
    let fan = if fan == Fan::In { fan_in } else { fan_out };
    Ok(gain / (fan.max(1) as f64).sqrt())
}

/// Uniform with mean 0 and that standard deviation.
fn uniform(std: f64, shape: Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    let bound = 3f64.sqrt() * std;
    Tensor::uniform(-bound, bound, rng::next_key(), shape, dtype, device)
}

fn normal(std: f64, shape: Shape, dtype: DType, device: &Device) -> Result<Tensor> {
    Tensor::normal(0.0, std, rng::next_key(), shape, dtype, device)
}

fn trunc_normal(mean: f64, std: f64, low: f64, high: f64, key: Key, n: usize) -> Result<Vec<f64>> {
    let valid = std > 0.0 && low < high && [mean, std, low, high].iter().all(|x| x.is_finite());
    if !valid {
        return Err(Error::argument(
            "init",
            format!("a truncated normal needs std > 0 and low < high, not std {std}, low {low}, high {high}"),
        ));
    }
    let scale = std * std::f64::consts::SQRT_2;
    let (from, to) = (libm::erf((low - mean) / scale), libm::erf((high - mean) / scale));
    let draw = |i: usize| {
        let u = from + (to - from) * key.uniform64(i as u64);
        (mean + scale * inverse_erf(u)).clamp(low, high)
    };
    Ok((0..n).map(draw).collect())
}

/// The inverse of the error function: Winitzki's approximation, made exact by Newton's method.
fn inverse_erf(y: f64) -> f64 {
    if y.abs() >= 1.0 {
        return y * f64::INFINITY;
    }
    const A: f64 = 0.147;
    let log = (-y * y).ln_1p();
    let b = 2.0 / (std::f64::consts::PI * A) + log / 2.0;
    let mut x = ((b * b - log / A).sqrt() - b).sqrt().copysign(y);
    for _ in 0..3 {
        let slope = std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp();
        x -= (libm::erf(x) - y) / slope;
    }
    x
}

/// Rows of normal numbers made orthonormal one by one. Projecting twice keeps them orthogonal to rounding.
fn orthogonal(gain: f64, key: Key, shape: &Shape) -> Result<Vec<f64>> {
    fans(shape)?;
    let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
    let (short, long) = (rows.min(columns), rows.max(columns));
    let mut q: Vec<Vec<f64>> = Vec::with_capacity(short);
    for r in 0..short {
        let mut row: Vec<f64> = (0..long).map(|c| key.normal64((r * long + c) as u64)).collect();
        for _ in 0..2 {
            for done in &q {
                let along: f64 = done.iter().zip(&row).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(done).for_each(|(x, d)| *x -= along * d);
            }
        }
        let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
        row.iter_mut().for_each(|x| *x /= length);
        q.push(row);
    }
    let at = |r: usize, c: usize| if rows <= columns { q[r][c] } else { q[c][r] };
    Ok((0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))).map(|(r, c)| gain * at(r, c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key { seed: 1, stream: 2 };

    #[test]
    fn the_inverse_error_function_inverts_the_error_function() {
        for i in -60..=60 {
            let x = i as f64 / 20.0;
            assert!((inverse_erf(libm::erf(x)) - x).abs() < 1e-11, "at {x}");
        }
    }

    #[test]
    fn a_truncated_normal_stays_inside_and_has_the_moments_of_its_kind() {
        let values = trunc_normal(0.5, 2.0, -1.5, 2.5, KEY, 100_000).unwrap();
        assert!(values.iter().all(|x| (-1.5..=2.5).contains(x)));
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64;
        // Symmetric around the mean at one standard deviation: 1 - 2 φ(1) / (2 Φ(1) - 1) of the variance.
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((variance - 4.0 * 0.291_125).abs() < 0.02, "{variance}");
        assert!(trunc_normal(0.0, 1.0, 1.0, -1.0, KEY, 1).is_err());
    }

    #[test]
    fn orthogonal_rows_or_columns_are_orthonormal_up_to_the_gain() {
        for dims in [[3usize, 7], [7, 3], [5, 5]] {
            let q = orthogonal(2.0, KEY, &Shape::new(&dims).unwrap()).unwrap();
            let [rows, columns] = dims;
            let at =
                |i: usize, k: usize| if rows <= columns { q[i * columns + k] } else { q[k * columns + i] };
            for i in 0..rows.min(columns) {
                for j in 0..rows.min(columns) {
                    let dot: f64 = (0..rows.max(columns)).map(|k| at(i, k) * at(j, k)).sum();
                    assert!((dot - if i == j { 4.0 } else { 0.0 }).abs() < 1e-12);
                }
            }
        }
    }

    #[test]
    fn fans_count_the_kernel_and_the_default_bound_is_one_over_the_root_of_the_fan_in() {
        let shape = Shape::new(&[8, 4, 3, 3]).unwrap();
        assert_eq!(fans(&shape).unwrap(), (36, 72));
        let Init::KaimingUniform { gain, fan } = Init::default_weight() else { panic!() };
        let bound = 3f64.sqrt() * kaiming(gain, fan, &shape).unwrap();
        assert!((bound - 1.0 / 6.0).abs() < 1e-15);
        let Init::Uniform { low, high } = Init::default_bias(&shape).unwrap() else { panic!() };
        assert_eq!((low, high), (-1.0 / 6.0, 1.0 / 6.0));
        assert!(fans(&Shape::new(&[8]).unwrap()).is_err());
    }
}
