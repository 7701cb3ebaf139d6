//! TFRecord framing: length, checksum of the length, data, checksum of the data.
//!
//! ```
//! let mut file = Vec::new();
//! gradus_train::tensorboard::record::write(&mut file, b"data")?;
//! assert_eq!(file.len(), 8 + 4 + 4 + 4);
//! # Ok::<(), std::io::Error>(())
//! ```

use std::io::{self, Write};

/// What is added to a rotated checksum, so that the checksum of data that holds checksums stays strong.
const MASK_DELTA: u32 = 0xa282_ead8;

/// Appends one record.
///
/// # Errors
/// Those of `out`.
pub fn write(mut out: impl Write, data: &[u8]) -> io::Result<()> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked_crc(data).to_le_bytes())
}

/// The CRC-32C of `bytes`, masked as TFRecord asks.
pub fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK_DELTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_bytes_that_tensorflow_writes() {
        // tensorboard.summary.writer.record_writer.RecordWriter(file).write(b"gradus"), TensorBoard 2.21
        let mut bytes = Vec::new();
        write(&mut bytes, b"gradus").unwrap();
        assert_eq!(bytes[..8], [6, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[8..12], [115, 105, 213, 55]);
        assert_eq!(bytes[12..18], *b"gradus");
        assert_eq!(bytes[18..], [172, 12, 77, 212]);
    }
}
