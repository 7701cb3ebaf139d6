//! Gradient rules: one exhaustive `match` over [`Op`], in files by family.
//!
//! For each op this module says three things. [`classify`]: whether it is differentiable, a constant by rule, or
//! to be decomposed into ops that are. [`saves`]: which operands and outputs its gradient reads, so that nothing
//! else is kept alive. [`backward`]: the gradients of its operands. The rules are written over [`Tensor`]s: run on
//! inner tensors they give first derivatives and record nothing; run on tracked ones they are differentiable
//! themselves.
//!
//! No rule knows of views or broadcasting. An operand's gradient has the shape the operand was read in; the
//! engine carries it back through the layout.

mod elementwise;
mod index;
mod neural;
mod quantized;
mod recurrent;
mod reduce;

use std::borrow::Cow;

use gradus_tensor_core::op::{Differentiation, Linear, Needs};
use gradus_tensor_core::{BinaryOp, Error, Meta, Op, ReduceKind, Result, Tensor, View};
use smallvec::SmallVec;

use crate::function::check_gradients;
use crate::node::{Edges, Tracked};

/// The gradients of an op's operands; `None` where none flows or none is needed.
pub(crate) type Grads = SmallVec<[Option<Tensor>; 3]>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// It has a rule below.
    Differentiable,
    /// Its outputs are constants: integers, truth values, random numbers.
    Constant,
    /// The ops it is made of have rules.
    Decompose,
    /// It has neither.
    Refused(&'static str),
}

pub(crate) fn classify(op: &Op, inputs: &[View<'_, Tracked>]) -> Class {
    let tracked = |i: usize| inputs.get(i).is_some_and(|v| v.buffer.node.is_some());
    match op {
        Op::Fill(_) | Op::Arange(_) | Op::Random(_) | Op::Compare(_) | Op::ArgReduce(_) => Class::Constant,
        Op::Cast(dtype) if !dtype.is_float() => Class::Constant,
        Op::Unary(op) if !inputs[0].dtype.is_float() || matches!(op.name(), "logical_not") => Class::Constant,
        Op::Binary(BinaryOp::Xor) => Class::Constant,
        Op::ConvBlock(_)
        | Op::UnaryGrad(_)
        | Op::SoftmaxGrad(_)
        | Op::NormGrad(_)
        | Op::BatchNormBlockGrad(_)
        | Op::CrossEntropyGrad(_)
        | Op::AttentionGrad(_)
        | Op::LstmGrad
        | Op::GruGrad => Class::Decompose,
        Op::LinearDynamic if tracked(2) => {
            Class::Refused("a quantized weight's scale is a constant; detach it")
        }
        // The derivative of these cannot be told from the result.
        Op::Linear(Linear { activation: Some(f), .. }) if f.needs() == Needs::Input => Class::Decompose,
        // The fused gradient has none for an additive mask.
        Op::Attention(_) if tracked(3) => Class::Decompose,
        Op::Custom(op) => match op.differentiation() {
            Differentiation::Forward => Class::Decompose,
            Differentiation::Backward => Class::Differentiable,
            Differentiation::Constant => Class::Constant,
        },
        Op::Cast(_)
        | Op::Copy
        | Op::Unary(_)
        | Op::Binary(_)
        | Op::Select
        | Op::Reduce(_)
        | Op::Scan(_)
        | Op::Sort(_)
        | Op::MatMul
        | Op::Gather { .. }
        | Op::ScatterAdd { .. }
        | Op::Concat { .. }
        | Op::IndexSelect { .. }
        | Op::IndexAdd { .. }
        | Op::Linear(_)
        | Op::LinearDynamic
        | Op::Softmax(_)
        | Op::Norm(_)
        | Op::BatchNormBlock(_)
        | Op::BatchNormEval { .. }
        | Op::Conv(_)
        | Op::ConvBackwardInput { .. }
        | Op::ConvBackwardWeight { .. }
        | Op::Pool(_)
        | Op::PoolGrad { .. }
        | Op::CrossEntropy(_)
        | Op::Attention(_)
        | Op::Lstm
        | Op::Gru
        | Op::Dropout { .. } => Class::Differentiable,
        // `Op` is non-exhaustive across crates; an op that is not above has no gradient, and says so.
        _ => Class::Refused("it has no gradient rule; detach its operands if it is meant to be a constant"),
    }
}

/// Whether gradients flow through output `i`: every first output, and all outputs of recurrences and custom ops.
/// Indices and statistics are constants.
pub(crate) fn output_is_tracked(op: &Op, i: usize) -> bool {
    i == 0 || matches!(op, Op::Lstm | Op::Gru | Op::Custom(_))
}

/// What a rule reads, as bit masks over operands and outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saves {
    pub(crate) inputs: u8,
    pub(crate) outputs: u8,
    pub(crate) metas: bool,
}

