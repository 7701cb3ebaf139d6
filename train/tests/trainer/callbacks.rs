//! Callbacks: when they are called, what they see, what of them is saved.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use gradus_nn::Sequential;
use gradus_train::Result;
use gradus_train::trainer::{Callback, EpochTable, Flow, Outcome, Run};

use crate::support::*;

/// Writes down every call, and remembers across checkpoints how many steps it saw.
struct Diary {
    lines: Rc<RefCell<Vec<String>>>,
    steps: u64,
}

impl Diary {
    fn write(&self, what: &str, run: &Run<'_, Sequential>) -> Result<Flow> {
        self.lines.borrow_mut().push(format!("{what} {} {}", run.epoch, run.step));
        Ok(Flow::Continue)
    }
}

impl Callback<Sequential> for Diary {
    fn on_train_start(&mut self, run: &mut Run<'_, Sequential>) -> Result<Flow> {
        self.write("start", run)
    }
    fn on_epoch_start(&mut self, run: &mut Run<'_, Sequential>) -> Result<Flow> {
        assert!(run.report.is_none());
        self.write("epoch", run)
    }
    fn after_step(&mut self, run: &mut Run<'_, Sequential>) -> Result<Flow> {
        assert!(run.loss.unwrap() > 0.0 && run.gradient_norm.unwrap() > 0.0);
        self.steps += 1;
        let _ = self.write("step", run)?;
        Ok(if self.steps == 8 { Flow::Stop } else { Flow::Continue })
    }
    fn on_epoch_end(&mut self, run: &mut Run<'_, Sequential>) -> Result<Flow> {
        assert_eq!(run.report.unwrap().epoch, run.epoch + 1);
        run.events.as_mut().unwrap().scalar("diary/steps", run.step, self.steps as f64)?;
        self.write("end of epoch", run)
    }
    fn on_train_end(&mut self, run: &mut Run<'_, Sequential>) -> Result<()> {
        self.write("end", run).map(drop)
    }
    fn state(&self) -> Result<Option<Vec<u8>>> {
        Ok(Some(self.steps.to_le_bytes().to_vec()))
    }
    fn restore(&mut self, state: &[u8]) -> Result<()> {
        self.steps = u64::from_le_bytes(state.try_into().unwrap());
        Ok(())
    }
}

#[test]
fn callbacks_are_called_in_order_may_stop_the_run_and_are_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let fit = |resume: bool| {
        let (lines, seen) = log();
        let mut trainer = builder(model(1))
            .run_dir(dir.path())
            .resume(resume)
            .epochs(2)
            .callback(Diary { lines, steps: 0 })
            .build()
            .unwrap();
        let report = trainer.fit(&train_data(0), None).unwrap();
        let lines = seen.borrow().clone();
        (report.outcome, lines)
    };
    let (outcome, lines) = fit(false);
    assert_eq!(outcome, Outcome::Stopped);
    let expected = "start 0 0,epoch 0 0,step 0 1,step 0 2,step 0 3,step 0 4,step 0 5,step 0 6,end of epoch 0 6,\
                    epoch 1 6,step 1 7,step 1 8,end 1 8";
    assert_eq!(lines.join(","), expected);
    // It counts on from 8, and so does not stop again. The epoch it is in starts for it once more.
    let (outcome, lines) = fit(true);
    assert_eq!(outcome, Outcome::Completed);
    assert_eq!(
        lines.join(","),
        "start 1 8,epoch 1 8,step 1 9,step 1 10,step 1 11,step 1 12,end of epoch 1 12,end 2 12"
    );
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_table_has_a_row_for_each_epoch() {
    let out = Captured::default();
    let mut trainer =
        builder(model(1)).validation_name("test").callback(EpochTable::new(out.clone())).build().unwrap();
    trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "epoch  train_loss  train_accuracy  test_loss  test_accuracy  samples/s");
    assert_eq!(lines.len(), 4, "{text}");
    assert!(lines[3].starts_with("    3  ") && lines[3].contains(" %  "), "{text}");
}

#[test]
fn a_run_writes_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = builder(model(1)).run_dir(dir.path()).build().unwrap();
    trainer.fit(&train_data(0), Some(&valid_data())).unwrap();
    let csv = std::fs::read_to_string(dir.path().join("metrics.csv")).unwrap();
    let mut lines = csv.lines();
    let header = "epoch,step,train_loss,train_accuracy,valid_loss,valid_accuracy,learning_rate";
    assert_eq!(lines.next(), Some(header));
    let rows: Vec<Vec<f64>> =
        lines.map(|l| l.split(',').map(|cell| cell.parse().unwrap()).collect()).collect();
    assert_eq!(
        rows.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(),
        [(1.0, 6.0), (2.0, 12.0), (3.0, 18.0)]
    );
    assert!(rows[2][2] < rows[0][2], "the loss falls");
    assert!(checkpoints(dir.path()).iter().any(|path| path.ends_with("best.ckpt")));
    let events = std::fs::read_dir(dir.path().join("tensorboard")).unwrap().next().unwrap().unwrap();
    let bytes = std::fs::read(events.path()).unwrap();
    for tag in ["step/loss", "step/learning_rate", "step/gradient_norm", "loss/train", "accuracy/valid"] {
        assert!(bytes.windows(tag.len()).any(|window| window == tag.as_bytes()), "{tag}");
    }
}
