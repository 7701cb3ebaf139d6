//! Printing tensors, as NumPy prints arrays.
//!
//! `{}` prints the elements, aligned, the edges only of a tensor above 1,000 elements, and downloads no more
//! than it prints; `{:.3}` prints at most three digits after the point instead of eight. `{:?}` prints dtype,
//! shape and device and touches no element, so it costs nothing in a log.

mod nesting;
mod numbers;

use std::fmt;

use self::numbers::Numbers;
use crate::{Category, Layout, Result, Tensor};

/// Tensors of more elements are printed by their edges.
const THRESHOLD: usize = 1000;
/// Elements shown at either end of an axis of a tensor that is not printed whole.
const EDGE: usize = 3;
/// Digits after the point, if the format names no number.
const PRECISION: usize = 8;

impl fmt::Display for Tensor {
    /// Prints the elements. A device that fails to hand them over is not an error here: what it says is
    /// printed in their place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text(f.precision()) {
            Ok(text) => f.write_str(&text),
            Err(error) => write!(f, "<{} that cannot be read: {error}>", self.meta()),
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} on {})", self.meta(), self.device().name())
    }
}

impl Tensor {
    fn text(&self, precision: Option<usize>) -> Result<String> {
        if self.numel() == 0 {
            return Ok("[]".into());
        }
        let summarized = self.numel() > THRESHOLD;
        let shown = if summarized {
            self.dims().iter().map(|&n| n.min(2 * EDGE)).collect()
        } else {
            self.dims().to_vec()
        };
        let words = match self.dtype().category() {
            Category::Float => {
                let values: Vec<f64> = self.shown(&shown, summarized)?;
                // A number by itself is not cut, unless by the one who prints it.
                let usual = if self.rank() == 0 { usize::MAX } else { PRECISION };
                let numbers = Numbers { dtype: self.dtype(), precision: precision.unwrap_or(usual) };
                if self.rank() == 0 { vec![numbers.alone(values[0])] } else { numbers.aligned(&values) }
            }
            Category::Int => right_aligned(self.shown::<i64>(&shown, summarized)?.iter().map(i64::to_string)),
            Category::Bool => {
                let words = self.shown::<i64>(&shown, summarized)?;
                let width = if self.rank() == 0 { 0 } else { "False".len() };
                words.iter().map(|&x| format!("{:>width$}", if x != 0 { "True" } else { "False" })).collect()
            }
        };
        Ok(nesting::nest(self.dims(), &shown, &words))
    }

    /// The elements that are printed, in order: `shown[axis]` of them along each axis, half from its start
    /// and half from its end where that is not all.
    fn shown<T: crate::HostElement>(&self, shown: &[usize], summarized: bool) -> Result<Vec<T>> {
        if !summarized {
            return self.to_vec();
        }
        // Download the block at each corner and put its elements where they belong.
        let target = Layout::contiguous(crate::Shape::new(shown)?);
        let mut values = vec![T::default(); target.numel()];
        let mut corners = vec![(self.layout, target)];
        for (axis, &n) in shown.iter().enumerate() {
            if n == self.dims()[axis] {
                continue;
            }
            let mut halves = Vec::with_capacity(2 * corners.len());
            for (from, to) in corners {
                halves.push((from.narrow(axis, 0, EDGE)?, to.narrow(axis, 0, EDGE)?));
                let start = self.dims()[axis] - EDGE;
                halves.push((from.narrow(axis, start, EDGE)?, to.narrow(axis, EDGE, EDGE)?));
            }
            corners = halves;
        }
        for (from, to) in corners {
            for (value, position) in self.viewed(from).to_vec::<T>()?.into_iter().zip(to.positions()) {
                values[position] = value;
            }
        }
        Ok(values)
    }
}

fn right_aligned(words: impl Iterator<Item = String>) -> Vec<String> {
    let words: Vec<String> = words.collect();
    let width = words.iter().map(String::len).max().unwrap_or(0);
    words.into_iter().map(|word| format!("{word:>width$}")).collect()
}
