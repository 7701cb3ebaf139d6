//! A product cut into blocks that stay in caches, and those into tiles.

use std::cell::Cell;
use std::marker::PhantomData;

use gradus_tensor_core::half::bf16;

use super::split::{Left, Lines, Parts, Right, STEP, pack};
use super::unit::{ROWS, Unit, WORDS};
use crate::Level;
use crate::kernels::matmul::gemm::Old;
use crate::kernels::matmul::micro::Product;
use crate::kernels::matmul::multiplied::{Given, Single, in_registers_f32};
use crate::kernels::matmul::tiles::even;
use crate::level::Kernel;

/// Rows and columns of a block: as many as callers cut a product into.
const BLOCK: [usize; 2] = [256, 576];
/// Depth of a block, times its parts: two rows of tiles of one operand are then 48 KB, a first-level cache, and all of
/// both operands 1.2 MB, a part of a second-level one.
const DEPTH: usize = 768;
/// The side of what is summed at a time: two registers each way.
const SIDE: usize = 2 * ROWS;

/// Which parts are multiplied, in an order that changes one of both at a time: that is then loaded.
const fn pairs(parts: usize) -> &'static [[usize; 2]] {
    match parts {
        1 => &[[0, 0]],
        2 => &[[1, 0], [0, 0], [0, 1]],
        _ => &[[2, 0], [1, 0], [1, 1], [0, 1], [0, 2], [0, 0]],
    }
}

/// A product of `f32` by so many parts.
pub(super) struct Floats<'a, U, const PARTS: usize> {
    level: Level,
    product: &'a Product<f32>,
    unit: PhantomData<U>,
}

impl<'a, U: Unit, const PARTS: usize> Floats<'a, U, PARTS> {
    /// # Safety
    /// As [`Multiplied::product`](crate::kernels::matmul::multiplied::Multiplied::product), and the machine has the unit.
    pub(super) unsafe fn new(level: Level, product: &'a Product<f32>) -> Self {
        Self { level, product, unit: PhantomData }
    }
}

impl<U: Unit, const PARTS: usize> Kernel for Floats<'_, U, PARTS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let p = self.product;
        let [m, n, depth] = p.shape;
        // SAFETY: promised when this was made.
        let mut machine = unsafe { Machine::<U>::new(self.level) };
        let deep = even(depth, depth.div_ceil(DEPTH / PARTS), STEP);
        for i in (0..m).step_by(BLOCK[0]) {
            for j in (0..n).step_by(BLOCK[1]) {
                for k in (0..depth).step_by(deep) {
                    let part = p.part([i, j, k], [BLOCK[0], BLOCK[1], deep]);
                    let to =
                        Target { start: part.c, pitch: p.pitch, keep: part.old == Old::Keep, scale: p.scale };
                    // SAFETY: promised when this was made.
                    unsafe {
                        if is_ordinary(machine.pack::<f32, PARTS>(&part)) {
                            machine.multiply::<PARTS>(part.shape, to);
                        } else {
                            in_registers_f32(self.level, &part, Given::NOTHING);
                        }
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { machine.unit.release() }
    }
}

/// Whether products of operands with these largest magnitudes are made of parts.
#[inline(always)]
fn is_ordinary(largest: [u32; 2]) -> bool {
    let [a, b] = largest.map(f32::from_bits);
    [a, b, a * b].iter().all(|x| super::ORDINARY.contains(x))
}

/// A product of `bf16`.
pub(super) struct Halves<'a, U, C: Single> {
    level: Level,
    product: &'a Product<bf16, C>,
    unit: PhantomData<U>,
}

impl<'a, U: Unit, C: Single> Halves<'a, U, C> {
    /// # Safety
    /// As [`Floats::new`].
    pub(super) unsafe fn new(level: Level, product: &'a Product<bf16, C>) -> Self {
        Self { level, product, unit: PhantomData }
    }
}

impl<U: Unit, C: Single> Kernel for Halves<'_, U, C> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let p = self.product;
        let [m, n, depth] = p.shape;
        // SAFETY: promised when this was made.
        let mut machine = unsafe { Machine::<U>::new(self.level) };
        let deep = even(depth, depth.div_ceil(DEPTH), STEP);
        for i in (0..m).step_by(BLOCK[0]) {
            for j in (0..n).step_by(BLOCK[1]) {
                let block = p.part([i, j, 0], [BLOCK[0], BLOCK[1], depth]);
                let [rows, cols, _] = block.shape;
                let sums: *mut f32 = machine.memory.words(2, rows * cols).cast();
                for k in (0..depth).step_by(deep) {
                    let part = block.part([0, 0, k], [rows, cols, deep]);
                    let to = Target { start: sums, pitch: cols, keep: k > 0, scale: 1.0 };
                    // SAFETY: promised when this was made; the sums have room.
                    unsafe {
                        machine.pack::<bf16, 1>(&part);
                        machine.multiply::<1>(part.shape, to);
                    }
                }
                for r in 0..rows {
                    // SAFETY: row `r` of the sums, which were written, and of the block.
                    let (from, to) = unsafe {
                        let from = std::slice::from_raw_parts(sums.add(r * cols), cols);
                        (from, std::slice::from_raw_parts_mut(block.c.add(r * p.pitch), cols))
                    };
                    let scale = p.scale.single();
                    for (to, &sum) in to.iter_mut().zip(from) {
                        let old = if p.old == Old::Keep { to.single() } else { 0.0 };
                        *to = C::rounded(sum.mul_add(scale, old));
                    }
                }
            }
        }
        // SAFETY: as above.
        unsafe { machine.unit.release() }
    }
}

