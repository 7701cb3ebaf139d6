//! Samples of ops that make tensors from numbers, and of dropout.

use gradus_tensor_core::op::{Arange, Distribution, Fill, Random};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Meta, Op, Scalar, Shape};

use super::{Input, Sample};

fn meta(dims: &[usize], dtype: DType) -> Meta {
    Meta::new(Shape::new(dims).unwrap_or(Shape::SCALAR), dtype)
}

/// These ops carry the dtype of their result, so each is swept over one dtype only.
pub(super) fn create() -> Vec<Sample> {
    let key = Key { seed: 17, stream: 4 };
    let mut ops = Vec::new();
    for dtype in DType::ALL {
        for value in [Scalar::Float(-1.25), Scalar::Int(3), Scalar::Bool(true)] {
            ops.push((dtype, Op::Fill(Fill { value, out: meta(&[2, 5], dtype) })));
        }
        if dtype != DType::Bool {
            ops.push((dtype, Op::Arange(Arange { start: 1.0, step: 2.0, out: meta(&[9], dtype) })));
        }
        let random = |distribution| Op::Random(Random { distribution, key, out: meta(&[3, 37], dtype) });
        ops.push((dtype, random(Distribution::Bernoulli { p: 0.3 })));
        if dtype != DType::Bool {
            ops.push((dtype, random(Distribution::Integer { low: 2, high: 90 })));
        }
        if dtype.is_float() {
            ops.push((dtype, random(Distribution::Uniform { low: -1.0, high: 3.0 })));
            ops.push((dtype, random(Distribution::Normal { mean: 0.5, std: 2.0 })));
        }
    }
    ops.push((DType::I64, Op::Fill(Fill { value: Scalar::Int(i64::MAX), out: meta(&[], DType::I64) })));
    ops.push((DType::F32, Op::Arange(Arange { start: 1.0, step: -0.1, out: meta(&[33], DType::F32) })));
    ops.into_iter().map(|(dtype, op)| Sample::new(op, []).over(&[dtype]).rough()).collect()
}

pub(super) fn dropout() -> Vec<Sample> {
    let key = Key { seed: 5, stream: 11 };
    let sample = |p| Sample::new(Op::Dropout { p, key }, [Input::number(&[4, 3, 9])]).within(4.0, 0.1);
    [0.0, 0.25, 0.8, 1.0].into_iter().map(sample).collect()
}
