//! How far an epoch is: a bar on a terminal, now and then a line elsewhere, or nothing.
//!
//! ```
//! use gradus_train::progress::Progress;
//! let progress = Progress::auto(); // a bar if stderr is a terminal
//! let mut epoch = progress.epoch("epoch 1/10", 6000);
//! for batch in 0..60 {
//!     epoch.advance(100, &[("loss", 2.3 / (batch + 1) as f64), ("acc", 0.1)]);
//! }
//! let speed = epoch.finish();
//! assert_eq!(speed.samples, 6000);
//! ```

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The most often that a bar is redrawn, per second.
const REDRAWS: u8 = 10;

const TEMPLATE: &str = "{prefix:.bold} {bar:24.cyan/dim} {pos}/{len}  {msg}";

type Output = Arc<Mutex<dyn Write + Send>>;

/// Where and how progress is shown.
#[derive(Clone)]
pub struct Progress(Mode);

#[derive(Clone)]
enum Mode {
    Bar,
    Lines { out: Output, every: Duration },
    Hidden,
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mode = match &self.0 {
            Mode::Bar => "Bar",
            Mode::Lines { .. } => "Lines",
            Mode::Hidden => "Hidden",
        };
        f.debug_tuple("Progress").field(&mode).finish()
    }
}

impl Progress {
    /// A bar on stderr if that is a terminal, else a line on stderr every ten seconds.
    pub fn auto() -> Self {
        if io::stderr().is_terminal() { Self(Mode::Bar) } else { Self::lines(io::stderr(), LINE_EVERY) }
    }

    /// Lines to `out`, at most one per `every`. What cannot be written is lost: progress is no reason to fail.
    pub fn lines(out: impl Write + Send + 'static, every: Duration) -> Self {
        Self(Mode::Lines { out: Arc::new(Mutex::new(out)), every })
    }

    /// Nothing.
    pub fn hidden() -> Self {
        Self(Mode::Hidden)
    }

    /// Begins an epoch of `samples` samples.
    pub fn epoch(&self, name: &str, samples: u64) -> EpochProgress {
        self.epoch_from(name, 0, samples)
    }

    /// Goes on with an epoch of `samples` samples of which `done` were done before: they count as progress, but
    /// not as speed.
    pub fn epoch_from(&self, name: &str, done: u64, samples: u64) -> EpochProgress {
        let now = Instant::now();
        let bar = matches!(self.0, Mode::Bar).then(|| bar(name, done, samples));
        let lines = match &self.0 {
            Mode::Lines { out, every } => Some(Lines { out: out.clone(), every: *every, printed: now }),
            _ => None,
        };
        EpochProgress { name: name.to_owned(), samples, before: done, done, started: now, bar, lines }
    }
}

/// An epoch under way. Its bar vanishes when it is finished or dropped.
pub struct EpochProgress {
    name: String,
    samples: u64,
    before: u64,
    done: u64,
    started: Instant,
    bar: Option<ProgressBar>,
    lines: Option<Lines>,
}

struct Lines {
    out: Output,
    every: Duration,
    printed: Instant,
}

impl std::fmt::Debug for EpochProgress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EpochProgress")
            .field("name", &self.name)
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}

/// How fast an epoch went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// The samples done since the epoch began, or was gone on with.
    pub samples: u64,
    /// The time they took.
    pub elapsed: Duration,
}

impl Speed {
    /// Samples per second; 0 if no time has passed.
    pub fn samples_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 { self.samples as f64 / seconds } else { 0.0 }
    }
}

