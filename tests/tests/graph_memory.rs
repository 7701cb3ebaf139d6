//! The graph is owned by tensors: it goes when they go, it never grows, and its depth has no limit. These count
//! what is alive in the whole process, so they run one after the other.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_autograd::{Autograd, Backward, GraphStats, graph_stats, no_grad};
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{DType, Device, Result, Tensor};

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn state(device: &Device) -> (GraphStats, usize, usize) {
    let memory = device.memory();
    (graph_stats(), memory.allocated, memory.buffers)
}

fn own_device() -> Result<Device> {
    Cpu::builder().threads(1).build()
}

/// A step of training a small network by hand.
fn step(weights: &mut [Tensor], x: &Tensor) -> Result<f64> {
    let leaves: Vec<Tensor> = weights.iter().map(|w| w.requires_grad()).collect::<Result<_>>()?;
    let y = x.matmul(&leaves[0])?.tanh()?.layer_norm(1, None, None, 1e-5)?.matmul(&leaves[1])?.softmax(1)?;
    let loss = y.square()?.mean_all()?;
    let gradients = loss.backward()?;
    for (w, leaf) in weights.iter_mut().zip(&leaves) {
        let g = gradients.get(leaf).expect("every weight takes part");
        *w = w.sub(&g.mul(0.01)?)?;
    }
    loss.item()
}

#[test]
fn memory_is_flat_over_ten_thousand_steps_and_back_at_its_baseline_after_them() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let before = state(&device);
    {
        let x = Tensor::from_vec((0..12).map(|i| (i as f32).cos()).collect(), [3, 4], &device)?;
        let mut weights = vec![
            Tensor::from_vec((0..20).map(|i| (i as f32).sin()).collect(), [4, 5], &device)?,
            Tensor::from_vec((0..10).map(|i| (i as f32 * 0.7).sin()).collect(), [5, 2], &device)?,
        ];
        step(&mut weights, &x)?;
        let after_one = state(&device);
        for _ in 0..10_000 {
            step(&mut weights, &x)?;
        }
        assert_eq!(state(&device), after_one);
    }
    assert_eq!(state(&device), before);
    Ok(())
}

#[test]
fn a_chain_of_a_million_ops_runs_forward_and_back_and_is_dropped_on_a_small_stack() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let before = state(&device);
    let work = {
        let device = device.clone();
        move || -> Result<()> {
            let x = Tensor::ones([2], DType::F64, &device)?.requires_grad()?;
            let chain = |n: usize| (0..n).try_fold(x.clone(), |y, _| y.mul(&x));
            let y = chain(1_000_000)?;
            let gradients = y.sum_all()?.backward()?;
            assert_eq!(gradients.get(&x).expect("x took part").to_vec::<f64>()?, [1_000_001.0; 2]);
            drop((gradients, y));
            // Dropped without a backward pass, which would have taken it apart.
            drop(chain(1_000_000)?);
            Ok(())
        }
    };
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(work).expect("a thread starts");
    thread.join().expect("the stack sufficed")?;
    assert_eq!(state(&device), before);
    Ok(())
}

#[test]
fn backward_frees_what_was_saved_unless_it_is_retained() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let x = Tensor::ones([1000], DType::F32, &device)?.requires_grad()?;
    let saved = graph_stats().saved_bytes;
    let y = x.sin()?.exp()?.sum_all()?;
    assert!(graph_stats().saved_bytes >= saved + 8000, "sine saves its input, the exponential its output");
    Backward::new().retain_graph().run(&y)?;
    assert!(graph_stats().saved_bytes >= saved + 8000);
    y.backward()?;
    assert_eq!(graph_stats().saved_bytes, saved);
    assert!(y.backward().is_err(), "a freed graph says so");
    Ok(())
}

#[test]
fn nothing_is_recorded_without_gradients() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let x = Tensor::ones([10], DType::F32, &device)?.requires_grad()?;
    let before = graph_stats();
    let y = no_grad(|| x.exp()?.sum_all())?;
    assert_eq!(graph_stats(), before);
    assert!(!y.is_tracked());
    let z = x.detach()?.exp()?;
    assert_eq!(graph_stats(), before);
    drop((y, z));
    Ok(())
}

#[test]
fn a_graph_that_fails_half_way_is_freed() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let before = state(&device);
    {
        let x = Tensor::ones([4, 4], DType::F32, &device)?.requires_grad()?;
        let failed = || x.exp()?.matmul(&x.narrow(0, 0, 3)?);
        assert!(failed().is_err());
    }
    assert_eq!(state(&device), before);
    Ok(())
}

/// A recurrent state that is detached between steps carries values and no history.
#[test]
fn a_detached_state_keeps_no_history() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let w = Tensor::ones([3, 3], DType::F32, &device)?.mul(0.1)?.requires_grad()?;
    let mut h = Tensor::ones([2, 3], DType::F32, &device)?;
    let mut after_first = None;
    for _ in 0..100 {
        let next = h.matmul(&w)?.tanh()?;
        drop(next.square()?.sum_all()?.backward()?);
        h = next.detach()?;
        drop(next);
        assert_eq!(*after_first.get_or_insert(state(&device)), state(&device));
    }
    Ok(())
}

#[test]
fn results_that_nobody_differentiates_are_freed_with_their_history() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let x = Tensor::ones([64, 64], DType::F32, &device)?.requires_grad()?;
    let before = state(&device);
    for _ in 0..100 {
        // Forward without backward; and a branch that the loss does not use.
        let shared = x.sin()?;
        let unused = shared.matmul(&x)?.exp()?;
        let gradients = shared.sum_all()?.backward()?;
        assert!(gradients.get(&x).is_some());
        drop((shared, unused, gradients));
        assert_eq!(state(&device), before);
    }
    Ok(())
}

/// A log of losses as numbers; a log of tensors would hold every graph.
#[test]
fn a_number_read_from_a_loss_holds_no_graph() -> Result<()> {
    let _alone = alone();
    let device = own_device()?;
    let x = Tensor::ones([8], DType::F32, &device)?.requires_grad()?;
    let before = state(&device);
    let mut log = Vec::new();
    for _ in 0..10 {
        log.push(x.exp()?.mean_all()?.item::<f32>()?);
        assert_eq!(state(&device), before);
    }
    assert_eq!(log.len(), 10);
    Ok(())
}
