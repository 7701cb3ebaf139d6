//! Every way of damaging a small checkpoint, exhaustively.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use gradus_tensor_core::io::atomic::{self, AtomicFile};

use super::*;
use crate::Error;

fn writer() -> CheckpointWriter<'static> {
    CheckpointWriter::new(7)
        .section("model", (0..32).collect::<Vec<u8>>())
        .section("empty", Vec::new())
        .section("optimizer", b"momentum".as_slice())
}

fn bytes_of(writer: &CheckpointWriter<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    writer.write_to(&mut bytes).unwrap();
    bytes
}

fn damage(path: &Path, bytes: &[u8]) -> Damage {
    fs::write(path, bytes).unwrap();
    let error = Checkpoint::open(path).expect_err("a damaged checkpoint must not open");
    assert!(error.to_string().contains(path.to_str().unwrap()), "the error does not name the file: {error}");
    match error {
        Error::Checkpoint { damage, .. } => damage,
        other => panic!("not a checkpoint error: {other}"),
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.ckpt");
    let large: Vec<u8> = (0..3_000_001_u32).map(|i| (i * 7) as u8).collect();
    writer().section("large", large.as_slice()).json("state", &[1.5, -0.1]).unwrap().save(&path).unwrap();
    let mut read = Checkpoint::open(&path).unwrap();
    assert_eq!(read.step(), 7);
    assert_eq!(read.sections().collect::<Vec<_>>(), ["model", "empty", "optimizer", "large", "state"]);
    assert_eq!(read.section("large").unwrap(), large);
    assert_eq!(read.section("optimizer").unwrap(), b"momentum");
    assert_eq!(read.section("empty").unwrap(), b"");
    assert_eq!(read.json::<[f64; 2]>("state").unwrap(), [1.5, -0.1]);
    assert_eq!(read.section("model").unwrap(), (0..32).collect::<Vec<u8>>());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(256))]
    #[test]
    fn finite_floats_survive_json_to_the_bit(bits: u64) {
        let value = f64::from_bits(bits);
        if value.is_finite() {
            let mut bytes = Vec::new();
            CheckpointWriter::new(0).json("x", &value).unwrap().write_to(&mut bytes).unwrap();
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("c"), bytes).unwrap();
            let read: f64 = Checkpoint::open(dir.path().join("c")).unwrap().json("x").unwrap();
            proptest::prop_assert_eq!(read.to_bits(), bits);
        }
    }
}

#[test]
fn a_checkpoint_cut_at_any_byte_is_reported_as_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.ckpt");
    let whole = bytes_of(&writer());
    for length in 0..whole.len() {
        let Damage::Truncated { expected, found } = damage(&path, &whole[..length]) else {
            panic!("cut at {length}: not reported as truncated");
        };
        assert_eq!(found, length as u64);
        assert!(expected == whole.len() as u64 || length < 32, "cut at {length}: expected {expected}");
    }
}

#[test]
fn any_flipped_bit_is_found_and_the_damaged_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("flip.ckpt");
    let whole = bytes_of(&writer());
    let model = whole.len() - 4 - 8 - 32..whole.len() - 4 - 8;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            let damage = damage(&path, &bytes);
            let Damage::Checksum { part, .. } = &damage else {
                assert!(
                    at < 8 && matches!(damage, Damage::WrongMagic { .. }),
                    "byte {at} bit {bit}: {damage}"
                );
                continue;
            };
            let expected = match at {
                0..32 => "the preamble",
                at if at < model.start => "the header",
                at if at < model.end => "section `model`",
                at if at < whole.len() - 4 => "section `optimizer`",
                _ => "the trailer",
            };
            assert_eq!(part, expected, "byte {at} bit {bit}");
        }
    }
}

