//! Batch norm of short planes: a task owns some neighbouring channels in all images.
//!
//! Their elements lie side by side in each image, a column for each. Sums run down the columns, all of them at once,
//! and those of a channel's columns are added at the end: no loop is as short as a plane, and tasks share no cache line
//! but at their edges.

use gradus_tensor_core::{Element, Result};

use super::batch::{Channels, GradChannels, Planes, positive};
use super::block::After;
use crate::Cpu;
use crate::kernels::dense::{Parts, Real, Room, Scratch, Stored, tasks};
use crate::kernels::real::{LANES, padded, sum};
use crate::kernels::unary::limited;
use crate::level::Kernel;

/// Columns of a task, at most: what it sums and what it applies lie in the nearest cache.
const COLUMNS: usize = 512;
/// Planes of at most so many elements are summed here.
pub(super) const SHORT: usize = 256;
/// Images that are summed in the type itself; sums of such pieces are added in `f64`.
const PIECE: usize = 128;
/// What an element costs, as `Cpu::for_blocks` counts it.
const COST: usize = 2;

/// Blocks of columns.
const BLOCKS: usize = COLUMNS / LANES;

/// Some numbers for each column, block by block.
type Each<T, const K: usize> = [[[T; LANES]; K]; BLOCKS];

/// The columns of some neighbouring channels.
#[derive(Clone, Copy)]
struct Columns {
    planes: Planes,
    /// The first channel, and how many.
    first: usize,
    channels: usize,
}

impl Columns {
    /// Channels of a task.
    fn together(planes: &Planes) -> usize {
        (COLUMNS / planes.area).max(1)
    }

    fn new(planes: Planes, task: usize) -> Self {
        let most = Self::together(&planes);
        let first = task * most;
        Self { planes, first, channels: most.min(planes.channels - first) }
    }

    fn len(&self) -> usize {
        self.channels * self.planes.area
    }

    /// Where the columns begin in each image.
    #[inline(always)]
    fn starts(self) -> impl Iterator<Item = usize> {
        self.planes.starts(self.first)
    }

