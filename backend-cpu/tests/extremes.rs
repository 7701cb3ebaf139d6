//! Shapes and options at the ends of what can be written down.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::{
    ArgReduce, Attention, Conv, CrossEntropy, Pool, PoolKind, ReduceKind, Scan, Softmax, Sort,
};
use gradus_tensor_core::{DType, Device, Error, Op, Result, Tensor};

/// Lines of no elements: what takes one step for each would not end.
const MANY: usize = 1 << 40;

fn device() -> Result<Device> {
    Cpu::builder().threads(2).build()
}

#[test]
fn ops_on_no_elements_end_however_many_lines_there_are() -> Result<()> {
    let device = device()?;
    let none = |dims: &[usize], dtype| Tensor::zeros(dims, dtype, &device);
    let x = none(&[MANY, 0], DType::F32)?;
    let same = [
        Op::Scan(Scan { kind: ReduceKind::Sum, axis: 1, reverse: false }),
        Op::Sort(Sort { axis: 1, descending: false }),
        Op::Softmax(Softmax { axis: 1, log: false }),
    ];
    for op in same {
        assert_eq!(op.run(&[&x])?[0].dims(), [MANY, 0], "{op:?}");
    }
    let positions = Op::ArgReduce(ArgReduce { largest: true, axis: 0 }).run(&[&x])?;
    assert_eq!(positions[0].dims(), [1, 0]);

    let index = none(&[MANY, 0], DType::I64)?;
    assert_eq!(Op::ScatterAdd { axis: 1 }.run(&[&x, &index, &x])?[0].dims(), [MANY, 0]);
    let index = none(&[0], DType::I64)?;
    assert_eq!(Op::IndexAdd { axis: 1 }.run(&[&x, &index, &x])?[0].dims(), [MANY, 0]);

    let op = Attention { scale: 1.0, causal: false };
    let (q, k) = (none(&[0, MANY, 4], DType::F32)?, none(&[0, 5, 4], DType::F32)?);
    assert_eq!(Op::Attention(op).run(&[&q, &k, &k])?[0].dims(), [0, MANY, 4]);
    let (q, lse) = (none(&[MANY, 0, 4], DType::F32)?, none(&[MANY, 0], DType::F32)?);
    assert_eq!(Op::AttentionGrad(op).run(&[&q, &q, &q, &q, &q, &lse])?[2].dims(), [MANY, 0, 4]);

    for kind in [PoolKind::Max, PoolKind::Average { count_include_pad: true }] {
        let pool = Pool {
            kind,
            kernel: [2; 3],
            stride: [2; 3],
            padding: [0; 3],
            dilation: [1; 3],
            ceil_mode: false,
        };
        let made = Op::Pool(pool).run(&[&none(&[0, 1, MANY], DType::F32)?])?;
        assert_eq!(made[0].dims(), [0, 1, MANY / 2]);
        let op = Op::PoolGrad { pool, size: [MANY, 1, 1] };
        assert_eq!(op.run(&made.iter().collect::<Vec<_>>())?[0].dims(), [0, 1, MANY]);
    }
    Ok(())
}

#[test]
fn targets_that_no_memory_holds_are_an_error() -> Result<()> {
    let device = device()?;
    let rows = 1 << 50;
    let logits = Tensor::zeros([1, 3], DType::F32, &device)?.expand([rows, 3])?;
    let target = Tensor::zeros([1], DType::I64, &device)?.expand([rows])?;
    let failed = Op::CrossEntropy(CrossEntropy::default()).run(&[&logits, &target]);
    assert!(matches!(failed, Err(Error::OutOfMemory { .. })));
    Ok(())
}

/// Numbers that are all different.
fn numbers(dims: &[usize], device: &Device) -> Result<Tensor> {
    let n = dims.iter().product::<usize>();
    Tensor::from_vec((0..n).map(|i| i as f32 + 2.0).collect::<Vec<_>>(), dims, device)
}

fn values(op: &Op, operands: &[&Tensor]) -> Result<Vec<f32>> {
    op.run(operands)?[0].to_vec()
}

/// The three passes of a convolution with a window of one element, of which one output at `place` of `size` meets the input's
/// first element and nothing else meets any.
fn check_one_meeting(conv: Conv, [size, place]: [usize; 2], device: &Device) -> Result<()> {
    let (c, area) = (conv.groups, size * size);
    let (x, w) = (numbers(&[1, c, 2, 2], device)?, numbers(&[c, 1, 1, 1], device)?);
    let g = numbers(&[1, c, size, size], device)?;
    let [xs, ws, gs] = [&x, &w, &g].map(|t| t.to_vec::<f32>());
    let (xs, ws, gs) = (xs?, ws?, gs?);
    let (mut y, mut gx, mut gw) = (vec![0.0; c * area], vec![0.0; c * 4], vec![0.0; c]);
    for i in 0..c {
        let at = i * area + place;
        (y[at], gx[i * 4], gw[i]) = (xs[i * 4] * ws[i], gs[at] * ws[i], gs[at] * xs[i * 4]);
    }
    assert_eq!(values(&Op::Conv(conv), &[&x, &w])?, y, "{conv:?}");
    assert_eq!(values(&Op::ConvBackwardInput { conv, size: [2, 2, 1] }, &[&g, &w])?, gx, "{conv:?}");
    assert_eq!(values(&Op::ConvBackwardWeight { conv, kernel: [1; 3] }, &[&g, &x])?, gw, "{conv:?}");
    Ok(())
}

#[test]
fn steps_and_distances_beyond_the_input_reach_nothing() -> Result<()> {
    let device = device()?;
    for groups in [1, 2, 6] {
        let conv = Conv { stride: [usize::MAX; 3], dilation: [usize::MAX; 3], groups, ..Conv::default() };
        check_one_meeting(conv, [1, 0], &device)?;
    }
    for (kind, wanted) in [(PoolKind::Max, 3.0), (PoolKind::Average { count_include_pad: true }, 2.5)] {
        for ceil_mode in [false, true] {
            let (stride, padding) = ([usize::MAX; 3], [0; 3]);
            let pool = Pool { kind, kernel: [2; 3], stride, padding, dilation: [1; 3], ceil_mode };
            let x = numbers(&[1, 1, 5], &device)?;
            let mut y = Op::Pool(pool).run(&[&x])?;
            assert_eq!(y[0].to_vec::<f32>()?, [wanted]);
            y[0] = Tensor::from_vec(vec![4f32], [1, 1, 1], &device)?;
            let gx = values(&Op::PoolGrad { pool, size: [5, 1, 1] }, &y.iter().collect::<Vec<_>>())?;
            let wanted =
                if kind == PoolKind::Max { [0.0, 4.0, 0.0, 0.0, 0.0] } else { [2.0, 2.0, 0.0, 0.0, 0.0] };
            assert_eq!(gx, wanted);
        }
    }
    Ok(())
}

#[test]
fn padding_far_beyond_a_plane_takes_no_memory() -> Result<()> {
    let device = device()?;
    for groups in [1, 2, 6] {
        let far = [1 << 30; 3];
        check_one_meeting(Conv { stride: far, padding: far, groups, ..Conv::default() }, [3, 4], &device)?;
    }
    Ok(())
}
