//! Ends of runs: early stopping, the stop flag, the best weights.

use std::cell::Cell;

use gradus_data::Batch;
use gradus_nn::{Parameters, Sequential, loss};
use gradus_optim::Sgd;
use gradus_tensor_core::Tensor;
use gradus_train::Trainer;
use gradus_train::interrupt::StopFlag;
use gradus_train::trainer::{
    BoxedBatches, EarlyStopping, Flow, Goal, Loader, Outcome, Report, Run, TrainerBuilder,
};

use crate::support::*;

/// Does not learn.
fn idle(stopping: EarlyStopping) -> TrainerBuilder<Sequential> {
    let builder = Trainer::builder(model(1), loss::cross_entropy).optimizer(Sgd::new(0.0)).epochs(10);
    builder.early_stopping(stopping).accuracy()
}

/// Learns for an epoch. Then it is sure of the first class, whatever it sees.
fn forgetful(stopping: EarlyStopping) -> TrainerBuilder<Sequential> {
    let forget = |run: &mut Run<'_, Sequential>| {
        if run.epoch > 0 {
            let sure = Tensor::from_slice(&[40.0f32, 0.0, 0.0], 3, &device())?;
            run.model.for_each_param_mut(&mut |name, param| {
                let forgotten = if name == "4.bias" { sure.clone() } else { param.tensor().zeros_like()? };
                param.set(forgotten)
            })?;
        }
        Ok(Flow::Continue)
    };
    builder(model(1)).epochs(10).early_stopping(stopping).after_step(forget)
}

#[test]
fn a_run_that_does_not_improve_ends_after_its_patience() {
    let mut trainer = idle(EarlyStopping::patience(2)).monitor("valid_accuracy", Goal::Max).build().unwrap();
    let report = trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
    // The running statistics settle, so it may get better by itself in the beginning; the last two did not.
    assert_eq!(report.outcome, Outcome::EarlyStopped);
    assert_eq!(report.epochs.len() as u64, report.best.unwrap().epoch + 2);
}

#[test]
fn the_count_of_epochs_without_improvement_is_resumed() {
    let finish = |dir: &std::path::Path, stop: Option<u64>| -> Report {
        let mut trainer = idle(EarlyStopping::patience(4).min_delta(100.0))
            .run_dir(dir)
            .resume(true)
            .on_epoch_end(move |run| Ok(if Some(run.epoch) == stop { Flow::Stop } else { Flow::Continue }))
            .build()
            .unwrap();
        trainer.fit(&train_data(0), Some(&valid_data())).unwrap()
    };
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(finish(dir.path(), Some(2)).outcome, Outcome::Stopped);
    let report = finish(dir.path(), None);
    assert_eq!((report.outcome, report.epochs.len()), (Outcome::EarlyStopped, 5));
    // It has ended, and stays so.
    let report = finish(dir.path(), None);
    assert_eq!((report.outcome, report.epochs.len()), (Outcome::EarlyStopped, 5));
}

#[test]
fn the_best_weights_come_back_from_memory_and_from_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for save in [false, true] {
        let (first, kept) = log();
        let mut builder = forgetful(EarlyStopping::patience(2).restore_best()).on_epoch_end(move |run| {
            first.borrow_mut().push(bits(run.model));
            Ok(Flow::Continue)
        });
        if save {
            builder = builder.run_dir(dir.path());
        }
        let mut trainer = builder.build().unwrap();
        let report = trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
        assert_eq!((report.outcome, report.best.unwrap().epoch), (Outcome::EarlyStopped, 1));
        assert_eq!(report.epochs.len(), 3);
        assert_eq!(bits(trainer.model()), kept.borrow()[0]);
        assert_ne!(bits(trainer.model()), kept.borrow()[2]);
        found.push(bits(trainer.model()));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_raised_flag_ends_the_run_after_its_step_with_a_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let flag = StopFlag::new();
    let raised = flag.clone();
    let mut trainer = builder(model(1))
        .run_dir(dir.path())
        .checkpoint_every_epochs(None)
        .stop_flag(&flag)
        .after_step(move |run| {
            if run.step == 9 {
                raised.request();
            }
            Ok(Flow::Continue)
        })
        .build()
        .unwrap();
    let report = trainer.fit(&train_data(2), Some(&valid_data())).unwrap();
    assert_eq!((report.outcome, report.steps), (Outcome::Interrupted, 9));
    assert!(report.checkpoint.unwrap().ends_with("checkpoints/step-000000009.ckpt"));
    let (trainer, report) = resume(dir.path(), 1, |b| b).unwrap();
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
}

/// Raises a flag while it is read.
struct Raises<L> {
    inner: L,
    flag: StopFlag,
    at: Cell<u64>,
}

impl<L: Loader<Batch = Batch>> Loader for Raises<L> {
    type Batch = Batch;
    fn batches(&self, epoch: u64, next: usize) -> gradus_data::Result<BoxedBatches<'_, Batch>> {
        self.at.set(self.at.get() + 1);
        Ok(Box::new(self.inner.batches(epoch, next)?.inspect(|_| {
            if self.at.get() == 2 {
                self.flag.request();
            }
        })))
    }
    fn batches_per_epoch(&self) -> usize {
        self.inner.batches_per_epoch()
    }
    fn samples_per_epoch(&self) -> usize {
        self.inner.samples_per_epoch()
    }
    fn batch_size(&self) -> usize {
        self.inner.batch_size()
    }
    fn seed(&self) -> u64 {
        self.inner.seed()
    }
}

#[test]
fn a_flag_raised_while_evaluating_ends_the_run_and_the_evaluation_is_done_when_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let flag = StopFlag::new();
    let valid = Raises { inner: valid_data(), flag: flag.clone(), at: Cell::new(0) };
    let mut trainer = builder(model(1)).run_dir(dir.path()).stop_flag(&flag).build().unwrap();
    let report = trainer.fit(&train_data(0), Some(&valid)).unwrap();
    assert_eq!((report.outcome, report.steps, report.epochs.len()), (Outcome::Interrupted, 12, 1));
    let (trainer, report) = resume(dir.path(), 0, |b| b).unwrap();
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
}
