//! A checkpoint belongs to its run.

use std::path::Path;

use gradus_data::{Batch, DataLoader, InMemory};
use gradus_nn::{BatchNorm1d, Dropout, Linear, Relu, Sequential, loss};
use gradus_optim::{AdamW, Sgd};
use gradus_train::trainer::{Goal, Loader, TrainerBuilder};
use gradus_train::{Error, Trainer};

use crate::support::*;

fn data(samples: usize, batch: usize, seed: u64) -> impl Loader<Batch = Batch> {
    let data = InMemory::new(points(samples));
    DataLoader::builder(data).batch_size(batch).shuffle().seed(seed).build().unwrap()
}

fn refused(dir: &Path, builder: TrainerBuilder<Sequential>, data: impl Loader<Batch = Batch>) -> String {
    let mut trainer = builder.run_dir(dir).resume(true).build().unwrap();
    let before = bits(trainer.model());
    let error = trainer.fit(&data, None).unwrap_err();
    assert!(matches!(error, Error::Resume { .. }), "{error}");
    assert_eq!(bits(trainer.model()), before, "nothing was loaded");
    error.to_string()
}

#[test]
fn a_run_on_other_data_or_with_other_seeds_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    builder(model(1)).run_dir(dir).build().unwrap().fit(&data(30, 8, 5), None).unwrap();
    for (text, says) in [
        (refused(dir, builder(model(1)), data(31, 8, 5)), "samples per epoch: 30 then, 31 now"),
        (refused(dir, builder(model(1)), data(30, 6, 5)), "batch size: 8 then, 6 now"),
        (refused(dir, builder(model(1)), data(30, 8, 6)), "the loader's seed: 5 then, 6 now"),
        (refused(dir, builder(model(1)).seed(12), data(30, 8, 5)), "the trainer's seed: 11 then, 12 now"),
        (
            refused(dir, builder(model(1)).accumulate(2), data(30, 8, 5)),
            "batches per optimizer step: 1 then, 2 now",
        ),
    ] {
        assert!(text.starts_with("cannot resume from ") && text.contains(says), "{text}");
    }
}

#[test]
fn another_model_or_optimizer_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    builder(model(1)).run_dir(dir).build().unwrap().fit(&data(30, 8, 5), None).unwrap();
    let wider = Sequential::new()
        .then(Linear::new(6, 9).init(&device()).unwrap())
        .then(BatchNorm1d::new(9).init(&device()).unwrap())
        .then(Relu)
        .then(Dropout::new(0.25).unwrap())
        .then(Linear::new(9, 3).init(&device()).unwrap());
    let text = refused(dir, builder(wider), data(30, 8, 5));
    assert!(text.contains("0.weight: the model has [9, 6], the state dict has [8, 6]"), "{text}");
    let text = refused(dir, builder(exact_model(1)), data(30, 8, 5));
    assert!(text.contains("0.bias was f32 then, is f64 now"), "{text}");
    let text = refused(dir, builder(model(1)).optimizer(Sgd::new(0.1)), data(30, 8, 5));
    assert!(text.contains("the optimizer differs") && text.contains("adamw"), "{text}");
}

#[test]
fn a_directory_that_holds_a_run_is_not_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let fit = || builder(model(1)).run_dir(dir.path()).build().unwrap().fit(&data(30, 8, 5), None);
    fit().unwrap();
    let text = fit().unwrap_err().to_string();
    assert!(text.contains("resume it, remove it or choose another directory"), "{text}");
}

#[test]
fn settings_that_make_no_sense_are_errors_before_training_or_after_its_first_step() {
    let error = |builder: TrainerBuilder<Sequential>, data: &dyn Loader<Batch = Batch>| {
        builder.build().and_then(|mut trainer| trainer.fit(data, None)).unwrap_err().to_string()
    };
    let some = data(30, 8, 5);
    let text = error(Trainer::builder(model(1), loss::cross_entropy), &some);
    assert!(text.contains("no optimizer"), "{text}");
    let none = Trainer::builder(Sequential::new(), loss::cross_entropy).optimizer(AdamW::new(0.1));
    assert!(error(none, &some).contains("no parameters"));
    let text = error(builder(model(1)), &data(0, 8, 5));
    assert!(text.contains("no batches to train on (0 samples"), "{text}");
    let text = error(builder(model(1)).monitor("valid_loss", Goal::Min), &some);
    assert!(text.contains("`valid_loss` is to be monitored, but there is no validation data"), "{text}");
    let misspelt = builder(model(1)).monitor("train_acuracy", Goal::Max);
    let text = error(misspelt.after_step(|_| panic!("a second step")), &some);
    assert!(text.contains("`train_acuracy`") && text.contains("train_loss, train_accuracy"), "{text}");
}
