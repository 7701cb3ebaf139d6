//! A test that no kernel reads or writes beside its operands.
//!
//! The allocator of a guarded device gives every buffer pages of its own, so that it ends, or begins, exactly where a page
//! that nobody may touch does. One element too far ends the process, with what was being tested, also where a wrong value
//! would have gone unnoticed. Dropped buffers are unmapped, so late readers are found too; fresh ones hold NaN.

use std::collections::HashMap;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, Once, PoisonError};

use gradus_tensor_core::op::{BatchNormBlock, Conv, ConvBlock, Linear, Norm, NormKind};
use gradus_tensor_core::{ConvOptions, DType, Device, Op, Result, Tensor, UnaryOp};
use gradus_testkit::conformance;
use gradus_testkit::samples::Family;

use crate::Cpu;

/// Which end of a buffer lies at the forbidden page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

/// Mappings by the address of their buffer: where they begin and their length.
#[derive(Debug)]
pub(crate) struct Guard {
    side: Side,
    mapped: Mutex<HashMap<usize, (usize, usize)>>,
}

/// A multiple of the page size of every machine.
const PAGE: usize = 1 << 16;

impl Guard {
    pub(crate) fn new(side: Side) -> Self {
        Guard { side, mapped: Mutex::default() }
    }

    pub(crate) fn take(&self, bytes: usize) -> Option<NonNull<u8>> {
        let inside = bytes.checked_next_multiple_of(PAGE)?.max(PAGE);
        let whole = inside.checked_add(2 * PAGE)?;
        // SAFETY: a new anonymous mapping touches no memory in use; what is made accessible lies inside it.
        let (base, start) = unsafe {
            let kind = libc::MAP_PRIVATE | libc::MAP_ANON;
            let base = libc::mmap(null_mut(), whole, libc::PROT_NONE, kind, -1, 0);
            if base == libc::MAP_FAILED {
                return None;
            }
            let first = base.cast::<u8>().add(PAGE);
            assert_eq!(libc::mprotect(first.cast(), inside, libc::PROT_READ | libc::PROT_WRITE), 0);
            // NaN in every float, so that a value that was never written shows.
            first.write_bytes(0xFF, inside);
            (base, if self.side == Side::Before { first } else { first.add(inside - bytes) })
        };
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        mapped.insert(start.addr(), (base.addr(), whole));
        NonNull::new(start)
    }

    pub(crate) fn give(&self, start: NonNull<u8>) {
        let mut mapped = self.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let (base, whole) = mapped.remove(&start.as_ptr().addr()).expect("a buffer is given back once");
        // SAFETY: the mapping was made in `take`, and its buffer is gone.
        unsafe { libc::munmap(base as *mut _, whole) };
    }
}

/// What is being tested: read by the handler of the signal, which may not allocate or lock.
static WHAT: (AtomicPtr<u8>, AtomicUsize) = (AtomicPtr::new(null_mut()), AtomicUsize::new(0));

extern "C" fn faulted(_: libc::c_int) {
    let say = |bytes: *const u8, n: usize| {
        // SAFETY: writing to standard error is allowed in a handler; the text is never freed.
        unsafe { libc::write(2, bytes.cast(), n) };
    };
    let text = b"\nmemory beside a buffer was touched in: ";
    say(text.as_ptr(), text.len());
    say(WHAT.0.load(Relaxed), WHAT.1.load(Relaxed));
    say(b"\n".as_ptr(), 1);
    // SAFETY: ends the process.
    unsafe { libc::_exit(101) };
}

/// Names what follows.
fn testing(what: String) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        let handler: extern "C" fn(libc::c_int) = faulted;
        // SAFETY: the handler only calls what a handler may.
        unsafe {
            libc::signal(libc::SIGSEGV, handler as libc::sighandler_t);
            libc::signal(libc::SIGBUS, handler as libc::sighandler_t);
        }
    });
    let what: &'static str = what.leak();
    WHAT.1.store(0, Relaxed);
    WHAT.0.store(what.as_ptr().cast_mut(), Relaxed);
    WHAT.1.store(what.len(), Relaxed);
}

