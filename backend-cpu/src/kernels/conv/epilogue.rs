//! What follows a convolution, done to outputs that a task has just made, while they are in its cache.

use gradus_tensor_core::op::{ConvBlock, ConvBlockOperands};
use gradus_tensor_core::{Result, View};

use crate::kernels::dense::{Dense, Parts, Real, Stored};
use crate::kernels::norm;
use crate::kernels::unary::{Activation, limited};
use crate::level::{Kernel, Level};
use crate::{Cpu, CpuBuffer};

/// The bias that sums begin with, and what is done when they are complete.
pub(super) struct Epilogue<'a, T> {
    pub(super) bias: Option<&'a [T]>,
    after: Option<After<'a, T>>,
}

/// `activation((y - mean) * scale + shift + residual)`
struct After<'a, T> {
    /// Mean, scale and shift of each channel; empty if there are none.
    channels: &'a [[T; 3]],
    /// As the output, or empty.
    residual: &'a [T],
    activation: Activation<T>,
}

/// Mean, scale and shift of some channels side by side, and the limits of what they make.
#[derive(Clone, Copy)]
pub(super) struct Scaled<T, const N: usize> {
    numbers: [[T; N]; 3],
    limits: [T; 2],
}

/// Outputs of one channel: `count` runs of `len`, which begin `pitch` apart.
#[derive(Clone, Copy)]
pub(super) struct Runs {
    pub(super) start: usize,
    pub(super) len: usize,
    pub(super) count: usize,
    pub(super) pitch: usize,
}

impl Runs {
    /// Copies numbers that lie one run after the other.
    ///
    /// # Safety
    /// Nobody else accesses these runs meanwhile.
    unsafe fn write<S: Copy + Send>(&self, from: &[S], y: &Parts<'_, S>) {
        // SAFETY: promised by the caller.
        unsafe {
            match self.len {
                4 => self.each::<S, 4>(from, y),
                16 => self.each::<S, 16>(from, y),
                64 => self.each::<S, 64>(from, y),
                _ => self.each::<S, 0>(from, y),
            }
        }
    }

    /// Each run, of a length that is known unless `N` is 0: then it is copied without a call.
    ///
    /// # Safety
    /// As [`Runs::write`].
    unsafe fn each<S: Copy + Send, const N: usize>(&self, from: &[S], y: &Parts<'_, S>) {
        let len = if N > 0 { N } else { self.len };
        for (k, from) in from.chunks_exact(len).take(self.count).enumerate() {
            let start = self.start + k * self.pitch;
            // SAFETY: promised by the caller.
            unsafe { y.part(start..start + len) }.copy_from_slice(from);
        }
    }
}

impl<'a, T: Real> Epilogue<'a, T> {
    /// At most a bias.
    pub(super) fn bias(bias: Option<&'a [T]>) -> Self {
        Epilogue { bias, after: None }
    }

    /// The bias of a channel, or 0.
    pub(super) fn start(&self, channel: usize) -> T {
        self.bias.map_or(T::ZERO, |b| b[channel])
    }

    /// Whether sums are not the outputs yet.
    pub(super) fn follows(&self) -> bool {
        self.after.is_some()
    }

    /// Completes outputs of one channel, of which the first is number `at` of all outputs.
    pub(super) fn finish(&self, level: Level, channel: usize, at: usize, y: &mut [T]) {
        let runs = Runs { start: 0, len: y.len(), count: 1, pitch: y.len() };
        // SAFETY: the parts are those of this call's slice.
        unsafe { self.finish_at(level, channel, at, &Parts::new(y), runs, None) }
    }

    /// Completes runs of outputs of one channel, from sums that lie one run after the other, or from those in place.
    ///
    /// # Safety
    /// Nobody else accesses these runs meanwhile.
    pub(super) unsafe fn finish_runs(
        &self,
        level: Level,
        channel: usize,
        y: &Parts<'_, T>,
        runs: Runs,
        from: Option<&[T]>,
    ) {
        // SAFETY: promised by the caller.
        unsafe { self.finish_at(level, channel, runs.start, y, runs, from) }
    }

    /// Completes the sums of one channel, which lie one run after the other, and writes them there, rounded by way of as
    /// much memory.
    ///
    /// # Safety
    /// Nobody else accesses these runs meanwhile.
    pub(super) unsafe fn write_runs<S: Stored<Computed = T>>(
        &self,
        level: Level,
        channel: usize,
        y: &Parts<'_, S>,
        runs: Runs,
        sums: &mut [T],
        rounded: &mut [S],
    ) {
        // SAFETY: promised by the caller.
        unsafe {
            if let Some(y) = S::computed_parts(y) {
                return self.finish_runs(level, channel, y, runs, Some(sums));
            }
            if self.follows() {
                for (k, sums) in sums.chunks_exact_mut(runs.len).enumerate() {
                    self.finish(level, channel, runs.start + k * runs.pitch, sums);
                }
            }
            S::narrow(level, sums, &mut rounded[..sums.len()]);
            runs.write(&rounded[..sums.len()], y);
        }
    }

