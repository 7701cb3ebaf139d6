//! Everything but the instructions, over the emulator.

use gradus_tensor_core::half::bf16;

use super::emulator::Emulator;
use super::split::STEP;
use super::unit::{ROWS, Unit};
use super::{floats, halves, parts, pays};
use crate::kernels::matmul::gemm::Old;
use crate::kernels::matmul::micro::{Product, in_registers_f32};
use crate::math::half::Half;
use crate::{Level, Precision};

const PRECISIONS: [Precision; 3] = [Precision::Highest, Precision::High, Precision::Medium];

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug)]
enum Lie {
    Rows,
    Columns,
    /// Neither rows nor columns follow each other, and rows go backwards.
    Apart,
}

const LIES: [Lie; 3] = [Lie::Rows, Lie::Columns, Lie::Apart];

/// A matrix of which every element is known by its row and column.
struct Matrix<T> {
    memory: Vec<T>,
    start: usize,
    strides: [isize; 2],
}

impl<T: Copy + Default> Matrix<T> {
    fn new([rows, cols]: [usize; 2], lie: Lie, of: impl Fn(usize, usize) -> T) -> Self {
        let (start, strides) = match lie {
            Lie::Rows => (0, [cols as isize, 1]),
            Lie::Columns => (0, [1, rows as isize]),
            Lie::Apart => ((rows - 1) * (2 * cols + 1), [-(2 * cols as isize + 1), 2]),
        };
        let mut memory = vec![T::default(); rows * (2 * cols + 1)];
        for i in 0..rows {
            for j in 0..cols {
                memory[(start as isize + i as isize * strides[0] + j as isize * strides[1]) as usize] =
                    of(i, j);
            }
        }
        Matrix { memory, start, strides }
    }

    fn get(&self, i: usize, j: usize) -> T {
        self.memory
            [(self.start as isize + i as isize * self.strides[0] + j as isize * self.strides[1]) as usize]
    }
}

/// What is multiplied, and with what.
struct Case<T> {
    shape: [usize; 3],
    a: Matrix<T>,
    b: Matrix<T>,
    old: Old,
    scale: T,
}

/// What stands in memory before.
fn before(at: usize) -> f32 {
    (at % 13) as f32 - 6.0
}

impl<T: Copy + Default> Case<T> {
    fn new(
        shape: [usize; 3],
        lies: [Lie; 2],
        scale: T,
        a: impl Fn(usize, usize) -> T,
        b: impl Fn(usize, usize) -> T,
    ) -> Self {
        let [m, n, k] = shape;
        Case {
            shape,
            a: Matrix::new([m, k], lies[0], a),
            b: Matrix::new([k, n], lies[1], b),
            old: Old::Ignore,
            scale,
        }
    }

    /// The result of rows that are three elements longer than they need to be.
    fn run(&self, from: impl Fn(f32) -> T, product: impl FnOnce(&Product<T>)) -> Vec<T> {
        let [m, n, _] = self.shape;
        let mut c: Vec<T> = (0..m * (n + 3)).map(|at| from(before(at))).collect();
        product(&Product {
            shape: self.shape,
            c: c.as_mut_ptr(),
            pitch: n + 3,
            old: self.old,
            scale: self.scale,
            a: self.a.memory[self.a.start..].as_ptr(),
            a_strides: self.a.strides,
            b: self.b.memory[self.b.start..].as_ptr(),
            b_strides: self.b.strides,
        });
        c
    }
}

impl Case<f32> {
    fn tiles(&self, precision: Precision) -> Vec<f32> {
        // SAFETY: the matrices have these shapes; every machine has the emulator.
        self.run(|x| x, |product| unsafe { floats::<Emulator>(Level::detect(), precision, product) })
    }

    fn registers(&self) -> Vec<f32> {
        // SAFETY: the matrices have these shapes.
        self.run(|x| x, |product| unsafe { in_registers_f32(Level::detect(), product) })
    }
}

