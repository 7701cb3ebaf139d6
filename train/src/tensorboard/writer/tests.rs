//! The bytes of an event file, decoded by hand: neither prost nor the crc32c crate is asked.

use super::*;

/// CRC-32C, bit by bit.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0x82f6_3b78 * (c & 1)))
    })
}

fn masked(bytes: &[u8]) -> u32 {
    let crc = crc(bytes);
    crc.rotate_left(17).wrapping_add(0xa282_ead8)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Splits a TFRecord file, verifying every checksum.
fn records(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(u32_at(bytes, 8), masked(&bytes[..8]));
        let data = &bytes[12..12 + length];
        assert_eq!(u32_at(bytes, 12 + length), masked(data));
        records.push(data.to_vec());
        bytes = &bytes[16 + length..];
    }
    records
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// The fields of a protobuf message: number and bytes (numbers as eight little-endian bytes).
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let length = match key & 7 {
            0 => {
                fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                continue;
            }
            1 => 8,
            5 => 4,
            2 => varint(&mut bytes) as usize,
            other => panic!("wire type {other}"),
        };
        fields.push((key >> 3, bytes[..length].to_vec()));
        bytes = &bytes[length..];
    }
    fields
}

fn field(message: &[u8], number: u64) -> Vec<u8> {
    fields(message).into_iter().find(|(n, _)| *n == number).unwrap_or_else(|| panic!("no field {number}")).1
}

/// The steps and values of an event file, its first event aside.
fn values(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let records = records(&fs::read(path).unwrap());
    assert_eq!(field(&records[0], 3), b"brain.Event:2");
    records[1..]
        .iter()
        .map(|event| {
            let step = fields(event).into_iter().find(|(n, _)| *n == 2);
            let step = step.map_or(0, |(_, bytes)| u64::from_le_bytes(bytes.try_into().unwrap()));
            (step, field(&field(event, 5), 1))
        })
        .collect()
}

#[test]
fn scalars_are_framed_checksummed_and_numbered_as_tensorboard_reads_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(dir.path().join("made")).unwrap();
    events.scalar("loss/train", 0, 2.25).unwrap();
    events.scalar("loss/train", 300, f64::NAN).unwrap();
    let path = events.path().to_owned();
    drop(events);
    let values = values(&path);
    assert_eq!(values.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 300]);
    assert_eq!(field(&values[0].1, 1), b"loss/train");
    assert_eq!(field(&values[0].1, 2), 2.25_f32.to_le_bytes());
    assert!(f32::from_le_bytes(field(&values[1].1, 2).try_into().unwrap()).is_nan());
}

#[test]
fn an_event_knows_when_it_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let events = EventWriter::create(dir.path()).unwrap();
    let first = &records(&fs::read(events.path()).unwrap())[0];
    let written = f64::from_le_bytes(field(first, 1).try_into().unwrap());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - written).abs() < 60.0);
}

#[test]
fn a_picture_carries_the_size_that_its_png_says() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(dir.path()).unwrap();
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x01\x02\0\0\0\x30\x08\0\0\0\0".to_vec();
    png.extend_from_slice(b"the rest");
    events.image_png("sheet", 1, &png).unwrap();
    let error = events.image_png("sheet", 2, b"JFIF").unwrap_err();
    assert!(error.to_string().contains("`sheet` is not a PNG file"), "{error}");
    assert!(events.image_png("sheet", 2, &png[..20]).is_err());
    events.flush().unwrap();
    let image = field(&values(events.path())[0].1, 4);
    assert_eq!(field(&image, 2), 0x102_u64.to_le_bytes());
    assert_eq!(field(&image, 1), 0x30_u64.to_le_bytes());
    assert_eq!(field(&image, 3), 1_u64.to_le_bytes());
    assert_eq!(field(&image, 4), png);
}

#[test]
fn text_is_a_string_tensor_for_the_text_plugin() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = EventWriter::create(dir.path()).unwrap();
    events.text("configuration", 5, "*größer*").unwrap();
    events.flush().unwrap();
    let (step, value) = values(events.path()).remove(0);
    assert_eq!(step, 5);
    assert_eq!(field(&field(&field(&value, 9), 1), 1), b"text");
    assert_eq!(field(&field(&value, 8), 8), "*größer*".as_bytes());
}

#[test]
fn a_resumed_run_voids_later_steps_in_a_file_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let first = EventWriter::create(dir.path()).unwrap();
    let second = EventWriter::resume(dir.path(), 40).unwrap();
    assert_ne!(first.path(), second.path());
    let start = &records(&fs::read(second.path()).unwrap())[1];
    assert_eq!(field(start, 2), 41_u64.to_le_bytes());
    assert_eq!(field(&field(start, 7), 1), 1_u64.to_le_bytes());
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("plain"), b"").unwrap();
    let error = EventWriter::create(dir.path().join("plain")).unwrap_err();
    assert!(error.to_string().contains("plain"), "{error}");
}
