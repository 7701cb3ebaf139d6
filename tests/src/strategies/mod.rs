//! Strategies for [`proptest`](mod@proptest): shapes, tensors, layouts and parameters of ops.
//!
//! They shrink: to fewer axes and smaller sizes, to layouts without gaps, to parameters that do nothing. A tensor
//! that comes out of [`tensor`] may lie in memory in any way a view can: permuted, stepped, flipped, inside a
//! larger buffer, or with repeated elements. So a property that holds for it holds for views.
//!
//! ```
//! use gradus_tensor_core::DType;
//! use gradus_testkit::{Reference, strategies};
//! use proptest::prelude::*;
//! let device = Reference::device();
//! proptest!(|(x in strategies::tensor(&device, DType::F64, strategies::shape(0..=3, 0..=4), -1.0..1.0))| {
//!     prop_assert_eq!(x.neg().unwrap().neg().unwrap().to_vec::<f64>().unwrap(), x.to_vec::<f64>().unwrap());
//! });
//! ```

mod ops;
mod tensors;

use std::ops::RangeInclusive;

use gradus_tensor_core::{MAX_RANK, Shape};
use proptest::collection::vec;
use proptest::prelude::*;

pub use ops::{ConvCase, PoolCase, binary_op, conv, pool, reduce_kind, unary_op};
pub use tensors::{arrangement, domain, dtype, labels, placed, tensor, values};

/// Shapes of a rank and sizes in these ranges. A size range from 0 gives empty tensors too.
pub fn shape(
    rank: RangeInclusive<usize>,
    size: RangeInclusive<usize>,
) -> impl Strategy<Value = Shape> + Clone {
    let rank = *rank.start()..=(*rank.end()).min(MAX_RANK);
    vec(size, rank).prop_filter_map("more elements than memory can address", |dims| Shape::new(&dims).ok())
}

/// A shape and an axis of it.
pub fn shape_and_axis(
    rank: RangeInclusive<usize>,
    size: RangeInclusive<usize>,
) -> impl Strategy<Value = (Shape, usize)> {
    let rank = (*rank.start()).max(1)..=*rank.end();
    shape(rank, size).prop_flat_map(|shape| (Just(shape), 0..shape.rank()))
}

/// Two shapes that broadcast with each other, and the shape they broadcast to: sizes are equal or 1, and either
/// may lack leading axes.
pub fn broadcastable(
    rank: RangeInclusive<usize>,
    size: RangeInclusive<usize>,
) -> impl Strategy<Value = (Shape, Shape, Shape)> {
    shape(rank, size).prop_flat_map(|full| {
        let ones = || vec(prop::bool::weighted(0.3), full.rank());
        (Just(full), ones(), ones(), 0..=full.rank(), 0..=full.rank()).prop_filter_map(
            "shapes that do not broadcast",
            |(full, a, b, drop_a, drop_b)| {
                let cut = |ones: &[bool], drop: usize| {
                    let dims = full.iter().zip(ones).map(|(&n, &one)| if one { 1 } else { n });
                    Shape::new(&dims.skip(drop).collect::<Vec<_>>()).ok()
                };
                let (a, b) = (cut(&a, drop_a)?, cut(&b, drop_b)?);
                Some((a, b, a.broadcast(&b)?))
            },
        )
    })
}
