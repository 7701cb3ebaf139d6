//! Group norm: a task owns some groups of channels of one image, which are contiguous.

use gradus_tensor_core::{Result, Shape};

use super::batch::{Apply, GradSums, Moments, PIECE, centre};
use super::{Backward, Forward};
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Scratch, Stored};
use crate::level::Kernel;

/// What an element costs, as `Cpu::for_chunks` counts it.
const COST: usize = 4;

/// Channels of a group, elements of a channel.
fn extents(shape: &Shape, groups: usize) -> (usize, usize) {
    (shape[1] / groups, shape[2..].iter().product())
}

pub(super) fn forward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    shape: &Shape,
    groups: usize,
    job: Forward<'_, S>,
) {
    let Forward { eps, x, weight, bias, y, mean, variance, .. } = job;
    if x.is_empty() {
        mean.fill(T::of(f64::NAN));
        variance.fill(T::of(f64::NAN));
        return;
    }
    let (channels, area) = extents(shape, groups);
    let n = channels * area;
    let (ys, means, variances) = (Parts::new(y), Parts::new(mean), Parts::new(variance));
    cpu.for_chunks(x.len() / n, n * COST, |range| {
        for row in range {
            let x = &x[row * n..(row + 1) * n];
            // SAFETY: rows are disjoint.
            let (y, mean, variance) = unsafe {
                (ys.part(row * n..(row + 1) * n), means.part(row..row + 1), variances.part(row..row + 1))
            };
            let pieces: Vec<&[S]> = x.chunks(PIECE).collect();
            let (m, v) = cpu.level().run(Moments { pieces: &pieces });
            (mean[0], variance[0]) = (T::of(m), T::of(v));
            let scale = T::of(1.0 / (v + eps).sqrt());
            let planes = x.chunks_exact(area).zip(y.chunks_exact_mut(area));
            for ((x, y), c) in planes.zip(row % groups * channels..) {
                let scale = scale * weight.map_or(T::ONE, |w| w[c]);
                let (mean, shift) = centre(m, scale, bias.map_or(T::ZERO, |b| b[c]));
                cpu.level().run(Apply { x, y, mean, scale, shift, after: None });
            }
        }
    });
}

pub(super) fn backward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    shape: &Shape,
    groups: usize,
    job: Backward<'_, S>,
) -> Result<()> {
    let Backward { eps, g, x, mean, variance, weight, gx, gweight, gbias, .. } = job;
    gweight.fill(T::ZERO);
    gbias.fill(T::ZERO);
    if x.is_empty() {
        return Ok(());
    }
    let (channels, area) = extents(shape, groups);
    let n = channels * area;
    // For each image and channel: the sums of g, and of g times the normalized value.
    let mut sums = Scratch::new(cpu, 2 * shape[0] * shape[1])?;
    let sums = sums.slice();
    {
        let (gxs, parts) = (Parts::new(gx), Parts::new(sums));
        cpu.for_chunks(x.len() / n, 2 * n * COST, |range| {
            for row in range {
                let (g, x) = (&g[row * n..(row + 1) * n], &x[row * n..(row + 1) * n]);
                // SAFETY: rows are disjoint, and so are the channels of rows.
                let (gx, sums) = unsafe {
                    (
                        gxs.part(row * n..(row + 1) * n),
                        parts.part(2 * row * channels..2 * (row + 1) * channels),
                    )
                };
                let (mean, scale) = (mean[row], 1.0 / (variance[row].to_f64() + eps).sqrt());
                let weight = |k: usize| weight.map_or(T::ONE, |w| w[row % groups * channels + k]);
                let (mut first, mut second) = (0.0, 0.0);
                let planes = g.chunks_exact(area).zip(x.chunks_exact(area));
                for (k, (g, x)) in planes.clone().enumerate() {
                    let (of_g, of_gx) = cpu.level().run(GradSums { g: &[g], x: &[x], mean });
                    sums[2 * k] = T::of(of_g);
                    sums[2 * k + 1] = T::of(of_gx * scale);
                    first += of_g * weight(k).to_f64();
                    second += of_gx * weight(k).to_f64();
                }
                let (first, slope) = (first / n as f64, second * scale * scale / n as f64);
                for (k, ((g, x), gx)) in planes.zip(gx.chunks_exact_mut(area)).enumerate() {
                    let job = Weighted {
                        g,
                        x,
                        gx,
                        mean,
                        scale: T::of(scale),
                        weight: weight(k),
                        first: T::of(first),
                        slope: T::of(slope),
                    };
                    cpu.level().run(job);
                }
            }
        });
    }
    for image in sums.chunks_exact(2 * shape[1]) {
        for ((pair, gweight), gbias) in image.chunks_exact(2).zip(gweight.iter_mut()).zip(gbias.iter_mut()) {
            *gbias += pair[0];
            *gweight += pair[1];
        }
    }
    Ok(())
}

/// `gx = scale * (g * weight - first - (x - mean) * slope)`.
struct Weighted<'a, S: Stored> {
    g: &'a [S],
    x: &'a [S],
    gx: &'a mut [S],
    mean: S::Computed,
    scale: S::Computed,
    weight: S::Computed,
    first: S::Computed,
    slope: S::Computed,
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Weighted<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((gx, &g), &x) in self.gx.iter_mut().zip(self.g).zip(self.x) {
            let rest = g.wide() * self.weight - self.first - (x.wide() - self.mean) * self.slope;
            *gx = S::rounded(self.scale * rest);
        }
    }
}
