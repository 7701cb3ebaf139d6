//! A disk that fills up while a checkpoint is written: a limit on the size of files, set by the shell.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::Command;

use gradus_data::{DataLoader, InMemory};
use gradus_nn::{Linear, Sequential, loss};
use gradus_optim::AdamW;
use gradus_tensor_core::rng;
use gradus_train::Trainer;
use gradus_train::checkpoint::CheckpointDir;
use gradus_train::trainer::Report;

use crate::support::*;

const ROLE: &str = "GRADUS_TEST_DISK";

/// A model of 100 kB; with the moments of AdamW a checkpoint takes three times that.
fn fit(dir: PathBuf, epochs: u64) -> gradus_train::Result<Report> {
    rng::manual_seed(1);
    let model = Sequential::new()
        .then(Linear::new(6, 2500).init(&device()).unwrap())
        .then(Linear::new(2500, 3).init(&device()).unwrap());
    let data = DataLoader::builder(InMemory::new(points(8))).batch_size(8).build().unwrap();
    let trainer = Trainer::builder(model, loss::cross_entropy).optimizer(AdamW::new(0.01)).epochs(epochs);
    trainer.run_dir(dir).resume(true).build()?.fit(&data, None)
}

#[test]
#[ignore = "the child of another test"]
fn saves_to_a_full_disk() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let error = fit(dir, 2).unwrap_err();
    assert!(matches!(error, gradus_train::Error::Io { action: "write", .. }), "{error}");
    assert!(error.to_string().contains("step-000000002.ckpt"), "{error}");
    std::process::exit(7);
}

#[test]
fn a_disk_that_is_full_is_an_error_and_the_checkpoint_from_before_stays_whole() {
    let dir = tempfile::tempdir().unwrap();
    fit(dir.path().to_path_buf(), 1).unwrap();
    let before = checkpoints(dir.path());
    // 100 blocks are 50 or 100 kB, as the shell likes. Ignoring the signal makes writing beyond them an error.
    // The limit is for every file, so what the child prints must not go to one: hence the pipes of `output`.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 100; exec \"$0\" --exact disk::saves_to_a_full_disk --ignored"])
        .arg(std::env::current_exe().unwrap())
        .env(ROLE, dir.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(checkpoints(dir.path()), before);
    let kept = CheckpointDir::open(dir.path().join("checkpoints")).latest().unwrap();
    assert!(kept.skipped.is_empty());
    assert_eq!(kept.checkpoint.unwrap().step(), 1);
    assert_eq!(fit(dir.path().to_path_buf(), 2).unwrap().steps, 2);
}
