//! A run that is killed: this test program, run again as its own child.
#![cfg(unix)]

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use gradus_train::trainer::Flow;

use crate::support::*;

const ROLE: &str = "GRADUS_TEST_RUN";
const SLOW: Duration = Duration::from_millis(4);

/// Trains slowly, and saves after every second step.
#[test]
#[ignore = "the child of another test"]
fn trains() {
    let Some(dir) = std::env::var_os(ROLE).map(PathBuf::from) else { return };
    let mut trainer = builder(model(1))
        .run_dir(dir)
        .resume(true)
        .checkpoint_every_steps(2)
        .after_step(|_| {
            std::thread::sleep(SLOW);
            Ok(Flow::Continue)
        })
        .build()
        .unwrap();
    trainer.fit(&train_data(2), Some(&valid_data())).unwrap();
    std::process::exit(7);
}

#[test]
fn a_run_that_is_killed_at_any_moment_goes_on_to_the_same_bits() {
    let dir = tempfile::tempdir().unwrap();
    let mut kills = 0;
    for round in 0.. {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::trains", "--ignored", "--nocapture"])
            .env(ROLE, dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Once it has saved something, it may be killed at any moment; later rounds live longer.
        let seen = checkpoints_or_none(dir.path());
        let ended = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break Some(status);
            }
            if checkpoints_or_none(dir.path()) > seen {
                break None;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        if let Some(status) = ended {
            assert_eq!(status.code(), Some(7), "the run ends by itself or is killed");
            break;
        }
        std::thread::sleep(Duration::from_micros(1700 * (round % 5)));
        child.kill().unwrap();
        // It may have been faster.
        if child.wait().unwrap().code().is_none() {
            kills += 1;
        }
    }
    assert!(kills >= 2, "only {kills} kills met the run");
    let (trainer, report) = resume(dir.path(), 0, |b| b).unwrap();
    assert_eq!(trace(trainer.model(), &report), whole(0, |b| b));
}

/// The newest step that was saved.
fn checkpoints_or_none(dir: &std::path::Path) -> Option<u64> {
    let dir = gradus_train::checkpoint::CheckpointDir::open(dir.join("checkpoints"));
    dir.list().unwrap().last().map(|(step, _)| *step)
}
