//! The graph's life: what it keeps, when it frees, what it refuses.

use gradus_autograd::{
    Autograd, Backward, Function, GradOptions, LeafId, apply, checkpoint, detect_anomaly, grad, hessian, hvp,
    into_value, jacobian, jvp, leaf, no_grad, vjp,
};
use gradus_tensor_core::op::{CustomOp, Differentiation};
use gradus_tensor_core::{DType, Device, Error, Meta, Metas, Op, Result, Tensor, rng};
use gradus_testkit::Reference;

fn cpu() -> Device {
    thread_local!(static DEVICE: Device = Reference::device());
    DEVICE.with(Device::clone)
}

fn vector(x: &[f64]) -> Result<Tensor> {
    Tensor::from_slice(x, x.len(), &cpu())
}

#[test]
fn no_grad_records_nothing_and_is_undone_by_a_panic() -> Result<()> {
    let x = vector(&[1.0])?.requires_grad()?;
    assert!(!no_grad(|| x.mul(2.0))?.is_tracked());
    let _ = std::panic::catch_unwind(|| no_grad(|| panic!("expected by this test")));
    assert!(x.mul(2.0)?.is_tracked());
    assert!(!x.detach()?.mul(2.0)?.is_tracked());
    Ok(())
}

#[test]
fn only_float_tensors_of_one_element_start_a_pass_and_only_floats_are_leaves() -> Result<()> {
    let x = vector(&[1.0, 2.0])?.requires_grad()?;
    assert!(matches!(x.mul(2.0)?.backward(), Err(Error::Shape(_))));
    assert!(matches!(vector(&[1.0])?.backward(), Err(Error::Graph { .. })));
    let ints = Tensor::zeros(3, DType::I64, &cpu())?;
    assert!(matches!(ints.requires_grad(), Err(Error::DType(_))));
    Ok(())
}

#[test]
fn gradients_of_micro_batches_accumulate() -> Result<()> {
    let w = vector(&[2.0, 3.0])?.requires_grad()?;
    let mut sum = w.mul(1.0)?.sum_all()?.backward()?;
    sum.accumulate(w.square()?.sum_all()?.backward()?)?;
    sum.scale(0.5)?;
    assert_eq!(sum.get(&w).expect("a gradient").to_vec::<f64>()?, [2.5, 3.5]);
    Ok(())
}

#[test]
fn a_leaf_is_announced_when_complete_and_before_older_ops_are_visited() -> Result<()> {
    // the leaf used last is complete first, although it is the oldest
    let early = LeafId::fresh();
    let late_layer = leaf(vector(&[3.0])?, early)?;
    let first_layer = vector(&[2.0])?.requires_grad()?;
    let y = first_layer.square()?.mul(&late_layer)?.sum_all()?;
    let mut order = Vec::new();
    let mut hook = |id: LeafId, g: &mut Tensor| {
        order.push(id);
        g.mul_assign(10.0)
    };
    let g = Backward::new().on_leaf(&mut hook).run(&y)?;
    assert_eq!(order, [early, first_layer.leaf_id().expect("a leaf")]);
    assert_eq!(g.get(&late_layer).expect("a gradient").item::<f64>()?, 40.0);
    assert_eq!(g.get(&first_layer).expect("a gradient").item::<f64>()?, 120.0);
    Ok(())
}

#[test]
fn a_leaf_used_many_times_is_announced_once_with_its_whole_gradient() -> Result<()> {
    let x = vector(&[2.0])?.requires_grad()?;
    let y = x.square()?.mul(&x)?.add(&x)?.sum_all()?;
    let mut seen = Vec::new();
    let mut hook = |_: LeafId, g: &mut Tensor| {
        seen.push(g.item::<f64>()?);
        Ok(())
    };
    Backward::new().on_leaf(&mut hook).run(&y)?;
    assert_eq!(seen, [13.0]);
    Ok(())
}

/// Passes nothing back.
#[derive(Debug)]
struct Stop;

impl Function for Stop {
    fn name(&self) -> &'static str {
        "stop"
    }
    fn forward(&self, x: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].mul(1.0)?])
    }
    fn backward(&self, _: &[Tensor], _: &[Tensor], _: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![None])
    }
}

#[test]
fn a_leaf_is_announced_although_one_way_to_it_carries_no_gradient() -> Result<()> {
    let x = vector(&[3.0])?.requires_grad()?;
    let stopped = apply(Stop, &[&x.square()?])?.remove(0);
    let y = x.mul(2.0)?.add(&stopped)?.sum_all()?;
    let mut seen = Vec::new();
    let mut hook = |_: LeafId, g: &mut Tensor| {
        seen.push(g.item::<f64>()?);
        Ok(())
    };
    Backward::new().on_leaf(&mut hook).run(&y)?;
    assert_eq!(seen, [2.0]);
    Ok(())
}

