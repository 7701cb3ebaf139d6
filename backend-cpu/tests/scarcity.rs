//! What happens where the system gives no more memory and no more threads: errors, or fewer threads, and the
//! process goes on. In a process of its own, since it is processes that are limited.

#![cfg(target_os = "linux")]

use gradus_backend_cpu::{Cpu, limits};
use gradus_tensor_core::{DType, Error, Result, Tensor};

/// Bytes of a tensor that fits once: more than the process has used and given back.
const LARGE: usize = 256 << 20;
/// Bytes that are left then: not enough for another one.
const LEFT: usize = 32 << 20;

/// Leaves this process so many bytes of addresses.
fn leave(bytes: usize) {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = pages.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: the call reads a number and a struct, which live here.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let most = (pages * page + bytes) as libc::rlim_t;
        let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
        assert_eq!(libc::setrlimit(libc::RLIMIT_AS, &limit), 0);
    }
}

#[test]
#[ignore = "the child of another test"]
fn in_a_process_that_gets_no_more() -> Result<()> {
    // No stack of that size (see below) has a place: so there are no threads, whatever a device asks for. (Four times as
    // many would be none.)
    let device = Cpu::builder().threads(usize::MAX / 4 + 1).build()?;
    let ones = Tensor::ones([1 << 19], DType::F32, &device)?;
    assert_eq!(ones.add(&ones)?.sum(0)?.to_vec::<f32>()?, [(1 << 20) as f32]);
    assert!(limits::arithmetic(8).iter().all(|limit| limit.per_second > 0.0));

    let large = Tensor::zeros([LARGE], DType::U8, &device)?;
    leave(LEFT);
    assert!(matches!(large.add(&large), Err(Error::OutOfMemory { .. })));
    assert!(matches!(large.to_host(), Err(Error::OutOfMemory { .. })));
    Ok(())
}

#[test]
fn without_memory_there_are_errors_and_without_threads_the_caller_computes() {
    let child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_that_gets_no_more", "--ignored", "--test-threads=1"])
        .env("RUST_MIN_STACK", (1u64 << 50).to_string())
        .output()
        .unwrap();
    let text = [child.stdout, child.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(child.status.success() && text[0].contains("1 passed"), "{text:?}");
}
