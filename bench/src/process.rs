//! What is measured of a process as a whole: its memory, and the time to its first step.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use gradus_tensor_core::{Device, MemoryStats, Result};

use crate::cases::Case;

/// Steps after which memory no longer grows: the optimizer has its state, the allocator its blocks.
const STEPS: usize = 6;

/// Seconds between two marks, one name each.
pub struct Marks {
    start: f64,
    parts: Vec<(&'static str, f64)>,
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

impl Marks {
    /// Starts at the Unix time that whoever started this process noted just before; otherwise now.
    pub fn since(started: Option<f64>) -> Marks {
        let mut marks = Marks { start: started.unwrap_or_else(now), parts: Vec::new() };
        marks.mark("process");
        marks
    }

    /// Names what happened since the last mark.
    pub fn mark(&mut self, name: &'static str) {
        let before: f64 = self.parts.iter().map(|(_, seconds)| seconds).sum();
        self.parts.push((name, now() - self.start - before));
    }
}

/// The JSON line of the time from the start of the process to the end of a case's first step, and its parts: until
/// `main`, the device, the case (weights and data), the step; and of a second step for comparison.
///
/// # Errors
/// The case's.
pub fn first_step(case: &Case, mut marks: Marks, device: impl FnOnce() -> Result<Device>) -> Result<String> {
    let device = device()?;
    marks.mark("device");
    let mut step = (case.make)(&device)?;
    marks.mark("setup");
    step()?;
    marks.mark("step");
    let second = Instant::now();
    step()?;
    let second = second.elapsed().as_secs_f64() * 1e3;
    let total: f64 = marks.parts.iter().map(|(_, seconds)| seconds).sum();
    let parts: Vec<String> =
        marks.parts.iter().map(|(name, seconds)| format!("\"{name}\": {:.3}", seconds * 1e3)).collect();
    Ok(format!(
        "{{\"peer\": \"gradus\", \"case\": \"{}\", \"first_step_ms\": {:.3}, \"parts\": {{{}}}, \"second_step_ms\": {second:.3}}}",
        case.name,
        total * 1e3,
        parts.join(", ")
    ))
}

/// The JSON line of the most memory that this process has had resident after some steps of a case, and of what
/// tensors had of it at most.
///
/// # Errors
/// The case's.
pub fn memory(case: &Case, device: &Device) -> Result<String> {
    let before = resident();
    let mut step = (case.make)(device)?;
    for _ in 0..STEPS {
        step()?;
    }
    let MemoryStats { allocated, peak, cached, .. } = device.memory();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "{{\"peer\": \"gradus\", \"case\": \"{}\", \"peak_mib\": {:.1}, \"before_mib\": {:.1}, \"tensors_mib\": {:.1}, \"held_mib\": {:.1}}}",
        case.name,
        mib(resident()),
        mib(before),
        mib(peak),
        mib(allocated + cached)
    ))
}

/// The most bytes that this process has had resident; 0 where the system does not say.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}
