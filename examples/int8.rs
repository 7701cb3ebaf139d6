//! Weights in 8 bits: a perceptron is trained in floats, and quantized.
//!
//! `cargo run --release --example int8`
//!
//! The model is written over the kind of its layers, so the quantized one is the same model of another kind, and
//! `quantize_dynamic` turns the state of the one into that of the other. What it prints: how often each is right, and how
//! many bytes each takes on disk.

use gradus::data::{DataLoader, fashion_mnist};
use gradus::nn::{Linear, StateDict, Within};
use gradus::optim::Adam;
use gradus::prelude::*;
use gradus::quant::{QuantizedLinear, quantize_dynamic};
use gradus::rng;

const SIZES: [usize; 4] = [784, 512, 256, 10];

/// Three fully connected layers of either kind.
#[derive(Parameters)]
struct Perceptron<L> {
    layers: Vec<L>,
}

impl<L: Module> Perceptron<L> {
    fn new(layer: impl Fn(usize, usize) -> Result<L>) -> Result<Self> {
        Ok(Perceptron {
            layers: SIZES.windows(2).map(|size| layer(size[0], size[1])).collect::<Result<_>>()?,
        })
    }
}

impl<L: Module> Module for Perceptron<L> {
    fn forward(&self, images: &Tensor) -> Result<Tensor> {
        // Bytes, as floats of mean 0 and deviation 1.
        let mut x = images.flatten(1, -1)?.affine(1.0 / (255.0 * 0.353), -0.286 / 0.353)?;
        for (i, layer) in self.layers.iter().enumerate() {
            let input = if i == 0 { x } else { x.relu()? };
            x = layer.forward(&input).within(i)?;
        }
        Ok(x)
    }
}

fn main() -> Result<()> {
    let device = Cpu::device();
    rng::manual_seed(0);
    let data = fashion_mnist::embedded()?;
    let train = DataLoader::builder(data.train).batch_size(64).shuffle().seed(0).workers(1).build()?;
    let test = DataLoader::builder(data.test).batch_size(250).build()?;

    let mut model = Perceptron::new(|inputs, outputs| Linear::new(inputs, outputs).init(&device))?;
    let mut optimizer = Adam::new(1e-3);
    for epoch in 0..4 {
        for batch in train.epoch(epoch)? {
            let (images, labels) = batch?.to(&device)?;
            let gradients = loss::cross_entropy(&model.forward(&images)?, &labels)?.backward()?;
            optimizer.step(&mut model, &gradients)?;
        }
    }

    let mut small = Perceptron::new(|inputs, outputs| QuantizedLinear::new(inputs, outputs).init(&device))?;
    small.load_state_dict(&quantize_dynamic(&model.state_dict(), &["layers.*"])?)?;

    let accuracy = |model: &dyn Module| -> Result<f64> {
        let mut correct = 0;
        for batch in test.epoch(0)? {
            let (images, labels) = batch?.to(&device)?;
            let logits = no_grad(|| model.forward(&images))?;
            correct += logits.argmax(-1)?.eq(&labels)?.sum_all()?.item::<i64>()?;
        }
        Ok(correct as f64 / 10.0)
    };
    let size = |state: StateDict| state.iter().map(|(_, tensor)| tensor.meta().bytes()).sum::<usize>() / 1000;
    let (before, after) = (accuracy(&model)?, accuracy(&small)?);
    let (large, tiny) = (size(model.state_dict()), size(small.state_dict()));
    println!("f32:  {before:.1} % right, {large} kB");
    println!("int8: {after:.1} % right, {tiny} kB");
    assert!(before > 80.0, "it should have learned");
    assert!((before - after).abs() < 1.0, "8 bits should be enough");
    assert!(3 * tiny < large, "they should take less memory");
    Ok(())
}
