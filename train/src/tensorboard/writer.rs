//! Writing events.

use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prost::Message;

use super::proto::{
    Datum, Dim, Event, Histogram, Image, Metadata, Plugin, SessionLog, SessionStatus, Summary, Tensor,
    TensorShape, Value, What,
};
use super::record;
use crate::{Error, Result};

/// How long an event may wait in memory, when others follow it.
const FLUSH_AFTER: Duration = Duration::from_secs(5);

/// The number of a string in TensorFlow's `DataType`.
const DT_STRING: i32 = 7;

/// Writes one event file. Events reach the disk within seconds while others follow, at
/// [`flush`](Self::flush), and when the writer is dropped.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
}

impl EventWriter {
    /// Begins a new event file `events.out.tfevents.<seconds>.<host>.<process>` in `dir`, which is made
    /// if need be.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory or the file cannot be made.
    pub fn create(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
        let (path, file) = new_file(dir)?;
        let mut writer = Self { path, file: BufWriter::new(file), flushed: Instant::now() };
        writer.event(0, What::FileVersion("brain.Event:2".into()))?;
        writer.flush()?;
        Ok(writer)
    }

    /// Begins a new event file for a run that goes on after `step`: what earlier files in `dir` say of
    /// later steps is void, and TensorBoard does not show it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn resume(dir: impl AsRef<Path>, step: u64) -> Result<Self> {
        let mut writer = Self::create(dir)?;
        let start = SessionLog { status: SessionStatus::Start.into() };
        writer.event(step.saturating_add(1), What::SessionLog(start))?;
        writer.flush()?;
        Ok(writer)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records a number, under a tag such as `loss/train`: what stands before the slash groups the charts.
    /// TensorBoard stores it as a 32-bit float.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f64) -> Result<()> {
        self.value(tag, step, None, Datum::SimpleValue(value as f32))
    }

    /// Records a picture: the bytes of a PNG file, as [`Picture::to_png`](crate::plot::Picture::to_png) makes them.
    ///
    /// # Errors
    /// [`Error::Argument`] if `png` does not begin like a PNG file, [`Error::Io`] if the file cannot be written.
    pub fn image_png(&mut self, tag: &str, step: u64, png: &[u8]) -> Result<()> {
        let image = image(png).ok_or_else(|| {
            let start = &png[..png.len().min(8)];
            Error::argument(
                "EventWriter::image_png",
                format!("`{tag}` is not a PNG file: it begins with {start:02x?}"),
            )
        })?;
        self.value(tag, step, None, Datum::Image(image))
    }

    /// Records how values, such as weights or gradients, are distributed. Values that are not finite are left out.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn histogram(&mut self, tag: &str, step: u64, values: impl IntoIterator<Item = f64>) -> Result<()> {
        self.value(tag, step, None, Datum::Histogram(Histogram::of(values)))
    }

    /// Records a text, which TensorBoard shows as Markdown.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> Result<()> {
        let tensor = Tensor {
            dtype: DT_STRING,
            shape: Some(TensorShape { dim: vec![Dim { size: 1 }] }),
            string_val: vec![text.as_bytes().to_vec()],
        };
        let metadata = Metadata { plugin: Some(Plugin { name: "text".into() }) };
        self.value(tag, step, Some(metadata), Datum::Tensor(tensor))
    }

    /// Hands everything recorded so far to the operating system: it outlives this process.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.file.flush().map_err(|e| Error::io("write", &self.path, e))
    }

    fn value(&mut self, tag: &str, step: u64, metadata: Option<Metadata>, datum: Datum) -> Result<()> {
        let value = Value { tag: tag.to_owned(), metadata, datum: Some(datum) };
        self.event(step, What::Summary(Summary { value: vec![value] }))?;
        if self.flushed.elapsed() > FLUSH_AFTER { self.flush() } else { Ok(()) }
    }

    fn event(&mut self, step: u64, what: What) -> Result<()> {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        let event = Event { wall_time, step: i64::try_from(step).unwrap_or(i64::MAX), what: Some(what) };
        record::write(&mut self.file, &event.encode_to_vec()).map_err(|e| Error::io("write", &self.path, e))
    }
}

/// Makes a file that was not there. Two in one second by one process get a number each.
fn new_file(dir: &Path) -> Result<(PathBuf, File)> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs());
    let name = format!("events.out.tfevents.{seconds}.{}.{}", host(), std::process::id());
    let mut path = dir.join(&name);
    let mut number = 0_u32;
    loop {
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(e) if e.kind() == ErrorKind::AlreadyExists && number < u32::MAX => number += 1,
            Err(e) => return Err(Error::io("create", path, e)),
        }
        path = dir.join(format!("{name}.{number}"));
    }
}

/// This machine's name, as far as it fits in a file name.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).or_else(|| std::env::var("COMPUTERNAME").ok());
    let name: String = name
        .unwrap_or_default()
        .trim()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .take(64)
        .collect();
    if name.is_empty() { "localhost".into() } else { name }
}

/// The size and the kind of color stand in a PNG file's first chunk.
fn image(png: &[u8]) -> Option<Image> {
    let chunk = png.strip_prefix(b"\x89PNG\r\n\x1a\n")?.get(4..)?.strip_prefix(b"IHDR")?;
    let number = |at: usize| Some(u32::from_be_bytes(chunk.get(at..at + 4)?.try_into().ok()?));
    let colorspace = match chunk.get(9)? {
        0 => 1,
        4 => 2,
        6 => 4,
        _ => 3,
    };
    let side = |at| number(at).and_then(|n| i32::try_from(n).ok());
    Some(Image { width: side(0)?, height: side(4)?, colorspace, encoded: png.to_vec() })
}

#[cfg(test)]
mod tests;
