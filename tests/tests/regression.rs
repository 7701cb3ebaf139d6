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

/// Joining records every operand, and each gets its own part back.
#[test]
fn every_operand_of_a_concatenation_and_of_a_stack_gets_its_gradient() -> Result<(), Mismatch> {
    let [x, y] = pair()?;
    let z = x.add(&y)?;
    let operands = [&x, &y, &z];
    let weights = Tensor::arange(1, 13, gradus_tensor_core::DType::F64, x.device())?;
    for axis in [0, 1] {
        let joined = |x: &[Tensor]| Tensor::cat(&[&x[0], &x[1], &x[2]], axis)?.reshape([-1])?.mul(&weights);
        gradcheck(joined, &operands, Options::default())?;
        let stacked =
            |x: &[Tensor]| Tensor::stack(&[&x[0], &x[1], &x[2]], axis)?.reshape([-1])?.mul(&weights);
        gradcheck(stacked, &operands, Options::default())?;
    }
    Ok(())
}

/// `topk` and `sort` are differentiable: the gradient goes to the elements that were selected.
#[test]
fn selected_elements_get_the_gradient() -> Result<()> {
    use gradus_autograd::Autograd;
    for device in [Reference::device(), gradus_backend_cpu::Cpu::device()] {
        let x = Tensor::from_vec(vec![3.0, -1.0, 7.0, 5.0, 0.5, 0.25], [2, 3], &device)?.requires_grad()?;
        let (values, _) = x.topk(2, 1, true)?;
        let scale = Tensor::from_vec(vec![1.0, 10.0, 100.0, 1000.0], [2, 2], &device)?;
        let gradients = values.mul(&scale)?.sum_all()?.backward()?;
        let expected = [10.0, 0.0, 1.0, 100.0, 1000.0, 0.0];
        assert_eq!(gradients.get(&x).expect("it took part").to_vec::<f64>()?, expected);
        let (sorted, _) = x.sort(1, false)?;
        let gradients = sorted.narrow(1, 0, 1)?.sum_all()?.backward()?;
        assert_eq!(gradients.get(&x).expect("it took part").to_vec::<f64>()?, [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }
    Ok(())
}

/// Windows that overlap add to what is there; they do not overwrite it.
#[test]
fn elements_read_by_several_windows_get_the_sum() -> Result<(), Mismatch> {
    let x = Tensor::arange(0, 24, gradus_tensor_core::DType::F64, &Reference::device())?.sin()?;
    let x = x.reshape([1, 1, 4, 6])?;
    let pool = gradus_tensor_core::PoolOptions { stride: [1; 3], ..gradus_tensor_core::PoolOptions::new(3) };
    gradcheck(|x| x[0].avg_pool(pool)?.square(), &[&x], Options::default())?;
    gradcheck(|x| x[0].max_pool(pool)?.square(), &[&x], Options::default())?;
    gradcheck(|x| x[0].unfold(3, 3, 1)?.square(), &[&x], Options::default())?;
    Ok(())
}
