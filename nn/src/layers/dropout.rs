//! Dropout.

use gradus_tensor_core::{Error, Result, Tensor, rng};

use crate::{Mode, Module, Parameters, Stage};

/// In training, zeroes each element with probability `p` and scales the others by `1 / (1 - p)` (Srivastava et
/// al., JMLR 2014); in evaluation, the identity. Masks come from the calling thread's ambient generator.
#[derive(Clone, Debug, Parameters)]
pub struct Dropout {
    p: f64,
    /// Training or evaluation.
    pub mode: Mode,
}

impl Dropout {
    /// A layer that drops elements with probability `p`.
    ///
    /// # Errors
    /// `p` is not in `0..=1`.
    pub fn new(p: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::argument("dropout", format!("probability {p} is not in 0..=1")));
        }
        Ok(Dropout { p, mode: Mode::default() })
    }

    /// The probability that an element is dropped.
    pub fn p(&self) -> f64 {
        self.p
    }

    fn drops(&self) -> bool {
        self.mode.is_training() && self.p > 0.0
    }
}

impl Module for Dropout {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        if self.drops() { input.dropout(self.p, rng::next_key()) } else { Ok(input.clone()) }
    }

    fn stage(&self) -> Stage<'_> {
        if self.drops() { Stage::Other } else { Stage::Identity }
    }
}
