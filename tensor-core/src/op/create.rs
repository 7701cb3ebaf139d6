//! Ops that make tensors from numbers: fill, arange, random.

use crate::rng::Key;
use crate::{DType, Error, Meta, Metas, Result, Scalar};

/// A tensor of one value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// The value of every element.
    pub value: Scalar,
    /// Shape and dtype of the result.
    pub out: Meta,
}

/// `start + i * step` along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arange {
    /// The first element.
    pub start: f64,
    /// The difference between neighbours.
    pub step: f64,
    /// Shape (of rank 1) and dtype of the result.
    pub out: Meta,
}

/// What random numbers are drawn from.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Distribution {
    /// Uniform in `[low, high)`. Float dtypes.
    Uniform {
        /// The smallest value.
        low: f64,
        /// The bound above, not itself drawn.
        high: f64,
    },
    /// Normal with that mean and standard deviation. Float dtypes.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// 1 (or true) with probability `p`, else 0. Any dtype.
    Bernoulli {
        /// The probability of 1.
        p: f64,
    },
    /// Uniform integers in `[low, high)`, all of which the dtype has. Any dtype but bool.
    Integer {
        /// The smallest value.
        low: i64,
        /// The bound above, not itself drawn.
        high: i64,
    },
}

/// Random numbers: element `i` is a pure function of the key and `i`, on every backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Random {
    /// What to draw from.
    pub distribution: Distribution,
    /// Which numbers of the generator.
    pub key: Key,
    /// Shape and dtype of the result.
    pub out: Meta,
}

impl Random {
    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        super::operands::<0>("random", inputs)?;
        let fail = |message: String| Err(Error::argument("random", message));
        let dtype = self.out.dtype;
        match self.distribution {
            Distribution::Uniform { .. } | Distribution::Normal { .. } if !dtype.is_float() => {
                fail(format!("{:?} needs a float dtype, not {dtype}", self.distribution))
            }
            Distribution::Uniform { low, high } if !(low <= high && (high - low).is_finite()) => {
                fail(format!("low {low} must not exceed high {high}, and both must be finite"))
            }
            Distribution::Normal { mean, std } if !(std >= 0.0 && std.is_finite() && mean.is_finite()) => {
                fail(format!("standard deviation {std} must be finite and not negative, mean {mean} finite"))
            }
            Distribution::Bernoulli { p } if !(0.0..=1.0).contains(&p) => {
                fail(format!("probability {p} is not in 0..=1"))
            }
            Distribution::Integer { low, high } if low >= high => {
                fail(format!("low {low} must be below high {high}"))
            }
            Distribution::Integer { .. } if dtype == DType::Bool => {
                fail("random integers need a number dtype, not bool".into())
            }
            Distribution::Integer { low, high } if !dtype.has_integers(low, high - 1) => {
                fail(format!("{dtype} has not every integer of {low}..{high}; use a wider dtype"))
            }
            _ => Ok(super::one(self.out)),
        }
    }
}

impl Distribution {
    /// The largest number of a dtype that a draw from `low..high` may become. Rounding could take it to `high`:
    /// two in a thousand draws from `0..1` would, in `bf16`. So a backend draws in double precision, takes the
    /// smaller of that and this number, and rounds.
    ///
    /// ```
    /// use gradus_tensor_core::{DType, op::Distribution};
    /// assert_eq!(Distribution::largest(0.0, 1.0, DType::BF16), 1.0 - 2f64.powi(-8));
    /// ```
    pub fn largest(low: f64, high: f64, dtype: DType) -> f64 {
        if low < high { dtype.below(high) } else { low }
    }
}

impl Arange {
    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        super::operands::<0>("arange", inputs)?;
        if self.out.shape.rank() != 1 || self.out.dtype == DType::Bool {
            return Err(Error::argument("arange", format!("cannot make {}", self.out)));
        }
        Ok(super::one(self.out))
    }

    /// Element `i` in double precision; exact for integers below 2^53.
    pub fn eval(&self, i: usize) -> f64 {
        self.start + i as f64 * self.step
    }
}

pub(super) fn infer_dropout(p: f64, inputs: &[Meta]) -> Result<Metas> {
    let &[x] = super::operands("dropout", inputs)?;
    super::same_float("dropout", inputs)?;
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::argument("dropout", format!("probability {p} is not in 0..=1")));
    }
    Ok(super::one(x))
}
