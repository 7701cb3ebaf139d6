//! `.npy` and `.npz` files: NumPy's own, ours, and damaged ones.
#![cfg(feature = "npy")]

mod support;

use std::fs;
use std::path::PathBuf;

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::io::npy::{from_bytes, load, load_npz, save, save_npz, to_bytes};
use gradus_tensor_core::{DType, Error, HostElement, Tensor};
use proptest::prelude::*;
use support::Holder;

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/npy").join(name)
}

fn read<T: HostElement>(name: &str) -> (Vec<usize>, Vec<T>) {
    let tensor = load(data(&format!("{name}.npy")), &Holder::device()).unwrap();
    assert_eq!(tensor.dtype(), T::DTYPE, "{name}");
    assert!(tensor.layout().is_contiguous());
    (tensor.dims().to_vec(), tensor.to_vec().unwrap())
}

#[test]
fn what_numpy_wrote_is_read_in_every_dtype() {
    assert_eq!(read::<f16>("f2"), (vec![3], [0.1, f64::INFINITY, -2.5].map(f16::from_f64).to_vec()));
    let (dims, f4) = read::<f32>("f4");
    let bits = |all: &[f32]| all.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!((dims, bits(&f4)), (vec![2, 3], bits(&[0.1, -1.5, f32::NAN, 0.0, -0.0, 3e38])));
    assert_eq!(read::<f64>("f8"), (vec![2], vec![0.1, 5e-324]));
    assert_eq!(read::<i32>("i4"), (vec![2], vec![i32::MIN, i32::MAX]));
    assert_eq!(read::<i64>("i8"), (vec![2], vec![i64::MIN, i64::MAX]));
    assert_eq!(read::<u8>("u1"), (vec![3], vec![0, 7, 255]));
    assert_eq!(read::<i8>("i1"), (vec![3], vec![-128, -1, 127]));
    assert_eq!(read::<bool>("b1"), (vec![3], vec![true, false, true]));
    assert_eq!(read::<f32>("scalar"), (vec![], vec![2.5]));
    assert_eq!(read::<f64>("empty"), (vec![0, 3], vec![]));
}

#[test]
fn either_byte_order_and_every_version_read_alike() {
    assert_eq!(read::<f32>("big_f4"), (vec![2], vec![0.1, -1.5]));
    for name in ["big_i8", "version_2", "version_3"] {
        assert_eq!(read::<i64>(name), (vec![2, 3], vec![0, 1, 2, 3, 4, 5]), "{name}");
    }
}

#[test]
fn fortran_order_is_read_into_row_major_order() {
    assert_eq!(read::<i64>("fortran"), (vec![2, 3], vec![0, 1, 2, 3, 4, 5]));
    assert_eq!(read::<i32>("fortran_3d"), (vec![2, 3, 4], (0..24).collect()));
}

#[test]
fn what_we_write_is_what_numpy_writes() {
    for name in ["f2", "f4", "f8", "i4", "i8", "i1", "u1", "b1", "scalar", "empty"] {
        let theirs = fs::read(data(&format!("{name}.npy"))).unwrap();
        assert_eq!(to_bytes(&from_bytes(&theirs, &Holder::device()).unwrap()).unwrap(), theirs, "{name}");
    }
}

#[test]
fn archives_of_numpy_are_read_stored_or_deflated() {
    for name in ["stored.npz", "deflated.npz"] {
        let arrays = load_npz(data(name), &Holder::device()).unwrap();
        assert_eq!(arrays.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(arrays["a"].to_vec::<i64>().unwrap(), [0, 1, 2, 3, 4, 5]);
        assert_eq!((arrays["b"].rank(), arrays["b"].item::<f32>().unwrap()), (0, 2.5));
    }
}

#[test]
fn our_archives_come_back_and_their_bytes_depend_on_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one.npz"), dir.path().join("two.npz"));
    let x = Tensor::from_vec((0..6i64).collect(), [2, 3], &Holder::device()).unwrap();
    let t = x.t().unwrap();
    save_npz(&one, [("x", &x), ("layer.0/t", &t)]).unwrap();
    save_npz(&two, [("layer.0/t", &t), ("x", &x)]).unwrap();
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    let loaded = load_npz(&one, &Holder::device()).unwrap();
    assert_eq!(loaded["layer.0/t"].dims(), [3, 2]);
    assert_eq!(loaded["layer.0/t"].to_vec::<i64>().unwrap(), [0, 3, 1, 4, 2, 5]);
    assert!(save_npz(&two, [("x", &x), ("x", &t)]).is_err());
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
}

