//! Pooling.

use gradus_tensor_core::op::{Pool, PoolKind};
use gradus_tensor_core::{DType, Error, Op, Tensor};

use crate::common::{Devices, LIES, Lie, Operand, check, run};

fn pools() -> Vec<(Pool, &'static [usize])> {
    let pool = |kernel, stride, padding, dilation, ceil_mode| Pool {
        kind: PoolKind::Max,
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode,
    };
    vec![
        (pool([2; 3], [2; 3], [0; 3], [1; 3], false), &[2, 3, 9]),
        (pool([3; 3], [2; 3], [1; 3], [1; 3], true), &[2, 3, 8, 11]),
        (pool([3, 2, 1], [1, 3, 1], [1, 0, 0], [1; 3], false), &[1, 2, 5, 7]),
        (pool([2, 3, 2], [2, 1, 2], [1; 3], [1; 3], true), &[2, 1, 4, 5, 7]),
        (pool([2; 3], [2; 3], [0; 3], [1; 3], false), &[8, 16, 28, 28]),
        (pool([3; 3], [2; 3], [1; 3], [1; 3], true), &[2, 3, 9, 75]),
        (pool([2, 4, 1], [3; 3], [0; 3], [1; 3], false), &[1, 2, 7, 101]),
        (pool([3; 3], [1; 3], [1; 3], [1; 3], false), &[1, 2, 3, 35]),
        (pool([7; 3], [1; 3], [0; 3], [1; 3], false), &[2, 5, 7, 7]),
        (pool([2; 3], [2; 3], [0; 3], [1; 3], false), &[0, 3, 4, 4]),
    ]
}

#[test]
fn pools_and_their_gradients_are_right() {
    let devices = Devices::new();
    let kinds = [
        PoolKind::Max,
        PoolKind::Average { count_include_pad: true },
        PoolKind::Average { count_include_pad: false },
    ];
    for dtype in DType::FLOATS {
        for (pool, dims) in pools() {
            if dims.iter().product::<usize>() > 10_000 && dtype != DType::F32 {
                continue;
            }
            for (kind, lie) in kinds.iter().flat_map(|kind| LIES.map(|lie| (*kind, lie))) {
                let pool = Pool { kind, ..pool };
                let x = Operand::map(dims, dtype, lie, 1, |u| (u * 64.0).floor() / 8.0 - 4.0);
                check(&devices, &Op::Pool(pool), std::slice::from_ref(&x), dtype);
                let outputs = run(&devices, &Op::Pool(pool), &[x]);
                let mut operands = vec![Operand::random(outputs[0].dims(), dtype, lie, 2)];
                operands.extend(outputs.get(1).cloned());
                let mut size = [1; 3];
                size[..dims.len() - 2].copy_from_slice(&dims[2..]);
                check(&devices, &Op::PoolGrad { pool, size }, &operands, dtype);
            }
        }
    }
}

#[test]
fn dilated_maxima_and_windows_of_infinities_are_right() {
    let devices = Devices::new();
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [3; 3],
        stride: [2; 3],
        padding: [1; 3],
        dilation: [2; 3],
        ceil_mode: true,
    };
    let values = |u: f64| match (u * 4.0) as usize {
        0 => f64::NAN,
        1 => f64::NEG_INFINITY,
        2 => f64::INFINITY,
        _ => u,
    };
    for seed in 0..20 {
        let x = Operand::map(&[2, 2, 8, 9], DType::F32, Lie::Contiguous, seed, values);
        check(&devices, &Op::Pool(pool), &[x], DType::F32);
    }
}

#[test]
fn an_index_outside_of_the_input_is_an_error() {
    for device in Devices::new().cpus {
        let g = Tensor::from_vec(vec![1f32; 2], [1, 1, 2], &device).unwrap();
        let index = Tensor::from_vec(vec![0i64, 4], [1, 1, 2], &device).unwrap();
        let (pool, _) = pools()[0];
        let op = Op::PoolGrad { pool, size: [4, 1, 1] };
        assert!(matches!(op.run(&[&g, &index]).unwrap_err(), Error::Index { index: 4, size: 4, .. }));
    }
}