impl EpochProgress {
    /// Counts `samples` more, and shows these values beside.
    pub fn advance(&mut self, samples: u64, values: &[(&str, f64)]) {
        self.done = self.done.saturating_add(samples);
        let due = self.lines.as_ref().is_some_and(|lines| lines.printed.elapsed() >= lines.every);
        if self.bar.is_none() && !due {
            return;
        }
        let state = self.state(values);
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.set_message(state);
        } else if let Some(lines) = &mut self.lines {
            lines.printed = Instant::now();
            let mut out = lines.out.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writeln!(out, "{}  {}/{}  {state}", self.name, self.done, self.samples);
        }
    }

    /// `loss 0.4312  acc 0.8710  5100 samples/s  0:07 left`
    ///
    /// The speed is the average since the epoch began: a moving one takes long to settle.
    fn state(&self, values: &[(&str, f64)]) -> String {
        let mut text = String::new();
        for (name, value) in values {
            let _ = write!(text, "{name} {value:.4}  ");
        }
        let speed = self.speed().samples_per_second();
        let left = self.samples.saturating_sub(self.done) as f64 / speed.max(1e-9);
        let _ = write!(text, "{speed:.0} samples/s  {}", time_left(left));
        text
    }

    /// How fast it goes so far.
    pub fn speed(&self) -> Speed {
        Speed { samples: self.done - self.before, elapsed: self.started.elapsed() }
    }

    /// Hides the bar while `print` writes to the terminal.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Ends the epoch, and says how fast it went.
    pub fn finish(self) -> Speed {
        self.speed()
    }
}

impl Drop for EpochProgress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str, done: u64, samples: u64) -> ProgressBar {
    let target = indicatif::ProgressDrawTarget::stderr_with_hz(REDRAWS);
    let bar = ProgressBar::with_draw_target(Some(samples), target);
    // The template is a constant; were it wrong, the plain style would do.
    let style = ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.progress_chars("━━─"));
    bar.set_prefix(name.to_owned());
    bar.set_position(done);
    bar
}

/// `1:05 left`, `2:00:05 left`
fn time_left(seconds: f64) -> String {
    let all = seconds.round() as u64;
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02} left"),
        1..1000 => format!("{hours}:{minutes:02}:{seconds:02} left"),
        _ => "long left".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(every: Duration) -> Vec<String> {
        let out = Captured::default();
        let mut epoch = Progress::lines(out.clone(), every).epoch_from("epoch 2/3", 40, 100);
        epoch.advance(20, &[("loss", 0.5), ("acc", 0.75)]);
        epoch.advance(40, &[("loss", 0.25)]);
        assert_eq!(epoch.finish().samples, 60);
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn lines_say_the_epoch_the_samples_and_the_values() {
        let lines = lines(Duration::ZERO);
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("epoch 2/3  60/100  loss 0.5000  acc 0.7500  "), "{}", lines[0]);
        assert!(lines[1].starts_with("epoch 2/3  100/100  loss 0.2500  "), "{}", lines[1]);
        assert!(lines[1].ends_with(" samples/s  0:00 left"), "{}", lines[1]);
    }

    #[test]
    fn lines_keep_their_distance_in_time() {
        assert!(lines(Duration::from_secs(3600)).is_empty());
    }

    #[test]
    fn speed_counts_what_was_done_in_the_time_it_took() {
        let speed = Speed { samples: 300, elapsed: Duration::from_millis(1500) };
        assert_eq!(speed.samples_per_second(), 200.0);
        assert_eq!(Speed { samples: 0, elapsed: Duration::ZERO }.samples_per_second(), 0.0);
    }

    #[test]
    fn time_left_is_readable() {
        assert_eq!([5.4, 65.0, 7205.0].map(time_left), ["0:05 left", "1:05 left", "2:00:05 left"]);
        assert_eq!(time_left(f64::INFINITY), "long left");
    }

    #[test]
    fn a_hidden_epoch_measures_its_speed_all_the_same() {
        let mut epoch = Progress::hidden().epoch("epoch 1/1", 10);
        epoch.advance(10, &[]);
        assert_eq!(epoch.suspend(|| 7), 7);
        assert_eq!(epoch.speed().samples, 10);
        epoch.advance(u64::MAX, &[]);
        assert_eq!(epoch.speed().samples, u64::MAX);
    }
}