impl<T: Copy, C: Copy> Product<T, C> {
    /// The part of the result from a row and a column on, of the depth from another on, of at most that shape. Depths
    /// that are not the first are added.
    pub(super) fn part(&self, [i, j, k]: [usize; 3], most: [usize; 3]) -> Self {
        let at = |strides: [isize; 2], row: usize, col: usize| {
            row as isize * strides[0] + col as isize * strides[1]
        };
        let [m, n, depth] = self.shape;
        Product {
            shape: [(m - i).min(most[0]), (n - j).min(most[1]), (depth - k).min(most[2])],
            c: self.c.wrapping_add(i * self.pitch + j),
            old: if k > 0 { Old::Keep } else { self.old },
            a: self.a.wrapping_offset(at(self.a_strides, i, k)),
            b: self.b.wrapping_offset(at(self.b_strides, k, j)),
            ..*self
        }
    }
}

/// Where sums go.
#[derive(Clone, Copy, Debug)]
struct Target {
    start: *mut f32,
    pitch: usize,
    /// Whether they are added to what is there.
    keep: bool,
    scale: f32,
}

/// The unit of a thread, and memory for packed operands.
struct Machine<U> {
    unit: U,
    memory: Memory,
    level: Level,
}

impl<U: Unit> Machine<U> {
    /// # Safety
    /// The machine has the unit, and the level.
    #[inline(always)]
    unsafe fn new(level: Level) -> Self {
        // SAFETY: promised by the caller.
        Self { unit: unsafe { U::configure() }, memory: Memory(MEMORY.take()), level }
    }

    /// Packs both operands of a block, and returns the bits of their largest numbers.
    ///
    /// # Safety
    /// The operands may be read.
    #[inline(always)]
    unsafe fn pack<T: Parts, const PARTS: usize>(&mut self, p: &Product<T, impl Copy>) -> [u32; 2] {
        let [m, n, depth] = p.shape;
        let words = |lines: usize| lines.div_ceil(ROWS) * depth.div_ceil(STEP) * PARTS * WORDS;
        let a = Lines { start: p.a, line: p.a_strides[0], step: p.a_strides[1] };
        let b = Lines { start: p.b, line: p.b_strides[1], step: p.b_strides[0] };
        let to = [self.memory.words(0, words(m)), self.memory.words(1, words(n))];
        // SAFETY: promised by the caller; the memory has room.
        unsafe {
            [
                pack::<T, Left, PARTS>(self.level, a, [m, depth], to[0]),
                pack::<T, Right, PARTS>(self.level, b, [n, depth], to[1]),
            ]
        }
    }

    /// Multiplies what was packed.
    ///
    /// # Safety
    /// A block of this shape was packed in as many parts; the target has its rows and columns.
    #[inline(always)]
    unsafe fn multiply<const PARTS: usize>(&mut self, [m, n, depth]: [usize; 3], to: Target) {
        let steps = depth.div_ceil(STEP);
        let group = steps * PARTS * WORDS;
        let [a, b] = [0, 1].map(|which| self.memory.words(which, 0).cast_const());
        let mut sums = Sums([[0.0; SIDE]; SIDE]);
        for j in (0..n).step_by(SIDE) {
            for i in (0..m).step_by(SIDE) {
                let [rows, cols] = [SIDE.min(m - i), SIDE.min(n - j)];
                let (a, b) = (a.wrapping_add(i / ROWS * group), b.wrapping_add(j / ROWS * group));
                // SAFETY: from there on as many groups follow as there are lines; the target has the rows and columns.
                unsafe {
                    match [rows > ROWS, cols > ROWS] {
                        [true, true] => self.sum::<PARTS, 2, 2>(a, b, steps, &mut sums),
                        [true, false] => self.sum::<PARTS, 2, 1>(a, b, steps, &mut sums),
                        [false, true] => self.sum::<PARTS, 1, 2>(a, b, steps, &mut sums),
                        [false, false] => self.sum::<PARTS, 1, 1>(a, b, steps, &mut sums),
                    }
                    to.put(&sums, [i, j], [rows, cols]);
                }
            }
        }
    }

