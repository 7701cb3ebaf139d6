//! Layer and RMS norm: contiguous rows, a weight and a bias for each element of a row.

use gradus_tensor_core::Result;

use super::batch::{HELD, positive, sums};
use super::{Backward, Forward};
use crate::kernels::dense::{Parts, Real, Room, Scratch, Stored};
use crate::kernels::real::{sum, sum2};
use crate::level::Kernel;
use crate::{Cpu, Level, stream};

/// What an element costs, as `Cpu::for_chunks` counts it.
const COST: usize = 3;
/// Rows are summed in this many blocks for the gradients of weight and bias.
const BLOCKS: usize = 32;

/// What is subtracted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Centre {
    /// The mean: layer norm.
    Mean,
    /// Nothing: RMS norm.
    Zero,
}

pub(super) fn forward<T: Real, S: Stored<Computed = T>>(cpu: &Cpu, centre: Centre, job: Forward<'_, S>) {
    let Forward { eps, x, weight, bias, y, mean, variance, .. } = job;
    if x.is_empty() {
        // Of nothing, mean and variance are 0/0.
        mean.fill(if centre == Centre::Mean { T::of(f64::NAN) } else { T::ZERO });
        variance.fill(T::of(f64::NAN));
        return;
    }
    let n = x.len() / mean.len();
    let streamed = stream::pays_by_row(cpu.level(), y, n);
    let (ys, means, variances) = (Parts::new(y), Parts::new(mean), Parts::new(variance));
    cpu.for_chunks(x.len() / n, n * COST, |rows| {
        let range = rows.start * n..rows.end * n;
        // SAFETY: chunks of rows are disjoint.
        let (y, mean, variance) =
            unsafe { (ys.part(range.clone()), means.part(rows.clone()), variances.part(rows.clone())) };
        let level = cpu.level();
        level.run(Rows { level, streamed, centre, eps, n, weight, bias, x: &x[range], y, mean, variance });
    });
}