#[test]
#[ignore = "the child of another test"]
fn reads_too_far() {
    let guard = Guard::new(Side::After);
    let start = guard.take(100).unwrap();
    testing("an element too far".into());
    // SAFETY: none: this ends the process, which is what is being tested.
    println!("{}", unsafe { start.as_ptr().add(100).read_volatile() });
}

#[test]
fn an_element_too_far_ends_the_process_and_says_where() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "guard::reads_too_far", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(!child.status.success());
    let text = String::from_utf8_lossy(&child.stderr);
    assert!(text.contains("memory beside a buffer was touched in: an element too far"), "{text}");
}

/// One test, since what is being tested is one text: the suite for backends, then sizes around those of registers,
/// tiles and blocks.
#[test]
fn no_kernel_touches_memory_beside_its_operands() -> Result<()> {
    for side in [Side::After, Side::Before] {
        let device = Device::new(Cpu::guarded(2, side));
        for family in Family::ALL {
            testing(format!("the samples of {family:?}, {side:?}"));
            conformance::family(&device, family).assert();
        }
        testing(format!("ops in place, {side:?}"));
        conformance::in_place(&device).assert();
        testing(format!("special values, {side:?}"));
        conformance::special_values(&device).assert();
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::F16] {
            testing(format!("elements, {dtype}, {side:?}"));
            elements(&device, dtype)?;
            products(&device, dtype, side)?;
            convolutions(&device, dtype, side)?;
            transposes(&device, dtype, side)?;
            blocks(&device, dtype, side)?;
        }
        testing(format!("outputs larger than any cache, {side:?}"));
        let x = filled(&[3533, 3559], DType::F32, &device)?;
        x.add(&x)?;
        x.neg()?;
        x.t()?.contiguous()?;
    }
    Ok(())
}

fn filled(dims: &[usize], dtype: DType, device: &Device) -> Result<Tensor> {
    let n = dims.iter().product::<usize>();
    let values: Vec<f32> = (0..n).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    Tensor::from_vec(values, gradus_tensor_core::Shape::new(dims)?, device)?.cast(dtype)
}

/// Rows, columns and elements of every small size.
fn elements(device: &Device, dtype: DType) -> Result<()> {
    for n in (1..=70).chain([127, 129, 255, 257, 511, 513, 1025, 2049]) {
        let (x, y, w) =
            (filled(&[3, n], dtype, device)?, filled(&[3, n], dtype, device)?, filled(&[n], dtype, device)?);
        let _ = (x.add(&y)?, x.add(&w)?, x.gelu()?, x.exp()?, x.cast(DType::F32)?, x.cast(DType::BF16)?);
        let _ = (x.softmax(-1)?, x.log_softmax(-1)?, x.softmax(0)?, x.sum(0)?, x.sum(1)?, x.amax(1)?);
        let _ = (x.t()?.contiguous()?, x.t()?.add(&y.t()?)?, x.cumsum(1)?, x.argmax(1)?);
        let _ = (x.layer_norm(1, Some(&w), Some(&w), 1e-5)?, x.rms_norm(1, Some(&w), 1e-5)?);
        let mut in_place = x.copy()?;
        in_place.add_assign(&y)?;
    }
    Ok(())
}

fn transposes(device: &Device, dtype: DType, side: Side) -> Result<()> {
    for rows in [8, 9, 15, 16, 31, 33, 63, 64, 65, 130] {
        for columns in [8, 13, 16, 32, 63, 64, 67, 129] {
            testing(format!("the transpose of [{rows}, {columns}], {dtype}, {side:?}"));
            filled(&[rows, columns], dtype, device)?.t()?.contiguous()?;
        }
    }
    Ok(())
}

/// Batch normalization with what follows it.
fn blocks(device: &Device, dtype: DType, side: Side) -> Result<()> {
    for area in [1, 3, 15, 16, 17, 31, 33, 64, 100, 255, 256, 257, 511, 513, 1025] {
        testing(format!("batch norm of planes of {area}, {dtype}, {side:?}"));
        let (x, v) = (filled(&[3, 7, area], dtype, device)?, filled(&[7], dtype, device)?);
        for residual in [false, true] {
            let op = BatchNormBlock { eps: 1e-3, residual, activation: Some(UnaryOp::Relu) };
            let operands = [&x, &v, &v, &x];
            let all = Op::BatchNormBlock(op).run(&operands[..3 + usize::from(residual)])?;
            Op::BatchNormBlockGrad(op).run(&[&x, &all[0], &x, &all[1], &all[2], &v])?;
            let norm = Norm { kind: NormKind::Batch, eps: 1e-3 };
            Op::NormGrad(norm).run(&[&x, &x, &all[1], &all[2], &v])?;
        }
    }
    Ok(())
}