impl Saves {
    /// Whether a mask names position `i`; a full mask names all, however many there are.
    pub(crate) fn names(mask: u8, i: usize) -> bool {
        mask == u8::MAX || (i < 8 && mask & (1 << i) != 0)
    }
}

pub(crate) fn saves(op: &Op, edges: &Edges) -> Saves {
    let needs = |i: usize| edges.get(i).is_some_and(Option::is_some);
    let bit = |i: usize, when: bool| if when { 1u8 << i } else { 0 };
    let inputs = |inputs: u8| Saves { inputs, ..Saves::default() };
    let metas = |s: Saves| Saves { metas: true, ..s };
    match op {
        Op::Unary(op) => match op.needs() {
            Needs::Nothing => Saves::default(),
            Needs::Input => inputs(1),
            Needs::Output => Saves { outputs: 1, ..Saves::default() },
        },
        Op::Binary(op) => match op {
            BinaryOp::Add | BinaryOp::Sub => Saves::default(),
            BinaryOp::Mul => inputs(bit(1, needs(0)) | bit(0, needs(1))),
            BinaryOp::Div => Saves { inputs: 0b10, outputs: bit(0, needs(1)), metas: false },
            BinaryOp::Rem => inputs(if needs(1) { 0b11 } else { 0 }),
            _ => inputs(0b11),
        },
        Op::Select => inputs(1),
        Op::Reduce(op) => match op.kind {
            ReduceKind::Sum => metas(Saves::default()),
            ReduceKind::Prod => inputs(1),
            ReduceKind::Max | ReduceKind::Min => Saves { inputs: 1, outputs: 1, metas: false },
        },
        Op::Scan(op) => match op.kind {
            ReduceKind::Sum => Saves::default(),
            _ => Saves { inputs: 1, outputs: 1, metas: false },
        },
        Op::Sort(_) => metas(Saves { outputs: 0b10, ..Saves::default() }),
        Op::MatMul => inputs(bit(1, needs(0)) | bit(0, needs(1))),
        Op::Linear(op) => {
            let result = op.activation.is_some_and(|f| f.needs() == Needs::Output);
            let inputs = bit(1, needs(0)) | bit(0, needs(1));
            Saves { inputs, outputs: bit(0, result), metas: true }
        }
        Op::LinearDynamic => metas(inputs(if needs(0) { 0b110 } else { 0 })),
        Op::Gather { .. } | Op::IndexSelect { .. } => metas(inputs(0b10)),
        Op::ScatterAdd { .. } | Op::IndexAdd { .. } => inputs(bit(1, needs(2))),
        Op::Concat { .. } | Op::Cast(_) => metas(Saves::default()),
        Op::Softmax(_) => Saves { outputs: 1, ..Saves::default() },
        Op::Norm(_) => Saves { inputs: 0b11, outputs: 0b110, metas: true },
        Op::BatchNormBlock(op) => {
            let outputs = 0b110 | bit(0, op.activation.is_some());
            Saves { inputs: 0b11, outputs, metas: false }
        }
        // The bias, the last operand, is all that can be spared.
        Op::BatchNormEval { .. } => metas(inputs(0b1111)),
        Op::Conv(_) => metas(inputs(bit(1, needs(0)) | bit(0, needs(1)))),
        Op::ConvBackwardInput { .. } | Op::ConvBackwardWeight { .. } => {
            metas(inputs(bit(1, needs(0)) | bit(0, needs(1))))
        }
        Op::Pool(_) => metas(Saves { outputs: 0b10, ..Saves::default() }),
        Op::PoolGrad { .. } => inputs(0b10),
        Op::CrossEntropy(_) => Saves { inputs: 0b11, outputs: 0b10, metas: false },
        Op::Attention(_) => Saves { inputs: 0b1111, outputs: 0b11, metas: false },
        Op::Lstm => Saves { inputs: 0b1110, outputs: 0b111, metas: false },
        Op::Gru => Saves { inputs: 0b110, outputs: 0b11, metas: false },
        Op::Custom(_) => Saves { inputs: u8::MAX, outputs: u8::MAX, metas: false },
        // Copy and Dropout are linear; the rest is never recorded.
        _ => Saves::default(),
    }
}

/// What a rule works with: saved tensors on the inner device, or tracked ones if the gradient is to be
/// differentiated itself.
pub(crate) struct Context<'a> {
    pub(crate) op: &'a Op,
    pub(crate) inputs: Cow<'a, [Option<Tensor>]>,
    pub(crate) outputs: Cow<'a, [Option<Tensor>]>,
    pub(crate) metas: &'a [Meta],
    pub(crate) edges: &'a Edges,
}

