//! Tensors from numbers.

use crate::op::{Arange, Distribution, Fill, Random};
use crate::rng::{self, Key};
use crate::{DType, Device, Error, IntoShape, Meta, Op, Result, Scalar, Tensor};

fn random(
    distribution: Distribution,
    key: Key,
    shape: impl IntoShape,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let out = Meta::new(shape.into_shape()?, dtype);
    device.execute_first(&Op::Random(Random { distribution, key, out }), &[])
}

impl Tensor {
    /// A tensor of one value, in that dtype.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// let x = Tensor::full(2.5, [2, 2], DType::F32, &device)?;
    /// assert_eq!(x.to_vec::<f32>()?, [2.5; 4]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Memory runs out.
    pub fn full(
        value: impl Into<Scalar>,
        shape: impl IntoShape,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let fill = Fill { value: value.into(), out: Meta::new(shape.into_shape()?, dtype) };
        device.execute_first(&Op::Fill(fill), &[])
    }

    /// Zeros.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn zeros(shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Self> {
        Self::full(0, shape, dtype, device)
    }

    /// Ones.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn ones(shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Self> {
        Self::full(1, shape, dtype, device)
    }

    /// A tensor of one number without axes, in the number's default dtype (`f32`, `i64` or `bool`).
    ///
    /// # Errors
    /// Memory runs out.
    pub fn scalar(value: impl Into<Scalar>, device: &Device) -> Result<Self> {
        let value = value.into();
        Self::full(value, (), value.default_dtype(), device)
    }

    /// Zeros of this tensor's shape and dtype, on its innermost device: a constant to differentiation.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype(), self.device().innermost())
    }

    /// Ones of this tensor's shape and dtype, on its innermost device: a constant to differentiation.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn ones_like(&self) -> Result<Self> {
        Self::ones(self.shape(), self.dtype(), self.device().innermost())
    }

    /// `start`, `start + 1`, … below `end`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// assert_eq!(Tensor::arange(2, 5, DType::I64, &device)?.to_vec::<i64>()?, [2, 3, 4]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The dtype is bool or memory runs out.
    pub fn arange(start: i64, end: i64, dtype: DType, device: &Device) -> Result<Self> {
        let n = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
        let exact = |x: i64| x.unsigned_abs() <= 1 << 53;
        if dtype == DType::I64 && start != 0 && !(exact(start) && exact(end)) {
            // The op counts in doubles.
            return Self::arange(0, n as i64, dtype, device)?.add(start);
        }
        let out = Meta::new(n.into_shape()?, dtype);
        device.execute_first(&Op::Arange(Arange { start: start as f64, step: 1.0, out }), &[])
    }

    /// `n` evenly spaced numbers from `start` to `end`, both included.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// assert_eq!(Tensor::linspace(0.0, 1.0, 5, DType::F32, &device)?.to_vec::<f32>()?, [0.0, 0.25, 0.5, 0.75, 1.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The dtype is not a float, or memory runs out.
    pub fn linspace(start: f64, end: f64, n: usize, dtype: DType, device: &Device) -> Result<Self> {
        if !dtype.is_float() {
            return Err(Error::argument("linspace", format!("needs a float dtype, not {dtype}")));
        }
        let count = |start: f64, step: f64, n: usize| {
            let out = Meta::new(n.into_shape()?, dtype);
            device.execute_first(&Op::Arange(Arange { start, step, out }), &[])
        };
        if n < 2 {
            return count(start, 0.0, n);
        }
        // The second half is counted from the end, so that it is reached whatever rounding does to the step.
        let (step, half) = ((end - start) / (n - 1) as f64, n / 2);
        let (first, second) = (count(start, step, half)?, count(end, -step, n - half)?);
        Self::cat(&[&first, &second.flip(0)?], 0)
    }

    /// The identity matrix of size `n`.
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// assert_eq!(Tensor::eye(2, DType::F32, &device)?.to_vec::<f32>()?, [1.0, 0.0, 0.0, 1.0]);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// Memory runs out.
    pub fn eye(n: usize, dtype: DType, device: &Device) -> Result<Self> {
        let i = Self::arange(0, i64::try_from(n).unwrap_or(i64::MAX), DType::I64, device)?;
        i.unsqueeze(1)?.eq(&i.unsqueeze(0)?)?.cast(dtype)
    }

    /// Standard normal numbers from the calling thread's ambient generator ([`crate::rng`]).
    ///
    /// ```
    /// # use gradus_tensor_core::*;
    /// # let device = gradus_backend_cpu::Cpu::device();
    /// rng::manual_seed(7);
    /// let x = Tensor::randn([4], DType::F32, &device)?;
    /// rng::manual_seed(7);
    /// let again = Tensor::randn([4], DType::F32, &device)?;
    /// assert_eq!(x.to_vec::<f32>()?, again.to_vec::<f32>()?);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// The dtype is not a float, or memory runs out.
    pub fn randn(shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Self> {
        Self::normal(0.0, 1.0, rng::next_key(), shape, dtype, device)
    }

    /// Numbers uniform in `[0, 1)` from the calling thread's ambient generator.
    ///
    /// # Errors
    /// The dtype is not a float, or memory runs out.
    pub fn rand(shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Self> {
        Self::uniform(0.0, 1.0, rng::next_key(), shape, dtype, device)
    }

    /// Integers uniform in `low..high` from the calling thread's ambient generator.
    ///
    /// # Errors
    /// The range is empty, the dtype has not every integer in it (`bf16` has those up to 256), or memory runs out.
    pub fn randint(
        low: i64,
        high: i64,
        shape: impl IntoShape,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        random(Distribution::Integer { low, high }, rng::next_key(), shape, dtype, device)
    }

    /// Normal numbers, a pure function of the key.
    ///
    /// # Errors
    /// The dtype is not a float, `std` is negative, or memory runs out.
    pub fn normal(
        mean: f64,
        std: f64,
        key: Key,
        shape: impl IntoShape,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        random(Distribution::Normal { mean, std }, key, shape, dtype, device)
    }

    /// Numbers uniform in `[low, high)`, a pure function of the key.
    ///
    /// # Errors
    /// The dtype is not a float, `low` exceeds `high`, or memory runs out.
    pub fn uniform(
        low: f64,
        high: f64,
        key: Key,
        shape: impl IntoShape,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        random(Distribution::Uniform { low, high }, key, shape, dtype, device)
    }

    /// 1 (or true) with probability `p`, else 0: a pure function of the key.
    ///
    /// # Errors
    /// `p` is not in `0..=1`, or memory runs out.
    pub fn bernoulli(p: f64, key: Key, shape: impl IntoShape, dtype: DType, device: &Device) -> Result<Self> {
        random(Distribution::Bernoulli { p }, key, shape, dtype, device)
    }

    /// A random permutation of `0..n` (`i64`), a pure function of the key.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn randperm(n: usize, key: Key, device: &Device) -> Result<Self> {
        let noise = Self::uniform(0.0, 1.0, key, n, DType::F64, device)?;
        Ok(noise.sort(0, false)?.1)
    }
}
