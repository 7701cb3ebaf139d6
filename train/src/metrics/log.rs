//! `metrics.csv`: one row per epoch (or step), that survives a kill and goes on with the run.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use gradus_tensor_core::io::atomic;

use crate::{Error, Result};

/// A CSV file of measurements. The first column is a whole number that grows: the epoch or the step.
///
/// Each row is handed to the operating system at once. A killed run leaves at worst a part of its last row,
/// which [`resume`](Self::resume) removes, together with the rows that the run will measure anew.
///
/// ```
/// use gradus_train::metrics::MetricsLog;
/// # let run = tempfile::tempdir().unwrap();
/// let path = run.path().join("metrics.csv");
/// let columns = ["epoch", "train_loss", "test_accuracy"];
/// let mut log = MetricsLog::create(&path, columns)?;
/// log.append(1, &[Some(0.61), Some(0.81)])?;
/// log.append(2, &[Some(0.40), None])?; // not measured in this epoch
/// drop(log);
///
/// // The checkpoint that the run goes on from was made after epoch 1.
/// let mut log = MetricsLog::resume(&path, columns, 1)?;
/// log.append(2, &[Some(0.40), Some(0.85)])?;
/// assert_eq!(std::fs::read_to_string(&path).unwrap(), "epoch,train_loss,test_accuracy\n1,0.61,0.81\n2,0.4,0.85\n");
/// # Ok::<(), gradus_train::Error>(())
/// ```
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    columns: usize,
    last: Option<u64>,
}

impl MetricsLog {
    /// Begins a new file with these columns.
    ///
    /// # Errors
    /// [`Error::Io`] if the file is there already (nothing is overwritten) or cannot be made;
    /// [`Error::Argument`] if there are no columns or a name holds a comma, a quote or a line break.
    pub fn create<C: AsRef<str>>(
        path: impl AsRef<Path>,
        columns: impl IntoIterator<Item = C>,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (header, columns) = header(columns)?;
        let mut file = File::create_new(path).map_err(|e| Error::io("create", path, e))?;
        file.write_all(header.as_bytes()).map_err(|e| Error::io("write", path, e))?;
        Ok(Self { path: path.to_path_buf(), file, columns, last: None })
    }

    /// Goes on with a file, after the row of the resumed epoch (or step): later rows are removed. A file that
    /// is not there is begun.
    ///
    /// # Errors
    /// [`Error::Metrics`] if the file has other columns or a row that does not begin with a growing number;
    /// it is then untouched. [`Error::Io`] if it cannot be read or written.
    pub fn resume<C: AsRef<str>>(
        path: impl AsRef<Path>,
        columns: impl IntoIterator<Item = C>,
        resumed: u64,
    ) -> Result<Self> {
        let path = path.as_ref();
        let (header, columns) = header(columns)?;
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) => return Err(Error::io("read", path, e)),
        };
        let (kept, last) = kept(&text, &header, resumed)
            .map_err(|message| Error::Metrics { path: path.to_path_buf(), message })?;
        if kept != text {
            atomic::write(path, |file| file.write_all(kept.as_bytes()))?;
        }
        let file = File::options().append(true).open(path).map_err(|e| Error::io("open", path, e))?;
        Ok(Self { path: path.to_path_buf(), file, columns, last })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends a row: the epoch (or step), and a value for each further column; `None` leaves it empty. Values
    /// are written with as many digits as it takes to read the same value back.
    ///
    /// # Errors
    /// [`Error::Metrics`] if the number of values is wrong or the first column does not grow; [`Error::Io`] if
    /// the file cannot be written.
    pub fn append(&mut self, row: u64, values: &[Option<f64>]) -> Result<()> {
        let refuse = |message| Err(Error::Metrics { path: self.path.clone(), message });
        if values.len() + 1 != self.columns {
            return refuse(format!(
                "{} values in row {row} for {} columns after the first",
                values.len(),
                self.columns - 1
            ));
        }
        if let Some(last) = self.last.filter(|&last| row <= last) {
            return refuse(format!("row {row} after row {last}; the first column must grow"));
        }
        let mut line = row.to_string();
        for value in values {
            line.push(',');
            line.extend(value.map(|v| v.to_string()));
        }
        line.push('\n');
        // One call, so that rows are whole except where the process dies inside of it.
        self.file.write_all(line.as_bytes()).map_err(|e| Error::io("write", &self.path, e))?;
        self.last = Some(row);
        Ok(())
    }
}

