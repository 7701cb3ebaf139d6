//! Mixed precision in a run: what stays f32, what scales the loss, and that resuming holds.

use gradus_data::Batch;
use gradus_nn::{Parameters, Sequential, loss};
use gradus_optim::{Autocast, GradScaler, Sgd};
use gradus_tensor_core::{DType, Device};
use gradus_train::trainer::{Outcome, StepOutput};
use gradus_train::{Error, Trainer};

use crate::support::*;

#[test]
fn a_model_is_trained_in_lower_precision_and_stays_f32() {
    for dtype in [DType::BF16, DType::F16] {
        let (seen, read) = log();
        let step = move |model: &Sequential, batch: &Batch, device: &Device| {
            let (inputs, targets) = batch.to(device)?;
            let logits = gradus_nn::Module::forward(model, &inputs)?;
            seen.borrow_mut().push((logits.dtype(), device.backend::<Autocast>().is_some()));
            Ok(StepOutput::new(loss::cross_entropy(&logits, &targets)?, targets.numel())
                .outputs(logits, targets))
        };
        let mut trainer = Trainer::with_step(model(1), step)
            .optimizer(gradus_optim::AdamW::new(0.02))
            .autocast(dtype)
            .epochs(8)
            .seed(3)
            .accuracy()
            .on_warning(|_| {})
            .build()
            .unwrap();
        let report = trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
        assert_eq!(report.outcome, Outcome::Completed);
        assert!(report.epochs.last().unwrap().value("valid_accuracy").unwrap() > 0.8, "{report:?}");
        assert!(read.borrow().iter().all(|seen| *seen == (dtype, true)), "training and evaluation");
        assert_eq!(trainer.device(), &device());
        for (name, tensor) in trainer.model().state_dict().iter() {
            assert!(matches!(tensor.dtype(), DType::F32 | DType::I64), "{name}");
            assert_eq!(tensor.device(), &device(), "{name}");
        }
    }
}

#[test]
fn scaling_by_a_power_of_two_changes_nothing() {
    for change in [|b| b, |b| gradus_train::trainer::TrainerBuilder::accumulate(b, 4)] as [Change; 2] {
        let run = |scaled: bool| {
            let builder = change(builder(model(1)));
            let builder = if scaled { builder.grad_scaler(GradScaler::new()) } else { builder };
            let mut trainer = builder.build().unwrap();
            trainer.fit(&train_data(0), None).unwrap();
            bits(trainer.model())
        };
        assert!(run(true) == run(false));
    }
}

#[test]
fn a_run_with_a_scaler_that_is_stopped_goes_on_to_the_same_bits() {
    let change: Change = |b| {
        let scaler = GradScaler::new().init_scale(2f64.powi(40)).growth_interval(3);
        b.autocast(DType::F16).grad_scaler(scaler).on_warning(|_| {})
    };
    let whole = whole(0, change);
    for stop in [1, 5, 6, 11] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_parts(dir.path(), 0, &[stop], change), whole, "stopped after step {stop}");
    }
}

#[test]
fn skipped_steps_are_counted_and_the_scale_is_reported() {
    let mut trainer = builder(model(1))
        .autocast(DType::F16)
        .grad_scaler(GradScaler::new().init_scale(2f64.powi(30)))
        .on_warning(|_| {})
        .build()
        .unwrap();
    let report = trainer.fit(&train_data(0), None).unwrap();
    assert!(report.skipped_steps > 0 && report.skipped_steps < report.steps, "{report:?}");
    let last = report.epochs.last().unwrap();
    assert_eq!(last.value("skipped_steps"), Some(report.skipped_steps as f64));
    assert_eq!(last.value("loss_scale"), Some(2f64.powi(30 - report.skipped_steps as i32)));
    assert_eq!(report.steps, EPOCHS * STEPS_PER_EPOCH, "a skipped step is one of the schedule's");
}

#[test]
fn gradients_that_no_scale_makes_finite_end_the_run() {
    let step = |model: &Sequential, _: &Batch, _: &Device| {
        let mut sum = None;
        model.for_each_param(&mut |_, param| {
            let term = param.value()?.sum_all()?;
            sum = Some(match sum.take() {
                None => term,
                Some(sum) => term.add(&sum)?,
            });
            Ok(())
        })?;
        // The root of 0 is 0, and its slope is infinite.
        Ok(StepOutput::new(sum.unwrap().mul(0.0)?.sqrt()?, 1))
    };
    let mut trainer = Trainer::with_step(exact_model(1), step)
        .optimizer(Sgd::new(0.1))
        .grad_scaler(GradScaler::new())
        .epochs(10)
        .build()
        .unwrap();
    let before = bits(trainer.model());
    let error = trainer.fit(&train_data(0), None).unwrap_err();
    assert!(matches!(&error, Error::NotFinite { .. }), "{error}");
    assert!(error.to_string().contains("32 steps in a row"), "{error}");
    assert!(bits(trainer.model()) == before);
}

#[test]
fn a_device_that_gains_no_time_is_named_once() {
    let (warned, read) = log();
    let mut trainer = builder(model(1))
        .autocast(DType::F16)
        .on_warning(move |text| warned.borrow_mut().push(text.to_owned()))
        .build()
        .unwrap();
    trainer.fit(&train_data(0), None).unwrap();
    let expected = usize::from(!device().accelerates(DType::F16));
    assert_eq!(read.borrow().len(), expected, "{:?}", read.borrow());
    assert!(read.borrow().iter().all(|text| text.contains("f16") && text.contains("memory")));
}

#[test]
fn only_half_precisions_are_lower() {
    let error = builder(model(1)).autocast(DType::F64).build().unwrap_err().to_string();
    assert!(error.contains("f16 or bf16"), "{error}");
}
