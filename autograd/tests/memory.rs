//! What graphs hold. The counters are the process's, so these tests have a binary of their own and take turns.

use std::sync::{Mutex, MutexGuard, PoisonError};

use gradus_autograd::{Autograd, checkpoint, graph_stats};
use gradus_tensor_core::{Device, Result, Tensor};
use gradus_testkit::Reference;

static COUNTED: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    COUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cpu() -> Device {
    thread_local!(static DEVICE: Device = Reference::device());
    DEVICE.with(Device::clone)
}

fn vector(x: &[f64]) -> Result<Tensor> {
    Tensor::from_slice(x, x.len(), &cpu())
}

#[test]
fn a_chain_of_a_hundred_thousand_ops_goes_back_and_is_freed_on_a_small_stack() {
    let _turn = turn();
    let before = graph_stats();
    let run = || -> Result<()> {
        let x = vector(&[1.0])?.requires_grad()?;
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.add(1.0)?;
        }
        let half = y.clone();
        let g = y.sum_all()?.backward()?;
        assert_eq!(g.get(&x).expect("a gradient").item::<f64>()?, 1.0);
        drop((half, y));
        // and one that is dropped without a backward pass
        let mut y = x.clone();
        for _ in 0..100_000 {
            y = y.mul(1.0)?;
        }
        Ok(())
    };
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(move || run().map_err(|e| e.to_string()))
        .expect("a thread")
        .join()
        .expect("no overflow")
        .expect("no error");
    assert_eq!(graph_stats(), before);
}

#[test]
fn backward_frees_saved_tensors_while_the_loss_is_still_alive() -> Result<()> {
    let _turn = turn();
    let before = graph_stats();
    let x = vector(&[0.5; 1000])?.requires_grad()?;
    let loss = x.sin()?.exp()?.sum_all()?;
    assert_eq!(graph_stats().saved_bytes - before.saved_bytes, 2 * 8000);
    loss.backward()?;
    assert_eq!(graph_stats().saved_bytes, before.saved_bytes);
    drop((x, loss));
    assert_eq!(graph_stats(), before);
    Ok(())
}

#[test]
fn a_checkpoint_saves_only_its_inputs() -> Result<()> {
    let _turn = turn();
    let before = graph_stats().saved_bytes;
    let x = vector(&[0.1; 100])?.requires_grad()?;
    let y = checkpoint(|x| Ok(vec![x[0].sin()?.exp()?.tanh()?.sin()?]), &[&x])?;
    assert_eq!(graph_stats().saved_bytes - before, 800);
    drop(y);
    Ok(())
}
