//! Products of `bf16`.

use super::*;

#[test]
fn products_of_bf16_are_sums_of_f32_that_are_rounded_once() {
    for shape in [[1, 1, 1], [33, 31, 70], [49, 100, 300], [260, 40, 33], [20, 20, 1700], [3, 580, 64]] {
        for lies in LIES.into_iter().flat_map(|a| LIES.map(|b| [a, b])) {
            for (old, scale) in [(Old::Ignore, 1.0), (Old::Keep, 1.0), (Old::Keep, -0.75)] {
                let of = |seed| move |i, j| bf16::from_single(number(seed, i, j));
                let case = Case { old, ..Case::new(shape, lies, bf16::from_single(scale), of(1), of(2)) };
                compare(&case, &case.tiles(), bf16::to_single, |c, value, size| {
                    let error = (c - value).abs();
                    // Half a place, and the rounding of sums.
                    assert!(error <= value.abs() / 256.0 + 1e-6 * size, "{shape:?} {lies:?}: {c} {value}");
                });
                let rounded: Vec<bf16> = case.sums().into_iter().map(bf16::from_single).collect();
                assert!(rounded == case.tiles(), "{shape:?} {lies:?}: other sums");
            }
        }
    }
}

#[test]
fn infinities_and_nan_pass_through_products_of_bf16() {
    let a = |i, k| match (i, k) {
        (2, 39) => bf16::INFINITY,
        (3, 5) => bf16::NAN,
        _ => bf16::ONE,
    };
    let b = |k, j| match (k, j) {
        (39, 4) => bf16::ZERO,
        (39, 5) => bf16::NEG_ONE,
        _ => bf16::ONE,
    };
    let case = Case::new([20, 20, 40], [Lie::Rows, Lie::Columns], bf16::ONE, a, b);
    let c = case.tiles();
    for i in 0..20 {
        for j in 0..20 {
            let x = c[i * 23 + j].to_single();
            match (i, j) {
                (2, 4) | (3, _) => assert!(x.is_nan(), "{i} {j}: {x}"),
                (2, 5) => assert_eq!(x, f32::NEG_INFINITY),
                (2, _) => assert_eq!(x, f32::INFINITY),
                (_, 4) => assert_eq!(x, 39.0),
                (_, 5) => assert_eq!(x, 38.0),
                _ => assert_eq!(x, 40.0),
            }
        }
    }
}
