//! IDX files: what is written is read back, and a file that lies is refused by name.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use gradus_data::Error;
use gradus_data::idx::{self, Idx, IdxData, IdxError};
use proptest::prelude::*;

/// A file of this type code and these dimensions.
fn file(code: u8, dims: &[u32], payload: &[u8]) -> Vec<u8> {
    let dims_bytes = dims.iter().flat_map(|dim| dim.to_be_bytes());
    [0, 0, code, dims.len() as u8].into_iter().chain(dims_bytes).chain(payload.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Reads both forms, which must agree, and gives the error.
fn refused(bytes: &[u8]) -> IdxError {
    let [raw, gzipped] =
        [bytes.to_vec(), gzip(bytes)].map(|bytes| match idx::from_bytes(&bytes, "bad.idx") {
            Err(Error::Idx { origin, source }) if origin == "bad.idx" => source,
            other => panic!("expected an IDX error, found {other:?}"),
        });
    assert_eq!(raw.to_string(), gzipped.to_string());
    raw
}

fn dims() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0_u32..5, 0..4)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(dims in dims(), seed: u64) {
        let count = dims.iter().product::<u32>() as usize;
        let words: Vec<u64> = (0..count as u64).map(|i| (seed ^ i).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        macro_rules! check {
            ($code:literal, $variant:ident, $element:ty, $from:expr) => {
                let elements: Vec<$element> = words.iter().map(|&word| $from(word)).collect();
                let payload: Vec<u8> = elements.iter().flat_map(|element| element.to_be_bytes()).collect();
                let bytes = file($code, &dims, &payload);
                let expected = Idx { shape: dims.iter().map(|&dim| dim as usize).collect(), data: IdxData::$variant(elements) };
                prop_assert_eq!(&idx::from_bytes(&bytes, "").unwrap(), &expected);
                prop_assert_eq!(&idx::from_bytes(&gzip(&bytes), "").unwrap(), &expected);
            };
        }
        check!(0x08, U8, u8, |word| word as u8);
        check!(0x09, I8, i8, |word| word as i8);
        check!(0x0b, I16, i16, |word| word as i16);
        check!(0x0c, I32, i32, |word| word as i32);
        check!(0x0d, F32, f32, |word| word as f32);
        check!(0x0e, F64, f64, |word| word as f64);
    }

    #[test]
    fn a_file_cut_anywhere_is_refused(dims in dims(), cut: prop::sample::Index) {
        let payload = vec![7; dims.iter().product::<u32>() as usize * 4];
        let whole = file(0x0c, &dims, &payload);
        let cut = &whole[..cut.index(whole.len())];
        let truncated = matches!(refused(cut), IdxError::TruncatedHeader { .. } | IdxError::Truncated { .. });
        prop_assert!(truncated);
        let compressed = gzip(&whole);
        for end in 2..compressed.len() {
            prop_assert!(idx::from_bytes(&compressed[..end], "").is_err(), "gzip cut to {end} of {}", compressed.len());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = idx::from_bytes(&bytes, "");
        let _ = idx::from_bytes(&[&[0, 0, 8][..], &bytes].concat(), "");
        let _ = idx::from_bytes(&[&[0x1f, 0x8b, 8][..], &bytes].concat(), "");
    }
}

#[test]
fn dimensions_that_claim_more_than_there_is_are_refused() {
    let error = refused(&file(8, &[2, 3], &[0; 5]));
    assert_eq!(error.to_string(), "truncated: dimensions [2, 3] need 6 bytes of elements, the file has 5");
}

#[test]
fn dimensions_of_terabytes_cost_no_memory() {
    let error = refused(&file(8, &[u32::MAX, 1_000], &[0; 5]));
    assert!(matches!(error, IdxError::Truncated { found: 5, .. }), "{error}");
}

#[test]
fn dimensions_whose_product_overflows_are_refused() {
    for dims in [&[u32::MAX, u32::MAX, u32::MAX][..], &[u32::MAX, u32::MAX, 1 << 28], &[1 << 31, 1 << 31, 2]]
    {
        let error = refused(&file(0x0e, dims, &[]));
        assert!(matches!(error, IdxError::TooLarge { .. }), "{error}");
    }
}

#[test]
fn bytes_after_the_last_element_are_refused() {
    let error = refused(&file(8, &[2], &[0; 3]));
    assert!(matches!(error, IdxError::Trailing { expected: 2, .. }), "{error}");
}

#[test]
fn unknown_types_and_foreign_files_are_refused() {
    assert!(matches!(refused(&file(0x0a, &[1], &[0])), IdxError::Type { code: 0x0a }));
    assert!(matches!(refused(b"PNG!"), IdxError::Magic { found: [b'P', b'N'] }));
    assert!(matches!(refused(&[]), IdxError::TruncatedHeader { found: 0, expected: 4 }));
    assert!(matches!(refused(&[0, 0, 8, 2, 0]), IdxError::TruncatedHeader { found: 5, expected: 12 }));
}

#[test]
fn a_damaged_gzip_stream_is_refused() {
    let mut compressed = gzip(&file(8, &[100], &[3; 100]));
    let checksum = compressed.len() - 8;
    compressed[checksum] ^= 1;
    let error = idx::from_bytes(&compressed, "").unwrap_err();
    assert!(matches!(error, Error::Idx { source: IdxError::Read(_), .. }), "{error}");
}

#[test]
fn an_error_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.gz");
    assert!(matches!(idx::read(&path), Err(Error::Io { path: named, .. }) if named == path));
    std::fs::write(&path, file(8, &[4], &[0; 3])).unwrap();
    let message = idx::read(&path).unwrap_err().to_string();
    assert!(message.starts_with(path.to_str().unwrap()) && message.contains("need 4 bytes"), "{message}");
    assert!(
        matches!(idx::read(dir.path()), Err(Error::Idx { .. } | Error::Io { .. })),
        "a folder is not a file"
    );
}
