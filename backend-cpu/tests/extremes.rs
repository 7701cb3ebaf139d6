//! Shapes and options at the ends of what can be written down.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::{
    ArgReduce, Attention, CrossEntropy, Pool, PoolKind, ReduceKind, Scan, Softmax, Sort,
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
