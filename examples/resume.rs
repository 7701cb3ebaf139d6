//! A run that is stopped in the middle of an epoch and resumed ends with the same weights, to the bit, as one
//! that was not stopped.

use gradus::data::{DataLoader, fashion_mnist};
use gradus::nn::{Dropout, Flatten, Linear, Relu, Sequential};
use gradus::optim::Adam;
use gradus::prelude::*;
use gradus::rng;
use gradus::train::Trainer;
use gradus::train::trainer::Flow;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn model() -> Result<Sequential> {
    let device = Cpu::device();
    rng::manual_seed(3);
    Ok(Sequential::new()
        .then(Flatten::new())
        .then(Linear::new(784, 64).init(&device)?)
        .then(Relu)
        .then(Dropout::new(0.2)?)
        .then(Linear::new(64, 10).init(&device)?))
}

/// Trains two epochs in a directory, or until a number of steps is done; returns the weights.
fn train(dir: &std::path::Path, stop_at: Option<u64>) -> Outcome<Vec<f32>> {
    let data = fashion_mnist::embedded()?;
    let floats = gradus::data::transforms::ToFloat;
    let images = gradus::data::Dataset::transform_input(data.train, floats);
    let loader = DataLoader::builder(images).batch_size(100).shuffle().seed(3).workers(2).build()?;
    let mut trainer = Trainer::builder(model()?, loss::cross_entropy)
        .optimizer(Adam::new(1e-3))
        .epochs(2)
        .seed(3)
        .run_dir(dir)
        .resume(true)
        .after_step(move |run| Ok(if Some(run.step) == stop_at { Flow::Stop } else { Flow::Continue }))
        .build()?;
    let report = trainer.fit(&loader, None)?;
    println!("{:?} after {} steps", report.outcome, report.steps);
    let mut weights = Vec::new();
    for (_, parameter) in trainer.model().named_parameters() {
        weights.extend(parameter.to_vec::<f32>()?);
    }
    Ok(weights)
}

fn main() -> Outcome<()> {
    let dir = std::env::temp_dir().join(format!("gradus-resume-{}", std::process::id()));
    let whole = train(&dir.join("whole"), None)?;
    train(&dir.join("stopped"), Some(77))?; // 17 steps into the second epoch
    let resumed = train(&dir.join("stopped"), None)?;
    std::fs::remove_dir_all(&dir)?;
    assert!(whole.iter().map(|x| x.to_bits()).eq(resumed.iter().map(|x| x.to_bits())));
    println!("{} weights are the same to the bit", whole.len());
    Ok(())
}