/// The first line, and the number of columns.
fn header<C: AsRef<str>>(columns: impl IntoIterator<Item = C>) -> Result<(String, usize)> {
    let (mut line, mut count) = (String::new(), 0);
    for column in columns {
        let column = column.as_ref();
        if column.is_empty() || column.contains([',', '"', '\n', '\r']) {
            let message = format!("a column cannot be named {column:?}; use a word");
            return Err(Error::argument("MetricsLog", message));
        }
        if count > 0 {
            line.push(',');
        }
        line.push_str(column);
        count += 1;
    }
    if count == 0 {
        return Err(Error::argument("MetricsLog", "there must be at least one column"));
    }
    line.push('\n');
    Ok((line, count))
}

/// The header and the rows up to `resumed`, and the last row's number. `Err` says what does not fit.
fn kept(text: &str, header: &str, resumed: u64) -> Result<(String, Option<u64>), String> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let found = lines.next().unwrap_or(header);
    if found != header {
        let message = format!(
            "its columns are `{}`, this run's are `{}`; continue it with the same settings or in another directory",
            found.trim_end(),
            header.trim_end()
        );
        return Err(message);
    }
    let (mut kept, mut last) = (header.to_owned(), None);
    for line in lines {
        let number = line.trim_end().split(',').next().and_then(|cell| cell.parse::<u64>().ok());
        let Some(number) = number.filter(|&n| last.is_none_or(|last| n > last)) else {
            return Err(format!("the row `{}` does not begin with a growing number", line.trim_end()));
        };
        if number > resumed {
            break;
        }
        kept.push_str(line);
        last = Some(number);
    }
    Ok((kept, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [&str; 3] = ["step", "loss", "rate"];

    fn resumed(text: &str, at: u64) -> Result<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        fs::write(&path, text).unwrap();
        let mut log = MetricsLog::resume(&path, COLUMNS, at)?;
        log.append(99, &[Some(0.5), None])?;
        Ok(fs::read_to_string(&path).unwrap())
    }

    #[test]
    fn values_are_read_back_to_the_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let values = [0.1 + 0.2, 1e-300, f64::from(0.1_f32), f64::NAN, f64::INFINITY];
        let mut log = MetricsLog::create(&path, ["step", "a", "b", "c", "d", "e"]).unwrap();
        log.append(1, &values.map(Some)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let cells = text.lines().nth(1).unwrap().split(',').skip(1).map(|c| c.parse::<f64>().unwrap());
        for (read, value) in cells.zip(values) {
            assert!(read.to_bits() == value.to_bits() || read.is_nan() && value.is_nan());
        }
    }

    #[test]
    fn rows_beyond_the_resumed_step_and_half_a_row_are_removed() {
        let text = "step,loss,rate\n10,1,\n20,2,\n30,3,\n4";
        assert_eq!(resumed(text, 20).unwrap(), "step,loss,rate\n10,1,\n20,2,\n99,0.5,\n");
        assert_eq!(resumed(text, 30).unwrap(), "step,loss,rate\n10,1,\n20,2,\n30,3,\n99,0.5,\n");
        assert_eq!(resumed(text, 40).unwrap(), "step,loss,rate\n10,1,\n20,2,\n30,3,\n99,0.5,\n");
        assert_eq!(resumed(text, 0).unwrap(), "step,loss,rate\n99,0.5,\n");
    }

    #[test]
    fn an_empty_file_or_half_a_header_begins_anew() {
        assert_eq!(resumed("", 5).unwrap(), "step,loss,rate\n99,0.5,\n");
        assert_eq!(resumed("step,lo", 5).unwrap(), "step,loss,rate\n99,0.5,\n");
    }

    #[test]
    fn other_columns_and_rows_that_do_not_grow_are_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        for text in ["epoch,loss\n1,2\n", "step,loss,rate\n2,,\n1,,\n", "step,loss,rate\nfirst,,\n"] {
            fs::write(&path, text).unwrap();
            let error = MetricsLog::resume(&path, COLUMNS, 9).unwrap_err();
            assert!(matches!(error, Error::Metrics { .. }));
            assert!(error.to_string().contains("metrics.csv"), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_existing_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        MetricsLog::create(&path, COLUMNS).unwrap();
        let error = MetricsLog::create(&path, COLUMNS).unwrap_err().to_string();
        assert!(error.contains("resume it, remove it or choose another directory"), "{error}");
    }

    #[test]
    fn wrong_rows_and_names_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let mut log = MetricsLog::create(&path, COLUMNS).unwrap();
        log.append(3, &[None, None]).unwrap();
        assert!(log.append(4, &[None]).unwrap_err().to_string().contains("1 values in row 4 for 2 columns"));
        assert!(log.append(3, &[None, None]).unwrap_err().to_string().contains("row 3 after row 3"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "step,loss,rate\n3,,\n");
        let path = dir.path().join("other.csv");
        assert!(MetricsLog::create(&path, ["step", "a,b"]).is_err());
        assert!(MetricsLog::create(&path, Vec::<String>::new()).is_err());
    }
}
