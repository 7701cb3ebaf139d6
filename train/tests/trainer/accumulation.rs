//! Micro-batches are one large batch.

use std::sync::{Arc, Mutex};

use gradus_data::{Batch, DataLoader, InMemory};
use gradus_nn::{Module, Parameters, Sequential, loss};
use gradus_optim::Sgd;
use gradus_tensor_core::{DType, Device, Result};
use gradus_train::Trainer;
use gradus_train::trainer::{StepOutput, TrainerBuilder};

use crate::support::*;

/// Inputs are made f64, so that only the order of sums differs.
fn step(model: &Sequential, batch: &Batch, device: &Device) -> Result<StepOutput> {
    let (inputs, targets) = batch.to(device)?;
    let loss = loss::cross_entropy(&model.forward(&inputs.cast(DType::F64)?)?, &targets)?;
    Ok(StepOutput::new(loss, targets.numel()))
}

fn exact() -> TrainerBuilder<Sequential> {
    Trainer::with_step(exact_model(2), step).optimizer(Sgd::new(0.2).momentum(0.9)).epochs(3)
}

fn weights(samples: usize, batch: usize, group: usize) -> Vec<f64> {
    let data = DataLoader::builder(InMemory::new(points(samples))).batch_size(batch).build().unwrap();
    let mut trainer = exact().accumulate(group).build().unwrap();
    trainer.fit(&data, None).unwrap();
    let parameters = trainer.model().named_parameters();
    parameters.iter().flat_map(|(_, tensor)| tensor.to_vec::<f64>().unwrap()).collect()
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn accumulated_batches_are_one_large_batch_with_a_smaller_last_batch_and_a_shorter_last_group() {
    // (samples, batch, group): a smaller last batch in a full group; a group of two; a group of one small batch.
    for (samples, batch, group) in [(22, 4, 3), (22, 4, 4), (18, 4, 4), (24, 4, 3), (7, 1, 3)] {
        let difference =
            largest_difference(&weights(samples, batch, group), &weights(samples, batch * group, 1));
        assert!(difference < 1e-12, "{samples} samples, {group} batches of {batch}: {difference}");
    }
    // The numbers are not so small that anything would pass.
    assert!(largest_difference(&weights(22, 4, 3), &weights(22, 4, 1)) > 1e-3);
}

#[test]
fn the_schedule_counts_optimizer_steps() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let schedule = move |step: u64| {
        asked.lock().unwrap().push(step);
        0.1
    };
    let data = DataLoader::builder(InMemory::new(points(22))).batch_size(4).build().unwrap();
    let mut trainer = exact().accumulate(4).schedule(schedule).build().unwrap();
    let report = trainer.fit(&data, None).unwrap();
    assert_eq!(*seen.lock().unwrap(), [0, 1, 2, 3, 4, 5]);
    assert_eq!(report.steps, 6);
}

#[test]
fn the_loss_of_an_epoch_is_the_mean_over_its_samples() {
    // With a learning rate of 0 every batch sees the same weights.
    let loss = |batch: usize, group: usize| {
        let data = DataLoader::builder(InMemory::new(points(22))).batch_size(batch).build().unwrap();
        let mut trainer = exact().optimizer(Sgd::new(0.0)).accumulate(group).build().unwrap();
        trainer.fit(&data, None).unwrap().epochs[0].value("train_loss").unwrap()
    };
    assert!((loss(22, 1) - loss(4, 4)).abs() < 1e-12);
    assert!((loss(22, 1) - loss(5, 1)).abs() < 1e-12);
}
