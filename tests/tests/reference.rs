//! The reference backend against numbers worked out by hand: it defines everything else, so it is the one
//! thing that is not checked against it.

use gradus_tensor_core::op::{Arange, Distribution, Random, Reduce, ReduceKind, Scan};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{AxisSet, BinaryOp, DType, Error, Meta, Op, Result, Shape, Tensor, UnaryOp};
use gradus_testkit::Reference;

fn grid() -> Result<Tensor> {
    Tensor::from_vec(vec![1.0f32, 5.0, 2.0, 4.0, 0.0, 4.0], [2, 3], &Reference::device())
}

#[test]
fn views_are_read_through_their_layout() -> Result<()> {
    let x = grid()?;
    assert_eq!(x.t()?.to_vec::<f32>()?, [1.0, 4.0, 5.0, 0.0, 2.0, 4.0]);
    assert_eq!(x.flip(1)?.neg()?.to_vec::<f32>()?, [-2.0, -5.0, -1.0, -4.0, 0.0, -4.0]);
    assert_eq!(x.narrow(1, 1, 2)?.add(&x.narrow(1, 0, 1)?)?.to_vec::<f32>()?, [6.0, 3.0, 4.0, 8.0]);
    Ok(())
}

#[test]
fn reductions_combine_the_elements_of_an_axis() -> Result<()> {
    let x = grid()?;
    assert_eq!(x.sum(0)?.to_vec::<f32>()?, [5.0, 5.0, 6.0]);
    assert_eq!(x.sum(..)?.item::<f32>()?, 16.0);
    assert_eq!(x.prod(1)?.to_vec::<f32>()?, [10.0, 0.0]);
    assert_eq!(x.amax(1)?.to_vec::<f32>()?, [5.0, 4.0]);
    assert_eq!(x.amin(0)?.to_vec::<f32>()?, [1.0, 0.0, 2.0]);
    let thirds = Tensor::from_vec(vec![1.0f64, 1e100, 1.0, -1e100], [4], x.device())?;
    assert_eq!(thirds.sum_all()?.item::<f64>()?, 2.0, "nothing is rounded away");
    let none = Tensor::zeros([2, 0], DType::F32, x.device())?;
    assert_eq!(none.sum(1)?.to_vec::<f32>()?, [0.0, 0.0]);
    assert_eq!(none.prod(1)?.to_vec::<f32>()?, [1.0, 1.0]);
    assert!(none.amax(1).is_err());
    Ok(())
}

#[test]
fn a_nan_wins_every_extreme_and_sorts_last() -> Result<()> {
    let x = Tensor::from_vec(vec![1.0f64, f64::NAN, 3.0, 3.0], [4], &Reference::device())?;
    assert!(x.amax(0)?.item::<f64>()?.is_nan());
    assert!(x.amin(0)?.item::<f64>()?.is_nan());
    assert_eq!(x.argmin(0)?.item::<i64>()?, 1);
    assert_eq!(x.argsort(0, false)?.to_vec::<i64>()?, [0, 2, 3, 1]);
    assert_eq!(x.argsort(0, true)?.to_vec::<i64>()?, [1, 2, 3, 0]);
    Ok(())
}

#[test]
fn the_first_of_equal_extremes_is_found() -> Result<()> {
    let x = grid()?;
    assert_eq!(x.argmax(1)?.to_vec::<i64>()?, [1, 0]);
    assert_eq!(x.argmin(0)?.to_vec::<i64>()?, [0, 1, 0]);
    Ok(())
}

#[test]
fn scans_run_both_ways() -> Result<()> {
    let x = grid()?;
    assert_eq!(x.cumsum(1)?.to_vec::<f32>()?, [1.0, 6.0, 8.0, 4.0, 4.0, 8.0]);
    assert_eq!(x.cummax(0)?.to_vec::<f32>()?, [1.0, 5.0, 2.0, 4.0, 5.0, 4.0]);
    let scan = Scan { kind: ReduceKind::Sum, axis: 1, reverse: true };
    assert_eq!(Op::Scan(scan).run(&[&x])?[0].to_vec::<f32>()?, [8.0, 7.0, 2.0, 8.0, 4.0, 4.0]);
    Ok(())
}

#[test]
fn products_of_matrices_are_batched() -> Result<()> {
    let x = grid()?;
    let y = x.matmul(&x.t()?)?;
    assert_eq!(y.to_vec::<f32>()?, [30.0, 12.0, 12.0, 32.0]);
    let ints = Tensor::from_vec((1..=8i64).collect(), [2, 2, 2], x.device())?;
    assert_eq!(ints.matmul(&ints)?.to_vec::<i64>()?, [7, 10, 15, 22, 67, 78, 91, 106]);
    Ok(())
}

#[test]
fn indices_pick_and_add_and_are_checked() -> Result<()> {
    let x = grid()?;
    let device = x.device();
    let index = Tensor::from_vec(vec![2i64, 2, 0, 1], [2, 2], device)?;
    assert_eq!(x.gather(1, &index)?.to_vec::<f32>()?, [2.0, 2.0, 4.0, 0.0]);
    let ones = Tensor::ones([2, 2], DType::F32, device)?;
    assert_eq!(x.scatter_add(1, &index, &ones)?.to_vec::<f32>()?, [1.0, 5.0, 4.0, 5.0, 1.0, 4.0]);
    let wrong = Tensor::from_vec(vec![0i64, -1], [1, 2], device)?;
    let error = x.narrow(0, 0, 1)?.gather(1, &wrong).unwrap_err();
    assert!(matches!(error, Error::Index { index: -1, size: 3, .. }), "{error}");
    Ok(())
}

