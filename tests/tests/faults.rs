//! A device that fails at any one op leaves tensors, the graph and the memory count as they should be.

use gradus_autograd::{Autograd, graph_stats};
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::{CrossEntropy, InPlaceOp, Sgd};
use gradus_tensor_core::{Device, Error, Result, Tensor};
use gradus_testkit::devices::Faulty;

fn values(n: usize, seed: f32) -> Vec<f32> {
    (0..n).map(|i| ((i as f32 + seed) * 1.7).sin()).collect()
}

/// One step of training, in place; the weights are unchanged if anything but the last ops fails.
fn step(weights: &mut [Tensor], x: &Tensor, target: &Tensor) -> Result<f32> {
    let leaves: Vec<Tensor> = weights.iter().map(|w| w.requires_grad()).collect::<Result<_>>()?;
    let h = x.linear(&leaves[0], None)?.relu()?.layer_norm(1, None, None, 1e-5)?;
    let loss = h.linear(&leaves[1], None)?.cross_entropy(target, CrossEntropy::default())?.mean_all()?;
    let gradients = loss.backward()?;
    let value = loss.item()?;
    let sgd =
        Sgd { lr: 0.1, momentum: 0.0, dampening: 0.0, weight_decay: 0.0, nesterov: false, first: false };
    let gradients: Vec<Tensor> =
        leaves.iter().map(|leaf| gradients.get(leaf).expect("every weight takes part").clone()).collect();
    drop((leaves, h, loss));
    for (w, g) in weights.iter_mut().zip(&gradients) {
        InPlaceOp::Sgd(sgd).run(&mut [w], &[g])?;
    }
    Ok(value)
}

fn problem(device: &Device) -> Result<(Vec<Tensor>, Tensor, Tensor)> {
    Ok((
        vec![
            Tensor::from_vec(values(20, 0.0), [5, 4], device)?,
            Tensor::from_vec(values(15, 3.0), [3, 5], device)?,
        ],
        Tensor::from_vec(values(24, 9.0), [6, 4], device)?,
        Tensor::from_vec(vec![0i64, 1, 2, 0, 1, 2], [6], device)?,
    ))
}

fn bits(tensors: &[Tensor]) -> Result<Vec<Vec<u32>>> {
    tensors.iter().map(|t| Ok(t.to_vec::<f32>()?.into_iter().map(f32::to_bits).collect())).collect()
}

#[test]
fn a_training_step_survives_a_failure_at_any_op() -> Result<()> {
    let inner = Cpu::builder().threads(1).build()?;
    let faulty = Faulty::new();
    let device = faulty.around(&inner);
    let (mut weights, x, target) = problem(&device)?;
    let start = bits(&weights)?;
    faulty.heal();
    step(&mut weights, &x, &target)?;
    let (calls, expected) = (faulty.calls(), bits(&weights)?);
    assert!(calls >= 15, "a step is only {calls} calls");
    drop((weights, x, target));
    let (graph, memory) = (graph_stats(), inner.memory());

    for n in 1..=calls {
        faulty.heal();
        let (mut weights, x, target) = problem(&device)?;
        faulty.fail_at(n);
        let failure = step(&mut weights, &x, &target).expect_err("the step has that many calls");
        assert!(matches!(failure.root(), Error::OutOfMemory { .. }), "at call {n}: {failure}");
        faulty.heal();
        // Each weight is either as it was or as it should be, never between.
        for (i, now) in bits(&weights)?.iter().enumerate() {
            assert!(*now == start[i] || *now == expected[i], "weight {i} after a failure at call {n}");
        }
        if bits(&weights)? == start {
            step(&mut weights, &x, &target)?;
            assert_eq!(bits(&weights)?, expected, "the same step after a failure at call {n}");
        }
        drop((weights, x, target));
        assert_eq!(graph_stats(), graph, "the graph after a failure at call {n}");
        let now = inner.memory();
        assert_eq!((now.allocated, now.buffers), (memory.allocated, memory.buffers), "after call {n}");
    }
    Ok(())
}
