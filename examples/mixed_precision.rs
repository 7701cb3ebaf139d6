//! Mixed precision: matrix products in half precision, everything that loses digits in `f32`.
//!
//! `cargo run --release --example mixed_precision`
//!
//! The first loop is in `bf16`, which has the range of `f32`: all that is new is `.autocast(DType::BF16)`. The second
//! is in `f16`, where small gradients vanish and large ones overflow: a scaler multiplies the loss, and its types
//! hold the order *unscale, clip, step*. `gradus doctor` says whether any of it saves time on this machine.

use gradus::nn::{Activation, Linear, Sequential};
use gradus::optim::{AdamW, GradScaler, Policy};
use gradus::prelude::*;
use gradus::rng;

const STEPS: usize = 200;

fn model(device: &Device) -> Result<Sequential> {
    rng::manual_seed(0);
    Ok(Sequential::new()
        .then(Linear::new(2, 64).init(device)?)
        .then(Activation::Gelu)
        .then(Linear::new(64, 64).init(device)?)
        .then(Activation::Gelu)
        .then(Linear::new(64, 2).init(device)?))
}

/// Points in a square, and whether they lie in a ring.
fn data(device: &Device) -> Result<(Tensor, Tensor)> {
    let x = Tensor::rand([512, 2], DType::F32, device)?.affine(2.0, -1.0)?;
    let radius = x.square()?.sum(1)?;
    let labels = radius.gt(0.2)?.cast(DType::I64)?.mul(&radius.lt(0.7)?.cast(DType::I64)?)?;
    Ok((x, labels))
}

fn accuracy(model: &dyn Module, x: &Tensor, y: &Tensor) -> Result<f32> {
    no_grad(|| model.forward(x))?.argmax(1)?.eq(y)?.cast(DType::F32)?.mean_all()?.item()
}

fn main() -> Result<()> {
    let device = Cpu::device();
    println!("what is computed in which precision:\n\n{}", Policy::default());

    let mut bf16 = model(&device)?;
    let (x, y) = data(&device)?;
    let mut optimizer = AdamW::new(0.01);
    for _ in 0..STEPS {
        let logits = bf16.forward(&x.autocast(DType::BF16)?)?;
        let loss = loss::cross_entropy(&logits, &y)?; // f32
        optimizer.step(&mut bf16, &loss.backward()?)?; // f32 gradients for f32 parameters
    }

    let mut f16 = model(&device)?;
    let mut optimizer = AdamW::new(0.01);
    let mut scaler = GradScaler::new().growth_interval(50);
    for _ in 0..STEPS {
        let logits = f16.forward(&x.autocast(DType::F16)?)?;
        let loss = loss::cross_entropy(&logits, &y)?;
        let mut gradients = scaler.unscale(scaler.scale(&loss)?.backward()?)?;
        gradients.clip_grad_norm(1.0)?;
        scaler.step(&mut optimizer, &mut f16, gradients)?;
    }

    let (bf16, f16) = (accuracy(&bf16, &x, &y)?, accuracy(&f16, &x, &y)?);
    println!("bf16: {:.1} % right", 100.0 * bf16);
    println!(
        "f16:  {:.1} % right; the loss's scale is {}, {} steps were skipped",
        100.0 * f16,
        scaler.scale_factor(),
        scaler.skipped_steps()
    );
    assert!(bf16 > 0.9 && f16 > 0.9, "both should have learned the ring");
    Ok(())
}
