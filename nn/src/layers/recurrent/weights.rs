//! The parameters of one layer in one direction.

use gradus_tensor_core::{DType, Device, Result, Tensor};

use crate::init::Init;
use crate::{Param, Visitor, VisitorMut};

/// The parameters of one recurrent layer in one direction; `gates` is 4 for an LSTM, 3 for a GRU and 1 for a plain
/// network.
#[derive(Clone, Debug)]
pub struct RecurrentWeights {
    /// `[gates * hidden, inputs]`
    pub weight_ih: Param,
    /// `[gates * hidden, hidden]`
    pub weight_hh: Param,
    /// `[gates * hidden]`
    pub bias_ih: Option<Param>,
    /// `[gates * hidden]`
    pub bias_hh: Option<Param>,
}

impl RecurrentWeights {
    pub(super) fn new(
        gates: usize,
        inputs: usize,
        hidden: usize,
        bias: bool,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let bound = 1.0 / (hidden as f64).sqrt();
        let init = Init::Uniform { low: -bound, high: bound };
        let rows = hidden.saturating_mul(gates);
        let weight = |columns: usize| Param::new(init.tensor([rows, columns], dtype, device)?);
        let vector = || Param::new(init.tensor(rows, dtype, device)?);
        Ok(RecurrentWeights {
            weight_ih: weight(inputs)?,
            weight_hh: weight(hidden)?,
            bias_ih: bias.then(vector).transpose()?,
            bias_hh: bias.then(vector).transpose()?,
        })
    }

    pub(super) fn inputs(&self) -> usize {
        columns(&self.weight_ih)
    }

    pub(super) fn hidden(&self) -> usize {
        columns(&self.weight_hh)
    }

    /// What inputs and both biases contribute to the gates.
    pub(super) fn project_with_both(&self, x: &Tensor) -> Result<Tensor> {
        let bias = match (&self.bias_ih, &self.bias_hh) {
            (Some(ih), Some(hh)) => Some(ih.value()?.add(hh.value()?)?),
            (Some(one), None) | (None, Some(one)) => Some(one.value()?.clone()),
            (None, None) => None,
        };
        x.linear(self.weight_ih.value()?, bias.as_ref())
    }

    pub(super) fn visit(&self, suffix: &str, visitor: &mut dyn Visitor) {
        let all = [
            ("weight_ih", Some(&self.weight_ih)),
            ("weight_hh", Some(&self.weight_hh)),
            ("bias_ih", self.bias_ih.as_ref()),
            ("bias_hh", self.bias_hh.as_ref()),
        ];
        for (name, param) in all {
            if let Some(param) = param {
                visitor.enter(&format!("{name}{suffix}"));
                visitor.param(param);
                visitor.leave();
            }
        }
    }

    pub(super) fn visit_mut(&mut self, suffix: &str, visitor: &mut dyn VisitorMut) {
        let all = [
            ("weight_ih", Some(&mut self.weight_ih)),
            ("weight_hh", Some(&mut self.weight_hh)),
            ("bias_ih", self.bias_ih.as_mut()),
            ("bias_hh", self.bias_hh.as_mut()),
        ];
        for (name, param) in all {
            if let Some(param) = param {
                visitor.enter(&format!("{name}{suffix}"));
                visitor.param(param);
                visitor.leave();
            }
        }
    }
}

/// The columns of a matrix; 0 if a parameter was set to what is none, which the ops refuse.
fn columns(param: &Param) -> usize {
    param.tensor().dims().get(1).copied().unwrap_or(0)
}
