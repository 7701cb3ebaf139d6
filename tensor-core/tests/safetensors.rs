//! `.safetensors` files: round trips, exact bytes, and damage.
#![cfg(feature = "safetensors")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::fs;

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::io::safetensors::{from_bytes, load, read_metadata, save, to_bytes};
use gradus_tensor_core::{Error, Tensor};
use proptest::prelude::*;
use safetensors::tensor::{Dtype, TensorView};
use support::Holder;

type Metadata = BTreeMap<String, String>;

fn tensors() -> Vec<(&'static str, Tensor)> {
    let device = Holder::device();
    let from = |x: f64| [f16::from_f64(x), f16::NAN, f16::INFINITY];
    vec![
        ("weight", Tensor::from_vec(vec![1.5f32, -2.0, f32::NAN, 0.0, 5.0, 6.0], [2, 3], &device).unwrap()),
        ("double", Tensor::from_vec(vec![0.1f64, f64::MIN_POSITIVE], [2], &device).unwrap()),
        ("half", Tensor::from_slice(&from(0.1), [3], &device).unwrap()),
        ("brain", Tensor::from_vec(vec![bf16::from_f64(0.1)], [1, 1], &device).unwrap()),
        ("long", Tensor::from_vec(vec![i64::MIN, i64::MAX], [2], &device).unwrap()),
        ("int", Tensor::from_vec(vec![i32::MIN], (), &device).unwrap()),
        ("signed", Tensor::from_vec(vec![i8::MIN, -1, i8::MAX], [3], &device).unwrap()),
        ("byte", Tensor::from_vec(vec![0u8, 255, 7], [3], &device).unwrap()),
        ("bool", Tensor::from_vec(vec![true, false], [2], &device).unwrap()),
        ("empty", Tensor::from_vec(Vec::<f32>::new(), [0, 4], &device).unwrap()),
        ("na\"me \u{e9}\n", Tensor::from_vec(vec![1.0f32], [1], &device).unwrap()),
    ]
}

fn named<'a>(tensors: &'a [(&'static str, Tensor)]) -> impl Iterator<Item = (&'static str, &'a Tensor)> {
    tensors.iter().map(|(name, tensor)| (*name, tensor))
}

/// Bytes of a tensor, so that NaN equals itself.
fn bits(tensor: &Tensor) -> Vec<u8> {
    to_bytes([("x", tensor)], &Metadata::new()).unwrap()
}

#[test]
fn every_dtype_and_shape_comes_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let metadata = Metadata::from([("format".into(), "pt".into()), ("a".into(), "\"b\"".into())]);
    let tensors = tensors();
    save(&path, named(&tensors), &metadata).unwrap();
    let loaded = load(&path, &Holder::device()).unwrap();
    assert_eq!(loaded.len(), tensors.len());
    for (name, tensor) in &tensors {
        assert_eq!(loaded[*name].meta(), tensor.meta(), "{name}");
        assert_eq!(bits(&loaded[*name]), bits(tensor), "{name}");
    }
    assert_eq!(read_metadata(&path).unwrap(), metadata);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left");
    let bytes = to_bytes(named(&tensors), &metadata).unwrap();
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert_eq!(from_bytes(&bytes, &Holder::device()).unwrap().len(), tensors.len());
}

#[test]
fn the_bytes_are_those_of_the_reference_implementation_in_any_order_of_the_tensors() {
    let mut tensors = tensors();
    let metadata = Metadata::from([("format".into(), "pt".into())]);
    let ours = to_bytes(named(&tensors), &metadata).unwrap();
    tensors.reverse();
    assert_eq!(ours, to_bytes(named(&tensors), &metadata).unwrap());
    let parsed = safetensors::SafeTensors::deserialize(&ours).unwrap();
    let pairs = HashMap::from([("format".to_string(), "pt".to_string())]);
    assert_eq!(ours, safetensors::serialize(parsed.tensors(), Some(pairs)).unwrap());
}

#[test]
fn a_strided_view_is_saved_as_its_elements() {
    let x = Tensor::from_vec((0..6i64).collect(), [2, 3], &Holder::device()).unwrap();
    let bytes = to_bytes([("t", &x.t().unwrap())], &Metadata::new()).unwrap();
    let t = &from_bytes(&bytes, &Holder::device()).unwrap()["t"];
    assert_eq!((t.dims(), t.to_vec::<i64>().unwrap()), (&[3, 2][..], vec![0, 3, 1, 4, 2, 5]));
}

