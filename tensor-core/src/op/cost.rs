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
    let bytes = inputs.iter().chain(&outputs).map(|m| m.bytes() as u64).sum();
    let numel = |metas: &[Meta], i: usize| metas.get(i).map_or(0, |m| m.shape.numel() as u64);
    let (x, y) = (numel(inputs, 0), numel(&outputs, 0));
    let last = |i: usize| inputs.get(i).and_then(|m| m.shape.last()).copied().unwrap_or(1) as u64;
    // Multiply-adds of a convolution: every output element sees a whole filter.
    let filter = |w: &[usize]| w[1..].iter().product::<usize>() as u64;
    let flops = match op {
        Op::Fill(_) | Op::Arange(_) | Op::Cast(_) | Op::Copy | Op::Concat { .. } => 0,
        Op::Gather { .. } | Op::IndexSelect { .. } => 0,
        Op::Random(_) | Op::Dropout { .. } => y * 10,
        Op::Unary(op) => y * op.flops(),
        Op::UnaryGrad(op) => y * (op.flops() + 2),
        Op::Binary(op) => y * op.flops(),
        Op::Compare(_) | Op::Select => y,
        Op::Reduce(_) | Op::ArgReduce(_) | Op::Scan(_) => x,
        Op::ScatterAdd { .. } | Op::IndexAdd { .. } => numel(inputs, 2),
        Op::Sort(sort) => x * (inputs[0].shape[sort.axis].max(2) as u64).ilog2() as u64,
        Op::MatMul | Op::Linear => 2 * y * last(0),
        Op::Softmax(_) | Op::SoftmaxGrad(_) => x * 12,
        Op::Norm(_) => x * 8,
        Op::NormGrad(_) => x * 14,
        Op::BatchNormEval { .. } => x * 3,
        Op::Conv(_) => 2 * y * filter(&inputs[1].shape),
        Op::ConvBackwardInput { .. } => 2 * x * filter(&inputs[1].shape),
        Op::ConvBackwardWeight { .. } => 2 * x * filter(&outputs[0].shape),
        Op::Pool(pool) | Op::PoolGrad { pool, .. } => {
            let window: usize = pool.kernel[..inputs[0].shape.rank().clamp(2, 5) - 2].iter().product();
            x.min(y) * window as u64
        }
        Op::CrossEntropy(_) | Op::CrossEntropyGrad(_) => {
            inputs.iter().map(|m| m.shape.numel() as u64).max().unwrap_or(0) * 12
        }
        Op::Attention(_) => {
            let keys = inputs[1].shape[inputs[1].shape.rank() - 2] as u64;
            2 * keys * (x + y)
        }
        Op::AttentionGrad(_) => {
            let keys = inputs[2].shape[inputs[2].shape.rank() - 2] as u64;
            5 * keys * (numel(inputs, 1) + x)
        }
        Op::Custom(_) => 0,
    };
    Cost { flops, bytes }
}
