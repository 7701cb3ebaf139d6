//! A GPT: a transformer that predicts the next token (Radford et al., 2019), normalizing before each part.

use gradus_tensor_core::{AttentionOptions, DType, Device, Error, Result, Tensor};

use crate::{Add, Dropout, Embedding, Gelu, LayerNorm, Linear, Module, Parameters, Within, chain};

/// The sizes of a [`Gpt`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GptConfig {
    /// The number of different tokens.
    pub vocabulary: usize,
    /// The longest sequence.
    pub context: usize,
    /// The width of the residual stream.
    pub width: usize,
    /// Attention heads per block; a divisor of the width.
    pub heads: usize,
    /// The number of blocks.
    pub blocks: usize,
    /// The probability of dropout after the embedding, attention and feed-forward.
    pub dropout: f64,
}

impl Default for GptConfig {
    /// A model of bytes with 3.3 million parameters.
    fn default() -> Self {
        GptConfig { vocabulary: 256, context: 128, width: 256, heads: 8, blocks: 4, dropout: 0.0 }
    }
}

/// Causal self-attention.
#[derive(Debug, Parameters)]
struct CausalAttention {
    c_attn: Linear,
    c_proj: Linear,
    heads: usize,
}

impl CausalAttention {
    /// What the heads see, side by side.
    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let (b, t, width) = (x.dim(0)?, x.dim(1)?, x.dim(2)?);
        let qkv = self.c_attn.forward(x).within("c_attn")?;
        // One buffer for all three; its parts are views.
        let qkv = qkv.reshape([b, t, 3, self.heads, width / self.heads])?.permute([2, 0, 3, 1, 4])?;
        let (q, k, v) = (qkv.select(0, 0)?, qkv.select(0, 1)?, qkv.select(0, 2)?);
        let y = q.attention(&k, &v, AttentionOptions { causal: true, ..Default::default() })?;
        y.transpose(1, 2)?.reshape([b, t, width])
    }
}

/// Two linear layers with a GELU between them.
#[derive(Debug, Parameters)]
struct FeedForward {
    c_fc: Linear,
    c_proj: Linear,
}

/// Causal self-attention and a feed-forward layer, each beside a shortcut.
#[derive(Debug, Parameters)]
pub struct GptBlock {
    ln_1: LayerNorm,
    attn: CausalAttention,
    ln_2: LayerNorm,
    mlp: FeedForward,
    dropout: Dropout,
}

impl GptBlock {
    fn new(config: &GptConfig, device: &Device) -> Result<Self> {
        let linear = |inputs, outputs| Linear::new(inputs, outputs).init(device);
        let width = config.width;
        Ok(GptBlock {
            ln_1: LayerNorm::new(width).init(device)?,
            attn: CausalAttention {
                c_attn: linear(width, 3 * width)?,
                c_proj: linear(width, width)?,
                heads: config.heads,
            },
            ln_2: LayerNorm::new(width).init(device)?,
            mlp: FeedForward { c_fc: linear(width, 4 * width)?, c_proj: linear(4 * width, width)? },
            dropout: Dropout::new(config.dropout)?,
        })
    }
}

impl Module for GptBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.attn.attend(&self.ln_1.forward(x).within("ln_1")?).within("attn")?;
        let (c_proj, add) = (&self.attn.c_proj, Add(x));
        let project = [("attn.c_proj", c_proj as &dyn Module), ("dropout", &self.dropout), ("add", &add)];
        let x = chain(project, &y)?;
        let add = Add(&x);
        let feed: [(&str, &dyn Module); 6] = [
            ("ln_2", &self.ln_2),
            ("mlp.c_fc", &self.mlp.c_fc),
            ("mlp.gelu", &Gelu::Exact),
            ("mlp.c_proj", &self.mlp.c_proj),
            ("dropout", &self.dropout),
            ("add", &add),
        ];
        chain(feed, &x)
    }
}

/// From token ids `[N, T]` (`i64`) to logits of the next token `[N, T, vocabulary]`.
#[derive(Debug, Parameters)]
pub struct Gpt {
    wte: Embedding,
    wpe: Embedding,
    dropout: Dropout,
    h: Vec<GptBlock>,
    ln_f: LayerNorm,
    lm_head: Linear,
    context: usize,
}

impl Gpt {
    /// A model with random parameters.
    ///
    /// # Errors
    /// `heads` does not divide `width`, `dropout` is not in `0..=1`, or memory runs out.
    pub fn new(config: GptConfig, device: &Device) -> Result<Self> {
        if config.heads == 0 || !config.width.is_multiple_of(config.heads) {
            let message = format!("{} heads do not divide a width of {}", config.heads, config.width);
            return Err(Error::argument("gpt", message));
        }
        Ok(Gpt {
            wte: Embedding::new(config.vocabulary, config.width).init(device)?,
            wpe: Embedding::new(config.context, config.width).init(device)?,
            dropout: Dropout::new(config.dropout)?,
            h: (0..config.blocks).map(|_| GptBlock::new(&config, device)).collect::<Result<_>>()?,
            ln_f: LayerNorm::new(config.width).init(device)?,
            lm_head: Linear::new(config.width, config.vocabulary).bias(false).init(device)?,
            context: config.context,
        })
    }

    /// The longest sequence.
    pub fn context(&self) -> usize {
        self.context
    }
}

impl Module for Gpt {
    fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        let t = ids.dim(-1)?;
        if ids.rank() != 2 || t > self.context {
            let rule = format!("expects token ids [N, T] with T at most {}", self.context);
            return Err(Error::shape("gpt", &[ids.meta()], rule));
        }
        let positions = Tensor::arange(0, t as i64, DType::I64, ids.device().innermost())?;
        let position = self.wpe.forward(&positions).within("wpe")?;
        let x = self.wte.forward(ids).within("wte")?.add(&position)?;
        let x = self.dropout.forward(&x)?;
        let x = self.h.forward(&x).within("h")?;
        let x = self.ln_f.forward(&x).within("ln_f")?;
        self.lm_head.forward(&x).within("lm_head")
    }
}