#[test]
fn bytes_after_the_end_and_other_kinds_of_file_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other");
    let mut longer = bytes_of(&writer());
    longer.push(0);
    assert!(matches!(damage(&path, &longer), Damage::TrailingBytes { .. }));
    assert!(matches!(damage(&path, b"PK\x03\x04 a zip file"), Damage::WrongMagic { .. }));
    assert!(matches!(damage(&path, b"ab"), Damage::WrongMagic { .. }));
    assert!(matches!(Checkpoint::open(dir.path().join("absent")), Err(Error::Io { .. })));
}

#[test]
fn a_newer_format_is_told_from_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = bytes_of(&writer());
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    let damage = damage(&dir.path().join("newer.ckpt"), &bytes);
    assert_eq!(damage, Damage::NewerVersion { found: 2, supported: 1 });
}

/// A file whose every checksum holds, and whose header says what it is told to.
fn forged(header: &str, payload: &[u8]) -> Vec<u8> {
    let file_length = (32 + header.len() + payload.len() + 4) as u64;
    let preamble = format::Preamble {
        header_length: header.len() as u32,
        file_length,
        header_crc: crc32c::crc32c(header.as_bytes()),
    };
    let mut bytes = preamble.to_bytes().to_vec();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_header_that_lies_is_refused_without_a_panic_or_a_huge_allocation() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forged.ckpt");
    let section = |offset: u64, length: u64| {
        format!(r#"{{"name":"a","offset":{offset},"length":{length},"crc32c":0}}"#)
    };
    let lies = [
        "not json".to_owned(),
        r#"{"step":1}"#.to_owned(),
        format!(r#"{{"step":1,"sections":[{}]}}"#, section(0, u64::MAX)),
        format!(r#"{{"step":1,"sections":[{},{}]}}"#, section(0, 4), section(4, u64::MAX - 2)),
        format!(r#"{{"step":1,"sections":[{}]}}"#, section(2, 2)),
        format!(r#"{{"step":1,"sections":[{},{}]}}"#, section(0, 4), section(0, 4)),
        format!(r#"{{"step":1,"sections":[{}]}}"#, section(0, 3)),
    ];
    for header in lies {
        let damage = damage(&path, &forged(&header, b"abcd"));
        assert!(matches!(damage, Damage::Header { .. }), "{header}: {damage}");
    }
    let mut long_header = forged("{}", b"");
    long_header[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let crc = crc32c::crc32c(&long_header[..28]);
    long_header[28..32].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(damage(&path, &long_header), Damage::Header { .. }));
}

#[test]
fn keys_that_a_later_program_adds_to_the_header_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("extended.ckpt");
    fs::write(&path, forged(r#"{"step":3,"sections":[],"host":"x"}"#, b"")).unwrap();
    assert_eq!(Checkpoint::open(&path).unwrap().step(), 3);
}

#[test]
fn the_bytes_of_the_format_do_not_change_by_accident() {
    let bytes = bytes_of(&CheckpointWriter::new(1).section("a", b"123456789".as_slice()));
    // 0xe3069283 is the published CRC-32C of "123456789".
    let header = format!(
        r#"{{"step":1,"sections":[{{"name":"a","offset":0,"length":9,"crc32c":{}}}]}}"#,
        0xe306_9283_u32
    );
    assert_eq!(bytes, forged(&header, b"123456789"));
    assert_eq!(&bytes[..12], b"\x89GRADUS\n\x01\0\0\0");
}

#[test]
fn missing_and_repeated_and_mistyped_sections_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.ckpt");
    writer().save(&path).unwrap();
    let mut read = Checkpoint::open(&path).unwrap();
    let error = read.section("scheduler").unwrap_err().to_string();
    assert!(error.ends_with("no section `scheduler`; it has: model, empty, optimizer"), "{error}");
    assert!(read.json::<u32>("optimizer").unwrap_err().to_string().contains("section `optimizer`"));
    let twice = writer().section("model", Vec::new()).save(dir.path().join("twice.ckpt"));
    assert!(matches!(twice, Err(Error::Argument { .. })));
    assert!(!dir.path().join("twice.ckpt").exists());
}

/// Takes `room` bytes, then says that the disk is full.
struct SmallDisk {
    room: usize,
}

impl Write for SmallDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.room);
        self.room -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_disk_that_fills_up_at_any_byte_is_reported_and_leaves_the_old_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.ckpt");
    writer().save(&path).unwrap();
    let old = fs::read(&path).unwrap();
    let newer = CheckpointWriter::new(8).section("model", vec![1; 64]);
    for room in 0..bytes_of(&newer).len() {
        let written = atomic::write(&path, |file| {
            newer.write_to(SmallDisk { room })?;
            file.write_all(b"unreachable")
        });
        assert!(Error::from(written.unwrap_err()).is_disk_full());
        assert_eq!(fs::read(&path).unwrap(), old);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_process_that_dies_before_the_rename_leaves_the_old_checkpoint() {
    let run = tempfile::tempdir().unwrap();
    let dir = CheckpointDir::create(run.path()).unwrap();
    let path = dir.save(&writer()).unwrap();
    let mut dying = AtomicFile::create(&path).unwrap();
    dying.write_all(&bytes_of(&writer())[..100]).unwrap();
    dying.flush().unwrap();
    std::mem::forget(dying);
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 2);

    let dir = CheckpointDir::create(run.path()).unwrap();
    assert_eq!(fs::read_dir(run.path()).unwrap().count(), 1);
    let latest = dir.latest().unwrap();
    assert!(latest.skipped.is_empty());
    assert_eq!(latest.checkpoint.unwrap().section("optimizer").unwrap(), b"momentum");
}

#[test]
fn latest_passes_over_damaged_files_and_says_so() {
    let run = tempfile::tempdir().unwrap();
    let dir = CheckpointDir::create(run.path().join("deep").join("er")).unwrap().keep(3);
    let paths: Vec<_> = (1..=3).map(|step| dir.save(&CheckpointWriter::new(step)).unwrap()).collect();
    dir.mark_best(&paths[0]).unwrap();
    fs::write(&paths[2], b"").unwrap();
    let half = fs::read(&paths[1]).unwrap();
    fs::write(&paths[1], &half[..half.len() / 2]).unwrap();
    let latest = dir.latest().unwrap();
    assert_eq!(latest.checkpoint.unwrap().step(), 1);
    assert_eq!(latest.skipped.len(), 2);
    assert!(latest.skipped[0].to_string().contains("step-000000003.ckpt: truncated: 0 of"));

    fs::remove_file(&paths[0]).unwrap();
    let latest = dir.latest().unwrap();
    assert_eq!(latest.checkpoint.unwrap().path(), dir.best_path());
}

#[test]
fn a_directory_that_is_absent_has_no_checkpoint_and_other_files_are_left_alone() {
    let run = tempfile::tempdir().unwrap();
    let dir = CheckpointDir::open(run.path().join("absent"));
    assert!(dir.latest().unwrap().checkpoint.is_none());
    assert!(dir.best().unwrap().is_none());
    assert!(!run.path().join("absent").exists());

    fs::write(run.path().join("step-notes.ckpt"), b"mine").unwrap();
    let dir = CheckpointDir::create(run.path()).unwrap().keep(1);
    dir.save(&CheckpointWriter::new(1)).unwrap();
    dir.save(&CheckpointWriter::new(2)).unwrap();
    assert_eq!(dir.list().unwrap().len(), 1);
    assert!(run.path().join("step-notes.ckpt").exists());
}

#[test]
fn going_on_from_an_earlier_step_forgets_the_later_ones_and_never_the_one_just_saved() {
    let run = tempfile::tempdir().unwrap();
    let dir = CheckpointDir::create(run.path()).unwrap().keep(2);
    for step in [10, 20, 30] {
        dir.save(&CheckpointWriter::new(step)).unwrap();
    }
    let early = dir.save(&CheckpointWriter::new(15)).unwrap();
    assert!(early.exists());
    dir.forget_after(15).unwrap();
    assert_eq!(dir.list().unwrap(), [(15, early)]);
}
