//! Scaled dot-product attention.

use gradus_tensor_core::op::Attention;
use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check_within, run, tolerance};

#[test]
fn attention_and_its_gradient_are_right() {
    let devices = Devices::new();
    // Leading axes, queries, keys, width, value width.
    let shapes: [(&[usize], [usize; 4]); 7] = [
        (&[], [1, 1, 1, 1]),
        (&[2, 3], [5, 7, 4, 6]),
        (&[2], [7, 5, 3, 3]),
        (&[2], [150, 300, 8, 5]),
        (&[3], [130, 130, 16, 16]),
        (&[0, 2], [3, 3, 2, 2]),
        (&[2], [3, 0, 2, 2]),
    ];
    for dtype in DType::FLOATS {
        for (lead, [t, s, d, e]) in shapes {
            if t > 100 && dtype != DType::F32 {
                continue;
            }
            for (i, lie) in LIES.into_iter().enumerate() {
                let dims = |a: usize, b: usize| [lead, &[a, b]].concat();
                let q = Operand::random(&dims(t, d), dtype, lie, 1);
                let k = Operand::random(&dims(s, d), dtype, lie, 2);
                let v = Operand::random(&dims(s, e), dtype, lie, 3);
                let g = Operand::random(&dims(t, e), dtype, lie, 4);
                // A third of the keys are masked; with few keys also all keys of some queries.
                let mask = |u: f64| if u < 0.3 { f64::NEG_INFINITY } else { u };
                let mask = Operand::map(&dims(t, s), dtype, lie, 5, mask);
                for (causal, masked) in [(false, false), (true, false), (false, true), (true, i % 2 == 0)] {
                    let op = Attention { scale: 0.7, causal };
                    let mut operands = vec![q.clone(), k.clone(), v.clone()];
                    operands.extend(masked.then(|| mask.clone()));
                    check_within(&devices, &Op::Attention(op), &operands, tolerance(dtype));
                    let outputs = run(&devices, &Op::Attention(op), &operands);
                    let mut all = vec![g.clone()];
                    all.extend(operands[..3].iter().cloned());
                    all.extend(outputs);
                    all.extend(masked.then(|| mask.clone()));
                    // The saved output is rounded to the dtype in between.
                    check_within(&devices, &Op::AttentionGrad(op), &all, 4.0 * tolerance(dtype));
                }
            }
        }
    }
}

#[test]
fn attention_over_several_blocks_is_right_in_every_precision() {
    let devices = Devices::new();
    for dtype in DType::FLOATS {
        // More tasks than are needed, so that each has several blocks of queries; several blocks of keys.
        for (lead, [t, s, d, e]) in [(90, [70, 66, 4, 3]), (2, [70, 301, 18, 20])] {
            for lie in [Lie::Contiguous, Lie::Transposed] {
                let q = Operand::random(&[lead, t, d], dtype, lie, 1);
                let k = Operand::random(&[lead, s, d], dtype, lie, 2);
                let v = Operand::random(&[lead, s, e], dtype, lie, 3);
                for causal in [false, true] {
                    let op = Op::Attention(Attention { scale: 0.4, causal });
                    check_within(&devices, &op, &[q.clone(), k.clone(), v.clone()], tolerance(dtype));
                }
            }
        }
    }
}

#[test]
fn a_query_that_sees_no_key_gives_zeros() {
    let devices = Devices::new();
    let q = Operand::random(&[2, 3], DType::F32, Lie::Contiguous, 1);
    let mask = Operand::map(&[2, 2], DType::F32, Lie::Contiguous, 1, |_| f64::NEG_INFINITY);
    let op = Op::Attention(Attention { scale: 1.0, causal: false });
    for device in &devices.cpus {
        let (q, mask) = (q.on(device).unwrap(), mask.on(device).unwrap());
        let y = op.run(&[&q, &q, &q, &mask]).unwrap();
        assert_eq!(y[0].to_vec::<f32>().unwrap(), [0.0; 6]);
        assert_eq!(y[1].to_vec::<f32>().unwrap(), [f32::NEG_INFINITY; 2]);
    }
}
