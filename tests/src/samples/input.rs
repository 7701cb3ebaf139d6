//! What to put into an operand.

use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Element, HostArray, Op, Result, Shape, UnaryOp, with_dtype};

/// An operand of a [`Sample`](super::Sample): its shape and what numbers it holds.
#[derive(Clone, Debug)]
pub struct Input {
    /// The sizes of its dimensions.
    pub dims: Vec<usize>,
    /// Its numbers.
    pub kind: Kind,
}

/// Which numbers an operand holds. Kinds that name no dtype take the dtype the sample is swept over.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Uniform in an interval. Integers are rounded from it, so equal ones occur.
    Number {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
    },
    /// Where a unary op is smooth: inside its domain, away from its kinks and steps.
    Domain(UnaryOp),
    /// All different, a quarter or more apart, in random order: no ties, so extremes are differentiable.
    Apart,
    /// A few numbers with many ties.
    Ties,
    /// Truth values.
    Truth,
    /// `i64` in `0..size`.
    Index {
        /// The number of valid positions.
        size: usize,
    },
    /// These `i64`.
    Labels(Vec<i64>),
    /// Numbers in the accumulator dtype, uniform in -1..1.
    Accumulator,
    /// `i8`, each of all values.
    Bytes,
    /// `f32`, uniform in an interval, whatever the swept dtype.
    Single {
        /// The smallest.
        low: f64,
        /// The largest.
        high: f64,
    },
    /// An output of another op on operands of this sample: statistics, a saved output, indices of maxima.
    Output {
        /// The op.
        op: Op,
        /// Which of the sample's operands it takes; not outputs themselves.
        from: Vec<usize>,
        /// Which of its outputs.
        output: usize,
    },
}

impl Input {
    /// An operand of that shape and kind.
    pub fn new(dims: &[usize], kind: Kind) -> Self {
        Input { dims: dims.to_vec(), kind }
    }

    /// Numbers in -2..2.
    pub fn number(dims: &[usize]) -> Self {
        Self::new(dims, Kind::Number { low: -2.0, high: 2.0 })
    }

    /// Indices below `size`.
    pub fn index(dims: &[usize], size: usize) -> Self {
        Self::new(dims, Kind::Index { size })
    }

    /// Output `output` of an op on the operands `from`.
    pub fn output(op: Op, from: &[usize], output: usize) -> Self {
        Self::new(&[], Kind::Output { op, from: from.to_vec(), output })
    }

    /// Whether this is an operand that gradients are taken of: one with free values of the swept dtype.
    pub fn is_free(&self) -> bool {
        matches!(
            self.kind,
            Kind::Number { .. } | Kind::Domain(_) | Kind::Apart | Kind::Ties | Kind::Accumulator
        )
    }

    /// The values in that dtype; `None` if they are computed from other operands.
    ///
    /// # Errors
    /// The shape is impossible.
    pub fn value(&self, dtype: DType, key: Key) -> Result<Option<HostArray>> {
        let shape = Shape::new(&self.dims)?;
        let n = shape.numel();
        let uniform = |i: usize| key.uniform64(i as u64);
        let fill = |dtype: DType, f: &dyn Fn(usize) -> f64| {
            let round = |x: f64| if dtype.is_int() { x.round() } else { x };
            with_dtype!(dtype, T => HostArray::new((0..n).map(|i| T::from_f64(round(f(i)))).collect(), shape))
        };
        let order = || -> Vec<usize> {
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by_key(|&i| key.bits64(i as u64));
            order
        };
        Ok(Some(match &self.kind {
            // The float ranges are narrow; integers get some more values out of them.
            Kind::Number { low, high } if dtype.is_int() => {
                let low = if dtype == DType::U8 { low.max(0.0) } else { *low };
                fill(dtype, &|i| 2.5 * (low + (high - low) * uniform(i)))?
            }
            Kind::Number { low, high } => fill(dtype, &|i| low + (high - low) * uniform(i))?,
            Kind::Domain(op) => fill(dtype, &|i| inside(*op, uniform(i)))?,
            Kind::Apart => {
                let order = order();
                fill(dtype, &|i| (order[i] as f64 - n as f64 / 2.0) * 0.25)?
            }
            Kind::Ties => {
                fill(dtype, &|i| (uniform(i) * 4.0).floor() - if dtype == DType::U8 { 0.0 } else { 2.0 })?
            }
            Kind::Truth => fill(DType::Bool, &|i| (uniform(i) < 0.5) as u8 as f64)?,
            Kind::Index { size } => fill(DType::I64, &|i| (uniform(i) * *size as f64).floor())?,
            Kind::Labels(labels) => HostArray::new(labels.clone(), shape)?,
            Kind::Accumulator => fill(dtype.accumulator(), &|i| 2.0 * uniform(i) - 1.0)?,
            Kind::Bytes => fill(DType::I8, &|i| (uniform(i) * 256.0).floor() - 128.0)?,
            Kind::Single { low, high } => fill(DType::F32, &|i| low + (high - low) * uniform(i))?,
            Kind::Output { .. } => return Ok(None),
        }))
    }
}

/// A point of the op's domain, at least 0.05 away from where its derivative jumps. `u` is in 0..1.
pub(crate) fn inside(op: UnaryOp, u: f64) -> f64 {
    let (low, high) = op.domain();
    let x = low + (high - low) * u;
    if op.is_step() {
        // Steps are at whole and at half numbers: stay between a tenth and four tenths above a whole one.
        return x.floor() + 0.1 + 0.3 * (x - x.floor());
    }
    match op.kinks().into_iter().find(|kink| (x - kink).abs() < 0.05) {
        Some(kink) if x < kink => kink - 0.1,
        Some(kink) => kink + 0.1,
        None => x,
    }
}