#[test]
fn a_checkpoint_gives_the_same_gradients_with_the_same_dropout_mask() -> Result<()> {
    let w = vector(&[0.3, -0.7, 1.1, 0.2])?.requires_grad()?;
    let x = vector(&[1.0, 2.0, 3.0, 4.0])?.requires_grad()?;
    let f =
        |w: &Tensor, x: &Tensor| -> Result<Tensor> { x.mul(w)?.tanh()?.dropout(0.5, rng::next_key())?.exp() };
    rng::manual_seed(11);
    let plain = f(&w, &x)?.sum_all()?;
    let after = rng::state();
    let expected = plain.backward()?;
    rng::manual_seed(11);
    let captured = w.clone();
    let y = checkpoint(move |x| Ok(vec![f(&captured, &x[0])?]), &[&x])?.remove(0).sum_all()?;
    assert_eq!(y.item::<f64>()?, plain.item::<f64>()?);
    let got = y.backward()?;
    assert_eq!(rng::state(), after);
    for leaf in [&w, &x] {
        let (a, b) = (got.get(leaf).expect("a gradient"), expected.get(leaf).expect("a gradient"));
        assert_eq!(a.to_vec::<f64>()?, b.to_vec::<f64>()?);
    }
    Ok(())
}

#[derive(Debug)]
struct SumAndDifference;

impl Function for SumAndDifference {
    fn name(&self) -> &'static str {
        "sum_and_difference"
    }
    fn forward(&self, x: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].add(&x[1])?, x[0].mul(&x[1])?])
    }
    fn backward(&self, x: &[Tensor], _: &[Tensor], g: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let zero = Tensor::zeros(x[0].shape(), x[0].dtype(), x[0].device().innermost())?;
        let (s, p) = (g[0].clone().unwrap_or(zero.clone()), g[1].clone().unwrap_or(zero));
        Ok(vec![Some(s.add(&p.mul(&x[1])?)?), Some(s.add(&p.mul(&x[0])?)?)])
    }
}

#[test]
fn a_custom_function_of_two_inputs_and_outputs_is_differentiable_twice() -> Result<()> {
    let (a, b) = (vector(&[2.0])?.requires_grad()?, vector(&[5.0])?.requires_grad()?);
    let y = apply(SumAndDifference, &[&a, &b])?;
    let z = y[0].mul(&y[1])?.sum_all()?; // (a + b) a b
    let g = grad(&[(&z, None)], &[&a, &b], GradOptions { create_graph: true, retain_graph: true })?;
    let ga = g[0].clone().expect("a gradient"); // 2ab + b^2
    assert_eq!(ga.item::<f64>()?, 45.0);
    let second = grad(&[(&ga, None)], &[&a, &b], GradOptions::default())?;
    assert_eq!(second[0].as_ref().expect("a gradient").item::<f64>()?, 10.0); // 2b
    assert_eq!(second[1].as_ref().expect("a gradient").item::<f64>()?, 14.0); // 2a + 2b
    // only one of the outputs used
    let y = apply(SumAndDifference, &[&a, &b])?;
    let g = y[1].sum_all()?.backward()?;
    assert_eq!(g.get(&b).expect("a gradient").item::<f64>()?, 2.0);
    Ok(())
}

#[test]
fn products_jacobians_and_hessians_agree_with_calculus() -> Result<()> {
    let x = vector(&[1.0, 2.0, 3.0])?;
    let f = |x: &Tensor| x.square()?.mul(&x.flip(0)?); // x_i^2 x_{2-i}
    let j = jacobian(f, &x)?;
    assert_eq!(j.shape().dims(), [3, 3]);
    assert_eq!(j.to_vec::<f64>()?, [6.0, 0.0, 1.0, 0.0, 12.0, 0.0, 9.0, 0.0, 6.0]);
    let v = vector(&[1.0, -1.0, 0.5])?;
    let (_, product) = jvp(|x| f(&x[0]), &[&x], &[&v])?;
    assert_eq!(product.to_vec::<f64>()?, [6.5, -12.0, 12.0]);
    let (y, pulled) = vjp(|x| f(&x[0]), &[&x], &v)?;
    assert_eq!(y.to_vec::<f64>()?, [3.0, 8.0, 9.0]);
    assert_eq!(pulled[0].to_vec::<f64>()?, [10.5, -12.0, 4.0]);
    let cubes = |x: &Tensor| x.pow(3.0)?.sum_all();
    let h = hessian(cubes, &x)?;
    assert_eq!(h.to_vec::<f64>()?, [6.0, 0.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 18.0]);
    assert_eq!(hvp(cubes, &x, &v)?.to_vec::<f64>()?, [6.0, -12.0, 9.0]);
    Ok(())
}

