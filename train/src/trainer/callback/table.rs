//! A line for each epoch.

use std::io::Write;

use gradus_nn::Parameters;

use super::{Callback, Flow, Run};
use crate::table::Table;
use crate::trainer::EpochReport;
use crate::{Error, Result};

/// Prints a table with a row for each epoch: what was measured, and samples per second.
///
/// ```text
/// epoch  train_loss  train_accuracy  valid_loss  valid_accuracy  samples/s
///     1      0.7434          73.1 %      0.5021          81.7 %       6230
///     2      0.4517          83.6 %      0.4280          84.4 %       6251
/// ```
#[derive(Debug)]
pub struct EpochTable<W> {
    out: W,
    table: Option<Table>,
}

impl EpochTable<std::io::Stdout> {
    /// A table on stdout.
    pub fn stdout() -> Self {
        Self::new(std::io::stdout())
    }
}

impl<W: Write> EpochTable<W> {
    /// A table on a writer.
    pub fn new(out: W) -> Self {
        Self { out, table: None }
    }

    fn row(&mut self, report: &EpochReport) -> std::io::Result<()> {
        let measured = || report.values().filter(|(name, _)| *name != "learning_rate");
        let table = match &self.table {
            Some(table) => table,
            None => {
                let names = measured().map(|(name, _)| name);
                let table = Table::new(["epoch"].into_iter().chain(names).chain(["samples/s"]));
                writeln!(self.out, "{}", table.header())?;
                self.table.insert(table)
            }
        };
        let cells = measured().map(|(name, value)| match name.ends_with("accuracy") {
            true => format!("{:.1} %", value * 100.0),
            false => format!("{value:.4}"),
        });
        let speed = format!("{:.0}", report.samples_per_second);
        let row = table.row([report.epoch.to_string()].into_iter().chain(cells).chain([speed]));
        writeln!(self.out, "{row}")?;
        self.out.flush()
    }
}

impl<M: Parameters, W: Write> Callback<M> for EpochTable<W> {
    fn on_epoch_end(&mut self, run: &mut Run<'_, M>) -> Result<Flow> {
        if let Some(report) = run.report {
            match self.row(report) {
                // Whoever read the table has gone away; that is no reason to lose a run.
                Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => return Err(Error::other(e)),
                _ => {}
            }
        }
        Ok(Flow::Continue)
    }
}
