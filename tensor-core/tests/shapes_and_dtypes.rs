//! Shapes, axis sets and the promotion rule.

use std::path::Path;

use gradus_tensor_core::{
    Axis, AxisSet, Category, DType, Error, IntoAxes, IntoShape, MAX_RANK, Scalar, Shape,
};

fn shape(dims: &[usize]) -> Shape {
    Shape::new(dims).unwrap()
}

#[test]
fn a_shape_has_at_most_eight_axes_and_as_many_elements_as_memory() {
    assert_eq!(shape(&[1; 8]).rank(), MAX_RANK);
    assert!(matches!(Shape::new(&[1; 9]), Err(Error::Rank { rank: 9, .. })));
    assert!(matches!(Shape::new(&[usize::MAX]), Err(Error::TooLarge { .. })));
    assert!(matches!(Shape::new(&[1 << 32, 1 << 32]), Err(Error::TooLarge { .. })));
    // An axis of size 0 does not excuse the others: their strides have to be numbers.
    assert!(matches!(Shape::new(&[0, usize::MAX]), Err(Error::TooLarge { .. })));
    assert_eq!((Shape::SCALAR.numel(), shape(&[0, 3]).numel(), shape(&[2, 3]).numel()), (1, 0, 6));
}

#[test]
fn everything_that_names_a_shape_names_the_same() {
    let expected = shape(&[2, 3]);
    let vector = vec![2usize, 3];
    assert_eq!([2usize, 3].into_shape().unwrap(), expected);
    assert_eq!((&[2usize, 3]).into_shape().unwrap(), expected);
    assert_eq!(vector[..].into_shape().unwrap(), expected);
    assert_eq!((&vector).into_shape().unwrap(), expected);
    assert_eq!(vector.into_shape().unwrap(), expected);
    assert_eq!((&expected).into_shape().unwrap(), expected);
    assert_eq!(7.into_shape().unwrap(), shape(&[7]));
    assert_eq!(().into_shape().unwrap(), Shape::SCALAR);
    assert_eq!(expected.to_string(), "[2, 3]");
}

#[test]
fn shapes_broadcast_at_the_last_axis() {
    let both = |a: &[usize], b: &[usize]| shape(a).broadcast(&shape(b)).map(|s| s.to_vec());
    assert_eq!(both(&[2, 3], &[3]), Some(vec![2, 3]));
    assert_eq!(both(&[2, 1, 4], &[3, 1]), Some(vec![2, 3, 4]));
    assert_eq!(both(&[], &[5]), Some(vec![5]));
    assert_eq!(both(&[0], &[1]), Some(vec![0]));
    assert_eq!(both(&[0], &[2]), None);
    assert_eq!(both(&[2, 3], &[2]), None);
    assert_eq!(both(&[1 << 40, 1], &[1, 1 << 40]), None, "too large");
}

#[test]
fn equality_does_not_see_what_a_shape_held_before() {
    assert_eq!(shape(&[2, 3, 4]).reduced(AxisSet::single(1)), shape(&[2, 1, 4]));
    assert_eq!(shape(&[2, 3]).reduced(AxisSet::all(8)), shape(&[1, 1]));
    assert_eq!(&shape(&[2, 0, 4]).contiguous_strides()[..3], [4, 4, 1]);
}

#[test]
fn negative_axes_count_from_the_last() {
    assert_eq!((-1).resolve(3, "test").unwrap(), 2);
    assert_eq!((-3isize).resolve(3, "test").unwrap(), 0);
    for axis in [-4isize, 3, isize::MIN, isize::MAX] {
        assert!(matches!(axis.resolve(3, "test"), Err(Error::Axis { rank: 3, .. })), "{axis}");
    }
    assert!(usize::MAX.resolve(3, "test").is_err());
    assert!(0usize.resolve(0, "test").is_err());
}

#[test]
fn a_set_of_axes_names_each_once() {
    let axes = [-1, 0].into_axes(4, "test").unwrap();
    assert_eq!((axes.iter().collect::<Vec<_>>(), axes.len()), (vec![0, 3], 2));
    assert!([0, -4].into_axes(4, "test").is_err(), "named twice");
    assert_eq!((..).into_axes(3, "test").unwrap(), AxisSet::all(3));
    assert!(axes.into_axes(3, "test").is_err(), "axis 3 of rank 3");
    assert_eq!(axes.into_axes(4, "test").unwrap(), axes);
    assert_eq!(AxisSet::all(8).len(), 8);
    assert_eq!(AxisSet::all(100), AxisSet::all(8));
    assert!(AxisSet::single(8).is_empty() && !axes.contains(8) && axes.contains(3));
    assert!(matches!(AxisSet::EMPTY.insert(8, "test"), Err(Error::Axis { .. })));
    assert_eq!(AxisSet::single(1).union(AxisSet::single(2)).iter().collect::<Vec<_>>(), [1, 2]);
}

fn dtype(name: &str) -> DType {
    // What PyTorch puts `u8` and `i8` in; the next wider dtype there is here.
    let name = if name == "i16" { "i32" } else { name };
    DType::ALL.into_iter().find(|d| d.name() == name).unwrap()
}

#[test]
fn dtypes_promote_as_in_pytorch() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/promotion.json");
    let table: serde_json::Value = serde_json::from_slice(&std::fs::read(table).unwrap()).unwrap();
    let mut pairs = 0;
    for (a, row) in table["tensors"].as_object().unwrap() {
        for (b, result) in row.as_object().unwrap() {
            let expected = dtype(result.as_str().unwrap());
            assert_eq!(dtype(a).promote(dtype(b)), expected, "{a} with {b}");
            pairs += 1;
        }
    }
    assert_eq!(pairs, 81);
    for (a, row) in table["scalars"].as_object().unwrap() {
        for (kind, result) in row.as_object().unwrap() {
            let scalar = match kind.as_str() {
                "bool" => Scalar::Bool(true),
                "int" => Scalar::Int(1),
                _ => Scalar::Float(1.0),
            };
            assert_eq!(dtype(a).promote_scalar(scalar).name(), result.as_str().unwrap(), "{a} with a {kind}");
        }
    }
}

#[test]
fn every_dtype_knows_its_size_and_what_it_sums_in() {
    for dtype in DType::ALL {
        assert_eq!(dtype.is_float(), DType::FLOATS.contains(&dtype));
        assert_eq!(dtype.category() == Category::Int, dtype.is_int());
        assert!(dtype.accumulator().size() >= dtype.size().min(4));
        assert_eq!(dtype.accumulator().is_float(), dtype.is_float());
    }
}