impl Case<bf16> {
    fn tiles(&self) -> Vec<bf16> {
        // SAFETY: the matrices have these shapes; every machine has the emulator.
        self.run(bf16::from_single, |product| unsafe { halves::<Emulator>(Level::detect(), product) })
    }
}

/// Every element beside its value in double precision, and the sum of all magnitudes in it; what lies between rows must
/// be as before.
fn compare<T: Copy + Default>(
    case: &Case<T>,
    c: &[T],
    single: impl Fn(T) -> f32,
    mut with: impl FnMut(f64, f64, f64),
) {
    let [m, n, depth] = case.shape;
    for i in 0..m {
        for j in 0..n + 3 {
            let (at, old) = (i * (n + 3) + j, before(i * (n + 3) + j) as f64);
            if j >= n {
                assert_eq!(single(c[at]) as f64, old, "between rows {i} and {}", i + 1);
                continue;
            }
            let (mut sum, mut size) = (0.0, 0.0);
            for k in 0..depth {
                let term = single(case.a.get(i, k)) as f64 * single(case.b.get(k, j)) as f64;
                sum += term;
                size += term.abs();
            }
            let (scale, old) = (single(case.scale) as f64, if case.old == Old::Keep { old } else { 0.0 });
            with(single(c[at]) as f64, sum * scale + old, size * scale.abs() + old.abs());
        }
    }
}

/// Numbers in [-1, 1) with all their digits.
fn number(seed: u32, i: usize, j: usize) -> f32 {
    let mut x = (i as u32).wrapping_mul(0x9e37_79b1)
        ^ (j as u32).wrapping_mul(0x85eb_ca77)
        ^ seed.wrapping_mul(0xc2b2_ae3d);
    for _ in 0..2 {
        x = (x ^ x >> 15).wrapping_mul(0x2c1b_3c6d);
        x ^= x >> 13;
    }
    (x >> 8) as f32 / (1 << 23) as f32 - 1.0
}

fn random(shape: [usize; 3], lies: [Lie; 2]) -> Case<f32> {
    Case::new(shape, lies, 1.0, |i, j| number(1, i, j), |i, j| number(2, i, j))
}

/// The largest error of an element, relative to all that was summed for it.
fn allowed(precision: Precision) -> f64 {
    match precision {
        Precision::Highest => 4e-7,
        Precision::High => 2.0f64.powi(-15),
        Precision::Medium => 2.0f64.powi(-7),
    }
}

/// Root mean squares of errors, relative to that of the values.
fn error(case: &Case<f32>, c: &[f32]) -> f64 {
    let (mut errors, mut values) = (0.0, 0.0);
    compare(
        case,
        c,
        |x| x,
        |c, value, _| {
            errors += (c - value).powi(2);
            values += value * value;
        },
    );
    (errors / values).sqrt()
}

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
            let lost = 100.0 * 2.0f64.powi(-63);
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

#[test]
fn what_pays_depends_on_the_shape_and_the_parts() {
    let [highest, high, medium] = PRECISIONS.map(parts);
    assert!(pays([1024, 1024, 1024], highest) && pays([96, 96, 64], highest));
    assert!(!pays([64, 64, 1000], highest) && pays([64, 64, 1000], high) && pays([32, 32, 32], medium));
    assert!(
        !pays([1, 4096, 4096], medium) && !pays([4096, 16, 4096], medium) && !pays([4096, 4096, 8], medium)
    );
    assert!(!pays([0, 100, 100], medium) && !pays([100, 100, 0], medium));
}

