//! Which op is computed in which precision: a table.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

use gradus_tensor_core::{DType, DTypes, Op};

/// In which precision an op's operands are read. Only floats are ever cast, and `f64` is never lost: an op with an
/// `f64` operand is computed in `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Precision {
    /// In autocast's dtype: what hardware does faster, and sums in `f32` inside.
    Lower,
    /// In `f32`: what loses digits or overflows in half precision.
    Full,
    /// In the dtype of the values it is about: parameters follow their input. Statistics are kept in `f32` inside.
    Input,
    /// In the widest dtype among its operands.
    Widest,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Precision::Lower => "lower",
            Precision::Full => "f32",
            Precision::Input => "input's",
            Precision::Widest => "widest",
        })
    }
}

/// Ops by name (see [`Op::name`]). What is not here is computed in the widest dtype of its operands. The model is
/// PyTorch's autocast: what its lists for the CPU and for CUDA put in `f32`, and its choice for the CPU to let
/// normalizations follow their input.
const TABLE: &[(Precision, &[&str])] = &[
    (
        Precision::Lower,
        &[
            "matmul",
            "linear",
            "conv",
            "conv_block",
            "conv_backward_input",
            "conv_backward_weight",
            "scaled_dot_product_attention",
            "attention_grad",
        ],
    ),
    (
        Precision::Full,
        &[
            "softmax",
            "log_softmax",
            "softmax_grad",
            "cross_entropy",
            "cross_entropy_grad",
            "sum",
            "prod",
            "cumsum",
            "cumprod",
            "exp",
            "exp2",
            "expm1",
            "log",
            "log1p",
            "log2",
            "pow",
            "square",
            "reciprocal",
            "rsqrt",
            "softplus",
            "sinh",
            "cosh",
            "tan",
            "asin",
            "acos",
        ],
    ),
    (
        Precision::Input,
        &[
            "batch_norm",
            "batch_norm_block",
            "batch_norm_block_grad",
            "layer_norm",
            "group_norm",
            "rms_norm",
            "norm_grad",
        ],
    ),
];

/// What autocast does with the operands of each op. Prints as a table.
///
/// ```
/// use gradus_optim::{Policy, Precision};
/// let policy = Policy::default();
/// assert_eq!(policy.of("linear"), Precision::Lower);
/// assert_eq!(policy.of("add"), Precision::Widest);
/// let careful = policy.with("scaled_dot_product_attention", Precision::Full);
/// assert!(careful.to_string().contains("f32"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy(Arc<HashMap<&'static str, Precision>>);

impl Default for Policy {
    fn default() -> Self {
        static DEFAULT: LazyLock<Policy> = LazyLock::new(|| {
            let rows = TABLE.iter().flat_map(|(precision, ops)| ops.iter().map(|op| (*op, *precision)));
            Policy(Arc::new(rows.collect()))
        });
        DEFAULT.clone()
    }
}

impl Policy {
    /// The precision of the op of that name.
    pub fn of(&self, op: &str) -> Precision {
        self.0.get(op).copied().unwrap_or(Precision::Widest)
    }

    /// With another precision for the op of that name.
    #[must_use]
    pub fn with(mut self, op: &'static str, precision: Precision) -> Self {
        Arc::make_mut(&mut self.0).insert(op, precision);
        self
    }

    /// The ops that are named, each with its precision.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, Precision)> + '_ {
        self.0.iter().map(|(op, precision)| (*op, *precision))
    }

    /// The dtype of each operand, or `None` if all of them stay as they are.
    pub(super) fn operand_dtypes(&self, op: &Op, inputs: &[DType], lower: DType) -> Option<DTypes> {
        let name = match op {
            // Neither changes or combines numbers; one names its dtypes itself; and what an op from outside wants, nobody
            // here can know.
            Op::Cast(_) | Op::Copy | Op::LinearDynamic | Op::Custom(_) => return None,
            Op::UnaryGrad(op) => op.name(),
            op => op.name(),
        };
        let concerned = |i: usize| inputs[i].is_float() && !is_statistic(op, i);
        let mut dtypes = (0..inputs.len()).filter(|&i| concerned(i)).map(|i| inputs[i]);
        let first = dtypes.next()?;
        let widest = dtypes.fold(first, DType::promote);
        let target = match self.of(name) {
            _ if widest == DType::F64 => widest,
            Precision::Lower => lower,
            Precision::Full => DType::F32,
            // Of too few operands it is not there; the op refuses them.
            Precision::Input => *inputs.get(subject(op))?,
            Precision::Widest => widest,
        };
        let dtype = |i: usize| match inputs[i] {
            dtype if !concerned(i) => dtype,
            dtype if is_residual(op, i, inputs.len()) => dtype.promote(target),
            _ => target,
        };
        if (0..inputs.len()).all(|i| inputs[i] == dtype(i)) {
            return None;
        }
        Some((0..inputs.len()).map(dtype).collect())
    }
}

/// Operands that are kept in the accumulator dtype whatever the others have.
fn is_statistic(op: &Op, operand: usize) -> bool {
    match op {
        Op::NormGrad(_) => matches!(operand, 2 | 3), // mean and variance
        Op::BatchNormBlockGrad(_) => matches!(operand, 3 | 4), // the same
        Op::AttentionGrad(_) => operand == 5,        // the logarithm of the denominator
        // The vectors of the normalization, before the residual.
        Op::ConvBlock(block) => {
            let first = 2 + usize::from(block.bias);
            block.norm.is_some() && (first..first + 4).contains(&operand)
        }
        Op::CrossEntropyGrad(_) => matches!(operand, 0 | 3), // the loss's gradient, and that logarithm
        _ => false,
    }
}

/// What a product is added to in the wider dtype of both, as by an op of its own.
fn is_residual(op: &Op, operand: usize, operands: usize) -> bool {
    matches!(op, Op::Linear(layer) if layer.residual && operand + 1 == operands)
}

/// The operand that a normalization is about.
fn subject(op: &Op) -> usize {
    match op {
        Op::NormGrad(_) => 1,
        Op::BatchNormBlockGrad(_) => 2,
        _ => 0,
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 96;
        for precision in [Precision::Lower, Precision::Full, Precision::Input, Precision::Widest] {
            let mut ops: Vec<&str> = self.iter().filter(|(_, p)| *p == precision).map(|(op, _)| op).collect();
            ops.sort_unstable();
            if precision == Precision::Widest {
                ops.push("everything else");
            }
            let mut line = format!("{precision:<8} ");
            for op in ops {
                if line.len() + op.len() > WIDTH {
                    writeln!(f, "{}", line.trim_end())?;
                    line = " ".repeat(9);
                }
                line.push_str(op);
                line.push_str("  ");
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}
