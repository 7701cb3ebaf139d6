//! `.npz`: a zip archive with a `.npy` file for each array.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Cursor, Read};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter};

use super::super::atomic::AtomicFile;
use super::super::bytes;
use crate::{Device, Error, Result, Tensor};

fn malformed(path: &Path, error: ZipError) -> Error {
    match error {
        ZipError::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => Error::io(path, e),
        other => bytes::at(Error::format("npz", other.to_string()), path),
    }
}

/// Saves tensors under their names, compressed. The file at `path` is replaced atomically. Names are sorted
/// and entries carry no time, so the same tensors make the same bytes.
///
/// # Errors
/// A name is given twice, a dtype is `bf16`, a device fails, or the file cannot be written.
pub fn save_npz<'a, N: Into<String>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, &'a Tensor)>,
) -> Result<()> {
    let path = path.as_ref();
    let mut sorted = BTreeMap::new();
    for (name, tensor) in tensors {
        let name = name.into();
        if sorted.contains_key(&name) {
            return Err(Error::argument("npz", format!("two tensors are named `{name}`")));
        }
        sorted.insert(name, tensor);
    }
    let zip = |e| malformed(path, e);
    let mut archive = ZipWriter::new(AtomicFile::create(path)?);
    for (name, tensor) in sorted {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            // Compressed data may be a little larger than the plain.
            .large_file(tensor.meta().bytes() > (u32::MAX / 2) as usize);
        archive.start_file(format!("{name}.npy"), options).map_err(zip)?;
        super::write(&mut archive, tensor, path).map_err(|e| e.context(name))?;
    }
    Ok(archive.finish().map_err(zip)?.commit()?)
}

/// Loads every array of an archive, under the names of its entries without `.npy`.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read; [`Error::Format`] if it is damaged, an entry is not an array, or
/// an array has a dtype or rank that tensors here do not have; the device fails.
pub fn load_npz(path: impl AsRef<Path>, device: &Device) -> Result<BTreeMap<String, Tensor>> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    let zip = |e| malformed(path, e);
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(zip)?;
    let mut tensors = BTreeMap::new();
    for i in 0..archive.len() {
        let mut entry = archive.by_index(i).map_err(zip)?;
        let entry_name = entry.name().map_err(zip)?.into_owned();
        let Some(name) = entry_name.strip_suffix(".npy") else {
            let message = format!("entry `{entry_name}` is not a .npy file");
            return Err(bytes::at(Error::format("npz", message), path));
        };
        // Sizes in the archive are claims: the vector grows as bytes arrive.
        let mut whole = Vec::new();
        let read = entry.read_to_end(&mut whole);
        read.map_err(|e| bytes::at(Error::format("npz", format!("entry `{entry_name}`: {e}")), path))?;
        let array = super::read(&mut Cursor::new(&whole), whole.len() as u64, path);
        let array = array.map_err(|e| bytes::at(e, path).context(name))?;
        tensors.insert(name.to_owned(), device.upload(&array).map_err(|e| e.context(name))?);
    }
    Ok(tensors)
}
