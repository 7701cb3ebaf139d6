//! The strategies give what they promise, and laws of layouts and broadcasting that hold for all of it.

use std::cell::Cell;

use gradus_tensor_core::{DType, Device, Layout, Tensor};
use gradus_testkit::{Arrangement, Reference, strategies};
use proptest::prelude::*;
use std::sync::OnceLock;

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(Reference::device)
}

fn config() -> ProptestConfig {
    ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn an_arrangement_keeps_the_values_and_names_each_place_once(
        values in strategies::shape(0..=4, 0..=5).prop_flat_map(|s| strategies::values(DType::I64, s, -9.0..9.0)),
        seed in any::<u64>(),
    ) {
        let key = gradus_tensor_core::rng::Key { seed, stream: 0 };
        let arrangement = Arrangement::random(values.shape().rank(), key);
        let x = arrangement.place(&values, device()).unwrap();
        prop_assert!(x.layout().is_injective());
        prop_assert!(x.layout().span().end <= x.buffer_len());
        prop_assert_eq!(x.to_host().unwrap(), values);
    }

    #[test]
    fn repeated_elements_are_settled_as_they_will_be_read(
        (values, arrangement) in strategies::shape(1..=4, 1..=4).prop_flat_map(|s| {
            (strategies::values(DType::F32, s, -9.0..9.0), strategies::arrangement(s.rank()), 0..s.rank())
        }).prop_map(|(values, arrangement, axis)| (values, arrangement.repeating(axis))),
    ) {
        let x = arrangement.place(&values, device()).unwrap();
        prop_assert_eq!(x.to_host().unwrap(), arrangement.settled(values));
    }

    #[test]
    fn shapes_that_broadcast_do(
        (a, b, both) in strategies::broadcastable(0..=4, 0..=4),
    ) {
        let x = Tensor::zeros(a, DType::F32, device()).unwrap();
        let y = Tensor::zeros(b, DType::F32, device()).unwrap();
        prop_assert_eq!(*x.add(&y).unwrap().shape(), both);
    }

    #[test]
    fn simplified_layouts_visit_the_same_positions(
        shape in strategies::shape(0..=5, 0..=4),
        seed in any::<u64>(),
    ) {
        let key = gradus_tensor_core::rng::Key { seed, stream: 1 };
        let (_, layout) = Arrangement::random(shape.rank(), key).layout(&shape).unwrap();
        let all: Vec<usize> = layout.positions().collect();
        prop_assert_eq!(&layout.simplified().positions().collect::<Vec<_>>(), &all);
        let runs = layout.runs();
        let mut walked = Vec::new();
        for start in runs.starts.clone() {
            walked.extend((0..runs.len).map(|i| (start as isize + i as isize * runs.stride) as usize));
        }
        prop_assert_eq!(&walked, &all);
        for (flat, &position) in all.iter().enumerate() {
            prop_assert_eq!(layout.position(flat), position);
        }
        if layout.is_contiguous() {
            prop_assert_eq!(layout.contiguous_range().unwrap().collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn parameters_of_convolutions_and_pools_fit(
        conv in (1..=3usize).prop_flat_map(strategies::conv),
        pool in (1..=3usize).prop_flat_map(strategies::pool),
    ) {
        let x = Tensor::zeros(&conv.input, DType::F32, device()).unwrap();
        let w = Tensor::zeros(&conv.weight, DType::F32, device()).unwrap();
        prop_assert!(x.conv(&w, None, gradus_tensor_core::ConvOptions(conv.conv)).is_ok());
        let x = Tensor::zeros(&pool.input, DType::F32, device()).unwrap();
        prop_assert!(gradus_tensor_core::Op::Pool(pool.pool).run(&[&x]).is_ok());
    }

    #[test]
    fn values_in_a_domain_are_inside_it_and_away_from_kinks(
        (op, values) in strategies::unary_op().prop_flat_map(|op| {
            let shape = gradus_tensor_core::Shape::new(&[20]).unwrap();
            (Just(op), strategies::domain(op, DType::F64, shape))
        }),
    ) {
        let (low, high) = op.domain();
        for x in values.convert::<f64>() {
            prop_assert!(op.is_step() || (low..high).contains(&x) || op.kinks().iter().any(|k| (x - k).abs() < 0.2));
            prop_assert!(op.kinks().iter().all(|k| (x - k).abs() >= 0.05) || op.is_step());
            prop_assert!(op.eval(x).is_finite());
        }
    }
}

#[test]
fn tensors_of_every_kind_of_layout_occur() {
    let seen = [const { Cell::new(false) }; 6];
    let shape = strategies::shape(0..=3, 0..=4);
    proptest!(config(), |(x in strategies::tensor(device(), DType::F32, shape, -1.0..1.0))| {
        let (layout, many) = (x.layout(), x.numel() > 1);
        let facts = [
            many && layout.strides().iter().any(|&s| s < 0),
            many && !layout.broadcast_axes().is_empty(),
            many && layout.is_contiguous(),
            many && layout.offset() > 0,
            x.numel() == 0,
            many && Layout::contiguous(*layout.shape()).strides() != layout.strides() && layout.is_injective(),
        ];
        facts.iter().zip(&seen).filter(|(fact, _)| **fact).for_each(|(_, seen)| seen.set(true));
    });
    assert!(seen.iter().all(Cell::get), "{seen:?}");
}
