//! Composites in terms of simpler ops.
//!
//! A decomposition has two readers. A backend that does not know an op runs it, so fifteen primitives make a
//! complete backend; and it is what a fused kernel must agree with, so it is written to be obviously right,
//! with at most a few ops more than needed, and never a loop over elements. Second derivatives read it too:
//! differentiating the gradient of a norm or of attention means differentiating the lines below. Hence three
//! rules:
//!
//! - Everything that the first output depends on is computed from the operands by ops that have gradients,
//!   also where an operand already holds the number: [`Op::NormGrad`] is given mean and variance but takes
//!   them from `x` again, because its derivative with respect to `x` passes through them. `SoftmaxGrad` may
//!   use `y`, which is an operand that has a gradient of its own.
//! - Outputs that are constants to differentiation (statistics, logarithms of denominators) and shifts that
//!   cancel are taken from the innermost values, where nothing is recorded.
//! - A value that a [`Op::Select`] discards must still have a finite derivative: `0 * inf` is NaN.
//!
//! Half-precision operands are cast to the accumulator dtype and the result back once, as a kernel with
//! registers would do.

mod attention;
mod conv;
mod in_place;
mod index;
mod linear;
mod loss;
mod norm;
mod pool;
mod quantized;
mod recurrent;
mod softmax;
mod unary_grad;

use crate::{Error, Op, Result, Tensor};

/// The op's outputs computed from simpler ops; `None` for a primitive.
pub(super) fn decompose(op: &Op, inputs: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    if op.is_primitive() {
        return None;
    }
    let one = |y: Result<Tensor>| Some(y.map(|y| vec![y]));
    match (op, inputs) {
        (Op::UnaryGrad(op), [g, saved]) => one(unary_grad::unary_grad(*op, g, saved)),
        (Op::IndexSelect { axis }, [x, index]) => one(index::index_select(*axis, x, index)),
        (Op::IndexAdd { axis }, [x, index, source]) => one(index::index_add(*axis, x, index, source)),
        (Op::Linear(op), inputs) if let Some(operands) = op.operands(inputs) => {
            one(linear::linear(op, &operands))
        }
        (Op::LinearDynamic, [x, weight, scale, bias @ ..]) => {
            one(quantized::linear_dynamic(x, weight, scale, bias.first()))
        }
        (Op::Dropout { p, key }, [x]) => one(linear::dropout(*p, *key, x)),
        (Op::Softmax(op), [x]) => one(softmax::softmax(op, x)),
        (Op::SoftmaxGrad(op), [g, y]) => one(softmax::softmax_grad(op, g, y)),
        (Op::Norm(op), [x, affine @ ..]) => Some(norm::norm(op, x, affine)),
        (Op::NormGrad(op), [g, x, _, _, weight @ ..]) => Some(norm::norm_grad(op, g, x, weight.first())),
        (Op::BatchNormBlock(op), [x, weight, bias, residual @ ..]) => {
            Some(norm::batch_norm_block(op, x, [weight, bias], residual.first()))
        }
        (Op::BatchNormBlockGrad(op), [g, y, x, _, _, weight]) => {
            Some(norm::batch_norm_block_grad(op, g, y, x, weight))
        }
        (Op::BatchNormEval { eps }, [x, mean, variance, affine @ ..]) => {
            one(norm::batch_norm_eval(*eps, x, mean, variance, affine))
        }
        (Op::Conv(op), [x, weight, bias @ ..]) => one(conv::conv(op, x, weight, bias.first())),
        (Op::ConvBlock(op), inputs) if let Some(operands) = op.operands(inputs) => {
            one(conv::conv_block(op, &operands))
        }
        (Op::ConvBackwardInput { conv, size }, [g, weight]) => {
            one(conv::backward_input(conv, size, g, weight))
        }
        (Op::ConvBackwardWeight { conv, kernel }, [g, x]) => one(conv::backward_weight(conv, kernel, g, x)),
        (Op::Pool(op), [x]) => Some(pool::pool(op, x)),
        (Op::PoolGrad { pool, size }, [g, indices @ ..]) => {
            one(pool::pool_grad(pool, size, g, indices.first()))
        }
        (Op::CrossEntropy(op), [logits, target]) => Some(loss::cross_entropy(op, logits, target)),
        (Op::CrossEntropyGrad(op), [g, logits, target, _]) => {
            one(loss::cross_entropy_grad(op, g, logits, target))
        }
        (Op::Attention(op), [q, k, v, mask @ ..]) => Some(attention::attention(op, q, k, v, mask.first())),
        (Op::AttentionGrad(op), [g, q, k, v, _, _, mask @ ..]) => {
            Some(attention::attention_grad(op, g, q, k, v, mask.first()))
        }
        (Op::Lstm, [gates, w_hh, h0, c0]) => Some(recurrent::lstm(gates, w_hh, h0, c0)),
        (Op::LstmGrad, [active, c, w_hh, c0, given @ ..]) if !given.is_empty() => {
            Some(recurrent::lstm_grad(active, c, w_hh, c0, given))
        }
        (Op::Gru, [gates, w_hh, h0, b_hh @ ..]) => Some(recurrent::gru(gates, w_hh, h0, b_hh.first())),
        (Op::GruGrad, [active, y, w_hh, h0, given @ ..]) if !given.is_empty() => {
            Some(recurrent::gru_grad(active, y, w_hh, h0, given))
        }
        (Op::Custom(op), inputs) => Some(op.forward(inputs)),
        _ => {
            let metas: Vec<_> = inputs.iter().map(Tensor::meta).collect();
            Some(Err(Error::shape(op.name(), &metas, format!("does not take {} operands", inputs.len()))))
        }
    }
}
