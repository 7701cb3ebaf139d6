//! Multi-head attention.

use gradus_tensor_core::{AttentionOptions, DType, Device, Error, Result, Tensor, rng};

use super::linear::Linear;
use crate::init::Init;
use crate::{Mode, Module, Param, Parameters};

/// Multi-head attention over sequences `[N, T, E]` (Vaswani et al., arXiv:1706.03762), with the parameters of
/// PyTorch's `nn.MultiheadAttention(.., batch_first=True)`.
#[derive(Clone, Debug, Parameters)]
pub struct MultiheadAttention {
    /// `[3 * E, E]`: the projections to queries, keys and values, one above the other.
    pub in_proj_weight: Param,
    /// `[3 * E]`
    pub in_proj_bias: Option<Param>,
    /// From all heads back to `E`.
    pub out_proj: Linear,
    /// The number of heads; a divisor of `E`.
    pub heads: usize,
    /// The probability that an attention weight is dropped in training.
    pub dropout: f64,
    /// Whether [`Module::forward`] hides later positions.
    pub causal: bool,
    /// Training or evaluation.
    pub mode: Mode,
}

/// Options of a [`MultiheadAttention`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct MultiheadAttentionBuilder {
    embed: usize,
    heads: usize,
    bias: bool,
    dropout: f64,
    causal: bool,
    dtype: DType,
}

/// What [`MultiheadAttention::attend`] hides and returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct AttendOptions<'a> {
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
    /// Added to the scores, or (bool) true where a key may be seen, as for [`Tensor::attention`]; broadcast to
    /// `[N, heads, T, S]`.
    pub mask: Option<&'a Tensor>,
    /// `[N, S]` (bool), true for keys that are only padding.
    pub key_padding: Option<&'a Tensor>,
    /// Also return the attention weights, averaged over the heads.
    pub weights: bool,
}

impl MultiheadAttention {
    /// A layer for features of size `embed`, split among heads, with biases and without dropout. The input
    /// projections start as Xavier's uniform, the biases as 0.
    pub fn new(embed: usize, heads: usize) -> MultiheadAttentionBuilder {
        MultiheadAttentionBuilder { embed, heads, bias: true, dropout: 0.0, causal: false, dtype: DType::F32 }
    }

    /// Attention of queries `[N, T, E]` over keys and values `[N, S, E]`: the output `[N, T, E]`, and if asked
    /// for the weights `[N, T, S]`.
    ///
    /// # Errors
    /// Shapes do not fit, or the device fails.
    pub fn attend(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttendOptions<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let (heads, weights) = self.heads_of(query, key, value, options)?;
        Ok((self.out_proj.forward(&heads)?, weights))
    }

    /// The same before the projection of all heads, which lie side by side.
    pub(super) fn heads_of(
        &self,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        options: AttendOptions<'_>,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let embed = self.out_proj.weight.tensor().dims().first().copied().unwrap_or(0);
        if self.heads == 0 || !embed.is_multiple_of(self.heads) {
            return Err(indivisible(self.heads, embed));
        }
        let fits = [query, key, value].iter().all(|t| t.rank() == 3 && t.dims()[2] == embed);
        if !fits || key.dims() != value.dims() || query.dims()[0] != key.dims()[0] {
            return Err(Error::shape(
                "multihead_attention",
                &[query.meta(), key.meta(), value.meta()],
                format!("expects queries [N, T, {embed}], keys and values [N, S, {embed}]"),
            ));
        }
        let weight = self.in_proj_weight.value()?;
        let bias = self.in_proj_bias.as_ref().map(Param::value).transpose()?;
        let project = |x: &Tensor, first: usize, parts: usize| -> Result<Tensor> {
            let bias = bias.map(|b| b.narrow(0, first * embed, parts * embed)).transpose()?;
            x.linear(&weight.narrow(0, first * embed, parts * embed)?, bias.as_ref())
        };
        let [q, k, v] = if same(query, key) && same(key, value) {
            let all = project(query, 0, 3)?;
            [all.narrow(-1, 0, embed)?, all.narrow(-1, embed, embed)?, all.narrow(-1, 2 * embed, embed)?]
        } else {
            [project(query, 0, 1)?, project(key, 1, 1)?, project(value, 2, 1)?]
        };
        let [q, k, v] = [self.split(&q)?, self.split(&k)?, self.split(&v)?];
        let mask = mask(&options, q.dtype())?;
        let drops = self.mode.is_training() && self.dropout > 0.0;
        let (out, weights) = if drops || options.weights {
            let weights = attention_weights(&q, &k, mask.as_ref(), options.causal)?;
            let dropped =
                if drops { weights.dropout(self.dropout, rng::next_key())? } else { weights.clone() };
            (dropped.matmul(&v)?, options.weights.then(|| weights.mean(1)).transpose()?)
        } else {
            let options = AttentionOptions { causal: options.causal, scale: None, mask: mask.as_ref() };
            (q.attention(&k, &v, options)?, None)
        };
        Ok((out.transpose(1, 2)?.reshape([query.dims()[0], query.dims()[1], embed])?, weights))
    }

