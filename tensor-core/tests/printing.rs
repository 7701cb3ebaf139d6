//! Printing agrees with NumPy's `str(array)`, and never fails.
#![cfg(feature = "safetensors")]

mod support;

use std::path::Path;

use gradus_tensor_core::{DType, Layout, Shape, Tensor, half, io, with_dtype};
use proptest::prelude::*;
use support::Holder;

#[test]
fn every_array_is_printed_as_numpy_prints_it() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data");
    let tensors = io::safetensors::load(golden.join("printing.safetensors"), &Holder::device()).unwrap();
    let table = std::fs::read(golden.join("printing.json")).unwrap();
    let table: serde_json::Value = serde_json::from_slice(&table).unwrap();
    let cases = table["cases"].as_array().unwrap();
    assert!(cases.len() > 50);
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let tensor = &tensors[&format!("{name}.input.0")];
        assert_eq!(tensor.to_string(), case["text"].as_str().unwrap(), "{name}");
    }
}

#[test]
fn the_digits_are_those_numpy_chooses_where_there_is_a_choice() {
    fn text<T: gradus_tensor_core::HostElement>(values: &[T]) -> String {
        Tensor::from_slice(values, [values.len()], &Holder::device()).unwrap().to_string()
    }
    // Below a power of two the numbers lie closer: 0.01562 is another one's name.
    assert_eq!(text(&[half::f16::from_f64(0.015625), half::f16::from_f64(0.5)]), "[0.01563 0.5    ]");
    // It is 205078.125: .12 and .13 are equally near, and .12 is even.
    assert_eq!(text(&[205078.13f32, 1000.0]), "[205078.12   1000.  ]");
    // A dtype's own digits bound what is written out.
    assert_eq!(text(&[1000000.0f32, 1500000.0]), "[1.0e+06 1.5e+06]");
    assert_eq!(text(&[1000000.0f64, 1500000.0]), "[1000000. 1500000.]");
    assert_eq!(text(&[half::f16::from_f64(1000.0)]), "[1.e+03]");
    // Digits beyond those that tell a number apart are its exact ones.
    assert_eq!(text(&[8.845029e-9f32, -5.4996157e-11]), "[ 8.8450287e-09 -5.4996157e-11]");
    // The bracket needs a column as well.
    let wide = [1.0973376e8f32, -9.343531e7, -2.2648344e8, -1.4565094e8, 1.4747684e6];
    assert_eq!(text(&wide), "[ 1.0973376e+08 -9.3435312e+07 -2.2648344e+08 -1.4565094e+08\n  1.4747684e+06]");
}

#[test]
fn a_view_is_printed_as_it_is_read() {
    let x = Tensor::from_vec((0..6i64).collect(), [2, 3], &Holder::device()).unwrap();
    assert_eq!(x.t().unwrap().to_string(), "[[0 3]\n [1 4]\n [2 5]]");
    let wide = Tensor::from_vec((0..2000i32).collect(), [1000, 2], &Holder::device()).unwrap();
    assert_eq!(
        wide.t().unwrap().to_string(),
        "[[   0    2    4 ... 1994 1996 1998]\n [   1    3    5 ... 1995 1997 1999]]"
    );
}

#[test]
fn the_format_may_ask_for_fewer_digits() {
    let x = Tensor::from_vec(vec![0.123456f32, 12.5, -3.0], [3], &Holder::device()).unwrap();
    assert_eq!(format!("{x:.3}"), "[ 0.123 12.5   -3.   ]");
    assert_eq!(format!("{x:.0}"), "[ 0. 12. -3.]");
    let loss = Tensor::from_vec(vec![0.123456789f64], (), &Holder::device()).unwrap();
    assert_eq!(format!("{loss} {loss:.3}"), "0.123456789 0.123");
}

#[test]
fn debug_prints_what_a_tensor_is_and_reads_no_element() {
    let x = Tensor::from_vec(vec![1.0f32, 2.0], [2, 1], &Holder::broken_device()).unwrap();
    assert_eq!(format!("{x:?}"), "Tensor(f32[2, 1] on holder)");
}

#[test]
fn a_tensor_that_cannot_be_read_prints_the_error() {
    let x = Tensor::from_vec(vec![1.0f32, 2.0], [2], &Holder::broken_device()).unwrap();
    assert_eq!(x.to_string(), "<f32[2] that cannot be read: the device is on fire>");
}

#[test]
fn an_expanded_tensor_of_any_size_prints_its_edges_alone() {
    let one = Tensor::from_vec(vec![7u8], [1, 1], &Holder::device()).unwrap();
    let huge = one.expand([1 << 28, 1 << 28]).unwrap();
    assert!(huge.to_string().starts_with("[[7 7 7 ... 7 7 7]\n"));
}

proptest! {
    #[test]
    fn any_bits_of_any_dtype_and_shape_print(
        bits in prop::collection::vec(any::<u64>(), 0..60),
        rank in 0usize..=8,
        dtype in prop::sample::select(DType::ALL.to_vec()),
        precision in 0usize..20,
    ) {
        let mut dims = vec![1usize; rank];
        if let Some(last) = dims.last_mut() { *last = bits.len() }
        let n = dims.iter().product::<usize>();
        let bits = if bits.is_empty() && n > 0 { vec![0] } else { bits[..n.min(bits.len())].to_vec() };
        let device = Holder::device();
        let values: Vec<f64> = bits.iter().map(|&b| f64::from_bits(b)).collect();
        let tensor = with_dtype!(dtype, T => {
            let data = values.iter().map(|&x| <T as gradus_tensor_core::Element>::from_f64(x)).collect::<Vec<T>>();
            Tensor::from_vec(data, dims, &device).unwrap()
        });
        prop_assert!(!tensor.to_string().is_empty());
        let fewer = format!("{tensor:.precision$}");
        prop_assert!(!fewer.is_empty());
        // Every f16 bit pattern is as good as any other.
        let halves: Vec<half::f16> = bits.iter().map(|&b| half::f16::from_bits(b as u16)).collect();
        let n = halves.len();
        let halves = Tensor::from_vec(halves, n, &device).unwrap();
        prop_assert!(!halves.to_string().is_empty());
        prop_assert!(halves.with_layout(Layout::contiguous(Shape::new(&[n]).unwrap())).is_ok());
    }
}