fn products(device: &Device, dtype: DType, side: Side) -> Result<()> {
    let sizes = [1, 3, 7, 8, 9, 15, 16, 17, 33, 49];
    for m in sizes {
        testing(format!("products of {m} rows, {dtype}, {side:?}"));
        for n in sizes {
            for k in [1, 2, 3, 16, 33] {
                let (a, b) = (filled(&[m, k], dtype, device)?, filled(&[k, n], dtype, device)?);
                let (at, bt) = (filled(&[k, m], dtype, device)?.t()?, filled(&[n, k], dtype, device)?);
                let _ = (a.matmul(&b)?, at.matmul(&b)?, a.matmul(&bt.t()?)?, at.matmul(&bt.t()?)?);
                let (bias, y) = (filled(&[n], dtype, device)?, a.linear(&bt, None)?);
                a.linear(&bt, Some(&bias))?;
                let layer = Linear { residual: true, activation: Some(UnaryOp::Gelu) };
                Op::Linear(layer).run(&[&a, &bt, &bias, &y])?;
            }
        }
    }
    for (m, k, n) in [(129, 257, 131), (300, 5, 7), (3, 1031, 261), (70, 513, 97)] {
        testing(format!("the product [{m}, {k}] @ [{k}, {n}], {dtype}, {side:?}"));
        let (a, b) = (filled(&[m, k], dtype, device)?, filled(&[k, n], dtype, device)?);
        let y = a.matmul(&b)?;
        filled(&[k, m], dtype, device)?.t()?.matmul(&b)?;
        for activation in [None, Some(UnaryOp::Relu), Some(UnaryOp::Silu)] {
            Op::Linear(Linear { residual: true, activation }).run(&[&a, &b.t()?, &y])?;
        }
    }
    Ok(())
}

fn convolutions(device: &Device, dtype: DType, side: Side) -> Result<()> {
    // Pointwise, strided, depthwise, and enough channels for fewer multiplications.
    for (channels, filters, kernel, stride, groups) in [
        (3, 5, 3, 1, 1),
        (4, 6, 1, 1, 1),
        (4, 8, 3, 2, 1),
        (18, 35, 3, 2, 1),
        (20, 18, 5, 1, 1),
        (17, 17, 3, 1, 17),
        (6, 6, 3, 2, 6),
        (25, 26, 3, 1, 1),
    ] {
        let conv = Conv { stride: [stride; 3], padding: [kernel / 2; 3], groups, ..Conv::default() };
        for size in [3, 4, 5, 7, 8, 13, 15, 17, 31, 47, 63] {
            if size > 17 && channels < 24 {
                continue;
            }
            testing(format!(
                "{channels} channels of {size} to {filters} by {kernel}, {conv:?}, {dtype}, {side:?}"
            ));
            let x = filled(&[2, channels, size, size + 1], dtype, device)?;
            let w = filled(&[filters, channels / groups, kernel, kernel], dtype, device)?;
            let y = x.conv(&w, Some(&filled(&[filters], dtype, device)?), ConvOptions(conv))?;
            let v = filled(&[filters], dtype, device)?;
            let variance = v.square()?;
            let mut block = ConvBlock { norm: Some(1e-3), residual: true, ..ConvBlock::new(conv) };
            for activation in [None, Some(UnaryOp::Relu), Some(UnaryOp::Silu)] {
                block.activation = activation;
                Op::ConvBlock(block).run(&[&x, &w, &v, &variance, &v, &v, &y])?;
            }
            Op::ConvBackwardInput { conv, size: [size, size + 1, 1] }.run(&[&y, &w])?;
            Op::ConvBackwardWeight { conv, kernel: [kernel, kernel, 1] }.run(&[&y, &x])?;
        }
    }
    Ok(())
}