    unsafe fn finish_at(
        &self,
        level: Level,
        channel: usize,
        at: usize,
        y: &Parts<'_, T>,
        runs: Runs,
        from: Option<&[T]>,
    ) {
        let scaled = self.after.as_ref().map(|after| after.scaled([Some(channel)]));
        let residual = self.after.as_ref().map_or(&[][..], |after| after.residual);
        let residual = if residual.is_empty() { None } else { Some(&residual[at..]) };
        level.run(Finish { scaled, residual, from, y, runs });
        for k in 0..runs.count {
            let start = runs.start + k * runs.pitch;
            // SAFETY: promised by the caller.
            self.activate(level, unsafe { y.part(start..start + runs.len) });
        }
    }

    /// What is done to the sums of some channels, before what [`Epilogue::activate`] does; `None` if nothing is, or if
    /// there is a residual, which is known by its position.
    pub(super) fn scaled<const N: usize>(&self, channels: [Option<usize>; N]) -> Option<Scaled<T, N>> {
        let after = self.after.as_ref()?;
        after.residual.is_empty().then(|| after.scaled(channels))
    }

    /// Applies the activation, unless [`Scaled`] has it.
    pub(super) fn activate(&self, level: Level, y: &mut [T]) {
        if let Some(after) = &self.after {
            after.activation.apply(level, y);
        }
    }
}

impl<T: Real> After<'_, T> {
    fn scaled<const N: usize>(&self, channels: [Option<usize>; N]) -> Scaled<T, N> {
        // Where there is no normalization, 1 * y - 0, which keeps the sign of zeros.
        let mut numbers = [[T::ZERO; N], [T::ONE; N], [-T::ZERO; N]];
        for (lane, channel) in channels.into_iter().enumerate() {
            if let Some(channel) = channel.and_then(|c| self.channels.get(c)) {
                (0..3).for_each(|k| numbers[k][lane] = channel[k]);
            }
        }
        Scaled { numbers, limits: self.activation.limits() }
    }
}

impl<T: Real, const N: usize> Scaled<T, N> {
    /// The outputs before residual and limits.
    #[inline(always)]
    fn scale(&self, lane: usize, y: T) -> T {
        let [mean, scale, shift] = &self.numbers;
        (y - mean[lane]).fma(scale[lane], shift[lane])
    }

    #[inline(always)]
    fn limit(&self, y: T) -> T {
        limited(y, self.limits)
    }

    /// Completes sums of the channels side by side.
    #[inline(always)]
    pub(super) fn apply(&self, y: &mut [[T; N]]) {
        for y in y {
            for (lane, y) in y.iter_mut().enumerate() {
                *y = self.limit(self.scale(lane, *y));
            }
        }
    }
}

/// The operands of a block after its weight, as slices.
pub(super) struct Operands<'a, T> {
    bias: Option<Dense<'a, T>>,
    channels: Vec<[T; 3]>,
    residual: Option<Dense<'a, T>>,
}

impl<'a, T: Real> Operands<'a, T> {
    pub(super) fn new(
        cpu: &Cpu,
        op: &ConvBlock,
        operands: &ConvBlockOperands<'a, View<'a, CpuBuffer>>,
    ) -> Result<Self> {
        let dense = |view: Option<&View<'a, CpuBuffer>>| view.map(|view| Dense::new(cpu, view)).transpose();
        let channels = match (operands.norm, op.norm) {
            (Some(vectors), Some(eps)) => norm::channels(cpu, eps, vectors)?,
            _ => Vec::new(),
        };
        Ok(Operands { bias: dense(operands.bias)?, channels, residual: dense(operands.residual)? })
    }

    /// `None` if there is no kernel for the activation.
    pub(super) fn epilogue(&'a self, op: &ConvBlock) -> Option<Epilogue<'a, T>> {
        let residual = self.residual.as_deref().unwrap_or(&[]);
        let after = After { channels: &self.channels, residual, activation: Activation::of(op.activation)? };
        Some(Epilogue { bias: self.bias.as_deref(), after: Some(after) })
    }
}

struct Finish<'a, T> {
    scaled: Option<Scaled<T, 1>>,
    /// From the first run's on.
    residual: Option<&'a [T]>,
    from: Option<&'a [T]>,
    y: &'a Parts<'a, T>,
    runs: Runs,
}

impl<T: Real> Kernel for Finish<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        // Planes of the last layers: loops that the compiler knows the length of.
        match self.runs.len {
            4 => self.each::<4>(),
            16 => self.each::<16>(),
            _ => self.each::<0>(),
        }
    }
}

impl<T: Real> Finish<'_, T> {
    /// Each run, of a length that is known unless `N` is 0.
    #[inline(always)]
    fn each<const N: usize>(self) {
        let Runs { start, len, count, pitch } = self.runs;
        for k in 0..count {
            let first = start + k * pitch;
            // SAFETY: whoever made the kernel promised the runs.
            let y = unsafe { self.y.part(first..first + len) };
            let y = if N > 0 { &mut y[..N] } else { y };
            if let Some(from) = self.from {
                let from = &from[k * len..][..y.len()];
                y.iter_mut().zip(from).for_each(|(y, &v)| *y = v);
            }
            let Some(scaled) = &self.scaled else { continue };
            match self.residual {
                None => {
                    for y in y {
                        *y = scaled.limit(scaled.scale(0, *y));
                    }
                }
                Some(residual) => {
                    for (y, &r) in y.iter_mut().zip(&residual[k * pitch..][..len]) {
                        *y = scaled.limit(scaled.scale(0, *y) + r);
                    }
                }
            }
        }
    }
}
