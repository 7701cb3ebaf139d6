//! Values, and where they lie.

use std::ops::Range;

use gradus_tensor_core::{AxisSet, DType, Device, HostArray, MAX_RANK, Result, Shape, Tensor, UnaryOp};
use gradus_tensor_core::{Element, with_dtype};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::arrange::Arrangement;
use crate::samples::inside;

/// Any of these dtypes.
pub fn dtype(among: &'static [DType]) -> impl Strategy<Value = DType> + Clone {
    prop::sample::select(among)
}

/// Doubles as an array of a dtype.
fn array(values: Vec<f64>, shape: Shape, dtype: DType) -> Option<HostArray> {
    let whole = dtype.is_int();
    let round = |x: f64| if whole { x.round() } else { x };
    with_dtype!(dtype, T => {
        HostArray::new(values.into_iter().map(|x| T::from_f64(round(x))).collect::<Vec<T>>(), shape).ok()
    })
}

/// Arrays of that shape and dtype with values in a range; integers are rounded from it, truth values are
/// true unless 0.
pub fn values(dtype: DType, shape: Shape, range: Range<f64>) -> impl Strategy<Value = HostArray> + Clone {
    let elements = match dtype {
        DType::Bool => vec(prop::sample::select(&[0.0, 1.0][..]), shape.numel()).boxed(),
        _ => vec(range, shape.numel()).boxed(),
    };
    elements.prop_filter_map("the shape is full", move |values| array(values, shape, dtype))
}

/// Arrays with values where a unary op is smooth: inside its domain, away from its kinks and steps.
pub fn domain(op: UnaryOp, dtype: DType, shape: Shape) -> impl Strategy<Value = HostArray> {
    vec(0.0..1.0f64, shape.numel()).prop_filter_map("the shape is full", move |u| {
        array(u.into_iter().map(|u| inside(op, u)).collect(), shape, dtype)
    })
}

/// Arrays of indices (`i64`) in `0..classes`.
pub fn labels(shape: Shape, classes: usize) -> impl Strategy<Value = HostArray> {
    vec(0..classes.max(1) as i64, shape.numel())
        .prop_filter_map("the shape is full", move |labels| HostArray::new(labels, shape).ok())
}

/// Ways to lay out tensors of a rank in memory. Elements repeat along an axis in one of eight.
pub fn arrangement(rank: usize) -> impl Strategy<Value = Arrangement> + Clone {
    let rank = rank.min(MAX_RANK);
    let order = Just((0..rank).collect::<Vec<_>>()).prop_shuffle();
    let per_axis = |range: std::ops::RangeInclusive<usize>| vec(range, rank);
    let flips = vec(prop::bool::weighted(0.25), rank);
    let repeats = (prop::bool::weighted(0.125), 0..rank.max(1));
    (order, per_axis(1..=3), per_axis(0..=2), per_axis(0..=1), flips, repeats).prop_map(
        move |(order, step, lead, trail, flips, (repeats, axis))| {
            let mut out = Arrangement::CONTIGUOUS;
            out.order[..rank].copy_from_slice(&order);
            out.step[..rank].copy_from_slice(&step);
            out.lead[..rank].copy_from_slice(&lead);
            out.trail[..rank].copy_from_slice(&trail);
            let set = (0..rank).filter(|&a| flips[a]).map(AxisSet::single);
            out.flipped = set.fold(AxisSet::EMPTY, AxisSet::union);
            if repeats && rank > 0 { out.repeating(axis) } else { out }
        },
    )
}

/// Tensors of these values, laid out in any way in which no element repeats.
pub fn placed<V: Strategy<Value = HostArray>>(
    device: &Device,
    values: V,
) -> impl Strategy<Value = Tensor> + use<V> {
    let device = device.clone();
    values
        .prop_flat_map(|values| (arrangement(values.shape().rank()), Just(values)))
        .prop_map(move |(arrangement, values)| {
            place(&Arrangement { repeated: AxisSet::EMPTY, ..arrangement }, &values, &device)
        })
        .prop_filter_map("the device refused", Result::ok)
}

/// Tensors of a dtype with values in a range, of shapes from another strategy, laid out in any way.
pub fn tensor<S: Strategy<Value = Shape>>(
    device: &Device,
    dtype: DType,
    shape: S,
    range: Range<f64>,
) -> impl Strategy<Value = Tensor> + use<S> {
    let device = device.clone();
    shape
        .prop_flat_map(move |shape| (values(dtype, shape, range.clone()), arrangement(shape.rank())))
        .prop_map(move |(values, arrangement)| place(&arrangement, &values, &device))
        .prop_filter_map("the device refused", Result::ok)
}

fn place(arrangement: &Arrangement, values: &HostArray, device: &Device) -> Result<Tensor> {
    arrangement.place(values, device)
}
