//! Softmax and cross-entropy.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::{CrossEntropy, Softmax};
use gradus_tensor_core::{DType, Error, Op, Tensor};

use crate::common::{Devices, LIES, Lie, Operand, check, check_within, run, tolerance};

#[test]
fn softmax_and_its_gradient_are_right_along_every_axis() {
    let devices = Devices::new();
    let shapes: [&[usize]; 7] = [&[1], &[7], &[3, 40], &[2, 5, 70], &[4, 0], &[0, 4], &[600, 300]];
    for dtype in DType::FLOATS {
        for dims in shapes {
            if dims.iter().product::<usize>() > 10_000 && dtype != DType::F32 {
                continue;
            }
            for axis in 0..dims.len() {
                for (log, lie) in [false, true].into_iter().flat_map(|log| LIES.map(|lie| (log, lie))) {
                    let op = Softmax { axis, log };
                    let x = Operand::map(dims, dtype, lie, 1, |u| 20.0 * u - 10.0);
                    check(&devices, &Op::Softmax(op), std::slice::from_ref(&x), dtype);
                    let y = run(&devices, &Op::Softmax(op), &[x]).remove(0);
                    let g = Operand::random(dims, dtype, lie, 2);
                    // Hundreds of numbers are added and nearly cancel.
                    check_within(&devices, &Op::SoftmaxGrad(op), &[g, y], 4.0 * tolerance(dtype));
                }
            }
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient_are_right() {
    let devices = Devices::new();
    for dtype in DType::FLOATS {
        for (n, c) in [(1, 1), (5, 3), (300, 100), (0, 4)] {
            for (smoothing, lie) in [(0.0, Lie::Contiguous), (0.1, Lie::Transposed), (1.0, Lie::Flipped)] {
                // Class 0 stands for "ignored".
                let op = CrossEntropy { ignore_index: 0, label_smoothing: smoothing };
                let x = Operand::map(&[n, c], dtype, lie, 1, |u| 10.0 * u - 5.0);
                let target = Operand::map(&[n], DType::I64, lie, 2, |u| (u * c as f64).floor());
                let lse = run(&devices, &Op::CrossEntropy(op), &[x.clone(), target.clone()]).remove(1);
                check(&devices, &Op::CrossEntropy(op), &[x.clone(), target.clone()], dtype);
                let g = Operand::random(&[n], dtype.accumulator(), lie, 3);
                check(&devices, &Op::CrossEntropyGrad(op), &[g, x, target, lse], dtype);
            }
        }
    }
}

#[test]
fn a_target_that_is_no_class_is_an_error() {
    for device in Devices::new().cpus {
        let x = Tensor::from_vec(vec![0f32; 6], [2, 3], &device).unwrap();
        for bad in [-1i64, 3] {
            let target = Tensor::from_vec(vec![0, bad], [2], &device).unwrap();
            let error = Op::CrossEntropy(CrossEntropy::default()).run(&[&x, &target]).unwrap_err();
            assert!(matches!(error, Error::Index { index, size: 3, .. } if index == bad), "{error}");
        }
    }
}

#[test]
fn rows_of_an_output_that_no_cache_holds_are_those_of_its_parts() {
    let (rows, n) = (12_300, 1024);
    let numbers = |seed: usize| {
        (0..rows * n)
            .map(|i| ((i * 37 + seed + i / 1000 * 13) % 997) as f32 * 0.02 - 10.0)
            .collect::<Vec<_>>()
    };
    let device = Cpu::builder().threads(2).build().unwrap();
    let [x, g] = [0, 5].map(|seed| Tensor::from_vec(numbers(seed), [rows, n], &device).unwrap());
    for log in [false, true] {
        let op = Softmax { axis: 1, log };
        let run = |op: Op, x: &[&Tensor]| op.run(x).unwrap().remove(0);
        let y = run(Op::Softmax(op), &[&x]);
        let gx = run(Op::SoftmaxGrad(op), &[&g, &y]);
        for first in [0, 1530, 6100, rows - 100] {
            let part = |x: &Tensor| x.narrow(0, first, 100).unwrap();
            let bits =
                |x: &Tensor| x.to_vec::<f32>().unwrap().iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            let expected = run(Op::Softmax(op), &[&part(&x)]);
            assert_eq!(bits(&part(&y)), bits(&expected), "from row {first}, log: {log}");
            let expected = run(Op::SoftmaxGrad(op), &[&part(&g), &part(&y)]);
            assert_eq!(bits(&part(&gx)), bits(&expected), "the gradient from row {first}, log: {log}");
        }
    }
}
