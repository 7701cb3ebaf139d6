//! Transformer blocks.

use gradus_tensor_core::{DType, Device, Result, Tensor, UnaryOp};

use super::attention::{AttendOptions, MultiheadAttention};
use super::dropout::Dropout;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::{Add, Module, Parameters, Stage, Visitor, VisitorMut, Within, chain};

/// The nonlinearity of a block's feed-forward part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `x * Φ(x)`
    Gelu,
    /// `x * sigmoid(x)`
    Silu,
}

impl Parameters for Activation {
    fn visit(&self, _: &mut dyn Visitor) {}
    fn visit_mut(&mut self, _: &mut dyn VisitorMut) {}
}

impl Module for Activation {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        match self {
            Activation::Relu => input.relu(),
            Activation::Gelu => input.gelu(),
            Activation::Silu => input.silu(),
        }
    }

    fn stage(&self) -> Stage<'_> {
        Stage::Unary(match self {
            Activation::Relu => UnaryOp::Relu,
            Activation::Gelu => UnaryOp::Gelu,
            Activation::Silu => UnaryOp::Silu,
        })
    }
}

/// Self-attention and a feed-forward part, each with a residual connection and a layer normalization, over
/// `[N, T, E]`; with the parameters of PyTorch's `nn.TransformerEncoderLayer(.., batch_first=True)`. With
/// [`TransformerEncoderLayerBuilder::causal`] it is a block of a decoder-only language model.
#[derive(Clone, Debug, Parameters)]
pub struct TransformerEncoderLayer {
    /// Attention among positions.
    pub self_attn: MultiheadAttention,
    /// From `E` to the feed-forward size.
    pub linear1: Linear,
    /// After the activation.
    pub dropout: Dropout,
    /// From the feed-forward size to `E`.
    pub linear2: Linear,
    /// Of the attention.
    pub norm1: LayerNorm,
    /// Of the feed-forward part.
    pub norm2: LayerNorm,
    /// After the attention.
    pub dropout1: Dropout,
    /// After the feed-forward part.
    pub dropout2: Dropout,
    /// Between the linear layers.
    pub activation: Activation,
    /// Whether normalization comes before attention and feed-forward, or after their residual connections.
    pub norm_first: bool,
}

/// Options of a [`TransformerEncoderLayer`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct TransformerEncoderLayerBuilder {
    embed: usize,
    heads: usize,
    feed_forward: usize,
    dropout: f64,
    activation: Activation,
    norm_first: bool,
    causal: bool,
    eps: f64,
    dtype: DType,
}

impl TransformerEncoderLayer {
    /// A block for features of size `embed`, with PyTorch's defaults: a feed-forward size of 2048, dropout 0.1,
    /// ReLU, normalization last.
    pub fn new(embed: usize, heads: usize) -> TransformerEncoderLayerBuilder {
        TransformerEncoderLayerBuilder {
            embed,
            heads,
            feed_forward: 2048,
            dropout: 0.1,
            activation: Activation::Relu,
            norm_first: false,
            causal: false,
            eps: 1e-5,
            dtype: DType::F32,
        }
    }

    /// The block with masks; [`AttendOptions::weights`] is not looked at.
    ///
    /// # Errors
    /// Shapes do not fit, or the device fails.
    pub fn forward_with(&self, input: &Tensor, options: AttendOptions<'_>) -> Result<Tensor> {
        let options = AttendOptions { weights: false, ..options };
        // Each with its residual connection.
        let attend = |x: &Tensor, add: &Tensor| {
            let (y, _) = self.self_attn.heads_of(x, x, x, options).within("self_attn")?;
            let (out_proj, add) = (&self.self_attn.out_proj, Add(add));
            chain(
                [
                    ("self_attn.out_proj", out_proj as &dyn Module),
                    ("dropout1", &self.dropout1),
                    ("add", &add),
                ],
                &y,
            )
        };
        let feed = |x: &Tensor, add: &Tensor| {
            let add = Add(add);
            let modules: [(&str, &dyn Module); 6] = [
                ("linear1", &self.linear1),
                ("activation", &self.activation),
                ("dropout", &self.dropout),
                ("linear2", &self.linear2),
                ("dropout2", &self.dropout2),
                ("add", &add),
            ];
            chain(modules, x)
        };
        let norm1 = |x: &Tensor| self.norm1.forward(x).within("norm1");
        let norm2 = |x: &Tensor| self.norm2.forward(x).within("norm2");
        if self.norm_first {
            let x = attend(&norm1(input)?, input)?;
            feed(&norm2(&x)?, &x)
        } else {
            let x = norm1(&attend(input, input)?)?;
            norm2(&feed(&x, &x)?)
        }
    }
}

impl TransformerEncoderLayerBuilder {
    /// The size between the linear layers.
    pub fn feed_forward(mut self, size: usize) -> Self {
        self.feed_forward = size;
        self
    }

    /// The probability of every dropout, that of attention weights included.
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// The nonlinearity between the linear layers.
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Whether normalization comes before attention and feed-forward.
    pub fn norm_first(mut self, norm_first: bool) -> Self {
        self.norm_first = norm_first;
        self
    }

    /// Whether [`Module::forward`] hides later positions.
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// What the normalizations add to the variance.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// The parameters' dtype, `f32` unless given.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes the block.
    ///
    /// # Errors
    /// As for [`MultiheadAttention`] and [`Dropout`].
    pub fn init(self, device: &Device) -> Result<TransformerEncoderLayer> {
        let (embed, dtype) = (self.embed, self.dtype);
        let norm = || LayerNorm::new(embed).eps(self.eps).dtype(dtype).init(device);
        let attention = MultiheadAttention::new(embed, self.heads).dropout(self.dropout).causal(self.causal);
        Ok(TransformerEncoderLayer {
            self_attn: attention.dtype(dtype).init(device)?,
            linear1: Linear::new(embed, self.feed_forward).dtype(dtype).init(device)?,
            dropout: Dropout::new(self.dropout)?,
            linear2: Linear::new(self.feed_forward, embed).dtype(dtype).init(device)?,
            norm1: norm()?,
            norm2: norm()?,
            dropout1: Dropout::new(self.dropout)?,
            dropout2: Dropout::new(self.dropout)?,
            activation: self.activation,
            norm_first: self.norm_first,
        })
    }
}

impl Module for TransformerEncoderLayer {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.forward_with(input, AttendOptions { causal: self.self_attn.causal, ..AttendOptions::default() })
    }
}