    /// `[N, T, E]` to `[N, heads, T, E / heads]`.
    fn split(&self, x: &Tensor) -> Result<Tensor> {
        let [n, t, embed] = [x.dims()[0], x.dims()[1], x.dims()[2]];
        x.reshape([n, t, self.heads, embed / self.heads])?.transpose(1, 2)
    }
}

impl MultiheadAttentionBuilder {
    /// Whether the projections have biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// The probability that an attention weight is dropped in training.
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// Whether [`Module::forward`] hides later positions.
    pub fn causal(mut self, causal: bool) -> Self {
        self.causal = causal;
        self
    }

    /// The parameters' dtype, `f32` unless given.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes the layer.
    ///
    /// # Errors
    /// The heads do not divide the features, `p` is not in `0..=1`, the dtype is not floating-point, or memory
    /// runs out.
    pub fn init(self, device: &Device) -> Result<MultiheadAttention> {
        let MultiheadAttentionBuilder { embed, heads, bias, dropout, causal, dtype } = self;
        if heads == 0 || !embed.is_multiple_of(heads) {
            return Err(indivisible(heads, embed));
        }
        if !(0.0..=1.0).contains(&dropout) {
            let message = format!("dropout probability {dropout} is not in 0..=1");
            return Err(Error::argument("multihead_attention", message));
        }
        // What is too large is refused as a shape.
        let rows = embed.saturating_mul(3);
        let weight = Init::XavierUniform { gain: 1.0 }.tensor([rows, embed], dtype, device)?;
        let zeros = |n: usize| Param::new(Tensor::zeros(n, dtype, device)?);
        let mut out_proj = Linear::new(embed, embed).bias(false).dtype(dtype).init(device)?;
        out_proj.bias = bias.then(|| zeros(embed)).transpose()?;
        Ok(MultiheadAttention {
            in_proj_weight: Param::new(weight)?,
            in_proj_bias: bias.then(|| zeros(rows)).transpose()?,
            out_proj,
            heads,
            dropout,
            causal,
            mode: Mode::default(),
        })
    }
}

#[cold]
fn indivisible(heads: usize, embed: usize) -> Error {
    Error::argument("multihead_attention", format!("{heads} heads do not divide {embed} features"))
}

/// Self-attention.
impl Module for MultiheadAttention {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let options = AttendOptions { causal: self.causal, ..AttendOptions::default() };
        Ok(self.attend(input, input, input, options)?.0)
    }
}

/// Whether both are one tensor, so that one product projects to queries, keys and values.
fn same(a: &Tensor, b: &Tensor) -> bool {
    std::ptr::eq(a, b)
}

/// Mask and padding as one additive mask that broadcasts to `[N, heads, T, S]`.
fn mask(options: &AttendOptions<'_>, dtype: DType) -> Result<Option<Tensor>> {
    let hidden = |hidden: &Tensor| -> Result<Tensor> {
        let device = hidden.device().innermost();
        let minus = Tensor::full(f64::NEG_INFINITY, (), dtype, device)?;
        hidden.where_(&minus, &Tensor::zeros((), dtype, device)?)
    };
    let given = match options.mask {
        Some(mask) if mask.dtype() == DType::Bool => Some(hidden(&mask.logical_not()?)?),
        Some(mask) => Some(mask.cast(dtype)?),
        None => None,
    };
    let padding = match options.key_padding {
        Some(padding) if padding.rank() != 2 || padding.dtype() != DType::Bool => {
            return Err(Error::shape(
                "multihead_attention",
                &[padding.meta()],
                "the key padding must be a bool tensor [N, S], true for padding",
            ));
        }
        Some(padding) => Some(hidden(&padding.unsqueeze(1)?.unsqueeze(1)?)?),
        None => None,
    };
    match (given, padding) {
        (Some(a), Some(b)) => Ok(Some(a.add(&b)?)),
        (a, b) => Ok(a.or(b)),
    }
}

/// `softmax(q @ kᵀ / sqrt(D) + mask)`: `[N, heads, T, S]`; zeros where a query sees no key.
fn attention_weights(q: &Tensor, k: &Tensor, mask: Option<&Tensor>, causal: bool) -> Result<Tensor> {
    let (t, s, d) = (q.dims()[2], k.dims()[2], q.dims()[3]);
    let mut scores = q.matmul(&k.t()?)?.mul(1.0 / (d.max(1) as f64).sqrt())?;
    if let Some(mask) = mask {
        scores = scores.add(mask)?;
    }
    if causal {
        let later = Tensor::ones([t, s], DType::F32, q.device().innermost())?.triu(1)?.cast(DType::Bool)?;
        scores = scores.masked_fill(&later, f64::NEG_INFINITY)?;
    }
    if mask.is_none() || s == 0 {
        return scores.softmax(-1);
    }
    let blind = scores.amax_keepdim(-1)?.eq(f64::NEG_INFINITY)?;
    scores.masked_fill(&blind, 0.0)?.softmax(-1)?.masked_fill(&blind, 0.0)
}