struct Rows<'a, S: Stored> {
    level: Level,
    streamed: bool,
    centre: Centre,
    eps: f64,
    n: usize,
    x: &'a [S],
    weight: Option<&'a [S::Computed]>,
    bias: Option<&'a [S::Computed]>,
    y: &'a mut [S],
    mean: &'a mut [S::Computed],
    variance: &'a mut [S::Computed],
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Rows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.n;
        let share = T::of(1.0 / n as f64);
        let mut room = Room::<T, HELD>::new();
        for (i, (x, y)) in self.x.chunks_exact(n).zip(self.y.chunks_exact_mut(n)).enumerate() {
            let total = |[sum]: [T; 1], x| [sum + x];
            let centre = match self.centre {
                Centre::Mean => T::of(sums(&mut room, &[x], usize::MAX, total)[0]) * share,
                Centre::Zero => T::ZERO,
            };
            let [first, second] = sums(&mut room, &[x], usize::MAX, |[first, second]: [T; 2], x| {
                let d = x - centre;
                [first + d, d.fma(d, second)]
            })
            .map(T::of);
            // What rounding left of the mean; it is not to be added to a mean that cannot hold it.
            let rest = if self.centre == Centre::Mean { first * share } else { T::ZERO };
            let variance = positive(second * share - rest * rest);
            self.mean[i] = centre + rest;
            self.variance[i] = variance;
            let scale = T::ONE / (variance + T::of(self.eps)).sqrt();
            let shift = -(rest * scale);
            let normal = |x: S| (x.wide() - centre).fma(scale, shift);
            let mut target = stream::Target::new(self.level, self.streamed, y);
            while let Some((range, y)) = target.next() {
                let x = &x[range.clone()];
                if self.streamed {
                    stream::expect(x.as_ptr().wrapping_add(n), x.len());
                }
                match (self.weight.map(|w| &w[range.clone()]), self.bias.map(|b| &b[range])) {
                    (None, None) => {
                        y.iter_mut().zip(x).for_each(|(y, &x)| *y = S::rounded(normal(x)));
                    }
                    (Some(w), None) => {
                        y.iter_mut().zip(x).zip(w).for_each(|((y, &x), &w)| *y = S::rounded(normal(x) * w));
                    }
                    (None, Some(b)) => {
                        y.iter_mut().zip(x).zip(b).for_each(|((y, &x), &b)| *y = S::rounded(normal(x) + b));
                    }
                    (Some(w), Some(b)) => {
                        for (((y, &x), &w), &b) in y.iter_mut().zip(x).zip(w).zip(b) {
                            *y = S::rounded(normal(x).fma(w, b));
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn backward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    centre: Centre,
    job: Backward<'_, S>,
) -> Result<()> {
    let Backward { eps, g, x, mean, variance, weight, gx, gweight, gbias, .. } = job;
    if x.is_empty() {
        gweight.fill(T::ZERO);
        gbias.fill(T::ZERO);
        return Ok(());
    }
    let n = x.len() / mean.len();
    let rows = mean.len();
    let block = rows.div_ceil(BLOCKS);
    let blocks = rows.div_ceil(block);
    // For each block: the sums for weight and bias, and two rows.
    let mut partial = Scratch::new(cpu, blocks * 4 * n)?;
    let partial = partial.slice();
    {
        let (gxs, sums) = (Parts::new(gx), Parts::new(partial));
        cpu.for_blocks(rows, block, 2 * n * COST, |b, rows| {
            let range = rows.start * n..rows.end * n;
            // SAFETY: blocks of rows are disjoint.
            let (gx, sums) = unsafe { (gxs.part(range.clone()), sums.part(b * 4 * n..(b + 1) * 4 * n)) };
            let (sums, room) = sums.split_at_mut(2 * n);
            let (gweight, gbias) = sums.split_at_mut(n);
            let (mean, variance) = (&mean[rows.clone()], &variance[rows]);
            let (g, x) = (&g[range.clone()], &x[range]);
            let room = room.split_at_mut(n).into();
            cpu.level().run(GradRows { centre, eps, g, x, mean, variance, weight, gx, room, gweight, gbias });
        });
    }
    gweight.fill(T::ZERO);
    gbias.fill(T::ZERO);
    for sums in partial.chunks_exact(4 * n) {
        gweight.iter_mut().zip(&sums[..n]).for_each(|(to, &from)| *to += from);
        gbias.iter_mut().zip(&sums[n..2 * n]).for_each(|(to, &from)| *to += from);
    }
    Ok(())
}

struct GradRows<'a, S: Stored> {
    centre: Centre,
    eps: f64,
    g: &'a [S],
    x: &'a [S],
    mean: &'a [S::Computed],
    variance: &'a [S::Computed],
    weight: Option<&'a [S::Computed]>,
    gx: &'a mut [S],
    /// For a row of `x` as what is computed with, and for the gradient of the normalized row.
    room: [&'a mut [S::Computed]; 2],
    gweight: &'a mut [S::Computed],
    gbias: &'a mut [S::Computed],
}

impl<T: Real, S: Stored<Computed = T>> Kernel for GradRows<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let n = self.gweight.len();
        let share = T::of(1.0 / n as f64);
        self.gweight.fill(T::ZERO);
        self.gbias.fill(T::ZERO);
        let rows = self.g.chunks_exact(n).zip(self.x.chunks_exact(n)).zip(self.gx.chunks_exact_mut(n));
        for (i, ((g, x), gx)) in rows.enumerate() {
            let mean = if self.centre == Centre::Mean { self.mean[i] } else { T::ZERO };
            let scale = T::ONE / (self.variance[i] + T::of(self.eps)).sqrt();
            let [wide, row] = &mut self.room;
            let x = match S::computed(x) {
                Some(x) => x,
                None => {
                    wide.iter_mut().zip(x).for_each(|(wide, x)| *wide = x.wide());
                    &**wide
                }
            };
            let columns = self.gweight.iter_mut().zip(self.gbias.iter_mut());
            for ((&g, &x), (gweight, gbias)) in g.iter().zip(x).zip(columns) {
                let g = g.wide();
                *gweight = ((x - mean) * scale).fma(g, *gweight);
                *gbias += g;
            }
            match self.weight {
                Some(w) => row.iter_mut().zip(g).zip(w).for_each(|((row, g), &w)| *row = g.wide() * w),
                None => row.iter_mut().zip(g).for_each(|(row, g)| *row = g.wide()),
            }
            let row = &**row;
            let first = if self.centre == Centre::Mean { sum(row) * share } else { T::ZERO };
            let second = sum2(row, x, |acc, g, x| g.fma((x - mean) * scale, acc)) * share;
            for ((gx, &g), &x) in gx.iter_mut().zip(row).zip(x) {
                *gx = S::rounded(scale * (g - first - (x - mean) * scale * second));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streamed_rows_have_the_same_bits() {
        for n in [16, 80, 128] {
            let x: Vec<f32> = (0..3 * n).map(|i| ((i * 37) % 101) as f32 - 40.0).collect();
            let (w, b): (Vec<f32>, Vec<f32>) = (0..n).map(|i| (1.0 + i as f32, i as f32 * 0.3)).unzip();
            for (weight, bias) in
                [(None, None), (Some(&w[..]), None), (None, Some(&b[..])), (Some(&w[..]), Some(&b[..]))]
            {
                let rows = |streamed| {
                    let (mut y, mut mean, mut variance) = (vec![0.0; 3 * n], [0.0; 3], [0.0; 3]);
                    let level = Level::detect();
                    level.run(Rows {
                        level,
                        streamed,
                        centre: Centre::Mean,
                        eps: 1e-5,
                        n,
                        x: &x,
                        weight,
                        bias,
                        y: &mut y,
                        mean: &mut mean,
                        variance: &mut variance,
                    });
                    (y, mean, variance)
                };
                assert_eq!(rows(true), rows(false));
            }
        }
    }
}