#[test]
fn the_gradient_of_a_gradient_penalty_is_right() -> Result<()> {
    // |d/dx (w x^2)|^2 = 4 w^2 x^2; its gradient by w is 8 w x^2
    let (w, x) = (vector(&[3.0])?.requires_grad()?, vector(&[2.0])?.requires_grad()?);
    let y = w.mul(&x.square()?)?.sum_all()?;
    let gx = grad(&[(&y, None)], &[&x], GradOptions { create_graph: true, retain_graph: true })?.remove(0);
    let penalty = gx.expect("a gradient").square()?.sum_all()?;
    assert_eq!(penalty.backward()?.get(&w).expect("a gradient").item::<f64>()?, 96.0);
    Ok(())
}

#[test]
fn a_parameter_keeps_its_identity_while_its_value_is_replaced_in_place() -> Result<()> {
    let id = LeafId::fresh();
    let mut w = leaf(vector(&[1.0, 2.0])?, id)?;
    for step in 0..3 {
        let g = w.square()?.sum_all()?.backward()?;
        let gradient = g.get_id(id).expect("a gradient").clone();
        let mut value = into_value(w)?;
        assert!(value.is_unique(), "step {step}");
        value.sub_assign(&gradient.mul(0.25)?)?;
        w = leaf(value, id)?;
    }
    assert_eq!(w.to_vec::<f64>()?, [0.125, 0.25]);
    Ok(())
}

#[test]
fn an_anomaly_is_named_with_the_line_that_ran_it() -> Result<()> {
    let x = vector(&[0.0])?.requires_grad()?;
    let error = detect_anomaly(|| x.log()?.sum_all()).unwrap_err().to_string();
    assert!(error.contains("log") && error.contains("forward"), "{error}");
    let error = detect_anomaly(|| x.sqrt()?.sum_all()?.backward().map(drop)).unwrap_err().to_string();
    assert!(error.contains("sqrt") && error.contains("backward") && error.contains("graph.rs"), "{error}");
    // a NaN that was put in is nobody's fault
    let nan = vector(&[f64::NAN])?.requires_grad()?;
    detect_anomaly(|| nan.mul(2.0)?.sum_all()).map(drop)
}

#[test]
fn plain_and_tracked_tensors_meet_and_separately_made_leaves_do_too() -> Result<()> {
    let (a, b) = (vector(&[2.0])?.requires_grad()?, vector(&[3.0])?.requires_grad()?);
    let plain = vector(&[4.0])?;
    let y = plain.mul(&a)?.mul(&b)?.add(&plain)?;
    let g = y.sum_all()?.backward()?;
    assert_eq!(g.get(&a).expect("a gradient").item::<f64>()?, 12.0);
    assert_eq!(g.get(&b).expect("a gradient").item::<f64>()?, 8.0);
    assert!(g.get(&plain).is_none());
    Ok(())
}

#[test]
fn a_graph_spans_devices() -> Result<()> {
    let (one, two) = (Reference::device(), Reference::device());
    let x = Tensor::from_vec(vec![1.0, 2.0], 2, &one)?.requires_grad()?;
    let moved = x.mul(3.0)?.to(&two)?;
    assert!(moved.is_tracked());
    let w = Tensor::from_vec(vec![5.0, 7.0], 2, &two)?;
    let g = moved.mul(&w)?.sum_all()?.backward()?;
    let gradient = g.get(&x).expect("a gradient");
    assert_eq!(gradient.to_vec::<f64>()?, [15.0, 21.0]);
    // moving to where it is already keeps it in the graph
    assert!(x.mul(2.0)?.to(&one)?.is_tracked());
    Ok(())
}

#[test]
fn threads_may_go_back_through_graphs_that_share_leaves() -> Result<()> {
    let w = vector(&[2.0, 3.0])?.requires_grad()?;
    let shared = w.square()?;
    let total = std::thread::scope(|s| {
        let handles: Vec<_> = (1..=4)
            .map(|k| {
                let (w, shared) = (&w, &shared);
                s.spawn(move || -> Result<f64> {
                    let own = w.mul(k as f64)?.sum_all()?.backward()?;
                    let both = Backward::new().retain_graph().run(&shared.sum_all()?)?;
                    let first = own.get(w).expect("a gradient").to_vec::<f64>()?[0];
                    Ok(first + both.get(w).expect("a gradient").to_vec::<f64>()?[0])
                })
            })
            .collect();
        handles.into_iter().map(|h| h.join().expect("no panic")).sum::<Result<f64>>()
    })?;
    assert_eq!(total, (1 + 2 + 3 + 4) as f64 + 4.0 * 4.0);
    Ok(())
}

