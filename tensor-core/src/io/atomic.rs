//! Files that are either absent, or old, or whole: never partial.
//!
//! A file is written under a temporary name in the directory of its final name, synchronized to the
//! disk, renamed over the final name, and the directory is synchronized. A reader, or a machine that
//! loses power, sees the old file or the new one. If the process dies before the rename, what stays
//! is a hidden temporary file, which [`sweep`] removes.
//!
//! ```
//! use std::io::Write;
//! # let dir = tempfile::tempdir().unwrap();
//! let path = dir.path().join("answer.txt");
//! gradus_tensor_core::io::atomic::write(&path, |file| file.write_all(b"42"))?;
//! assert_eq!(std::fs::read(&path).unwrap(), b"42");
//! # Ok::<(), gradus_tensor_core::io::atomic::Refused>(())
//! ```

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// What marks a temporary file's name, between the final name and the writing process's id.
const MARK: &str = ".partial-";

/// The operating system refused a step on the way to a whole file. `source.kind()` says how: `PermissionDenied`,
/// `StorageFull`, …
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", path.display())]
pub struct Refused {
    /// What was attempted, as in `create`.
    pub action: &'static str,
    /// The file or directory it was attempted on: for a file being written, its final name.
    pub path: PathBuf,
    /// What the operating system answered.
    pub source: io::Error,
}

impl From<Refused> for Error {
    fn from(Refused { path, source, .. }: Refused) -> Self {
        Error::Io { path, source }
    }
}

/// For `map_err`: what was attempted, and on which path.
fn refused(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Refused {
    move |source| Refused { action, path: path.to_path_buf(), source }
}

type Result<T, E = Refused> = std::result::Result<T, E>;

/// Writes a file through `fill`, so that `path` is never seen partial. Parent directories must exist.
///
/// # Errors
/// [`Refused`] names the path. Whatever failed, a file already at `path` is untouched, and the
/// temporary file is gone.
pub fn write(path: impl AsRef<Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file).map_err(refused("write", &file.path))?;
    file.commit()
}

