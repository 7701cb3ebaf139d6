//! Files that are absent, old or whole, never partial.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Removes the temporary file unless it became the final one.
struct Temporary {
    path: PathBuf,
    keep: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.keep {
            // Best effort: whatever brought us here is already being reported.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a file through `fill`. Whatever fails, a file already at `path` is untouched and the temporary
/// one is gone.
pub(super) fn write(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let io = |e| Error::io(path, e);
    let (mut temporary, file) = create(path)?;
    let mut buffered = BufWriter::with_capacity(1 << 20, file);
    fill(&mut buffered)?;
    buffered.flush().map_err(io)?;
    buffered.get_ref().sync_all().map_err(io)?;
    drop(buffered); // some systems do not rename an open file
    fs::rename(&temporary.path, path).map_err(io)?;
    temporary.keep = true;
    // The rename itself becomes durable with the directory; only Unix can open one, and only it needs to.
    if cfg!(unix) {
        File::open(parent(path)).and_then(|d| d.sync_all()).map_err(io)?;
    }
    Ok(())
}

/// Begins `.name.partial-pid-n` in the same directory, since a rename is atomic only within a file system.
fn create(path: &Path) -> Result<(Temporary, File)> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::argument("save", format!("`{}` does not name a file", path.display())));
    };
    loop {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        temporary.push(format!(".partial-{}-{count}", std::process::id()));
        let temporary = parent(path).join(temporary);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((Temporary { path: temporary, keep: false }, file)),
            // Left by a process of the same id that died.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(Error::io(path, e)),
        }
    }
}

/// The directory of a file; `.` for a bare name.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_write_leaves_the_old_file_and_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |f| f.write_all(b"old").map_err(|e| Error::io("file", e))).unwrap();
        let error = write(&path, |f| {
            f.write_all(&[0; 3 << 20]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"old");
            Err(Error::argument("test", "the disk is full"))
        });
        assert!(error.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_is_missing_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let error = write(&dir.path().join("missing/file"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("missing/file"), "{error}");
        assert!(write(Path::new("/"), |_| Ok(())).is_err());
    }
}
