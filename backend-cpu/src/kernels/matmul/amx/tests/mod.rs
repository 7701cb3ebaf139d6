//! Everything but the instructions, over the emulator: what tests have in common, and where memory ends.

mod halves;
mod products;
mod values;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod wrong;

use gradus_tensor_core::half::bf16;

use super::emulator::Emulator;
use super::{floats, halves, parts, pays};
use crate::kernels::matmul::gemm::Old;
use crate::kernels::matmul::micro::Product;
use crate::kernels::matmul::multiplied::{Given, in_registers_f32};
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
    fn run<C: Copy>(
        &self,
        scale: C,
        from: impl Fn(f32) -> C,
        product: impl FnOnce(&Product<T, C>),
    ) -> Vec<C> {
        let [m, n, _] = self.shape;
        let mut c: Vec<C> = (0..m * (n + 3)).map(|at| from(before(at))).collect();
        product(&Product {
            shape: self.shape,
            c: c.as_mut_ptr(),
            pitch: n + 3,
            old: self.old,
            scale,
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
        self.run(
            self.scale,
            |x| x,
            |product| unsafe { floats::<Emulator>(Level::detect(), precision, product) },
        )
    }

    fn registers(&self) -> Vec<f32> {
        // SAFETY: the matrices have these shapes.
        self.run(
            self.scale,
            |x| x,
            |product| unsafe { in_registers_f32(Level::detect(), product, Given::NOTHING) },
        )
    }
}

impl Case<bf16> {
    fn tiles(&self) -> Vec<bf16> {
        // SAFETY: the matrices have these shapes; every machine has the emulator.
        self.run(self.scale, bf16::from_single, |product| unsafe {
            halves::<Emulator, bf16>(Level::detect(), product)
        })
    }

    /// The same before it is rounded.
    fn sums(&self) -> Vec<f32> {
        // SAFETY: as above.
        self.run(
            self.scale.to_single(),
            |x| x,
            |product| unsafe { halves::<Emulator, f32>(Level::detect(), product) },
        )
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
fn what_pays_depends_on_the_shape_and_the_parts() {
    let [highest, high, medium] = PRECISIONS.map(parts);
    assert!(pays([1024, 1024, 1024], highest) && pays([96, 96, 64], highest));
    assert!(!pays([64, 64, 1000], highest) && pays([64, 64, 1000], high) && pays([32, 32, 32], medium));
    assert!(
        !pays([1, 4096, 4096], medium) && !pays([4096, 16, 4096], medium) && !pays([4096, 4096, 8], medium)
    );
    assert!(!pays([0, 100, 100], medium) && !pays([100, 100, 0], medium));
}

/// Operands beside pages that nobody may touch.
#[cfg(unix)]
#[test]
fn nothing_is_read_or_written_beside_the_operands() {
    use gradus_tensor_core::DType;

    use crate::Cpu;
    use crate::guard::Side;
    use crate::kernels::matmul::amx::split::STEP;

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
