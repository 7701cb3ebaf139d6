//! What once was wrong.

use gradus_tensor_core::{Result, Tensor};
use gradus_testkit::{Mismatch, Options, Reference, gradcheck, gradgradcheck};

fn pair() -> Result<[Tensor; 2]> {
    let device = Reference::device();
    let make =
        |from: i32| Tensor::from_vec((from..from + 4).map(|i| f64::from(i) * 0.3).collect(), [2, 2], &device);
    Ok([make(-2)?, make(1)?])
}

/// A concatenation hands each operand a slice of its gradient. Where an operand had been changed in place, the
/// slice was read from the start of the buffer it lies in.
#[test]
fn a_slice_of_a_larger_gradient_passes_through_a_change_in_place() -> Result<(), Mismatch> {
    let [x, y] = pair()?;
    let accumulated = |x: &[Tensor]| {
        let mut sum = x[1].sin()?;
        sum.view_accumulate(&x[0], |v| v.transpose(0, 1))?;
        Tensor::cat(&[&x[0], &sum], 0)
    };
    let overwritten = |x: &[Tensor]| {
        let mut changed = x[1].sin()?;
        changed.narrow_assign(0, 1, &x[0].narrow(0, 0, 1)?)?;
        Tensor::cat(&[&x[0], &changed], 0)
    };
    gradcheck(accumulated, &[&x, &y], Options::default())?;
    gradcheck(overwritten, &[&x, &y], Options::default())?;
    Ok(())
}

/// The same in a second derivative: contributions to one gradient are added in place.
#[test]
fn second_derivatives_of_a_tensor_used_twice_beside_another_are_right() -> Result<(), Mismatch> {
    let [x, y] = pair()?;
    gradgradcheck(|x| x[0].tanh()?.add(&x[1].tanh()?.mul(&x[1])?), &[&x, &y], Options::default())?;
    Ok(())
}
