//! Embedding tables.

use gradus_tensor_core::{DType, Device, Error, Result, Tensor};

use crate::init::Init;
use crate::{Module, Param, Parameters};
use gradus_autograd::Autograd;

/// Rows of a table picked by `i64` ids: `[..]` to `[.., width]`.
#[derive(Clone, Debug, Parameters)]
pub struct Embedding {
    /// `[rows, width]`
    pub weight: Param,
    /// The id that stands for no token: its row gets no gradient.
    pub padding_idx: Option<usize>,
}

/// Options of an [`Embedding`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct EmbeddingBuilder {
    rows: usize,
    width: usize,
    padding_idx: Option<usize>,
    weight_init: Init,
    dtype: DType,
}

impl Embedding {
    /// A table of that many rows, which start standard normal.
    pub fn new(rows: usize, width: usize) -> EmbeddingBuilder {
        let weight_init = Init::Normal { mean: 0.0, std: 1.0 };
        EmbeddingBuilder { rows, width, padding_idx: None, weight_init, dtype: DType::F32 }
    }
}

impl EmbeddingBuilder {
    /// The id that stands for no token: its row starts at 0 and gets no gradient.
    pub fn padding_idx(mut self, id: impl Into<Option<usize>>) -> Self {
        self.padding_idx = id.into();
        self
    }

    /// What the table starts as.
    pub fn weight_init(mut self, init: Init) -> Self {
        self.weight_init = init;
        self
    }

    /// The table's dtype, `f32` unless given.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// The padding id is not a row, the dtype is not floating-point, or memory runs out.
    pub fn init(self, device: &Device) -> Result<Embedding> {
        let EmbeddingBuilder { rows, width, padding_idx, weight_init, dtype } = self;
        let mut weight = weight_init.tensor([rows, width], dtype, device)?;
        if let Some(id) = padding_idx {
            if id >= rows {
                return Err(Error::argument(
                    "embedding",
                    format!("padding id {id} is not one of {rows} rows"),
                ));
            }
            weight.narrow_assign(0, id, &Tensor::zeros([1, width], dtype, device)?)?;
        }
        Ok(Embedding { weight: Param::new(weight)?, padding_idx })
    }
}

impl Module for Embedding {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let rows = self.weight.value()?.embedding(input)?;
        match self.padding_idx {
            Some(id) if rows.is_tracked() => {
                input.eq(id as i64)?.unsqueeze(-1)?.where_(&rows.detach()?, &rows)
            }
            _ => Ok(rows),
        }
    }
}
