//! Ops and their parameters.

use gradus_tensor_core::op::{Conv, Pool, PoolKind, ReduceKind, Spatial};
use gradus_tensor_core::{BinaryOp, DType, UnaryOp};
use proptest::collection::vec;
use proptest::prelude::*;

/// Unary ops of float tensors, with various parameters.
pub fn unary_op() -> impl Strategy<Value = UnaryOp> {
    let fixed: Vec<UnaryOp> = UnaryOp::ALL.into_iter().filter(|&op| op != UnaryOp::Not).collect();
    prop_oneof![
        8 => prop::sample::select(fixed),
        1 => (-3.0..3.0, -2.0..2.0).prop_map(|(mul, add)| UnaryOp::Affine { mul, add }),
        1 => (-2.0..3.0f64).prop_map(UnaryOp::Powf),
        // Limits so far apart that there is room between them for values away from both.
        1 => (-1.0..0.0, 0.25..1.0).prop_map(|(min, max)| UnaryOp::Clamp { min, max }),
        1 => (0.0..0.5f64).prop_map(UnaryOp::LeakyRelu),
        1 => (0.5..2.0f64).prop_map(UnaryOp::Elu),
    ]
}

/// Binary ops that take a dtype.
pub fn binary_op(dtype: DType) -> impl Strategy<Value = BinaryOp> {
    let fitting: Vec<BinaryOp> = BinaryOp::ALL.into_iter().filter(|op| op.takes(dtype)).collect();
    prop::sample::select(fitting)
}

/// Kinds of reductions and scans.
pub fn reduce_kind() -> impl Strategy<Value = ReduceKind> {
    prop::sample::select(&ReduceKind::ALL[..])
}

/// A convolution whose parameters fit its operands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvCase {
    /// The parameters.
    pub conv: Conv,
    /// The input's sizes: `[N, C, *size]`.
    pub input: Vec<usize>,
    /// The weight's sizes: `[O, C / groups, *kernel]`.
    pub weight: Vec<usize>,
}

/// Convolutions with that many spatial axes, small: all of stride, padding, dilation, groups and kernels larger
/// than the unpadded input occur.
pub fn conv(spatial: usize) -> impl Strategy<Value = ConvCase> {
    let spatial = spatial.clamp(1, 3);
    let per_axis = |range: std::ops::RangeInclusive<usize>| vec(range, spatial);
    let channels = (1..=2usize, 1..=3usize, 1..=2usize, 1..=2usize);
    let windows = (per_axis(1..=7), per_axis(1..=3), per_axis(1..=3), per_axis(0..=2), per_axis(1..=2));
    (channels, windows).prop_filter_map(
        "the kernel does not fit",
        |((n, groups, per_group, out), (size, kernel, stride, padding, dilation))| {
            let all = |values: &[usize], rest: usize| fill(values, rest);
            let (stride, padding, dilation) = (all(&stride, 1), all(&padding, 0), all(&dilation, 1));
            let conv = Conv { stride, padding, dilation, groups };
            conv.output_size(&size, &kernel).ok()?;
            let input = [&[n, groups * per_group], &size[..]].concat();
            let weight = [&[groups * out, per_group], &kernel[..]].concat();
            Some(ConvCase { conv, input, weight })
        },
    )
}

/// A pooling whose parameters fit its operand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolCase {
    /// The parameters.
    pub pool: Pool,
    /// The input's sizes: `[N, C, *size]`.
    pub input: Vec<usize>,
}

/// Pools with that many spatial axes, of any kind.
pub fn pool(spatial: usize) -> impl Strategy<Value = PoolCase> {
    let spatial = spatial.clamp(1, 3);
    let per_axis = |range: std::ops::RangeInclusive<usize>| vec(range, spatial);
    let kind = prop_oneof![
        Just(PoolKind::Max),
        any::<bool>().prop_map(|count_include_pad| PoolKind::Average { count_include_pad })
    ];
    let windows = (per_axis(1..=7), per_axis(1..=3), per_axis(1..=3), per_axis(0..=1), per_axis(1..=2));
    (kind, 1..=2usize, 1..=3usize, windows, any::<bool>()).prop_filter_map(
        "the window does not fit",
        |(kind, n, channels, (size, kernel, stride, padding, dilation), ceil_mode)| {
            let dilation = if kind == PoolKind::Max { fill(&dilation, 1) } else { [1; 3] };
            let (kernel, stride, padding) = (fill(&kernel, 1), fill(&stride, 1), fill(&padding, 0));
            let pool = Pool { kind, kernel, stride, padding, dilation, ceil_mode };
            pool.output_size(&size).ok()?;
            Some(PoolCase { pool, input: [&[n, channels], &size[..]].concat() })
        },
    )
}

fn fill(values: &[usize], rest: usize) -> Spatial {
    let mut out = [rest; 3];
    out[..values.len()].copy_from_slice(values);
    out
}
