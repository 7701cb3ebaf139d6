//! Gradients through views, none of which has a rule.

use gradus_autograd::{Autograd, Backward, Gradients};
use gradus_tensor_core::{Device, Result, Tensor};
use gradus_testkit::Reference;

fn cpu() -> Device {
    thread_local!(static DEVICE: Device = Reference::device());
    DEVICE.with(Device::clone)
}

fn range(n: usize, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_vec((0..n).map(|i| i as f64 + 1.0).collect(), shape, &cpu())
}

fn got(g: &Gradients, x: &Tensor) -> Vec<f64> {
    g.get(x).expect("a gradient").to_vec().expect("values")
}

#[test]
fn a_transposed_broadcast_and_narrowed_operand_gets_its_gradient() -> Result<()> {
    let x = range(6, &[2, 3])?.requires_grad()?;
    let w = Tensor::from_vec(vec![10.0, 20.0], 2, &cpu())?.requires_grad()?;
    let y = x.t()?.mul(&w)?.narrow(0, 1, 2)?.sum_all()?;
    assert_eq!(y.item::<f64>()?, 2.0 * 10.0 + 5.0 * 20.0 + 3.0 * 10.0 + 6.0 * 20.0);
    let g = y.backward()?;
    assert_eq!(got(&g, &x), [0.0, 10.0, 10.0, 0.0, 20.0, 20.0]);
    assert_eq!(got(&g, &w), [5.0, 11.0]);
    Ok(())
}

#[test]
fn slices_of_one_buffer_accumulate_into_one_gradient() -> Result<()> {
    let x = range(6, &[6])?.requires_grad()?;
    let parts = x.mul(1.0)?.chunk(3, 0)?;
    let y = parts[0].mul(&parts[1])?.add(&parts[2].square()?)?.sum_all()?;
    let g = y.backward()?;
    assert_eq!(got(&g, &x), [3.0, 4.0, 1.0, 2.0, 10.0, 12.0]);
    Ok(())
}

#[test]
fn overlapping_windows_add_up() -> Result<()> {
    let x = range(5, &[5])?.requires_grad()?;
    let g = x.unfold(0, 3, 1)?.sum_all()?.backward()?;
    assert_eq!(got(&g, &x), [1.0, 2.0, 3.0, 2.0, 1.0]);
    Ok(())
}

#[test]
fn flips_steps_and_diagonals_put_gradients_where_they_belong() -> Result<()> {
    let x = range(9, &[3, 3])?.requires_grad()?;
    let weights = Tensor::from_vec(vec![1.0, 10.0], 2, &cpu())?;
    let y = x.flip(0)?.diagonal(1, 0, 1)?.mul(&weights)?.sum_all()?;
    let g = y.backward()?;
    // flipped rows: 7 8 9 / 4 5 6 / 1 2 3; the diagonal above: 8, 6
    assert_eq!(y.item::<f64>()?, 8.0 + 60.0);
    assert_eq!(got(&g, &x), [0.0, 0.0, 0.0, 0.0, 0.0, 10.0, 0.0, 1.0, 0.0]);
    let z = range(7, &[7])?.requires_grad()?;
    let g = z.slice(0, 1, 7, 2)?.square()?.sum_all()?.backward()?;
    assert_eq!(got(&g, &z), [0.0, 4.0, 0.0, 8.0, 0.0, 12.0, 0.0]);
    Ok(())
}

#[test]
fn one_tensor_as_both_operands_counts_twice() -> Result<()> {
    let x = range(3, &[3])?.requires_grad()?;
    let g = x.mul(&x)?.sum_all()?.backward()?;
    assert_eq!(got(&g, &x), [2.0, 4.0, 6.0]);
    let g = x.add(&x)?.sum_all()?.backward()?;
    assert_eq!(got(&g, &x), [2.0, 2.0, 2.0]);
    Ok(())
}

#[test]
fn a_view_as_the_root_seeds_only_what_it_shows() -> Result<()> {
    let x = range(4, &[2, 2])?.requires_grad()?;
    let g = x.square()?.select(0, 1)?.select(0, 0)?.backward()?;
    assert_eq!(got(&g, &x), [0.0, 0.0, 6.0, 0.0]);
    Ok(())
}

#[test]
fn a_gradient_can_be_given_and_the_graph_retained() -> Result<()> {
    let x = range(2, &[2])?.requires_grad()?;
    let y = x.square()?;
    let seed = Tensor::from_vec(vec![1.0, -1.0], 2, &cpu())?;
    let first = Backward::new().gradient(seed.clone()).retain_graph().run(&y)?;
    assert_eq!(got(&first, &x), [2.0, -4.0]);
    let second = Backward::new().gradient(seed.clone()).run(&y)?;
    assert_eq!(got(&second, &x), [2.0, -4.0]);
    let error = Backward::new().gradient(seed).run(&y).unwrap_err().to_string();
    assert!(error.contains("retain"), "{error}");
    Ok(())
}

#[test]
fn writing_into_a_tracked_tensor_routes_gradients_around_what_was_overwritten() -> Result<()> {
    let x = range(4, &[4])?.requires_grad()?;
    let s = range(2, &[2])?.requires_grad()?;
    let mut y = x.mul(3.0)?;
    y.narrow_assign(0, 1, &s.mul(5.0)?)?;
    y.add_assign(&s.sum_all()?)?;
    assert_eq!(y.to_vec::<f64>()?, [6.0, 8.0, 13.0, 15.0]);
    let g = y.square()?.sum_all()?.backward()?;
    assert_eq!(got(&g, &x), [36.0, 0.0, 0.0, 90.0]);
    // d/ds: through the slice 5 * 2y at its place, through the sum 2y everywhere
    let all = 2.0 * (6.0 + 8.0 + 13.0 + 15.0);
    assert_eq!(got(&g, &s), [5.0 * 16.0 + all, 5.0 * 26.0 + all]);
    assert_eq!(x.to_vec::<f64>()?, [1.0, 2.0, 3.0, 4.0]);
    Ok(())
}

#[test]
fn in_place_changes_do_not_reach_what_was_saved() -> Result<()> {
    let x = range(2, &[2])?.requires_grad()?;
    let mut y = x.mul(2.0)?;
    let z = y.square()?; // saves y
    y.mul_assign(100.0)?;
    let g = z.sum_all()?.backward()?;
    assert_eq!(got(&g, &x), [8.0, 16.0]);
    Ok(())
}
