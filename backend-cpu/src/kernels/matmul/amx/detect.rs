//! Whether the machine has the unit, whether we may use it, and whether it does what it should.

use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::floats;
use super::unit::{Instructions, ROWS, Unit};
use crate::kernels::matmul::gemm::Old;
use crate::kernels::matmul::micro::Product;
use crate::{Level, Precision};

/// Whether products may be made of tiles. Asks the system for the unit, once in the life of the process, and then tries
/// it. The machine has AVX-512.
pub(crate) fn is_there() -> bool {
    // SAFETY: the processor has the unit, and the system saves its registers and lets us use it.
    unsafe {
        has_instructions()
            && is_permitted()
            && multiplies::<Instructions>(Level::Avx512)
            && multiplies_bytes::<Instructions>()
    }
}

/// Whether the processor has tiles and products of `bf16` and of bytes in them, and the system saves the registers.
fn has_instructions() -> bool {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const ALL: u32 = AMX_BF16 | AMX_TILE | AMX_INT8;
    /// In the extended control register: shapes of registers, and what is in them.
    const TILE_STATES: u64 = 1 << 17 | 1 << 18;
    // (Asking has become safe with some version.)
    #[allow(unused_unsafe)]
    // SAFETY: every x86-64 processor can be asked, and the highest leaf says for what.
    let (basic, extended) = unsafe {
        if __cpuid(0).eax < 7 {
            return false;
        }
        (__cpuid(1), __cpuid_count(7, 0))
    };
    basic.ecx & OSXSAVE != 0
        && extended.edx & ALL == ALL
        // SAFETY: the system has switched on the instruction that reads the register.
        && unsafe { saved_states() } & TILE_STATES == TILE_STATES
}

/// # Safety
/// The system uses `XSAVE`.
#[target_feature(enable = "xsave")]
unsafe fn saved_states() -> u64 {
    // SAFETY: promised by the caller; register 0 exists.
    unsafe { _xgetbv(0) }
}

/// Whether Linux gives this process the unit: its registers are so large that it wants to be asked.
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: this call takes two numbers and touches no memory.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Whether products come out as they must. All are of a kind in which no sum is rounded, so every bit is known.
///
/// # Safety
/// The machine has the unit, and the level.
pub(super) unsafe fn multiplies<U: Unit>(level: Level) -> bool {
    // Edges of all kinds: one row beyond two tiles, a tile and a part, three steps of which the last is short.
    const M: usize = 33;
    const N: usize = 57;
    const K: usize = 70;
    // Small integers; and numbers with digits in all three parts, times a matrix that only moves them.
    let integer = |i: usize| ((i * 29 + i / 7) % 17) as f32 - 8.0;
    let long = |i: usize| f32::from_bits(0x3f80_0000 | (i as u32).wrapping_mul(0x9e37_79b1) >> 9);
    let moved = |i: usize, j: usize| if i < N && i * 5 % N == j { 1.0 } else { 0.0 };
    let all = |len: usize, f: &dyn Fn(usize) -> f32| (0..len).map(f).collect::<Vec<f32>>();
    let cases = [
        (all(M * K, &integer), all(K * N, &|i| integer(i + 5))),
        (all(M * K, &long), all(K * N, &|i| moved(i / N, i % N))),
        (all(M * K, &|i| moved(i % K, i / K)), all(K * N, &long)),
    ];
    cases.iter().all(|(a, b)| {
        let mut c = vec![f32::NAN; M * N];
        let product = Product {
            shape: [M, N, K],
            c: c.as_mut_ptr(),
            pitch: N,
            old: Old::Ignore,
            scale: 1.0,
            a: a.as_ptr(),
            a_strides: [K as isize, 1],
            b: b.as_ptr(),
            b_strides: [N as isize, 1],
        };
        // SAFETY: promised by the caller; the matrices have these shapes.
        unsafe { floats::<U>(level, Precision::Highest, &product) };
        (0..M * N).all(|at| {
            let (i, j) = (at / N, at % N);
            let sum: f64 = (0..K).map(|k| a[i * K + k] as f64 * b[k * N + j] as f64).sum();
            c[at] == sum as f32
        })
    })
}

/// Whether products of bytes come out as they must.
///
/// # Safety
/// The machine has the unit.
pub(super) unsafe fn multiplies_bytes<U: Unit>() -> bool {
    const DEPTH: usize = 4 * ROWS;
    // Rows of the left operand are further apart than they are long; of the right one, four bytes of depth follow each other.
    const PITCH: usize = DEPTH + 5;
    let a: Vec<u8> = (0..ROWS * PITCH).map(|i| (i * 89 + i / 13) as u8).collect();
    let b: Vec<i8> = (0..ROWS * DEPTH).map(|i| (i * 57 + i / 11) as i8).collect();
    let mut sums = [[0i32; ROWS]; ROWS];
    // SAFETY: promised by the caller; the registers are read from all of the operands, and written to all of the sums.
    unsafe {
        let mut unit = U::configure();
        unit.zero::<3>();
        unit.load_rows::<4>(a.as_ptr(), PITCH);
        unit.load_rows::<7>(b.as_ptr().cast(), DEPTH);
        unit.dot_bytes::<3, 4, 7>();
        unit.dot_bytes::<3, 4, 7>();
        unit.store::<3>(sums.as_mut_ptr().cast(), ROWS);
        unit.release();
    }
    (0..ROWS * ROWS).all(|at| {
        let (i, j) = (at / ROWS, at % ROWS);
        let product = |k: usize| i32::from(a[i * PITCH + k]) * i32::from(b[k / 4 * DEPTH + j * 4 + k % 4]);
        sums[i][j] == 2 * (0..DEPTH).map(product).sum::<i32>()
    })
}