#[test]
fn tensors_join_along_any_axis() -> Result<()> {
    let x = grid()?;
    let y = x.narrow(1, 0, 1)?;
    assert_eq!(Tensor::cat(&[&y, &x], 1)?.to_vec::<f32>()?, [1.0, 1.0, 5.0, 2.0, 4.0, 4.0, 0.0, 4.0]);
    let z = x.narrow(0, 1, 1)?;
    assert_eq!(Tensor::cat(&[&z, &x], 0)?.to_vec::<f32>()?, [4.0, 0.0, 4.0, 1.0, 5.0, 2.0, 4.0, 0.0, 4.0]);
    Ok(())
}

#[test]
fn in_place_ops_write_and_accumulate_through_views() -> Result<()> {
    let mut x = grid()?;
    x.view_assign(&Tensor::scalar(7.0, x.device())?.cast(DType::F32)?, |v| v.select(1, 1))?;
    assert_eq!(x.to_vec::<f32>()?, [1.0, 7.0, 2.0, 4.0, 7.0, 4.0]);
    let mut line = Tensor::zeros([4], DType::I64, x.device())?;
    line.view_accumulate(&Tensor::ones([3, 2], DType::I64, x.device())?, |v| v.unfold(0, 2, 1, 1))?;
    assert_eq!(line.to_vec::<i64>()?, [1, 2, 2, 1]);
    Ok(())
}

#[test]
fn casts_truncate_saturate_and_round_once() -> Result<()> {
    let device = Reference::device();
    let x = Tensor::from_vec(vec![-1.7f64, 300.9, f64::NAN, 0.1], [4], &device)?;
    assert_eq!(x.cast(DType::U8)?.to_vec::<u8>()?, [0, 255, 0, 0]);
    assert_eq!(x.cast(DType::I8)?.to_vec::<i8>()?, [-1, 127, 0, 0]);
    assert_eq!(x.cast(DType::I32)?.to_vec::<i32>()?, [-1, 300, 0, 0]);
    assert_eq!(x.cast(DType::Bool)?.to_vec::<bool>()?, [true, true, true, true]);
    assert_eq!(x.cast(DType::F32)?.cast(DType::F64)?.to_vec::<f64>()?[3], 0.1f32 as f64);
    let big = Tensor::from_vec(vec![i64::MAX], [1], &device)?;
    assert_eq!(big.copy()?.to_vec::<i64>()?, [i64::MAX], "integers do not pass through doubles");
    Ok(())
}

#[test]
fn integers_wrap_and_refuse_to_divide_by_zero() -> Result<()> {
    let device = Reference::device();
    let x = Tensor::from_vec(vec![200u8, 7], [2], &device)?;
    assert_eq!(x.add(&x)?.to_vec::<u8>()?, [144, 14]);
    assert_eq!(Op::Unary(UnaryOp::Neg).run(&[&x])?[0].to_vec::<u8>()?, [56, 249]);
    let y = Tensor::from_vec(vec![-7i64, 7, -7], [3], &device)?;
    let z = Tensor::from_vec(vec![2i64, -2, -2], [3], &device)?;
    assert_eq!(Op::Binary(BinaryOp::Div).run(&[&y, &z])?[0].to_vec::<i64>()?, [-4, -4, 3]);
    assert_eq!(Op::Binary(BinaryOp::Rem).run(&[&y, &z])?[0].to_vec::<i64>()?, [1, -1, -1]);
    assert!(Op::Binary(BinaryOp::Div).run(&[&y, &y.zeros_like()?]).is_err());
    Ok(())
}

#[test]
fn random_numbers_are_a_function_of_key_and_index() -> Result<()> {
    let device = Reference::device();
    let key = Key { seed: 3, stream: 9 };
    let make = |distribution, dtype| {
        let out = Meta::new(Shape::new(&[5])?, dtype);
        device.execute(&Op::Random(Random { distribution, key, out }), &[])?[0].to_vec::<f64>()
    };
    let uniform = make(Distribution::Uniform { low: -1.0, high: 1.0 }, DType::F64)?;
    assert_eq!(uniform, (0..5).map(|i| key.uniform64(i) * 2.0 - 1.0).collect::<Vec<_>>());
    let integers = make(Distribution::Integer { low: -2, high: 3 }, DType::I32)?;
    assert_eq!(integers, (0..5).map(|i| key.below(i, 5) as f64 - 2.0).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn memory_is_counted_and_given_back() -> Result<()> {
    let device = Reference::device();
    let x = Tensor::zeros([10], DType::F32, &device)?;
    let y = x.add(&x)?;
    assert_eq!((device.memory().allocated, device.memory().buffers), (80, 2));
    drop((x, y));
    assert_eq!((device.memory().allocated, device.memory().peak), (0, 80));
    Ok(())
}

#[test]
fn every_primitive_is_executed() -> Result<()> {
    let device = Reference::device();
    let arange = Arange { start: 0.5, step: 0.25, out: Meta::new(Shape::new(&[3])?, DType::F32) };
    assert_eq!(device.execute(&Op::Arange(arange), &[])?[0].to_vec::<f32>()?, [0.5, 0.75, 1.0]);
    let all = Op::Reduce(Reduce { kind: ReduceKind::Sum, axes: AxisSet::all(0) });
    let scalar = Tensor::scalar(2.5, &device)?;
    assert_eq!(all.run(&[&scalar])?[0].item::<f32>()?, 2.5);
    let condition = Tensor::from_vec(vec![true, false], [2], &device)?;
    let (a, b) = (Tensor::scalar(1i64, &device)?, Tensor::scalar(2i64, &device)?);
    assert_eq!(condition.where_(&a, &b)?.to_vec::<i64>()?, [1, 2]);
    Ok(())
}
