//! A directory of checkpoints: the newest few, and the best.

use std::fs;
use std::path::{Path, PathBuf};

use gradus_tensor_core::io::atomic;

use super::{Checkpoint, CheckpointWriter};
use crate::{Error, Result};

const PREFIX: &str = "step-";
const SUFFIX: &str = ".ckpt";
const BEST: &str = "best.ckpt";

/// A run's checkpoints: `step-000000940.ckpt` and so on, of which the newest few are kept, and
/// `best.ckpt`, a second name of the one that scored best.
///
/// ```
/// use gradus_train::checkpoint::{CheckpointDir, CheckpointWriter};
/// # let run = tempfile::tempdir().unwrap();
/// let dir = CheckpointDir::create(run.path().join("checkpoints"))?.keep(2);
/// for step in [100, 200, 300] {
///     let path = dir.save(&CheckpointWriter::new(step).section("model", b"weights".as_slice()))?;
///     if step == 100 {
///         dir.mark_best(&path)?;
///     }
/// }
/// assert_eq!(dir.list()?.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [200, 300]);
/// assert_eq!(dir.latest()?.checkpoint.unwrap().step(), 300);
/// assert_eq!(dir.best()?.unwrap().step(), 100);
/// # Ok::<(), gradus_train::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CheckpointDir {
    path: PathBuf,
    keep: usize,
}

/// What [`CheckpointDir::latest`] found.
#[derive(Debug)]
pub struct Latest {
    /// The newest checkpoint that is whole; `None` if there is none.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that are not, each with what is wrong with it: to be shown as warnings.
    pub skipped: Vec<Error>,
}

impl CheckpointDir {
    /// Makes the directory, if need be, for a run that will write to it, and removes the temporary files
    /// of one that died there. Keeps the newest 2 checkpoints: see [`keep`](Self::keep).
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be made or written.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let dir = Self::open(path);
        fs::create_dir_all(&dir.path).map_err(|e| Error::io("create", &dir.path, e))?;
        atomic::sweep(&dir.path)?;
        Ok(dir)
    }

    /// A directory to read from. Changes nothing, and need not exist.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), keep: 2 }
    }

    /// Keeps the newest `count` checkpoints, at least 1, beside the best one. With 2, a damaged last one
    /// leaves one to fall back to.
    #[must_use]
    pub fn keep(mut self, count: usize) -> Self {
        self.keep = count.max(1);
        self
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves a checkpoint under its step, then removes the oldest ones beyond those to keep.
    ///
    /// # Errors
    /// As [`CheckpointWriter::save`]; [`Error::Io`] if an old one cannot be removed.
    pub fn save(&self, checkpoint: &CheckpointWriter<'_>) -> Result<PathBuf> {
        let path = self.path.join(format!("{PREFIX}{:09}{SUFFIX}", checkpoint.step()));
        checkpoint.save(&path)?;
        let saved = self.list()?;
        for (_, old) in saved.iter().take(saved.len().saturating_sub(self.keep)) {
            if *old != path {
                fs::remove_file(old).map_err(|e| Error::io("remove", old, e))?;
            }
        }
        Ok(path)
    }

    /// Makes the checkpoint at `path`, one that [`save`](Self::save) returned, the best one.
    ///
    /// # Errors
    /// [`Error::Io`]; the best one so far then stays.
    pub fn mark_best(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(atomic::link(path, self.best_path())?)
    }

    /// Where the best checkpoint is, if there is one.
    pub fn best_path(&self) -> PathBuf {
        self.path.join(BEST)
    }

    /// Opens the best checkpoint; `None` if there is none.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn best(&self) -> Result<Option<Checkpoint>> {
        let path = self.best_path();
        if path.exists() { Checkpoint::open(path).map(Some) } else { Ok(None) }
    }

    /// Opens the newest checkpoint that is whole. Damaged ones are passed over, and reported in
    /// [`Latest::skipped`]. If nothing else is left, that is the best one.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub fn latest(&self) -> Result<Latest> {
        let mut candidates: Vec<_> = self.list()?.into_iter().map(|(_, path)| path).rev().collect();
        if self.best_path().exists() {
            candidates.push(self.best_path());
        }
        let mut skipped = Vec::new();
        for path in candidates {
            match Checkpoint::open(path) {
                Ok(checkpoint) => return Ok(Latest { checkpoint: Some(checkpoint), skipped }),
                Err(error) => skipped.push(error),
            }
        }
        Ok(Latest { checkpoint: None, skipped })
    }

    /// The steps and files of the checkpoints, oldest first, without the best one and without opening any.
    /// A directory that does not exist has none.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Error::io("read", &self.path, e)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(|e| Error::io("read", &self.path, e))?.path();
            if let Some(step) = step_of(&path) {
                found.push((step, path));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Removes the checkpoints made after `step`: what a run does that goes on from an earlier one, whose
    /// future those no longer are. The best one stays.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be removed.
    pub fn forget_after(&self, step: u64) -> Result<()> {
        for (_, path) in self.list()?.into_iter().filter(|(made, _)| *made > step) {
            fs::remove_file(&path).map_err(|e| Error::io("remove", path, e))?;
        }
        Ok(())
    }
}

/// The step in a file's name; `None` for any other file.
fn step_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}
