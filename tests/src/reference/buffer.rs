//! Memory of the reference: values wide enough for every dtype, and a count of what is alive.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus_tensor_core::{DType, Element, HostArray, MemoryStats, Meta, Result, View, with_dtype};

/// Elements of one dtype, each a value that the dtype can hold: floats as doubles, integers and truth
/// values as 64-bit integers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Values {
    Float(Vec<f64>),
    Int(Vec<i64>),
}

impl Values {
    /// Doubles rounded (or truncated and saturated) into a dtype.
    pub(super) fn from_f64(values: Vec<f64>, dtype: DType) -> Self {
        with_dtype!(dtype, T => match dtype.is_float() {
            true => Values::Float(values.into_iter().map(|x| T::from_f64(x).to_f64()).collect()),
            false => Values::Int(values.into_iter().map(|x| T::from_f64(x).to_i64()).collect()),
        })
    }

    /// Integers rounded (or wrapped) into a dtype.
    pub(super) fn from_i64(values: Vec<i64>, dtype: DType) -> Self {
        with_dtype!(dtype, T => match dtype.is_float() {
            true => Values::Float(values.into_iter().map(|x| T::from_i64(x).to_f64()).collect()),
            false => Values::Int(values.into_iter().map(|x| T::from_i64(x).to_i64()).collect()),
        })
    }

    pub(super) fn from_host(host: &HostArray) -> Self {
        if host.dtype().is_float() {
            Values::Float(host.convert::<f64>())
        } else {
            Values::Int(host.convert::<i64>())
        }
    }

    pub(super) fn to_host(&self, meta: Meta) -> Result<HostArray> {
        with_dtype!(meta.dtype, T => match self {
            Values::Float(v) => HostArray::new(v.iter().map(|&x| T::from_f64(x)).collect::<Vec<T>>(), meta.shape),
            Values::Int(v) => HostArray::new(v.iter().map(|&x| T::from_i64(x)).collect::<Vec<T>>(), meta.shape),
        })
    }

    /// The elements of a view in row-major order.
    pub(super) fn of(view: View<'_, Buffer>) -> Self {
        view.buffer.values.pick(view.layout.positions())
    }

    /// The elements at these positions.
    pub(super) fn pick(&self, positions: impl Iterator<Item = usize>) -> Self {
        match self {
            Values::Float(v) => Values::Float(positions.map(|p| v[p]).collect()),
            Values::Int(v) => Values::Int(positions.map(|p| v[p]).collect()),
        }
    }

    /// The elements, and after them those of another run of the same dtype.
    pub(super) fn followed_by(self, next: Values) -> Self {
        match (self, next) {
            (Values::Float(a), Values::Float(b)) => Values::Float([a, b].concat()),
            (Values::Int(a), Values::Int(b)) => Values::Int([a, b].concat()),
            (a, _) => a,
        }
    }

    pub(super) fn cast(self, dtype: DType) -> Self {
        match self {
            Values::Float(v) => Values::from_f64(v, dtype),
            Values::Int(v) => Values::from_i64(v, dtype),
        }
    }

    /// The elements as doubles.
    pub(super) fn floats(self) -> Vec<f64> {
        match self {
            Values::Float(v) => v,
            Values::Int(v) => v.into_iter().map(|x| x as f64).collect(),
        }
    }

    /// The elements as integers.
    pub(super) fn ints(self) -> Vec<i64> {
        match self {
            Values::Float(v) => v.into_iter().map(|x| x as i64).collect(),
            Values::Int(v) => v,
        }
    }

    fn len(&self) -> usize {
        match self {
            Values::Float(v) => v.len(),
            Values::Int(v) => v.len(),
        }
    }
}

/// A buffer of the [`Reference`](super::Reference) backend.
#[derive(Debug)]
pub struct Buffer {
    pub(super) values: Values,
    dtype: DType,
    meter: Meter,
}

impl Buffer {
    /// What the buffer would take in a real backend, which stores elements in their own width.
    fn bytes(&self) -> usize {
        self.values.len() * self.dtype.size()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.meter.0.bytes.fetch_sub(self.bytes(), Ordering::Relaxed);
        self.meter.0.buffers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts live buffers; shared by the backend and its buffers.
#[derive(Clone, Debug, Default)]
pub(super) struct Meter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    peak: AtomicUsize,
    buffers: AtomicUsize,
}

impl Meter {
    /// A buffer of these values, counted until it is dropped.
    pub(super) fn buffer(&self, values: Values, dtype: DType) -> Buffer {
        let buffer = Buffer { values, dtype, meter: self.clone() };
        let before = self.0.bytes.fetch_add(buffer.bytes(), Ordering::Relaxed);
        self.0.peak.fetch_max(before + buffer.bytes(), Ordering::Relaxed);
        self.0.buffers.fetch_add(1, Ordering::Relaxed);
        buffer
    }

    pub(super) fn stats(&self) -> MemoryStats {
        MemoryStats {
            allocated: self.0.bytes.load(Ordering::Relaxed),
            peak: self.0.peak.load(Ordering::Relaxed),
            cached: 0,
            buffers: self.0.buffers.load(Ordering::Relaxed),
        }
    }
}
