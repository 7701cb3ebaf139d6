//! Linear layers with weights of 8 bits. Integers are exact, so what may differ from the definition is nothing but the
//! rounding of halves: not even the level that the kernels run at.

use gradus_tensor_core::{DType, Op};

use crate::common::{Devices, LIES, Lie, Operand, check_within};

fn operands(x: &[usize], out: usize, dtype: DType, lie: Lie, shift: f64) -> Vec<Operand> {
    let features = *x.last().unwrap();
    vec![
        Operand::map(x, dtype, lie, 1, |u| 4.0 * u + shift),
        Operand::map(&[out, features], DType::I8, lie, 2, |u| (u * 256.0).floor() - 128.0),
        Operand::map(&[out], DType::F32, lie, 3, |u| 0.01 * u + 0.001),
        Operand::random(&[out], DType::F32, lie, 4),
    ]
}

fn exact(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 1e-3,
        DType::BF16 => 8e-3,
        _ => 0.0,
    }
}

#[test]
fn a_quantized_linear_layer_is_its_definition_to_the_bit() {
    let devices = Devices::new();
    let shapes: [(&[usize], usize); 9] = [
        (&[5], 3),
        (&[4, 6], 7),
        (&[2, 3, 5], 4),
        (&[0, 5], 3),
        (&[3, 0], 2),
        (&[3, 4], 0),
        (&[70, 67], 65),
        (&[130, 200], 130),
        (&[520, 33], 17),
    ];
    for dtype in DType::FLOATS {
        for (i, (x, out)) in shapes.into_iter().enumerate() {
            let shift = [-2.0, 0.5, -5.0][i % 3];
            for lie in LIES {
                let operands = operands(x, out, dtype, lie, shift);
                check_within(&devices, &Op::LinearDynamic, &operands[..3], exact(dtype));
                check_within(&devices, &Op::LinearDynamic, &operands, exact(dtype));
            }
        }
    }
}

#[test]
fn numbers_at_the_ends_of_their_range_are_quantized_as_defined() {
    let devices = Devices::new();
    // Steps that are subnormal, ranges that overflow when subtracted, rows of zeros, ties.
    for (scale, seed) in [(1e-42, 1), (1e-38, 2), (3.3e38, 3), (0.0, 4), (0.5, 5)] {
        let signed =
            move |u: f64| if seed == 5 { (u * 510.0).floor() - 255.0 } else { 2.0 * u - 1.0 } * scale;
        let mut operands = operands(&[9, 40], 20, DType::F32, Lie::Contiguous, 0.0);
        operands[0] = Operand::map(&[9, 40], DType::F32, Lie::Contiguous, seed, signed);
        check_within(&devices, &Op::LinearDynamic, &operands, 0.0);
    }
}

#[test]
fn a_row_that_is_not_finite_gives_nan_and_leaves_the_others_alone() {
    let devices = Devices::new();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut operands = operands(&[12, 70], 9, DType::F32, Lie::Contiguous, 0.0);
        // A few elements: not all rows have one.
        operands[0] =
            Operand::map(&[12, 70], DType::F32, Lie::Contiguous, 8, |u| if u > 0.996 { bad } else { u });
        check_within(&devices, &Op::LinearDynamic, &operands, 0.0);
    }
}
