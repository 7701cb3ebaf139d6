//! What ends a run with an error, and what it leaves behind.

use gradus_data::{Batch, DataLoader, Dataset, InMemory};
use gradus_nn::{Linear, Module, Sequential, loss};
use gradus_optim::Sgd;
use gradus_tensor_core::{Device, Result, Tensor};
use gradus_train::checkpoint::CheckpointDir;
use gradus_train::trainer::{Outcome, StepOutput};
use gradus_train::{Error, Trainer};

use crate::support::*;

fn supervised(model: &Sequential, batch: &Batch, device: &Device) -> Result<(Tensor, usize)> {
    let (inputs, targets) = batch.to(device)?;
    Ok((loss::cross_entropy(&model.forward(&inputs)?, &targets)?, targets.numel()))
}

#[test]
fn a_loss_that_is_not_a_number_is_an_error_that_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let calls = std::cell::Cell::new(0);
    let step = move |model: &Sequential, batch: &Batch, device: &Device| {
        calls.set(calls.get() + 1);
        let (loss, n) = supervised(model, batch, device)?;
        // The ninth batch is the third of the second epoch.
        Ok(StepOutput::new(if calls.get() == 9 { loss.mul(f64::NAN)? } else { loss }, n))
    };
    let mut trainer = Trainer::with_step(model(1), step)
        .optimizer(Sgd::new(0.1))
        .epochs(2)
        .run_dir(dir.path())
        .checkpoint_every_steps(1)
        .build()
        .unwrap();
    let error = trainer.fit(&train_data(0), None).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { place, .. } if (place.epoch, place.batch) == (1, 2)));
    let text = error.to_string();
    assert!(text.starts_with("epoch 2, batch 3 (optimizer step 9): the loss (NaN) is not finite"), "{text}");
    assert!(text.contains("detect_anomaly") && text.ends_with("step-000000008.ckpt"), "{text}");
    assert_eq!(
        CheckpointDir::open(dir.path().join("checkpoints")).latest().unwrap().checkpoint.unwrap().step(),
        8
    );
}

#[test]
fn anomaly_detection_names_the_op() {
    let step = |model: &Sequential, batch: &Batch, device: &Device| {
        let (loss, n) = supervised(model, batch, device)?;
        Ok(StepOutput::new(loss.neg()?.log()?, n))
    };
    let mut trainer =
        Trainer::with_step(model(1), step).optimizer(Sgd::new(0.1)).detect_anomaly(true).build().unwrap();
    let text = trainer.fit(&train_data(0), None).unwrap_err().to_string();
    assert!(text.starts_with("epoch 1, batch 1 (optimizer step 1): log"), "{text}");
}

#[test]
fn weights_that_are_not_finite_are_never_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = Trainer::builder(model(1), loss::cross_entropy)
        .optimizer(Sgd::new(0.1))
        .schedule(|step| if step == 5 { 1e300 } else { 0.1 })
        .run_dir(dir.path())
        .checkpoint_every_steps(2)
        .build()
        .unwrap();
    let error = trainer.fit(&train_data(0), None).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("`0."), "{error}");
    assert_eq!(
        CheckpointDir::open(dir.path().join("checkpoints")).latest().unwrap().checkpoint.unwrap().step(),
        4
    );
}

#[test]
fn a_sample_that_cannot_be_loaded_is_named() {
    for workers in [0, 2] {
        let bad = points(20)[13].input.clone();
        let data = InMemory::new(points(20)).map(move |sample: Points| match sample.input == bad {
            true => Err(gradus_data::Error::other("the file is cut")),
            false => Ok(sample),
        });
        let data = DataLoader::builder(data).batch_size(4).workers(workers).build().unwrap();
        let text = builder(model(1)).build().unwrap().fit(&data, None).unwrap_err().to_string();
        assert_eq!(text, "sample 13 (batch 3 of epoch 0): the file is cut");
    }
}

#[test]
fn a_parameter_that_the_loss_does_not_depend_on_is_named() {
    let model = model(1).then_named("unused", Linear::new(3, 3).init(&device()).unwrap());
    let step = |model: &Sequential, batch: &Batch, device: &Device| {
        let (mut x, targets) = batch.to(device)?;
        for (_, layer) in model.iter().filter(|(name, _)| *name != "unused") {
            x = layer.forward(&x)?;
        }
        Ok(StepOutput::new(loss::cross_entropy(&x, &targets)?, targets.numel()))
    };
    let mut trainer = Trainer::with_step(model, step).optimizer(Sgd::new(0.1)).build().unwrap();
    let text = trainer.fit(&train_data(0), None).unwrap_err().to_string();
    assert!(text.contains("unused.weight, unused.bias"), "{text}");
    assert!(text.starts_with("epoch 1, batch 1 (optimizer step 1): "), "{text}");
}

#[test]
fn a_loss_of_several_elements_and_a_step_over_nothing_are_errors() {
    let each = |_: &Tensor, _: &Tensor| Tensor::zeros(2, gradus_tensor_core::DType::F32, &device());
    let mut trainer = Trainer::builder(model(1), each).optimizer(Sgd::new(0.1)).build().unwrap();
    let text = trainer.fit(&train_data(0), None).unwrap_err().to_string();
    assert!(text.contains("the loss must have one element"), "{text}");

    let nothing = |model: &Sequential, batch: &Batch, device: &Device| {
        Ok(StepOutput::new(supervised(model, batch, device)?.0, 0))
    };
    let mut trainer = Trainer::with_step(model(1), nothing).optimizer(Sgd::new(0.1)).build().unwrap();
    let text = trainer.fit(&train_data(0), None).unwrap_err().to_string();
    assert!(text.contains("over 0 samples"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error_before_any_sample_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let data = InMemory::new(points(20)).map(|_: Points| -> gradus_data::Result<Points> { panic!("loaded") });
    let data = DataLoader::builder(data).build().unwrap();
    let mut trainer = builder(model(1)).run_dir(file.join("run")).build().unwrap();
    let error = trainer.fit(&data, None).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    assert!(error.to_string().contains("file/run"), "{error}");
}

#[test]
fn a_run_goes_on_after_an_error_from_its_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = builder(model(1))
        .run_dir(dir.path())
        .checkpoint_every_steps(2)
        .after_step(|run| {
            if run.step == 9 {
                Err(Error::other("no network"))
            } else {
                Ok(gradus_train::trainer::Flow::Continue)
            }
        })
        .build()
        .unwrap();
    assert_eq!(trainer.fit(&train_data(0), Some(&valid_data())).unwrap_err().to_string(), "no network");
    let (trainer, report) = resume(dir.path(), 0, |b| b).unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
}