impl Context<'_> {
    fn missing(&self, what: &str, i: usize) -> Error {
        Error::Graph {
            op: self.op.name(),
            message: format!("the rule reads {what} {i}, which was not saved"),
        }
    }

    pub(crate) fn input(&self, i: usize) -> Result<&Tensor> {
        self.inputs.get(i).and_then(Option::as_ref).ok_or_else(|| self.missing("operand", i))
    }

    pub(crate) fn output(&self, i: usize) -> Result<&Tensor> {
        self.outputs.get(i).and_then(Option::as_ref).ok_or_else(|| self.missing("output", i))
    }

    pub(crate) fn meta(&self, i: usize) -> Result<Meta> {
        self.metas.get(i).copied().ok_or_else(|| self.missing("shape", i))
    }

    pub(crate) fn arity(&self) -> usize {
        self.edges.len()
    }

    pub(crate) fn needs(&self, i: usize) -> bool {
        self.edges.get(i).is_some_and(Option::is_some)
    }

    /// The gradient of operand `i` if it is needed.
    pub(crate) fn when(&self, i: usize, f: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
        self.needs(i).then(f).transpose()
    }
}

/// Runs an op of one output.
pub(crate) fn run(op: Op, inputs: &[&Tensor]) -> Result<Tensor> {
    op.run1(inputs)
}

pub(crate) fn grads<const N: usize>(all: [Option<Tensor>; N]) -> Grads {
    all.into_iter().collect()
}

/// The gradients of the operands, given the gradient of each output.
pub(crate) fn backward(ctx: &Context<'_>, outputs: &[Option<Tensor>]) -> Result<Grads> {
    if let Op::Custom(op) = ctx.op {
        let all = |saved: &[Option<Tensor>]| saved.iter().flatten().cloned().collect::<Vec<_>>();
        let inputs = all(&ctx.inputs);
        let made = op.backward(&inputs, &all(&ctx.outputs), outputs)?;
        check_gradients(op.name(), &inputs, &made)?;
        return Ok(made.into());
    }
    match ctx.op {
        Op::Lstm => return recurrent::lstm(ctx, outputs),
        Op::Gru => return recurrent::gru(ctx, outputs),
        _ => {}
    }
    let Some(Some(g)) = outputs.first() else {
        return Ok(Grads::new());
    };
    match ctx.op {
        Op::Unary(op) => elementwise::unary(ctx, *op, g),
        Op::Binary(op) => elementwise::binary(ctx, *op, g),
        Op::Select => elementwise::select(ctx, g),
        Op::Cast(_) => Ok(grads([Some(g.cast(ctx.meta(0)?.dtype)?)])),
        Op::Copy => Ok(grads([Some(g.clone())])),
        Op::Reduce(op) => reduce::reduce(ctx, op, g),
        Op::Scan(op) => reduce::scan(ctx, op, g),
        Op::Sort(op) => reduce::sort(ctx, op, g),
        Op::MatMul => neural::matmul(ctx, g),
        Op::Linear(op) => neural::linear(ctx, op, g),
        Op::LinearDynamic => quantized::linear_dynamic(ctx, g),
        Op::Gather { axis } => index::gather(ctx, *axis, g),
        Op::ScatterAdd { axis } => index::scatter_add(ctx, *axis, g),
        Op::IndexSelect { axis } => index::index_select(ctx, *axis, g),
        Op::IndexAdd { axis } => index::index_add(ctx, *axis, g),
        Op::Concat { axis } => index::concat(ctx, *axis, g),
        Op::Softmax(op) => Ok(grads([Some(run(Op::SoftmaxGrad(*op), &[g, ctx.output(0)?])?)])),
        Op::Norm(op) => neural::norm(ctx, op, g),
        Op::BatchNormBlock(op) => neural::batch_norm_block(ctx, op, g),
        Op::BatchNormEval { eps } => neural::batch_norm_eval(ctx, *eps, g),
        Op::Conv(op) => neural::conv(ctx, op, g),
        Op::ConvBackwardInput { conv, .. } => neural::conv_backward_input(ctx, conv, g),
        Op::ConvBackwardWeight { conv, .. } => neural::conv_backward_weight(ctx, conv, g),
        Op::Pool(op) => neural::pool(ctx, op, g),
        Op::PoolGrad { pool, .. } => neural::pool_grad(ctx, pool, g),
        Op::CrossEntropy(op) => {
            let (logits, target, lse) = (ctx.input(0)?, ctx.input(1)?, ctx.output(1)?);
            Ok(grads([Some(run(Op::CrossEntropyGrad(*op), &[g, logits, target, lse])?), None]))
        }
        Op::Attention(op) => neural::attention(ctx, op, g),
        Op::Dropout { p, key } => Ok(grads([Some(g.dropout(*p, *key)?)])),
        op => {
            Err(Error::NotDifferentiable { op: op.name(), message: "it was recorded but has no rule".into() })
        }
    }
}
