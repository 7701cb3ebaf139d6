//! Products of `f32` that are infinite, tiny or huge.

use super::*;

#[test]
fn what_is_not_finite_gives_what_sums_of_f32_give() {
    for precision in PRECISIONS {
        for (odd, other) in [
            (f32::INFINITY, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::NAN, 0.0),
            (f32::INFINITY, f32::NEG_INFINITY),
        ] {
            for depth in [40, 900] {
                let a = |i, k| if (i, k) == (5, depth - 1) { odd } else { number(1, i, k) };
                let b = |k, j| {
                    if (k, j) == (depth - 1, 7) || (k, j) == (3, 30) { other } else { number(2, k, j) }
                };
                let case = Case::new([33, 35, depth], [Lie::Rows; 2], 1.0, a, b);
                let (tiles, registers) = (case.tiles(precision), case.registers());
                for (at, (&t, &r)) in tiles.iter().zip(&registers).enumerate() {
                    assert_eq!(t.is_nan(), r.is_nan(), "{odd} {other} at {at}");
                    assert!(r.is_finite() || r.is_nan() || t == r, "{odd} {other} at {at}: {t}, {r}");
                    assert!(!r.is_finite() || t.is_finite(), "{odd} {other} at {at}: {t}, {r}");
                }
            }
        }
    }
}

#[test]
fn operands_without_parts_are_multiplied_in_registers() {
    let two = |e: i32| 2.0f32.powi(e);
    for precision in PRECISIONS {
        // Tiny, huge, rounded up to infinity, and tiny together.
        for [a, b] in [
            [two(-70), 1.0],
            [1.0, two(-110)],
            [f32::from_bits(0x0000_1234), 1.0],
            [two(70), two(-3)],
            [f32::MAX, two(-60)],
            [two(-40), two(-40)],
            [two(50), two(50)],
            [0.0, 1.0],
        ] {
            let case = Case::new(
                [34, 33, 70],
                [Lie::Rows, Lie::Columns],
                1.0,
                |i, k| number(1, i, k) * a,
                |k, j| number(2, k, j) * b,
            );
            let bits = |c: Vec<f32>| c.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(case.tiles(precision)), bits(case.registers()), "{a:e} {b:e}");
        }
    }
}

#[test]
fn a_number_that_rounds_to_infinity_stays_finite() {
    let case = Case::new(
        [40, 40, 40],
        [Lie::Rows; 2],
        1.0,
        |i, k| if i == k { f32::MAX } else { 0.0 },
        |k, j| number(2, k, j),
    );
    for precision in PRECISIONS {
        compare(&case, &case.tiles(precision), |x| x, |c, value, _| assert_eq!(c, value as f32 as f64));
    }
}

#[test]
fn small_rows_beside_large_ones_keep_their_places() {
    // Rows and columns of sizes from 1 down to far below what the unit takes for zero.
    for precision in PRECISIONS {
        for step in [1, 3, 8] {
            let size = |i: usize| 2.0f32.powi(-(i as i32 * step)).max(f32::MIN_POSITIVE);
            let case = Case::new(
                [18, 17, 100],
                [Lie::Columns, Lie::Rows],
                1.0,
                |i, k| number(1, i, k) * size(i),
                |k, j| number(2, k, j) * size(j),
            );
            // (Both largest magnitudes are about 1.)
            let lost = 100.0 * 2.0f64.powi(-123);
            compare(
                &case,
                &case.tiles(precision),
                |x| x,
                |c, value, size| {
                    let error = (c - value).abs();
                    assert!(error <= allowed(precision) * size + lost, "{precision} {step}: {c:e} {value:e}");
                },
            );
        }
    }
}