    /// The columns in each image.
    fn images<'a, S>(&self, all: &'a [S]) -> Vec<&'a [S]> {
        self.starts().map(|start| &all[start..start + self.len()]).collect()
    }

    /// Numbers of channels, written out for their columns.
    #[inline(always)]
    fn spread<T: Real, const K: usize>(&self, of: impl Fn(usize) -> [T; K]) -> Each<T, K> {
        let area = self.planes.area;
        let mut flat = [[T::ZERO; COLUMNS]; K];
        for c in 0..self.channels {
            let numbers = of(c);
            for k in 0..K {
                flat[k][c * area..(c + 1) * area].fill(numbers[k]);
            }
        }
        let mut each = [[[T::ZERO; LANES]; K]; BLOCKS];
        for k in 0..K {
            for (to, from) in each.iter_mut().zip(flat[k].as_chunks::<LANES>().0) {
                to[k] = *from;
            }
        }
        each
    }

    /// The sums over each channel of what `term` adds to a column's sums for its number and its elements in `x` and `y`.
    #[inline(always)]
    fn sum<T: Real, S: Stored<Computed = T>, const N: usize>(
        &self,
        numbers: &Each<T, 1>,
        x: &[&[S]],
        y: &[&[S]],
        term: impl Fn([T; N], T, T, T) -> [T; N],
    ) -> [[f64; N]; COLUMNS] {
        let (n, area) = (self.len(), self.planes.area);
        let add =
            |lanes: &mut [[T; LANES]; N], [number]: &[[T; LANES]; 1], x: &[T; LANES], y: &[T; LANES]| {
                let mut new = *lanes;
                for i in 0..LANES {
                    let made = term(std::array::from_fn(|k| new[k][i]), number[i], x[i], y[i]);
                    for k in 0..N {
                        new[k][i] = made[k];
                    }
                }
                *lanes = new;
            };
        let (mut of_x, mut of_y) = (Room::<T, COLUMNS>::new(), Room::<T, COLUMNS>::new());
        let mut totals = [[0.0; N]; COLUMNS];
        for (x, y) in x.chunks(PIECE).zip(y.chunks(PIECE)) {
            let mut sums = [[[T::ZERO; LANES]; N]; BLOCKS];
            for (x, y) in x.iter().zip(y) {
                let (x, y) = (of_x.wide(&x[..n]), of_y.wide(&y[..n]));
                let ((xs, x_rest), (ys, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
                let mut lanes = sums.iter_mut().zip(numbers);
                for ((x, y), (lanes, number)) in xs.iter().zip(ys).zip(&mut lanes) {
                    add(lanes, number, x, y);
                }
                // What lies behind the last column belongs to no channel.
                if let Some((lanes, number)) = lanes.next().filter(|_| !x_rest.is_empty()) {
                    add(lanes, number, &padded(x_rest), &padded(y_rest));
                }
            }
            for k in 0..N {
                let mut flat = [[T::ZERO; LANES]; BLOCKS];
                for (to, from) in flat.iter_mut().zip(&sums) {
                    *to = from[k];
                }
                let columns = flat.as_flattened()[..n].chunks_exact(area);
                for (total, columns) in totals.iter_mut().zip(columns) {
                    total[k] += if area < LANES / 2 {
                        columns.iter().map(|sum| sum.to_f64()).sum()
                    } else {
                        sum(columns).to_f64()
                    };
                }
            }
        }
        totals
    }

    /// Writes in each image what `make` makes of a column's numbers and its elements in `x` and `y`.
    #[inline(always)]
    fn apply<E: Element, T: Real, const K: usize>(
        &self,
        numbers: &Each<T, K>,
        x: &[&[E]],
        y: &[&[E]],
        to: &Parts<'_, E>,
        make: impl Fn([T; K], E, E) -> E,
    ) {
        let n = self.len();
        let make = |numbers: &[[T; LANES]; K], x: &[E; LANES], y: &[E; LANES]| -> [E; LANES] {
            let mut made = [E::default(); LANES];
            for i in 0..LANES {
                made[i] = make(std::array::from_fn(|k| numbers[k][i]), x[i], y[i]);
            }
            made
        };
        for ((start, x), y) in self.starts().zip(x).zip(y) {
            let (xs, x_rest) = x[..n].as_chunks::<LANES>();
            let (ys, y_rest) = y[..n].as_chunks::<LANES>();
            // SAFETY: no other task has these channels.
            let (to, to_rest) = unsafe { to.part(start..start + n) }.as_chunks_mut::<LANES>();
            let mut numbers = numbers.iter();
            for (((to, x), y), numbers) in to.iter_mut().zip(xs).zip(ys).zip(&mut numbers) {
                *to = make(numbers, x, y);
            }
            if let Some(numbers) = numbers.next().filter(|_| !to_rest.is_empty()) {
                to_rest.copy_from_slice(&make(numbers, &padded(x_rest), &padded(y_rest))[..to_rest.len()]);
            }
        }
    }
}

/// Runs `body` for the columns of each task.
fn each(cpu: &Cpu, planes: Planes, passes: usize, body: impl Fn(Columns) -> Result<()> + Sync) -> Result<()> {
    let together = Columns::together(&planes);
    let cost = planes.images * together * planes.area * passes * COST;
    tasks(cpu, planes.channels.div_ceil(together), cost, |task| body(Columns::new(planes, task)))
}

pub(super) fn forward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    planes: Planes,
    job: &Channels<'_, S>,
) -> Result<()> {
    each(cpu, planes, 3, |columns| {
        cpu.level().run(Normalize { columns, job });
        Ok(())
    })
}

/// No other task has these channels.
struct Normalize<'a, S: Stored> {
    columns: Columns,
    job: &'a Channels<'a, S>,
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Normalize<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { columns, job } = self;
        let x = &*columns.images(job.x);
        let count = columns.planes.count() as f64;
        let sums = columns.sum(&columns.spread(|_| [T::ZERO]), x, x, |[sum], _, x, _| [sum + x]);
        let about = |c: usize| T::of(sums[c][0] / count);
        let sums = columns.sum(&columns.spread(|c| [about(c)]), x, x, |[first, second], about, x, _| {
            let d = x - about;
            [first + d, d.fma(d, second)]
        });
        let mut numbers = [[T::ZERO; 3]; COLUMNS];
        for c in 0..columns.channels {
            // What rounding left of the mean.
            let rest = sums[c][0] / count;
            let (mean, variance) = (about(c).to_f64() + rest, positive(sums[c][1] / count - rest * rest));
            // SAFETY: no other task has this channel.
            numbers[c] = unsafe { job.note(columns.first + c, mean, variance) };
        }
        let numbers = columns.spread(|c| numbers[c]);
        let normal = |[mean, scale, shift]: [T; 3], x: S| (x.wide() - mean).fma(scale, shift);
        match job.after {
            None => columns.apply(&numbers, x, x, &job.y, |numbers, x, _| S::rounded(normal(numbers, x))),
            Some(After { residual: None, limits }) => {
                columns.apply(&numbers, x, x, &job.y, |numbers, x, _| {
                    S::rounded(limited(normal(numbers, x), limits))
                });
            }
            Some(After { residual: Some(residual), limits }) => {
                columns.apply(&numbers, x, &columns.images(residual), &job.y, |numbers, x, r| {
                    S::rounded(limited(normal(numbers, x) + r.wide(), limits))
                });
            }
        }
    }
}