    /// Sums in `R` times `C` registers.
    ///
    /// # Safety
    /// As many groups were packed from `a` and `b` on, of so many steps.
    #[inline(always)]
    unsafe fn sum<const PARTS: usize, const R: usize, const C: usize>(
        &mut self,
        mut a: *const u32,
        mut b: *const u32,
        steps: usize,
        sums: &mut Sums,
    ) {
        let group = steps * PARTS * WORDS;
        let unit = &mut self.unit;
        // SAFETY: promised by the caller.
        unsafe {
            unit.zero::<0>();
            unit.zero::<1>();
            unit.zero::<2>();
            unit.zero::<3>();
            for _ in 0..steps {
                let mut at = [PARTS; 2];
                for &[i, j] in const { pairs(PARTS) } {
                    if i != at[0] {
                        unit.load::<4>(a.add(i * WORDS));
                        if R == 2 {
                            unit.load::<5>(a.add(group + i * WORDS));
                        }
                    }
                    if j != at[1] {
                        unit.load::<6>(b.add(j * WORDS));
                        if C == 2 {
                            unit.load::<7>(b.add(group + j * WORDS));
                        }
                    }
                    at = [i, j];
                    unit.dot::<0, 4, 6>();
                    if C == 2 {
                        unit.dot::<1, 4, 7>();
                    }
                    if R == 2 {
                        unit.dot::<2, 5, 6>();
                    }
                    if R == 2 && C == 2 {
                        unit.dot::<3, 5, 7>();
                    }
                }
                a = a.wrapping_add(PARTS * WORDS);
                b = b.wrapping_add(PARTS * WORDS);
            }
            let to: *mut f32 = sums.0.as_mut_ptr().cast();
            unit.store::<0>(to, SIDE);
            if C == 2 {
                unit.store::<1>(to.add(ROWS), SIDE);
            }
            if R == 2 {
                unit.store::<2>(to.add(ROWS * SIDE), SIDE);
            }
            if R == 2 && C == 2 {
                unit.store::<3>(to.add(ROWS * SIDE + ROWS), SIDE);
            }
        }
    }
}

/// Four registers.
#[repr(align(64))]
struct Sums([[f32; SIDE]; SIDE]);

impl Target {
    /// Adds sums, or writes them.
    ///
    /// # Safety
    /// So many rows and columns of the target exist from there on.
    #[inline(always)]
    unsafe fn put(&self, sums: &Sums, [i, j]: [usize; 2], [rows, cols]: [usize; 2]) {
        for (r, sums) in sums.0.iter().enumerate().take(rows) {
            // SAFETY: promised by the caller.
            let to =
                unsafe { std::slice::from_raw_parts_mut(self.start.add((i + r) * self.pitch + j), cols) };
            // (A length that the compiler knows.)
            if let (true, Ok(to)) = (self.keep, <&mut [f32; SIDE]>::try_from(&mut *to)) {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum.mul_add(self.scale, *to));
            } else if self.keep {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum.mul_add(self.scale, *to));
            } else {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to = sum.mul_add(self.scale, 0.0));
            }
        }
    }
}

/// A row of a register.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _words: [u32; ROWS],
}

thread_local! {
    /// Packed operands and sums, kept from one product to the next.
    static MEMORY: Cell<[Vec<Line>; 3]> = const { Cell::new([Vec::new(), Vec::new(), Vec::new()]) };
}

/// Memory of this thread, which goes back when this is dropped.
struct Memory([Vec<Line>; 3]);

impl Memory {
    /// At least so many words of any contents, at whole lines.
    fn words(&mut self, which: usize, len: usize) -> *mut u32 {
        let lines = len.div_ceil(ROWS);
        if self.0[which].len() < lines {
            self.0[which].resize(lines, Line { _words: [0; ROWS] });
        }
        self.0[which].as_mut_ptr().cast()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        MEMORY.set(std::mem::take(&mut self.0));
    }
}
