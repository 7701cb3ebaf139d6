//! A training loop written by hand: the first images of Fashion-MNIST, a small convolutional network, SGD.
//!
//! `cargo run --release --example train_by_hand [EPOCHS]`

use gradus::data::{DataLoader, fashion_mnist};
use gradus::nn::zoo;
use gradus::optim::Sgd;
use gradus::prelude::*;
use gradus::rng;

fn main() -> Result<()> {
    let epochs: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(3);
    let device = Cpu::device();
    rng::manual_seed(0);

    let data = fashion_mnist::embedded()?;
    let train = DataLoader::builder(data.train).batch_size(64).shuffle().seed(0).workers(1).build()?;
    let test = DataLoader::builder(data.test).batch_size(250).build()?;

    let mut model = zoo::cnn(1, 10, &device)?;
    let mut optimizer = Sgd::new(0.05).momentum(0.9);

    for epoch in 0..epochs {
        model.set_training(true);
        let (mut sum, mut n) = (0.0, 0);
        for batch in train.epoch(epoch)? {
            let (images, labels) = batch?.to(&device)?;
            let logits = model.forward(&pixels(&images)?)?;
            let loss = loss::cross_entropy(&logits, &labels)?;
            let gradients = loss.backward()?;
            optimizer.step(&mut model, &gradients)?;
            sum += loss.item::<f64>()?;
            n += 1;
        }

        model.set_training(false);
        let mut correct = 0;
        for batch in test.epoch(0)? {
            let (images, labels) = batch?.to(&device)?;
            let logits = no_grad(|| model.forward(&pixels(&images)?))?;
            correct += logits.argmax(-1)?.eq(&labels)?.sum_all()?.item::<i64>()?;
        }
        println!("epoch {epoch}: loss {:.3}, test accuracy {:.1} %", sum / n as f64, correct as f64 / 10.0);
    }
    Ok(())
}

/// Bytes `[N, 1, 28, 28]` as floats of mean 0 and deviation 1, by the statistics of the data set.
fn pixels(images: &Tensor) -> Result<Tensor> {
    images.affine(1.0 / (255.0 * 0.353), -0.286 / 0.353)
}