/// Removes the temporary files that dead processes left in `dir`, and says how many there were.
///
/// Call it only where no other process is writing.
///
/// # Errors
/// [`Refused`] if the directory cannot be read or a file in it cannot be removed.
pub fn sweep(dir: impl AsRef<Path>) -> Result<usize> {
    let dir = dir.as_ref();
    let mut removed = 0;
    for entry in fs::read_dir(dir).map_err(refused("read", dir))? {
        let entry = entry.map_err(refused("read", dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.contains(MARK) {
            fs::remove_file(entry.path()).map_err(refused("remove", &entry.path()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A file being written under a temporary name. It appears under its own with [`commit`](Self::commit);
/// dropped before that, it vanishes.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<BufWriter<File>>,
}

impl AtomicFile {
    /// Begins the file that will be at `path`.
    ///
    /// # Errors
    /// [`Refused`] if `path` names no file or the directory cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        loop {
            let temporary = temporary_name(&path)?;
            match OpenOptions::new().write(true).create_new(true).open(&temporary) {
                Ok(file) => {
                    let file = Some(BufWriter::with_capacity(1 << 20, file));
                    return Ok(Self { path, temporary, file });
                }
                // Left by a process of the same id that died.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(refused("create", &path)(e)),
            }
        }
    }

    /// Makes the whole file durable and puts it under its final name, replacing what was there.
    ///
    /// # Errors
    /// [`Refused`]; what was under the final name is then untouched, unless it is only the directory that
    /// could not be synchronized.
    pub fn commit(mut self) -> Result<()> {
        let Some(buffered) = self.file.take() else { return Ok(()) };
        let file = buffered.into_inner().map_err(|e| refused("write", &self.path)(e.into_error()));
        let file = file.inspect_err(|_| self.discard())?;
        let renamed = file
            .sync_all()
            .map_err(refused("write", &self.path))
            .and_then(|()| fs::rename(&self.temporary, &self.path).map_err(refused("replace", &self.path)));
        renamed.inspect_err(|_| self.discard())?;
        sync_directory(parent(&self.path))
    }

    /// Removes the temporary file; best effort, for paths on which an error is already being reported.
    fn discard(&self) {
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.as_mut().ok_or_else(|| io::Error::other("already committed"))?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// For formats whose header is completed last.
impl Seek for AtomicFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.as_mut().ok_or_else(|| io::Error::other("already committed"))?.seek(to)
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(buffered) = self.file.take() {
            // Not flushed: the bytes are unwanted, and the disk may be full.
            let _ = buffered.into_parts();
            self.discard();
        }
    }
}

/// Gives the file at `from` a second name `to`, atomically replacing what was there. Costs no copy
/// where the file system knows hard links.
///
/// # Errors
/// [`Refused`]; what was under `to` is then untouched.
pub fn link(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<()> {
    let (from, to) = (from.as_ref(), to.as_ref());
    let temporary = temporary_name(to)?;
    let _ = fs::remove_file(&temporary);
    if fs::hard_link(from, &temporary).is_err() {
        let mut source = File::open(from).map_err(refused("open", from))?;
        return write(to, |file| io::copy(&mut source, file).map(drop));
    }
    if let Err(e) = fs::rename(&temporary, to) {
        let _ = fs::remove_file(&temporary);
        return Err(refused("replace", to)(e));
    }
    // Renaming one name of a file over another name of the same file does nothing, so the temporary
    // name may still be there.
    let _ = fs::remove_file(&temporary);
    sync_directory(parent(to))
}

/// `dir/.name.partial-pid-n`: in the same directory, since a rename is atomic only within a file system.
fn temporary_name(path: &Path) -> Result<PathBuf> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        let message = io::Error::new(io::ErrorKind::InvalidInput, "this does not name a file");
        return Err(refused("create", path)(message));
    };
    let mut temporary = OsString::from(".");
    temporary.push(name);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    temporary.push(format!("{MARK}{}-{count}", std::process::id()));
    Ok(parent(path).join(temporary))
}

/// The directory of a file; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename durable. Elsewhere than on Unix a directory cannot be opened, and need not be; some network
/// file systems synchronize directories by themselves, and refuse to be asked.
fn sync_directory(dir: &Path) -> Result<()> {
    use io::ErrorKind::{InvalidInput, Unsupported};
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(dir).and_then(|d| d.sync_all()) {
        Err(e) if !matches!(e.kind(), InvalidInput | Unsupported) => Err(refused("synchronize", dir)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_disk_that_fills_up_leaves_the_old_file_and_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |f| f.write_all(b"old")).unwrap();
        let error = write(&path, |f| {
            f.write_all(&vec![0; 3 << 20])?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn nothing_is_under_the_final_name_before_the_commit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.flush().unwrap();
        assert!(!path.exists());
        file.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_file_left_by_a_dead_process_is_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".keep"), b"").unwrap();
        std::mem::forget(AtomicFile::create(dir.path().join("file")).unwrap());
        assert_eq!(names(dir.path()).len(), 2);
        assert_eq!(sweep(dir.path()).unwrap(), 1);
        assert_eq!(names(dir.path()), [".keep"]);
    }

    #[test]
    fn a_directory_that_is_missing_or_a_file_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing").join("file");
        assert!(write(&missing, |_| Ok(())).unwrap_err().to_string().contains("missing/file"));
        fs::write(dir.path().join("plain"), b"").unwrap();
        let below = write(dir.path().join("plain").join("file"), |_| Ok(())).unwrap_err();
        assert_eq!(below.source.kind(), io::ErrorKind::NotADirectory);
        assert!(write(Path::new("/"), |_| Ok(())).is_err());
    }

    #[test]
    fn a_link_outlives_its_origin_and_replaces_an_older_link() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b, best) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("best"));
        write(&a, |f| f.write_all(b"a")).unwrap();
        write(&b, |f| f.write_all(b"b")).unwrap();
        link(&a, &best).unwrap();
        link(&a, &best).unwrap();
        link(&b, &best).unwrap();
        fs::remove_file(&b).unwrap();
        assert_eq!(fs::read(&best).unwrap(), b"b");
        assert_eq!(names(dir.path()), ["a", "best"]);
    }
}
