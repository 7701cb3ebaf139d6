//! Loops over planes with a few numbers for each channel.
//!
//! Short planes are not worth a loop each. For those the numbers are written out once for every element of an
//! image, and images are single runs.

use gradus_tensor_core::{Result, Shape};

use super::batch::Apply;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, Stored, tasks};
use crate::level::Kernel;

/// What an element costs, as `Cpu::for_chunks` counts it.
const COST: usize = 3;
/// Planes of at least so many elements are worth a loop each.
const LONG: usize = 64;

/// Mean, scale and shift of each channel by given statistics.
pub(super) fn given<T: Real>(
    cpu: &Cpu,
    eps: f64,
    mean: &[T],
    variance: &[T],
    weight: Option<&[T]>,
    bias: Option<&[T]>,
) -> Vec<[T; 3]> {
    let mut scales = vec![T::ZERO; variance.len()];
    cpu.level().run(Deviations { eps, variance, inverse: &mut scales });
    let channels = mean.iter().zip(scales).enumerate();
    channels
        .map(|(c, (&mean, scale))| {
            [mean, scale * weight.map_or(T::ONE, |w| w[c]), bias.map_or(T::ZERO, |b| b[c])]
        })
        .collect()
}

/// `1 / sqrt(variance + eps)`
struct Deviations<'a, T> {
    eps: f64,
    variance: &'a [T],
    inverse: &'a mut [T],
}

impl<T: Real> Kernel for Deviations<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (inverse, variance) in self.inverse.iter_mut().zip(self.variance) {
            *inverse = T::of(1.0 / (variance.to_f64() + self.eps).sqrt());
        }
    }
}

/// Numbers of each channel, one after the other, each written out for the elements of an image.
fn spread<T: Real, const N: usize>(cpu: &Cpu, channels: &[[T; N]], area: usize) -> Result<Scratch<T>> {
    let mut all = Scratch::new(cpu, N * channels.len() * area)?;
    let mut to = all.slice().chunks_exact_mut(area.max(1));
    for k in 0..N {
        for (channel, to) in channels.iter().zip(&mut to) {
            to.fill(channel[k]);
        }
    }
    Ok(all)
}

/// `y = (x - mean) * scale + shift` with these three for each channel of `[N, C, ..]`.
pub(super) fn per_channel<S: Stored>(
    cpu: &Cpu,
    channels: &[[S::Computed; 3]],
    x: &[S],
    y: &mut [S],
    shape: &Shape,
) -> Result<()> {
    let area: usize = shape[2..].iter().product();
    if x.is_empty() {
        return Ok(());
    }
    let parts = Parts::new(y);
    if area >= LONG || shape[0] == 1 {
        cpu.for_chunks(shape[0] * shape[1], area * COST, |planes| {
            for plane in planes {
                let range = plane * area..(plane + 1) * area;
                // SAFETY: planes are disjoint.
                let y = unsafe { parts.part(range.clone()) };
                let [mean, scale, shift] = channels[plane % shape[1]];
                cpu.level().run(Apply { x: &x[range], y, mean, scale, shift, after: None });
            }
        });
        return Ok(());
    }
    let image = shape[1] * area;
    let mut all = spread(cpu, channels, area)?;
    let (mean, rest) = all.slice().split_at(image);
    let (scale, shift) = rest.split_at(image);
    tasks(cpu, shape[0], image * COST, |i| {
        let range = i * image..(i + 1) * image;
        // SAFETY: images are disjoint.
        let y = unsafe { parts.part(range.clone()) };
        cpu.level().run(ApplyEach { x: &x[range], y, mean, scale, shift });
        Ok(())
    })
}

/// `y = (x - mean) * scale + shift`, element by element.
struct ApplyEach<'a, S: Stored> {
    x: &'a [S],
    y: &'a mut [S],
    mean: &'a [S::Computed],
    scale: &'a [S::Computed],
    shift: &'a [S::Computed],
}

impl<T: Real, S: Stored<Computed = T>> Kernel for ApplyEach<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.y.len();
        let (x, mean, scale, shift) = (&self.x[..n], &self.mean[..n], &self.scale[..n], &self.shift[..n]);
        for i in 0..n {
            self.y[i] = S::rounded((x[i].wide() - mean[i]).fma(scale[i], shift[i]));
        }
    }
}
