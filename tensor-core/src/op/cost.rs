//! What an op costs, for the profiler and the roofline.

use crate::{Meta, Op};

/// Work and traffic of one op, counted from its operands' shapes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
    /// Bytes read and written if every operand is touched once.
    pub bytes: u64,
}

pub(super) fn cost(op: &Op, inputs: &[Meta]) -> Cost {
    let Ok(outputs) = op.infer(inputs) else { return Cost::default() };
    // Counted in 128 bits: shapes may be broadcast from little to almost any size.
    let bytes: u128 = inputs.iter().chain(&outputs).map(|m| m.bytes() as u128).sum();
    let numel = |metas: &[Meta], i: usize| metas.get(i).map_or(0, |m| m.shape.numel() as u128);
    let (x, y) = (numel(inputs, 0), numel(&outputs, 0));
    let last = |i: usize| inputs.get(i).and_then(|m| m.shape.last()).copied().unwrap_or(1) as u128;
    // Multiply-adds of a convolution: every output element sees a whole filter.
    let filter = |w: &[usize]| w[1..].iter().fold(1, |n: u128, &d| n.saturating_mul(d as u128));
    let flops = match op {
        Op::Fill(_) | Op::Arange(_) | Op::Cast(_) | Op::Copy | Op::Concat { .. } => 0,
        Op::Gather { .. } | Op::IndexSelect { .. } => 0,
        Op::Random(_) | Op::Dropout { .. } => y * 10,
        Op::Unary(op) => y * u128::from(op.flops()),
        Op::UnaryGrad(op) => y * u128::from(op.flops() + 2),
        Op::Binary(op) => y * u128::from(op.flops()),
        Op::Compare(_) | Op::Select => y,
        Op::Reduce(_) | Op::ArgReduce(_) | Op::Scan(_) => x,
        Op::ScatterAdd { .. } | Op::IndexAdd { .. } => numel(inputs, 2),
        Op::Sort(sort) => x * (inputs[0].shape[sort.axis].max(2) as u64).ilog2() as u128,
        Op::MatMul | Op::LinearDynamic => 2 * y * last(0),
        Op::Linear(layer) => {
            let activation = layer.activation.map_or(0, |f| u128::from(f.flops()));
            y * (2 * last(0) + u128::from(layer.residual) + activation)
        }
        Op::Softmax(_) | Op::SoftmaxGrad(_) => x * 12,
        Op::Norm(_) => x * 8,
        Op::NormGrad(_) => x * 14,
        Op::BatchNormBlock(block) => {
            let activation = block.activation.map_or(0, |f| u128::from(f.flops()));
            x * (8 + u128::from(block.residual) + activation)
        }
        Op::BatchNormBlockGrad(block) => x * (14 + block.activation.map_or(0, |f| u128::from(f.flops()) + 2)),
        Op::BatchNormEval { .. } => x * 3,
        Op::Conv(_) => filter(&inputs[1].shape).saturating_mul(2 * y),
        Op::ConvBlock(block) => {
            let norm = if block.norm.is_some() { 3 } else { 0 };
            let after =
                norm + u128::from(block.residual) + block.activation.map_or(0, |f| u128::from(f.flops()));
            filter(&inputs[1].shape).saturating_mul(2 * y).saturating_add(after * y)
        }
        Op::ConvBackwardInput { .. } => filter(&inputs[1].shape).saturating_mul(2 * x),
        Op::ConvBackwardWeight { .. } => filter(&outputs[0].shape).saturating_mul(2 * x),
        Op::Pool(pool) | Op::PoolGrad { pool, .. } => {
            let kernel = &pool.kernel[..inputs[0].shape.rank().clamp(2, 5) - 2];
            kernel.iter().fold(x.min(y), |n, &k| n.saturating_mul(k as u128))
        }
        Op::CrossEntropy(_) | Op::CrossEntropyGrad(_) => {
            inputs.iter().map(|m| m.shape.numel() as u128).max().unwrap_or(0) * 12
        }
        Op::Attention(_) => {
            let keys = inputs[1].shape[inputs[1].shape.rank() - 2] as u128;
            2 * keys * (x + y)
        }
        Op::AttentionGrad(_) => {
            let keys = inputs[2].shape[inputs[2].shape.rank() - 2] as u128;
            5 * keys * (numel(inputs, 1) + x)
        }
        // The product with the weight, and some twenty operations for each feature of a step.
        Op::Lstm | Op::Gru => x * (2 * last(1) + 20),
        Op::LstmGrad | Op::GruGrad => y * (2 * last(2) + 20),
        Op::Custom(_) => 0,
    };
    let saturated = |n: u128| u64::try_from(n).unwrap_or(u64::MAX);
    Cost { flops: saturated(flops), bytes: saturated(bytes) }
}