/// A gradient that is computed from the output, as that of half its square.
#[test]
fn a_gradient_to_start_from_is_a_constant_unless_the_pass_is_recorded() -> Result<()> {
    let x = vector(&[1.0, 2.0])?.requires_grad()?;
    let y = x.mul(3.0)?;
    for output in [&y, &x] {
        let gradients = Backward::new().gradient(y.clone()).retain_graph().run(output)?;
        let gradient = gradients.get(&x).expect("a gradient");
        assert!(!gradient.is_tracked());
        assert_eq!(gradient.device(), &cpu());
    }
    let found =
        grad(&[(&y, Some(y.clone()))], &[&x], GradOptions { retain_graph: true, create_graph: false })?;
    assert_eq!(found[0].as_ref().expect("a gradient").device(), &cpu());
    let recorded = Backward::new().gradient(y.clone()).create_graph().run(&y)?;
    let second = recorded.get(&x).expect("a gradient").sum_all()?.backward()?;
    assert_eq!(second.get(&x).expect("a gradient").to_vec::<f64>()?, [9.0, 9.0]);
    Ok(())
}

#[test]
fn a_panic_in_a_checkpoint_leaves_the_random_numbers_alone() -> Result<()> {
    let x = vector(&[1.0])?.requires_grad()?;
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let panics = move |x: &[Tensor]| {
        assert!(calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0, "expected by this test");
        Ok(vec![x[0].dropout(0.5, rng::next_key())?])
    };
    let y = checkpoint(panics, &[&x])?.remove(0).sum_all()?;
    rng::next_key();
    let before = rng::state();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| y.backward())).is_err());
    assert_eq!(rng::state(), before);
    Ok(())
}

/// Each checkpoint's function holds the output of the one before: no edge of the graph shows it.
#[test]
fn a_chain_of_functions_that_hold_tensors_is_dropped_without_recursion() -> Result<()> {
    let x = vector(&[1.0])?.requires_grad()?;
    let mut y = x.clone();
    for _ in 0..100_000 {
        let before = y.clone();
        y = checkpoint(move |x| Ok(vec![x[0].add(&before)?]), &[&x])?.remove(0);
    }
    assert_eq!(y.to_vec::<f64>()?, [100_001.0]);
    drop(y);
    // And graphs are dropped as before.
    let y = checkpoint(|x| Ok(vec![x[0].square()?]), &[&x.mul(3.0)?])?.remove(0).sum_all()?;
    assert_eq!(y.backward()?.get(&x).expect("a gradient").to_vec::<f64>()?, [18.0]);
    Ok(())
}

/// Doubles its first operand, and returns gradients that are wrong in one of three ways.
#[derive(Debug)]
struct Careless(usize);

impl CustomOp for Careless {
    fn name(&self) -> &'static str {
        "careless"
    }
    fn infer(&self, inputs: &[Meta]) -> Result<Metas> {
        Ok(Metas::from_slice(&inputs[..1]))
    }
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![inputs[0].mul(2.0)?])
    }
    fn differentiation(&self) -> Differentiation {
        Differentiation::Backward
    }
    fn backward(&self, _: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        let g = grads[0].clone().expect("the only output");
        Ok(match self.0 {
            0 => vec![],
            1 => vec![Some(g.unsqueeze(0)?), None],
            2 => vec![Some(g.cast(DType::F32)?), None],
            _ => vec![Some(g.mul(2.0)?), None],
        })
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn a_custom_op_that_loses_a_gradient_or_returns_another_is_an_error() -> Result<()> {
    let (x, y) = (vector(&[1.0, 2.0])?.requires_grad()?, vector(&[3.0])?);
    for kind in 0..4 {
        let op = Op::Custom(std::sync::Arc::new(Careless(kind)));
        let gradients = op.run1(&[&x, &y])?.sum_all()?.backward();
        match kind {
            3 => assert_eq!(gradients?.get(&x).expect("a gradient").to_vec::<f64>()?, [2.0, 2.0]),
            _ => {
                let error = gradients.unwrap_err().to_string();
                assert!(error.contains("careless: backward returned"), "{error}");
            }
        }
    }
    Ok(())
}
