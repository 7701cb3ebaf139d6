//! Weights are cast once, never stale, and what was cast is freed.

use gradus_autograd::{Autograd, no_grad};
use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Module, Parameters, loss};
use gradus_optim::{Autocast, MixedPrecision, Optimizer, Sgd};
use gradus_tensor_core::{DType, Device, Result, Tensor};
use gradus_testkit::devices::Counting;

const BF16: DType = DType::BF16;

/// A device that counts, with memory of its own.
fn counted() -> Result<(Counting, Device)> {
    let counting = Counting::new();
    let device = counting.around(&Cpu::builder().threads(1).build()?);
    Ok((counting, device))
}

#[test]
fn a_weight_is_cast_once_until_it_changes() -> Result<()> {
    let (counting, device) = counted()?;
    let mut model = Linear::new(4, 4).init(&device)?;
    let x = Tensor::ones([3, 4], BF16, &device)?.autocast(BF16)?;
    counting.take();
    let y = model.forward(&model.forward(&x)?)?;
    assert_eq!(counting.of("cast"), 2, "weight and bias, once each");
    no_grad(|| model.forward(&x))?;
    let gradients = y.sum_all()?.backward()?;
    model.forward(&x)?.sum_all()?.backward()?; // a second pass before the step: accumulation
    counting.take();
    model.forward(&x)?;
    assert_eq!(counting.of("cast"), 0);

    Sgd::new(0.5).step(&mut model, &gradients)?;
    counting.take();
    let new = model.forward(&x)?;
    assert_eq!(counting.of("cast"), 2);
    // And with the new values: what a model that was never cast before computes.
    let fresh = model.clone().forward(&Tensor::ones([3, 4], BF16, &device)?.autocast(BF16)?)?;
    assert_eq!(new.to_vec::<f32>()?, fresh.to_vec::<f32>()?);
    Ok(())
}

#[test]
fn two_uses_of_one_cast_add_their_gradients_in_f32() -> Result<()> {
    let w = Tensor::from_vec(vec![1.0f32, 2.0], [1, 2], &Cpu::device())?.requires_grad()?;
    let x = Tensor::from_vec(vec![256.0f32], [1, 1], &Cpu::device())?.autocast(BF16)?;
    let one = Tensor::ones([1, 1], DType::F32, &Cpu::device())?;
    // 257 is not a bf16.
    let y = x.matmul(&w)?.cast(DType::F32)?.add(&x.add(&one)?.sub(&x)?.matmul(&w)?.cast(DType::F32)?)?;
    assert_eq!(y.sum_all()?.backward()?.get(&w).unwrap().to_vec::<f32>()?, [257.0, 257.0]);
    Ok(())
}

#[test]
fn a_leaf_that_is_changed_in_place_is_cast_again() -> Result<()> {
    let x = Tensor::ones([1, 1], DType::F32, &Cpu::device())?.autocast(BF16)?;
    let mut w = Tensor::ones([1, 1], DType::F32, &Cpu::device())?.requires_grad()?;
    assert_eq!(no_grad(|| x.matmul(&w))?.item::<f32>()?, 1.0);
    no_grad(|| w.add_assign(2.0))?;
    assert_eq!(x.matmul(&w)?.item::<f32>()?, 3.0);
    Ok(())
}

#[test]
fn a_transposed_or_repeated_weight_is_cast_whole_and_once() -> Result<()> {
    let (counting, device) = counted()?;
    let w = Tensor::from_vec((0..6).map(|i| i as f32).collect(), [2, 3], &device)?.requires_grad()?;
    let x = Tensor::ones([5, 4, 3], BF16, &device)?.autocast(BF16)?;
    counting.take();
    let y = x.matmul(&w.t()?)?; // expanded over the batch of 5
    let z = x.reshape([20, 3])?.linear(&w, None)?;
    assert_eq!(counting.of("cast"), 1);
    assert_eq!(y.to_vec::<f32>()?, [3.0, 12.0].repeat(20));
    assert_eq!(y.to_vec::<f32>()?, z.to_vec::<f32>()?);
    let g = y.sum_all()?.backward()?;
    assert_eq!(g.get(&w).unwrap().to_vec::<f32>()?, [20.0; 6]);
    Ok(())
}

#[test]
fn a_step_changes_parameters_in_place_and_leaves_no_memory_behind() -> Result<()> {
    let (counting, device) = counted()?;
    let mut model = Linear::new(64, 64).init(&device)?;
    let target = Tensor::zeros([8, 64], DType::F32, &device)?;
    let input = Tensor::ones([8, 64], DType::F32, &device)?;
    let mut sgd = Sgd::new(0.1).momentum(0.9);
    let mut step = |model: &mut Linear, around: Option<&Device>| -> Result<()> {
        let x = around.map_or_else(|| input.autocast(BF16), |device| input.to(device))?;
        let loss = loss::mse_loss(&model.forward(&x)?, &target)?;
        let gradients = loss.backward()?;
        counting.take();
        sgd.step(model, &gradients)?; // while the loss is alive
        assert_eq!(counting.of("contiguous"), 0, "a parameter was shared and had to be copied");
        Ok(())
    };
    step(&mut model, None)?; // makes the momentum
    let baseline = device.memory().allocated;
    let buffers = device.memory().buffers;
    let around = Autocast::device(&device, BF16)?;
    for _ in 0..3 {
        step(&mut model, None)?;
        assert_eq!((device.memory().allocated, device.memory().buffers), (baseline, buffers));
        step(&mut model, Some(&around))?; // a device that outlives the step
        assert_eq!((device.memory().allocated, device.memory().buffers), (baseline, buffers));
    }
    Ok(())
}

#[test]
fn what_was_cast_goes_with_the_device() -> Result<()> {
    let (_, device) = counted()?;
    let model = Linear::new(32, 32).init(&device)?;
    let x = Tensor::ones([2, 32], DType::F32, &device)?;
    no_grad(|| model.forward(&x))?;
    let baseline = device.memory().allocated;
    let around = Autocast::device(&device, BF16)?;
    no_grad(|| model.forward(&x.to(&around)?))?;
    assert!(device.memory().allocated > baseline, "kept for the next pass");
    drop(around);
    assert_eq!(device.memory().allocated, baseline);
    model.for_each_param(&mut |_, param| {
        assert!(param.tensor().device() == &device);
        Ok(())
    })
}
