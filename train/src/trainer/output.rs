//! The files of a run.

use std::fs;
use std::path::{Path, PathBuf};

use gradus_tensor_core::io::atomic::{self, AtomicFile};

use super::EpochReport;
use crate::checkpoint::{CheckpointDir, CheckpointWriter};
use crate::metrics::MetricsLog;
use crate::tensorboard::EventWriter;
use crate::{Error, Result};

const CHECKPOINTS: &str = "checkpoints";
const METRICS: &str = "metrics.csv";
const EVENTS: &str = "tensorboard";

/// Values of an epoch that were not measured on a set of data.
const OF_NO_SET: [&str; 3] = ["learning_rate", "loss_scale", "skipped_steps"];

/// A run's directory.
#[derive(Debug)]
pub(super) struct Output {
    pub dir: PathBuf,
    pub checkpoints: CheckpointDir,
    /// With its columns after `epoch` and `step`, which are known after the first epoch.
    metrics: Option<(MetricsLog, Vec<String>)>,
    pub events: Option<EventWriter>,
    /// The newest checkpoint.
    pub last: Option<PathBuf>,
}

impl Output {
    /// Makes the directory, and a file in it to see that it can be written.
    pub fn create(dir: &Path, keep: usize) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        atomic::sweep(dir)?;
        drop(AtomicFile::create(dir.join(METRICS))?);
        let checkpoints = CheckpointDir::create(dir.join(CHECKPOINTS))?.keep(keep);
        drop(AtomicFile::create(checkpoints.best_path())?);
        Ok(Self { dir: dir.to_path_buf(), checkpoints, metrics: None, events: None, last: None })
    }

    /// Whether a run was here before.
    pub fn is_used(&self) -> Result<bool> {
        let best = self.checkpoints.best_path().exists();
        Ok(best || self.dir.join(METRICS).exists() || !self.checkpoints.list()?.is_empty())
    }

    /// Begins the event file, after `step` steps done before.
    pub fn begin(&mut self, step: u64) -> Result<()> {
        let dir = self.dir.join(EVENTS);
        self.events =
            Some(if step == 0 { EventWriter::create(dir)? } else { EventWriter::resume(dir, step)? });
        Ok(())
    }

    /// Records numbers of one optimizer step.
    pub fn record(&mut self, step: u64, values: &[(&str, Option<f64>)]) -> Result<()> {
        let Some(events) = &mut self.events else { return Ok(()) };
        values.iter().try_for_each(|(tag, value)| match value {
            Some(value) => events.scalar(tag, step, *value),
            None => Ok(()),
        })
    }

    /// Appends an epoch to `metrics.csv` and to the events.
    pub fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        let (log, columns) = match &mut self.metrics {
            Some(metrics) => metrics,
            None => {
                let names: Vec<String> = report.values().map(|(name, _)| name.to_owned()).collect();
                let columns = ["epoch", "step"].into_iter().chain(names.iter().map(String::as_str));
                let log = MetricsLog::resume(self.dir.join(METRICS), columns, report.epoch - 1)?;
                self.metrics.insert((log, names))
            }
        };
        let values = columns.iter().map(|name| report.value(name));
        let row: Vec<_> = [Some(report.step as f64)].into_iter().chain(values).collect();
        log.append(report.epoch, &row)?;
        let Some(events) = &mut self.events else { return Ok(()) };
        for (name, value) in report.values() {
            // `train_loss` becomes `loss/train`: TensorBoard draws both losses side by side.
            let tag = match name.split_once('_') {
                Some((set, what)) if !OF_NO_SET.contains(&name) => format!("{what}/{set}"),
                _ => name.to_owned(),
            };
            events.scalar(&tag, report.step, value)?;
        }
        events.scalar("speed/samples_per_second", report.step, report.samples_per_second)?;
        events.flush()
    }

    /// Saves a checkpoint.
    pub fn save(&mut self, checkpoint: &CheckpointWriter<'_>, best: bool) -> Result<()> {
        let path = self.checkpoints.save(checkpoint)?;
        if best {
            self.checkpoints.mark_best(&path)?;
        }
        self.last = Some(path);
        self.events.as_mut().map_or(Ok(()), EventWriter::flush)
    }
}
