//! Products of `f32`: shapes, layouts, accuracy and threads.

use super::*;
use crate::Cpu;
use crate::kernels::dense::tasks;
use crate::kernels::matmul::tiles::Tiles;
use crate::parallel::SendPtr;

#[test]
fn products_of_any_shape_layout_and_precision_are_right() {
    let edges = [
        [1, 1, 1],
        [16, 16, 32],
        [17, 16, 31],
        [16, 17, 33],
        [32, 32, 64],
        [33, 31, 70],
        [3, 100, 5],
        [100, 3, 65],
        [49, 47, 300],
    ];
    for shape in edges {
        for lies in LIES.into_iter().flat_map(|a| LIES.map(|b| [a, b])) {
            for precision in PRECISIONS {
                for (old, scale) in
                    [(Old::Ignore, 1.0), (Old::Keep, 1.0), (Old::Ignore, -2.5), (Old::Keep, 0.3)]
                {
                    let case = Case { old, scale, ..random(shape, lies) };
                    let c = case.tiles(precision);
                    compare(
                        &case,
                        &c,
                        |x| x,
                        |c, value, size| {
                            let error = (c - value).abs();
                            assert!(
                                error <= allowed(precision) * size,
                                "{shape:?} {lies:?} {precision} {c} {value}"
                            );
                        },
                    );
                }
            }
        }
    }
}

#[test]
fn products_of_several_blocks_are_right_to_the_last_bit() {
    // Integers, whose sums are exact in any order.
    for (shape, precision) in [
        ([260, 70, 40], Precision::Highest),
        ([40, 600, 70], Precision::High),
        ([33, 34, 2000], Precision::Highest),
        ([270, 580, 800], Precision::Medium),
    ] {
        for lies in [[Lie::Rows, Lie::Rows], [Lie::Columns, Lie::Columns], [Lie::Rows, Lie::Columns]] {
            let integer = |i: usize, j: usize| ((i * 7 + j * 11) % 15) as f32 - 7.0;
            let case =
                Case { old: Old::Keep, ..Case::new(shape, lies, 2.0, integer, |i, j| integer(j + 3, i)) };
            compare(
                &case,
                &case.tiles(precision),
                |x| x,
                |c, value, _| assert_eq!(c, value, "{shape:?} {lies:?}"),
            );
        }
    }
}

#[test]
fn three_parts_are_as_good_as_f32_and_two_and_one_as_good_as_they_say() {
    let positive = |seed, i, j| 1.5 + number(seed, i, j);
    let spread = |seed, i, j| number(seed, i, j) * (number(seed + 7, i, j) * 12.0).exp2();
    for (shape, of) in [
        ([64, 64, 40], number as fn(u32, usize, usize) -> f32),
        ([64, 64, 256], number),
        ([64, 48, 1000], number),
        ([64, 64, 300], positive),
        ([48, 64, 2048], positive),
        ([64, 64, 500], spread),
    ] {
        let case = Case::new(shape, [Lie::Rows; 2], 1.0, |i, j| of(1, i, j), |i, j| of(2, i, j));
        let registers = error(&case, &case.registers());
        let [highest, high, medium] = PRECISIONS.map(|precision| error(&case, &case.tiles(precision)));
        println!(
            "{shape:?}: registers {registers:.1e}, highest {highest:.1e}, high {high:.1e}, medium {medium:.1e}"
        );
        assert!(highest <= registers, "{shape:?}: {highest:e}, in registers {registers:e}");
        assert!(high < 1e-5, "{shape:?}: {high:e}");
        assert!(medium < 5e-3, "{shape:?}: {medium:e}");
    }
}

#[test]
fn tiles_of_a_product_have_the_same_bits_for_any_number_of_threads() {
    let case = random([300, 700, 90], [Lie::Columns, Lie::Rows]);
    let run = |threads| {
        case.run(
            case.scale,
            |x| x,
            |product| {
                let [m, n, depth] = product.shape;
                let (tiles, cpu) = (Tiles::new(m, n, depth), Cpu::new(threads));
                assert!(tiles.count() > 3);
                let (level, product) = (cpu.level(), SendPtr(&raw const *product as *mut Product<f32>));
                tasks(&cpu, tiles.count(), tiles.cost(), |i| {
                    let [rows, cols] = tiles.get(i);
                    // SAFETY: it outlives the tasks, and nobody writes it.
                    let product = unsafe { &*product.get() };
                    let tile = product.part([rows.start, cols.start, 0], [rows.len(), cols.len(), depth]);
                    // SAFETY: tiles are disjoint.
                    unsafe { floats::<Emulator>(level, Precision::Highest, &tile) };
                    Ok(())
                })
                .expect("tasks");
            },
        )
    };
    let one = run(1);
    compare(&case, &one, |x| x, |c, value, size| assert!((c - value).abs() <= 4e-7 * size));
    for threads in [2, 3] {
        assert!(run(threads) == one);
    }
}
