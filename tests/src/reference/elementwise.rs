//! Functions of one element, or of elements at the same place.

use gradus_tensor_core::{BinaryOp, CompareOp, Error, Result, UnaryOp};

use super::{Operand, Values};

pub(super) fn unary(op: UnaryOp, x: Operand<'_>) -> Values {
    match Values::of(x) {
        Values::Float(v) => Values::from_f64(v.into_iter().map(|x| op.eval(x)).collect(), x.dtype),
        // Logical negation of truth values is defined with the floats.
        Values::Int(v) if op == UnaryOp::Not => {
            Values::from_f64(v.into_iter().map(|x| op.eval(x as f64)).collect(), x.dtype)
        }
        Values::Int(v) => Values::from_i64(v.into_iter().map(|x| op.eval_int(x)).collect(), x.dtype),
    }
}

pub(super) fn binary(op: BinaryOp, a: Operand<'_>, b: Operand<'_>) -> Result<Values> {
    Ok(match (Values::of(a), Values::of(b)) {
        (Values::Int(x), Values::Int(y)) => {
            let pairs = x.into_iter().zip(y);
            let values: Option<Vec<i64>> = pairs.map(|(x, y)| op.eval_int(x, y)).collect();
            let zero = || Error::argument(op.name(), "an integer was divided by zero");
            Values::from_i64(values.ok_or_else(zero)?, a.dtype)
        }
        (x, y) => {
            let pairs = x.floats().into_iter().zip(y.floats());
            Values::from_f64(pairs.map(|(x, y)| op.eval(x, y)).collect(), a.dtype)
        }
    })
}

pub(super) fn compare(op: CompareOp, a: Operand<'_>, b: Operand<'_>) -> Values {
    let truth: Vec<bool> = match (Values::of(a), Values::of(b)) {
        (Values::Int(x), Values::Int(y)) => x.iter().zip(&y).map(|(x, y)| op.eval(x, y)).collect(),
        (x, y) => x.floats().iter().zip(&y.floats()).map(|(x, y)| op.eval(x, y)).collect(),
    };
    Values::Int(truth.into_iter().map(i64::from).collect())
}

/// Picks from both values one after the other: element `i` of the first, or element `i + n`.
pub(super) fn select(condition: Operand<'_>, a: Operand<'_>, b: Operand<'_>) -> Values {
    let n = a.layout.numel();
    let condition = Values::of(condition).ints();
    let choice = condition.into_iter().enumerate().map(|(i, holds)| if holds != 0 { i } else { n + i });
    Values::of(a).followed_by(Values::of(b)).pick(choice)
}