/// A unit that is wrong in one way: tiles of `b` hold lines where pairs should be.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod wrong {
    use super::*;
    use crate::kernels::matmul::amx::detect::multiplies;

    struct Wrong<const HOW: usize>(Emulator);

    const READS_OLD: usize = 0;
    const SKIPS_A_SUM: usize = 1;
    const SWAPS: usize = 2;
    const ROUNDS_ROWS: usize = 3;

    impl<const HOW: usize> Unit for Wrong<HOW> {
        unsafe fn configure() -> Self {
            // SAFETY: the emulator is always there; so below, where the rest is promised by the caller.
            Wrong(unsafe { Emulator::configure() })
        }
        unsafe fn zero<const T: usize>(&mut self) {
            if HOW != READS_OLD {
                // SAFETY: as above.
                unsafe { self.0.zero::<T>() }
            }
        }
        unsafe fn load<const T: usize>(&mut self, from: *const u32) {
            // SAFETY: as above.
            unsafe { self.0.load::<T>(from) }
        }
        unsafe fn dot<const SUM: usize, const A: usize, const B: usize>(&mut self) {
            // SAFETY: as above.
            unsafe {
                match HOW {
                    SKIPS_A_SUM if SUM == 3 => {}
                    SWAPS => self.0.dot::<SUM, B, A>(),
                    _ => self.0.dot::<SUM, A, B>(),
                }
            }
        }
        unsafe fn store<const T: usize>(&mut self, to: *mut f32, pitch: usize) {
            // SAFETY: as above; rows that lie closer lie in the same memory.
            unsafe { self.0.store::<T>(to, if HOW == ROUNDS_ROWS { ROWS } else { pitch }) }
        }
        unsafe fn release(self) {
            // SAFETY: as above.
            unsafe { self.0.release() }
        }
    }

    #[test]
    fn only_a_unit_that_multiplies_is_used() {
        let level = Level::detect();
        // SAFETY: none of these is a part of the machine.
        unsafe {
            assert!(multiplies::<Emulator>(level));
            assert!(!multiplies::<Wrong<READS_OLD>>(level));
            assert!(!multiplies::<Wrong<SKIPS_A_SUM>>(level));
            assert!(!multiplies::<Wrong<SWAPS>>(level));
            assert!(!multiplies::<Wrong<ROUNDS_ROWS>>(level));
        }
    }
}

/// Operands beside pages that nobody may touch.
#[cfg(unix)]
#[test]
fn nothing_is_read_or_written_beside_the_operands() {
    use gradus_tensor_core::DType;

    use crate::Cpu;
    use crate::guard::Side;

    for side in [Side::Before, Side::After] {
        let cpu = Cpu::guarded(1, side);
        for [m, n, depth] in [[1, 1, 1], [16, 16, STEP], [17, 33, 31], [33, 15, 65], [50, 47, 300]] {
            let buffer = |len| cpu.alloc_len(DType::F32, len).expect("memory");
            let (mut a, mut b, mut c) = (buffer(m * depth), buffer(depth * n), buffer(m * n));
            a.slice_mut::<f32>().fill(0.5);
            b.slice_mut::<f32>().fill(0.25);
            for (a_strides, b_strides) in [
                ([depth as isize, 1], [n as isize, 1]),
                ([1, m as isize], [1, depth as isize]),
                ([depth as isize, 1], [1, depth as isize]),
            ] {
                for precision in PRECISIONS {
                    let c = c.slice_mut::<f32>();
                    let product = Product {
                        shape: [m, n, depth],
                        c: c.as_mut_ptr(),
                        pitch: n,
                        old: Old::Ignore,
                        scale: 1.0,
                        a: a.slice_mut::<f32>().as_ptr(),
                        a_strides,
                        b: b.slice_mut::<f32>().as_ptr(),
                        b_strides,
                    };
                    // SAFETY: the matrices have these shapes; every machine has the emulator.
                    unsafe { floats::<Emulator>(Level::detect(), precision, &product) };
                    assert!(c.iter().all(|&x| x == depth as f32 / 8.0), "{m} {n} {depth}");
                }
            }
        }
    }
}

#[test]
fn tiles_of_a_product_have_the_same_bits_for_any_number_of_threads() {
    use crate::Cpu;
    use crate::kernels::dense::tasks;
    use crate::kernels::matmul::tiles::Tiles;
    use crate::parallel::SendPtr;

    let case = random([300, 700, 90], [Lie::Columns, Lie::Rows]);
    let run = |threads| {
        case.run(
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
