//! A resumed run is an uninterrupted run, to the bit.

use std::fs;

use gradus_train::trainer::Outcome;

use crate::support::*;

#[test]
fn a_run_stopped_at_any_step_goes_on_to_the_same_bits() {
    let whole = whole(0, |b| b);
    // In the middle of an epoch, before its last step, after its last step, right after its start, near the end.
    for stop in [3, 5, 6, 7, 12, 17, 18] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_parts(dir.path(), 0, &[stop], |b| b), whole, "stopped after step {stop}");
    }
}

#[test]
fn a_run_stopped_often_with_several_workers_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(in_parts(dir.path(), 3, &[1, 2, 6, 8, 9, 13], |b| b), whole(2, |b| b));
}

#[test]
fn accumulated_groups_are_never_cut() {
    // Six batches make groups of 4 and 2: two steps an epoch.
    let whole = whole(1, |b| b.accumulate(4));
    for stop in [1, 2, 3] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(in_parts(dir.path(), 1, &[stop], |b| b.accumulate(4)), whole, "stopped after step {stop}");
    }
}

#[test]
fn a_run_goes_on_in_the_same_trainer_too() {
    let dir = tempfile::tempdir().unwrap();
    let stop = gradus_train::interrupt::StopFlag::new();
    let raised = stop.clone();
    let mut trainer = builder(model(1))
        .run_dir(dir.path())
        .stop_flag(&stop)
        .after_step(move |run| {
            if run.step == 8 {
                raised.request();
            }
            Ok(gradus_train::trainer::Flow::Continue)
        })
        .build()
        .unwrap();
    let data = train_data(0);
    assert_eq!(trainer.fit(&data, Some(&valid_data())).unwrap().outcome, Outcome::Interrupted);
    stop.clear();
    gradus_tensor_core::rng::manual_seed(999);
    let report = trainer.fit(&data, Some(&valid_data())).unwrap();
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
}

#[test]
fn a_finished_run_that_is_resumed_does_nothing_and_reports_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let first = in_parts(dir.path(), 0, &[4], |b| b);
    let (trainer, report) = resume(dir.path(), 0, |b| b).unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    assert_eq!(trace(trainer.model(), &report), first);
}

#[test]
fn a_run_that_is_prolonged_is_a_longer_run() {
    let longer: Change = |b| b.epochs(EPOCHS + 1);
    let dir = tempfile::tempdir().unwrap();
    in_parts(dir.path(), 0, &[], |b| b);
    let (trainer, report) = resume(dir.path(), 0, longer).unwrap();
    assert_eq!(report.epochs.len() as u64, EPOCHS + 1);
    assert_eq!(trace(trainer.model(), &report), whole(0, longer));
}

#[test]
fn a_damaged_newest_checkpoint_is_passed_over_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let change: Change = |b| b.checkpoint_every_steps(4).keep_checkpoints(3);
    in_parts(dir.path(), 0, &[14], change);
    let newest = dir.path().join("checkpoints/step-000000018.ckpt");
    let mut bytes = fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&newest, bytes).unwrap();
    // Whatever epoch was best, this one is to be done again.
    let _ = fs::remove_file(dir.path().join("checkpoints/best.ckpt"));

    let (warnings, seen) = log::<String>();
    let mut trainer = change(builder(model(100)))
        .run_dir(dir.path())
        .resume(true)
        .on_warning(move |warning| warnings.borrow_mut().push(warning.to_owned()))
        .build()
        .unwrap();
    let report = trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
    let warnings = seen.borrow();
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("step-000000018.ckpt") && warnings[0].contains("damaged"),
        "{}",
        warnings[0]
    );
}

#[test]
fn only_damaged_checkpoints_are_an_error_and_stay() {
    let dir = tempfile::tempdir().unwrap();
    in_parts(dir.path(), 0, &[], |b| b);
    let damaged = checkpoints(dir.path());
    damaged.iter().for_each(|path| fs::write(path, b"half a check").unwrap());
    let mut trainer = builder(model(1)).run_dir(dir.path()).resume(true).on_warning(|_| {}).build().unwrap();
    let error = trainer.fit(&train_data(0), None).unwrap_err().to_string();
    assert!(error.contains("step-000000018.ckpt: not a Gradus checkpoint"), "{error}");
    assert_eq!(checkpoints(dir.path()), damaged);
}

#[test]
fn only_the_newest_checkpoints_and_the_best_one_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    in_parts(dir.path(), 0, &[], |b| b.checkpoint_every_steps(1).keep_checkpoints(3));
    let names: Vec<_> = checkpoints(dir.path()).iter().map(|p| p.file_name().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        ["best.ckpt", "step-000000016.ckpt", "step-000000017.ckpt", "step-000000018.ckpt"]
            .map(Into::<std::ffi::OsString>::into)
    );
}