#[test]
fn a_name_given_twice_or_reserved_is_refused() {
    let x = Tensor::from_vec(vec![1.0f32], [1], &Holder::device()).unwrap();
    let twice = to_bytes([("a", &x), ("a", &x)], &Metadata::new()).unwrap_err();
    assert!(twice.to_string().contains("two tensors are named `a`"), "{twice}");
    assert!(to_bytes([("__metadata__", &x)], &Metadata::new()).is_err());
}

#[test]
fn a_failing_save_leaves_the_old_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let x = Tensor::from_vec(vec![1.0f32], [1], &Holder::device()).unwrap();
    save(&path, [("layer.weight", &x)], &Metadata::new()).unwrap();
    let before = fs::read(&path).unwrap();
    let broken = Tensor::from_vec(vec![1.0f32], [1], &Holder::broken_device()).unwrap();
    let error = save(&path, [("layer.weight", &broken)], &Metadata::new()).unwrap_err();
    assert!(error.to_string().starts_with("layer.weight: "), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_dtype_we_do_not_have_is_named_with_its_tensor() {
    let data = [0u8; 4];
    let view = TensorView::new(Dtype::I16, vec![2], &data).unwrap();
    let known = safetensors::serialize([("encoder.scale", view)], None).unwrap();
    let text = String::from_utf8(known.clone()).unwrap();
    let unknown = text.replace("\"I16\"", "\"Q16\"").into_bytes();
    for (bytes, dtype) in [(known, "I16"), (unknown, "Q16")] {
        let error = from_bytes(&bytes, &Holder::device()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }));
        let message = error.to_string();
        assert!(
            message.contains(&format!("`encoder.scale` has dtype {dtype}; supported are BOOL")),
            "{message}"
        );
    }
}

#[test]
fn a_rank_we_do_not_have_is_named_with_its_tensor() {
    let view = TensorView::new(Dtype::U8, vec![1; 9], &[0]).unwrap();
    let bytes = safetensors::serialize([("deep", view)], None).unwrap();
    let message = from_bytes(&bytes, &Holder::device()).unwrap_err().to_string();
    assert!(message.contains("`deep`") && message.contains("rank 9"), "{message}");
}

#[test]
fn a_file_cut_anywhere_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cut.safetensors");
    let tensors = tensors();
    let bytes = to_bytes(named(&tensors), &Metadata::new()).unwrap();
    for end in 0..bytes.len() {
        fs::write(&path, &bytes[..end]).unwrap();
        let error = load(&path, &Holder::device()).unwrap_err();
        assert!(matches!(&error, Error::Format { path: Some(p), .. } if *p == path), "{end}: {error}");
        assert!(error.to_string().contains("cut.safetensors"));
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(from_bytes(&longer, &Holder::device()).is_err());
}

#[test]
fn a_header_that_claims_more_than_the_file_holds_reserves_nothing() {
    for claim in [u64::MAX, u64::MAX - 7, 1 << 40, 100_000_001, 99_999_999] {
        let mut bytes = claim.to_le_bytes().to_vec();
        bytes.extend_from_slice(b"{}");
        assert!(matches!(from_bytes(&bytes, &Holder::device()), Err(Error::Format { .. })));
    }
    let header = br#"{"x":{"dtype":"F64","shape":[1099511627776],"data_offsets":[0,8796093022208]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    let message = from_bytes(&bytes, &Holder::device()).unwrap_err().to_string();
    assert!(message.contains("truncated: the tensors take 8796093022208 bytes"), "{message}");
}

#[test]
fn a_missing_file_is_an_error_with_its_path() {
    let error = load("/nonexistent/model.safetensors", &Holder::device()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("/nonexistent/model"), "{error}");
}

proptest! {
    #[test]
    fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), to in any::<u8>(), junk in any::<Vec<u8>>()) {
        let tensors = tensors();
        let mut bytes = to_bytes(named(&tensors), &Metadata::new()).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        let _ = from_bytes(&bytes, &Holder::device());
        let _ = from_bytes(&junk, &Holder::device());
        let mut framed = (junk.len() as u64).to_le_bytes().to_vec();
        framed.extend(junk);
        let _ = from_bytes(&framed, &Holder::device());
    }
}
