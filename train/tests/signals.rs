//! Signals and kills, delivered to a real process: this test program, run again as its own child.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gradus_tensor_core::io::atomic::{self, AtomicFile};
use gradus_train::checkpoint::{CheckpointDir, CheckpointWriter};
use gradus_train::interrupt;

const ROLE: &str = "GRADUS_TEST_DIRECTORY";

/// Runs one of the ignored tests below as a child process that works in `dir`, whatever signals this one ignores.
fn child(role: &str, dir: &Path) -> Child {
    child_of(":", role, dir)
}

/// Like [`child`], started by a shell that has set its traps before.
fn child_of(traps: &str, role: &str, dir: &Path) -> Child {
    // A shell cannot take back what its own parent ignored.
    let mut command = Command::new(if cfg!(target_os = "linux") { "env" } else { "sh" });
    if cfg!(target_os = "linux") {
        command.args(["--default-signal=HUP,INT,TERM", "sh"]);
    }
    command
        .args(["-c", &format!("{traps}; exec \"$@\""), "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", role, "--ignored", "--nocapture"])
        .env(ROLE, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until the child says that it is at work.
fn wait_until_ready(child: &mut Child) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the child never began");
    // Read on, so that the child is never blocked by a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
}

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// The directory to work in; `None` for a test that nobody started as a child, and that has nothing to do.
fn directory() -> Option<std::path::PathBuf> {
    std::env::var_os(ROLE).map(Into::into)
}

fn checkpoint(step: u64) -> CheckpointWriter<'static> {
    CheckpointWriter::new(step).section("model", vec![step as u8; 300_000])
}

#[test]
#[ignore = "the child of another test"]
fn saves_without_end() {
    let Some(directory) = directory() else { return };
    let dir = CheckpointDir::create(directory).unwrap();
    let start = dir.latest().unwrap().checkpoint.map_or(1, |c| c.step() + 1);
    for step in start.. {
        let path = dir.save(&checkpoint(step)).unwrap();
        dir.mark_best(path).unwrap();
        if step == start {
            println!("ready");
        }
    }
}

#[test]
fn a_run_that_is_killed_at_any_moment_leaves_whole_checkpoints_to_go_on_from() {
    let run = tempfile::tempdir().unwrap();
    let mut reached = 0;
    for round in 0..12 {
        let mut running = child("saves_without_end", run.path());
        wait_until_ready(&mut running);
        std::thread::sleep(Duration::from_millis(3 + 7 * round));
        running.kill().unwrap();
        running.wait().unwrap();

        let dir = CheckpointDir::open(run.path());
        let latest = dir.latest().unwrap();
        assert!(latest.skipped.is_empty(), "round {round}: {:?}", latest.skipped);
        let mut newest = latest.checkpoint.unwrap();
        assert!(newest.step() > reached, "round {round} went back to step {}", newest.step());
        reached = newest.step();
        assert_eq!(newest.section("model").unwrap(), vec![reached as u8; 300_000]);
        assert!(dir.best().unwrap().unwrap().step() + 1 >= reached);
    }
}

#[test]
#[ignore = "the child of another test"]
fn stops_when_asked() {
    let Some(directory) = directory() else { return };
    let stop = interrupt::install().unwrap();
    println!("ready");
    while !stop.is_requested() {
        std::thread::sleep(Duration::from_millis(5));
    }
    CheckpointDir::create(directory).unwrap().save(&checkpoint(5)).unwrap();
}

#[test]
fn the_first_interrupt_lets_the_run_save_and_end_in_good_order() {
    for name in ["-INT", "-TERM"] {
        let run = tempfile::tempdir().unwrap();
        let mut running = child("stops_when_asked", run.path());
        wait_until_ready(&mut running);
        signal(&running, name);
        assert!(running.wait().unwrap().success());
        assert_eq!(CheckpointDir::open(run.path()).latest().unwrap().checkpoint.unwrap().step(), 5);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_background_job_of_a_script_is_a_run_like_any_other() {
    let run = tempfile::tempdir().unwrap();
    let mut running = child_of("trap '' INT", "stops_when_asked", run.path());
    wait_until_ready(&mut running);
    signal(&running, "-TERM");
    assert!(running.wait().unwrap().success());
    assert_eq!(CheckpointDir::open(run.path()).latest().unwrap().checkpoint.unwrap().step(), 5);
}

#[test]
#[cfg(target_os = "linux")]
fn a_run_under_nohup_goes_on_after_a_hangup() {
    let run = tempfile::tempdir().unwrap();
    let mut running = child_of("trap '' HUP", "stops_when_asked", run.path());
    wait_until_ready(&mut running);
    signal(&running, "-HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert!(running.try_wait().unwrap().is_none(), "the hangup stopped it");
    running.kill().unwrap();
    running.wait().unwrap();
}

#[test]
#[ignore = "the child of another test"]
fn never_stops() {
    let Some(directory) = directory() else { return };
    let flag = interrupt::install().unwrap();
    assert!(!interrupt::install().unwrap().is_requested(), "a second call gives the same flag");
    let mut half = AtomicFile::create(directory.join("model.ckpt")).unwrap();
    half.write_all(&[1; 5_000_000]).unwrap();
    println!("ready");
    while !flag.is_requested() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::fs::write(directory.join("asked"), b"").unwrap();
    std::thread::sleep(Duration::from_secs(60));
    half.commit().unwrap();
}

#[test]
fn the_second_interrupt_ends_the_run_at_once_with_code_1_and_nothing_half_written() {
    let run = tempfile::tempdir().unwrap();
    let mut running = child("never_stops", run.path());
    wait_until_ready(&mut running);
    signal(&running, "-INT");
    while !run.path().join("asked").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&running, "-INT");
    assert_eq!(running.wait().unwrap().code(), Some(1));
    let mut said = String::new();
    running.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(said.contains("interrupt again to exit at once"), "{said}");
    assert!(said.contains("exiting at once"), "{said}");
    assert!(!run.path().join("model.ckpt").exists());
    assert_eq!(atomic::sweep(run.path()).unwrap(), 1);
}
