//! Linear regression by hand, on tensors, a backend and gradients alone: no layers, no optimizer, no facade.
//!
//! Exits with 0 if the line was found, and with an error otherwise.
#![forbid(unsafe_code)]

use gradus_autograd::{Autograd, into_value};
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, Error, Result, Tensor};

const SAMPLES: usize = 256;
const STEPS: usize = 200;
const LEARNING_RATE: f64 = 0.1;
const NOISE: f64 = 0.01;
/// What is to be found: `y = 3 x0 - 2 x1 + 0.5`.
const WEIGHT: [f32; 2] = [3.0, -2.0];
const BIAS: f32 = 0.5;

/// Inputs `[SAMPLES, 2]` and noisy answers `[SAMPLES, 1]`.
fn data(device: &Device) -> Result<(Tensor, Tensor)> {
    let key = Key { seed: 7, stream: 0 };
    let x = Tensor::normal(0.0, 1.0, key.fold(0), [SAMPLES, 2], DType::F32, device)?;
    let noise = Tensor::normal(0.0, NOISE, key.fold(1), [SAMPLES, 1], DType::F32, device)?;
    let weight = Tensor::from_vec(WEIGHT.to_vec(), [2, 1], device)?;
    let y = ((x.matmul(&weight)? + f64::from(BIAS))? + &noise)?;
    Ok((x, y))
}

/// A parameter after one step down its gradient: changed in place, since nobody else holds it any more.
fn descend(parameter: Tensor, gradient: &Tensor) -> Result<Tensor> {
    let mut value = into_value(parameter)?;
    value.sub_assign(&gradient.mul(LEARNING_RATE)?)?;
    value.requires_grad()
}

fn train(device: &Device) -> Result<()> {
    let (x, y) = data(device)?;
    let mut weight = Tensor::zeros([2, 1], DType::F32, device)?.requires_grad()?;
    let mut bias = Tensor::zeros([1], DType::F32, device)?.requires_grad()?;
    let mut losses = Vec::with_capacity(STEPS);
    for _ in 0..STEPS {
        let loss = ((x.matmul(&weight)? + &bias)? - &y)?.square()?.mean_all()?;
        losses.push(loss.item::<f32>()?);
        let gradients = loss.backward()?;
        drop(loss);
        let missing = || Error::argument("train", "a parameter got no gradient");
        let gradient = gradients.get(&weight).ok_or_else(missing)?;
        weight = descend(weight, gradient)?;
        let gradient = gradients.get(&bias).ok_or_else(missing)?;
        bias = descend(bias, gradient)?;
    }

    let (found, offset) = (weight.to_vec::<f32>()?, bias.to_vec::<f32>()?[0]);
    let (first, last) = (losses[0], losses[STEPS - 1]);
    println!("loss {first:.4} -> {last:.6}, weight {found:?}, bias {offset}");
    let close = |a: f32, b: f32| (a - b).abs() < 0.01;
    if last < first / 1000.0
        && close(found[0], WEIGHT[0])
        && close(found[1], WEIGHT[1])
        && close(offset, BIAS)
    {
        return Ok(());
    }
    Err(Error::argument("train", format!("expected a weight near {WEIGHT:?} and a bias near {BIAS}")))
}

fn main() -> Result<()> {
    train(&Cpu::device())?;
    // The same with a pool of its own: two devices in one process.
    train(&Cpu::builder().threads(1).build()?)
}
