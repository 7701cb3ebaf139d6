//! Evaluation measures, and changes nothing.

use std::cell::Cell;
use std::rc::Rc;

use gradus_data::{Batch, DataLoader, InMemory};
use gradus_nn::{Mode, Module, Parameters, Sequential, VisitorMut, loss};
use gradus_optim::Sgd;
use gradus_tensor_core::{Device, rng};
use gradus_train::Trainer;
use gradus_train::trainer::{Loader, StepOutput};

use crate::support::*;

fn data(batch: usize) -> impl Loader<Batch = Batch> {
    DataLoader::builder(InMemory::new(points(20))).batch_size(batch).build().unwrap()
}

#[test]
fn averages_are_over_samples_whatever_the_batches() {
    let mut trainer = builder(model(1)).build().unwrap();
    let whole = trainer.evaluate(&data(20)).unwrap();
    assert_eq!(whole.samples, 20);
    for batch in [1, 3, 7, 19] {
        let parts = trainer.evaluate(&data(batch)).unwrap();
        assert!((parts.loss().unwrap() - whole.loss().unwrap()).abs() < 1e-6);
        assert_eq!(parts.value("accuracy"), whole.value("accuracy"));
    }
}

#[test]
fn buffers_modes_and_the_generator_stay_as_they_were() {
    struct Modes(Vec<bool>);
    impl VisitorMut for Modes {
        fn mode(&mut self, mode: &mut Mode) {
            self.0.push(mode.is_training());
        }
    }
    let modes = |model: &mut Sequential| {
        let mut modes = Modes(Vec::new());
        model.visit_mut(&mut modes);
        modes.0
    };
    let mut trainer = builder(model(1)).build().unwrap();
    // The batch normalization is kept in evaluation mode, the dropout is not.
    trainer.model_mut().get_mut("1").unwrap().set_training(false);
    let before = (bits(trainer.model()), modes(trainer.model_mut()), rng::state());
    assert_eq!(before.1, [false, true]);
    let first = trainer.evaluate(&data(6)).unwrap();
    assert_eq!((bits(trainer.model()), modes(trainer.model_mut()), rng::state()), before);
    assert_eq!(trainer.evaluate(&data(6)).unwrap().loss(), first.loss());
}

#[test]
fn gradients_are_recorded_in_training_only() {
    let recorded = Rc::new(Cell::new(0));
    let seen = recorded.clone();
    let step = move |model: &Sequential, batch: &Batch, device: &Device| {
        let (inputs, targets) = batch.to(device)?;
        let loss = loss::cross_entropy(&model.forward(&inputs)?, &targets)?;
        recorded.set(recorded.get() + usize::from(gradus_autograd::Autograd::is_tracked(&loss)));
        Ok(StepOutput::new(loss, targets.numel()))
    };
    let mut trainer = Trainer::with_step(model(1), step).optimizer(Sgd::new(0.1)).build().unwrap();
    trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
    assert_eq!(seen.get(), 6);
}

#[test]
fn a_run_is_the_same_with_and_without_validation() {
    let fit = |valid: Option<&dyn Loader<Batch = Batch>>| {
        let mut trainer = builder(model(1)).build().unwrap();
        trainer.fit(&train_data(0), valid).unwrap();
        bits(trainer.model())
    };
    assert_eq!(fit(None), fit(Some(&valid_data())));
}

#[test]
fn no_batches_are_an_error() {
    let none = DataLoader::builder(InMemory::new(points(0))).build().unwrap();
    let text = builder(model(1)).build().unwrap().evaluate(&none).unwrap_err().to_string();
    assert!(text.contains("no batches to evaluate on"), "{text}");
}

#[test]
fn training_learns_what_there_is_to_learn() {
    let mut trainer = builder(model(1)).build().unwrap();
    let before = trainer.evaluate(&data(20)).unwrap();
    trainer.fit(&train_data(0), None).unwrap();
    let after = trainer.evaluate(&data(20)).unwrap();
    assert!(after.value("accuracy").unwrap() >= 0.95, "{after:?}");
    assert!(after.loss().unwrap() < 0.5 * before.loss().unwrap(), "{before:?} {after:?}");
}