pub(super) fn backward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    planes: Planes,
    job: &GradChannels<'_, S>,
) -> Result<()> {
    each(cpu, planes, 4, |columns| {
        let mut room = Scratch::new(cpu, job.room(planes.images * columns.len()))?;
        // SAFETY: no other task has these channels.
        let g = unsafe { job.before(cpu.level(), columns.starts(), columns.len(), room.slice()) };
        cpu.level().run(Differentiate { columns, job, g: &g });
        Ok(())
    })
}

/// No other task has these channels.
struct Differentiate<'a, S: Stored> {
    columns: Columns,
    job: &'a GradChannels<'a, S>,
    /// The gradient in each image.
    g: &'a [&'a [S]],
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Differentiate<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { columns, job, g } = self;
        let x = &*columns.images(job.x);
        let count = columns.planes.count() as f64;
        let means = columns.spread(|c| [job.mean[columns.first + c]]);
        let sums =
            columns.sum(&means, g, x, |[first, second], mean, g, x| [first + g, g.fma(x - mean, second)]);
        let mut numbers = [[T::ZERO; 4]; COLUMNS];
        for c in 0..columns.channels {
            // SAFETY: no other task has this channel.
            numbers[c] = unsafe { job.note(columns.first + c, sums[c], count) };
        }
        let numbers = columns.spread(|c| numbers[c]);
        columns.apply(&numbers, g, x, &job.gx, |[mean, scale, first, slope], g, x| {
            S::rounded(scale * (g.wide() - first - (x.wide() - mean) * slope))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Backward, Forward};
    use super::*;
    use crate::Level;

    /// Everything that both passes make of planes, with the channels cut into tasks of so many.
    fn passes(planes: Planes, together: usize) -> [Vec<f32>; 6] {
        let Planes { images, channels, area } = planes;
        let n = images * channels * area;
        let numbers = |k: usize| (0..n).map(|i| ((i * k) % 127) as f32 * 0.25 - 9.0).collect::<Vec<_>>();
        let (x, g) = (numbers(37), numbers(53));
        let each = |k: f32| (0..channels).map(|c| 0.5 + c as f32 * k).collect::<Vec<_>>();
        let (weight, bias, level) = (each(0.3), each(-0.7), Level::detect());
        let tasks = || (0..channels).step_by(together).map(|first| (first, together.min(channels - first)));
        let (mut y, mut gx) = (vec![0.0; n], vec![0.0; n]);
        let [mut mean, mut variance, mut gweight, mut gbias] = [(); 4].map(|_| vec![0.0; channels]);
        let job = Channels::new(Forward {
            eps: 1e-5,
            x: &x,
            weight: Some(&weight),
            bias: Some(&bias),
            y: &mut y,
            mean: &mut mean,
            variance: &mut variance,
            after: None,
        });
        for (first, channels) in tasks() {
            level.run(Normalize { columns: Columns { planes, first, channels }, job: &job });
        }
        let job = GradChannels::new(Backward {
            eps: 1e-5,
            g: &g,
            x: &x,
            mean: &mean,
            variance: &variance,
            weight: Some(&weight),
            gx: &mut gx,
            gweight: &mut gweight,
            gbias: &mut gbias,
            activated: None,
        });
        for (first, channels) in tasks() {
            let columns = Columns { planes, first, channels };
            level.run(Differentiate { columns, job: &job, g: &columns.images(&g) });
        }
        [y, mean, variance, gx, gweight, gbias]
    }

    #[test]
    fn bits_do_not_depend_on_how_channels_are_cut() {
        for (images, channels, area) in [(5, 7, 1), (3, 6, 4), (130, 5, 9), (2, 4, 49), (4, 2, 256)] {
            let planes = Planes { images, channels, area };
            let whole = passes(planes, channels);
            for together in 1..channels {
                assert_eq!(passes(planes, together), whole, "{images} x {channels} x {area}, {together}");
            }
        }
    }
}
