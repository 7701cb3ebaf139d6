//! Element-wise functions.

use gradus_tensor_core::{Result, Tensor};

use crate::golden::cases::Params;
use crate::golden::promotion::dtype;

pub fn unary(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Tensor>> {
    let [x] = x else { return None };
    let number = |key| p.number(key).expect("a number");
    Some(match op {
        "neg" => x.neg(),
        "abs" => x.abs(),
        "sign" => x.sign(),
        "floor" => x.floor(),
        "ceil" => x.ceil(),
        "round" => x.round(),
        "trunc" => x.trunc(),
        "square" => x.square(),
        "sqrt" => x.sqrt(),
        "rsqrt" => x.rsqrt(),
        "reciprocal" => x.recip(),
        "exp" => x.exp(),
        "expm1" => x.expm1(),
        "log" => x.log(),
        "log1p" => x.log1p(),
        "log2" => x.log2(),
        "sin" => x.sin(),
        "cos" => x.cos(),
        "tan" => x.tan(),
        "asin" => x.asin(),
        "acos" => x.acos(),
        "atan" => x.atan(),
        "sinh" => x.sinh(),
        "cosh" => x.cosh(),
        "tanh" => x.tanh(),
        "erf" => x.erf(),
        "sigmoid" => x.sigmoid(),
        "softplus" => x.softplus(),
        "logsigmoid" => x.neg().and_then(|x| x.softplus()?.neg()),
        "softplus_beta" => x.mul(number("beta")).and_then(|x| x.softplus()?.div(number("beta"))),
        "softsign" => x.abs().and_then(|a| x.div(&a.add(1.0)?)),
        "relu" => x.relu(),
        "relu6" => x.clamp(0.0, 6.0),
        "gelu" => x.gelu(),
        "gelu_tanh" => x.gelu_tanh(),
        "silu" => x.silu(),
        "mish" => x.mish(),
        "hardswish" => x.hardswish(),
        "hardsigmoid" => x.hardsigmoid(),
        "elu" => x.elu(number("alpha")),
        "leaky_relu" => x.leaky_relu(number("negative_slope")),
        "clamp" => {
            let limit = |key, none: f64| p.number(key).unwrap_or(none);
            x.clamp(limit("min", f64::NEG_INFINITY), limit("max", f64::INFINITY))
        }
        "pow_scalar" => x.pow(number("exponent")),
        "cast" => x.cast(dtype(p.text("to"))),
        _ => return None,
    })
}

pub fn binary(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Tensor>> {
    if let ("where", [condition, a, b]) = (op, x) {
        return Some(condition.where_(a, b));
    }
    let [a, b] = x else { return None };
    Some(match op {
        "add" => a.add(b),
        "sub" => a.sub(b),
        "mul" => a.mul(b),
        "div" => a.div(b),
        "pow" => a.pow(b),
        "maximum" => a.maximum(b),
        "minimum" => a.minimum(b),
        "remainder" => a.remainder(b),
        "atan2" => a.atan2(b),
        "eq" => a.eq(b),
        "ne" => a.ne(b),
        "lt" => a.lt(b),
        "le" => a.le(b),
        "gt" => a.gt(b),
        "ge" => a.ge(b),
        "logical_and" => a.logical_and(b),
        "logical_or" => a.logical_or(b),
        "logical_xor" => a.logical_xor(b),
        "masked_fill" => a.masked_fill(b, p.number("value").expect("a number")),
        _ => return None,
    })
}
