//! Scaled dot-product attention and its gradient.

use crate::{Error, Meta, Metas, Result};

/// `softmax(q @ kᵀ * scale + mask) @ v`.
///
/// Operands: `q` `[.., T, D]`, `k` `[.., S, D]`, `v` `[.., S, E]` with equal leading axes, and optionally an
/// additive mask `[.., T, S]` of the same dtype. Outputs: `[.., T, E]`, and the logarithm of each row's
/// softmax denominator `[.., T]` in the accumulator dtype, a constant to differentiation. A row whose every
/// key is masked gives zeros.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// What the products are multiplied with; `1 / sqrt(D)` by custom.
    pub scale: f64,
    /// Query `i` sees keys `0..=i` only.
    pub causal: bool,
}

impl Attention {
    fn check(&self, op: &'static str, q: Meta, k: Meta, v: Meta, mask: Option<Meta>) -> Result<(Meta, Meta)> {
        let all: Vec<Meta> = [q, k, v].into_iter().chain(mask).collect();
        let r = q.shape.rank();
        let ranks = r >= 2 && all.iter().all(|m| m.shape.rank() == r && m.shape[..r - 2] == q.shape[..r - 2]);
        if !ranks
            || q.shape[r - 1] != k.shape[r - 1]
            || k.shape[r - 2] != v.shape[r - 2]
            || mask.is_some_and(|m| m.shape[r - 2] != q.shape[r - 2] || m.shape[r - 1] != k.shape[r - 2])
        {
            return Err(Error::shape(
                op,
                &all,
                "expects q [.., T, D], k [.., S, D], v [.., S, E], mask [.., T, S] with equal leading axes",
            ));
        }
        super::same_float(op, &all)?;
        let out = Meta::new(q.shape.with_dim(r - 1, v.shape[r - 1]), q.dtype);
        let lse = Meta::new(crate::Shape::trusted(&q.shape[..r - 1]), q.dtype.accumulator());
        Ok((out, lse))
    }

    pub(super) fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "scaled_dot_product_attention";
        let (out, lse) = match *inputs {
            [q, k, v] => self.check(op, q, k, v, None)?,
            [q, k, v, mask] => self.check(op, q, k, v, Some(mask))?,
            _ => return Err(Error::shape(op, inputs, "expects q, k, v and at most a mask")),
        };
        Ok(Metas::from_slice(&[out, lse]))
    }

    /// Operands: gradient of the output, q, k, v, output, logarithm of the denominator, optionally the
    /// mask. Outputs: gradients of q, k and v.
    pub(super) fn infer_grad(&self, inputs: &[Meta]) -> Result<Metas> {
        let op = "attention_grad";
        let (g, q, k, v, y, lse, mask) = match *inputs {
            [g, q, k, v, y, lse] => (g, q, k, v, y, lse, None),
            [g, q, k, v, y, lse, mask] => (g, q, k, v, y, lse, Some(mask)),
            _ => return Err(Error::shape(op, inputs, "expects g, q, k, v, y, lse and at most a mask")),
        };
        let (out, stats) = self.check(op, q, k, v, mask)?;
        if g != out || y != out || lse != stats {
            return Err(Error::shape(op, inputs, format!("gradient and output must be {out}, lse {stats}")));
        }
        Ok(Metas::from_slice(&[q, k, v]))
    }
}