#[test]
fn dtypes_we_do_not_have_are_named_with_the_file() {
    for (name, what) in [("i2", "`<i2`"), ("complex", "`<c8`"), ("struct", "structured")] {
        let path = data(&format!("{name}.npy"));
        let error = load(&path, &Holder::device()).unwrap_err();
        assert!(matches!(&error, Error::Format { path: Some(p), .. } if *p == path), "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
    let brain = Tensor::from_vec(vec![bf16::ONE], [1], &Holder::device()).unwrap();
    let error = to_bytes(&brain).unwrap_err().to_string();
    assert!(error.contains("cast to f32"), "{error}");
}

fn npy(text: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn headers_are_read_as_python_reads_them() {
    for text in [
        "{'descr':'<f4','fortran_order':False,'shape':(2,)}",
        "  { \"shape\" : ( 2L , ) , 'fortran_order' : True, \"descr\": '=f4' , } \n",
    ] {
        let x = from_bytes(&npy(text, &[0; 8]), &Holder::device()).unwrap();
        assert_eq!((x.dims(), x.dtype()), (&[2][..], DType::F32), "{text}");
    }
}

#[test]
fn headers_that_lie_are_errors_that_say_how() {
    let shape = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
    for (text, data, says) in [
        (shape("(3,)"), 8, "truncated: f32[3] takes 12 bytes, 8 follow"),
        (shape("(1,)"), 8, "too long"),
        (shape("(1099511627776,)"), 8, "truncated"),
        (shape("(18446744073709551615, 2)"), 8, "more elements than memory"),
        (shape("(0, 18446744073709551615)"), 0, "more elements than memory"),
        (shape("(99999999999999999999,)"), 8, "a size"),
        (shape("(-1,)"), 4, "a size"),
        (shape("(1,1,1,1,1,1,1,1,1)"), 4, "rank 9"),
        (shape("2"), 8, "`(` should be"),
        (shape("(1,"), 4, "a size"),
        ("{'descr': '<f4', 'shape': (1,)}".into(), 4, "lacks `fortran_order`"),
        ("{'descr': '<f4', 'descr': '<f8'}".into(), 4, "two entries `descr`"),
        ("{'descr': '<f4', 'extra': 1}".into(), 4, "unknown entry `extra`"),
        ("{'descr': '".into(), 4, "a string"),
        ("{'descr': '\u{e9}\u{e9}'}".into(), 4, "is not supported"),
        ("{'descr': ''}".into(), 4, "is not supported"),
        ("{'fortran_order': 1}".into(), 4, "True or False"),
        ("{} x".into(), 4, "follows the header"),
        ("".into(), 4, "`{` should be"),
    ] {
        let error = from_bytes(&npy(&text, &vec![0; data]), &Holder::device()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }));
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
    let mut version = npy("{}", &[]);
    version[6] = 4;
    assert!(from_bytes(&version, &Holder::device()).unwrap_err().to_string().contains("version 4"));
}

#[test]
fn a_file_cut_anywhere_is_an_error_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    for (name, zipped) in [("fortran.npy", false), ("deflated.npz", true)] {
        let bytes = fs::read(data(name)).unwrap();
        let path = dir.path().join(name);
        for end in 0..bytes.len() {
            fs::write(&path, &bytes[..end]).unwrap();
            let device = Holder::device();
            let error = if zipped { load_npz(&path, &device).err() } else { load(&path, &device).err() };
            let message = error.unwrap_or_else(|| panic!("{name} cut at {end} was read")).to_string();
            assert!(message.contains(name), "{message}");
        }
    }
}

#[test]
fn an_entry_that_is_no_array_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npz");
    let x = Tensor::from_vec(vec![1u8], [1], &Holder::device()).unwrap();
    save_npz(&path, [("ab", &x)]).unwrap();
    let bytes = fs::read(&path).unwrap();
    let text: Vec<u8> = bytes.clone();
    let mut renamed = text;
    while let Some(at) = renamed.windows(6).position(|w| w == b"ab.npy") {
        renamed[at..at + 6].copy_from_slice(b"ab.txt");
    }
    fs::write(&path, renamed).unwrap();
    let message = load_npz(&path, &Holder::device()).unwrap_err().to_string();
    assert!(message.contains("`ab.txt` is not a .npy file"), "{message}");
}

#[test]
fn saving_replaces_the_file_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.npy");
    let x = Tensor::from_vec(vec![1.0f32], [1], &Holder::device()).unwrap();
    save(&path, &x).unwrap();
    let broken = Tensor::from_vec(vec![2.0f32], [1], &Holder::broken_device()).unwrap();
    assert!(save(&path, &broken).is_err());
    assert_eq!(load(&path, &Holder::device()).unwrap().to_vec::<f32>().unwrap(), [1.0]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

proptest! {
    #[test]
    fn any_tensor_comes_back(values in prop::collection::vec(any::<i64>(), 0..40), split in 1usize..4) {
        let n = values.len() / split * split;
        let x = Tensor::from_slice(&values[..n], [n / split, split], &Holder::device()).unwrap();
        let y = from_bytes(&to_bytes(&x).unwrap(), &Holder::device()).unwrap();
        prop_assert_eq!(x.dims(), y.dims());
        prop_assert_eq!(x.to_vec::<i64>().unwrap(), y.to_vec::<i64>().unwrap());
    }

    #[test]
    fn damaged_bytes_never_panic(at in any::<prop::sample::Index>(), to in any::<u8>(), junk in any::<Vec<u8>>(), text in ".*") {
        let mut bytes = fs::read(data("fortran.npy")).unwrap();
        let at_byte = at.index(bytes.len());
        bytes[at_byte] = to;
        let _ = from_bytes(&bytes, &Holder::device());
        let _ = from_bytes(&junk, &Holder::device());
        let _ = from_bytes(&npy(&text, &junk), &Holder::device());
    }

    #[test]
    fn damaged_headers_never_panic(pieces in prop::collection::vec(prop::sample::select(vec![
        "{", "}", "(", ")", ",", ":", "'", "\"", "'descr'", "'shape'", "'fortran_order'", "True", "False",
        "'<f4'", "'>i8'", "'|b1'", "0", "3", "18446744073709551615", "L", " ", "[", "\u{e9}",
    ]), 0..20)) {
        let _ = from_bytes(&npy(&pieces.concat(), &[0; 16]), &Holder::device());
    }

    #[test]
    fn damaged_archives_never_panic(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npz");
        let mut bytes = fs::read(data("deflated.npz")).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        fs::write(&path, bytes).unwrap();
        let _ = load_npz(&path, &Holder::device());
    }
}
