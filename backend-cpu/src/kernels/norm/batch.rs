//! Batch norm: a task owns a channel in all images, or neighbouring ones if planes are short ([`columns`]).

use gradus_tensor_core::{Result, Shape};

use super::block::{ActivatedParts, After};
use super::columns::{self, SHORT};
use super::{Backward, Forward};
use crate::kernels::dense::{Parts, Real, Room, Scratch, Stored, tasks};
use crate::kernels::real::Sums;
use crate::kernels::unary::limited;
use crate::level::Kernel;
use crate::{Cpu, Level};

/// What an element costs, as `Cpu::for_blocks` counts it.
const COST: usize = 4;
/// Elements that are summed in the type itself; sums of such pieces are added in `f64`.
pub(super) const PIECE: usize = 4096;
/// Elements that are widened at a time before they are summed.
pub(super) const HELD: usize = 512;

/// Where a channel's elements lie: `images` planes of `area` elements.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) images: usize,
    pub(super) channels: usize,
    pub(super) area: usize,
}

impl Planes {
    fn new(shape: &Shape) -> Self {
        Self { images: shape[0], channels: shape[1], area: shape[2..].iter().product() }
    }

    pub(super) fn count(&self) -> usize {
        self.images * self.area
    }

    #[inline(always)]
    pub(super) fn starts(self, channel: usize) -> impl Iterator<Item = usize> {
        (0..self.images).map(move |image| (image * self.channels + channel) * self.area)
    }

    /// The planes of a channel.
    fn of<'a, S>(&self, channel: usize, all: &'a [S]) -> Vec<&'a [S]> {
        self.starts(channel).map(|start| &all[start..start + self.area]).collect()
    }
}

/// The elements of planes in pieces, as they lie.
fn pieces<'a, S>(planes: &[&'a [S]]) -> Vec<&'a [S]> {
    planes.iter().flat_map(|plane| plane.chunks(PIECE)).collect()
}

/// A forward pass whose tasks own channels.
pub(super) struct Channels<'a, S: Stored> {
    pub(super) x: &'a [S],
    pub(super) y: Parts<'a, S>,
    pub(super) after: Option<After<'a, S>>,
    eps: f64,
    weight: Option<&'a [S::Computed]>,
    bias: Option<&'a [S::Computed]>,
    mean: Parts<'a, S::Computed>,
    variance: Parts<'a, S::Computed>,
}

impl<'a, T: Real, S: Stored<Computed = T>> Channels<'a, S> {
    pub(super) fn new(job: Forward<'a, S>) -> Self {
        let Forward { eps, x, weight, bias, y, mean, variance, after } = job;
        let (y, mean, variance) = (Parts::new(y), Parts::new(mean), Parts::new(variance));
        Self { x, y, after, eps, weight, bias, mean, variance }
    }

    /// Notes the statistics of a channel, and gives the numbers of its [`Apply`]: mean, scale and shift.
    ///
    /// # Safety
    /// No other task has the channel.
    #[inline(always)]
    pub(super) unsafe fn note(&self, c: usize, mean: f64, variance: f64) -> [T; 3] {
        // SAFETY: promised by the caller.
        unsafe {
            self.mean.part(c..c + 1)[0] = T::of(mean);
            self.variance.part(c..c + 1)[0] = T::of(variance);
        }
        let r = T::of(1.0 / (variance + self.eps).sqrt());
        let scale = r * self.weight.map_or(T::ONE, |w| w[c]);
        let (mean, shift) = centre(mean, scale, self.bias.map_or(T::ZERO, |b| b[c]));
        [mean, scale, shift]
    }
}

pub(super) fn forward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    shape: &Shape,
    job: Forward<'_, S>,
) -> Result<()> {
    let planes = Planes::new(shape);
    if job.x.is_empty() {
        job.mean.fill(T::of(f64::NAN));
        job.variance.fill(T::of(f64::NAN));
        return Ok(());
    }
    let job = Channels::new(job);
    if planes.area <= SHORT {
        return columns::forward(cpu, planes, &job);
    }
    tasks(cpu, planes.channels, planes.count() * COST, |c| {
        let (mean, variance) = cpu.level().run(Moments { pieces: &pieces(&planes.of(c, job.x)) });
        // SAFETY: channels are disjoint.
        let [mean, scale, shift] = unsafe { job.note(c, mean, variance) };
        for start in planes.starts(c) {
            let range = start..start + planes.area;
            // SAFETY: planes are disjoint.
            let y = unsafe { job.y.part(range.clone()) };
            let after = job.after.map(|after| after.of(range.clone()));
            cpu.level().run(Apply { x: &job.x[range], y, mean, scale, shift, after });
        }
        Ok(())
    })
}

/// What is subtracted from the elements, and what is added after scaling: the bias, and what of the mean the
/// type cannot hold.
#[inline(always)]
pub(super) fn centre<T: Real>(mean: f64, scale: T, bias: T) -> (T, T) {
    let held = T::of(mean);
    (held, bias - T::of(mean - held.to_f64()) * scale)
}

/// A variance, of which rounding may leave less than nothing. NaN stays.
#[inline(always)]
pub(super) fn positive<T: PartialOrd + Default>(variance: T) -> T {
    if variance < T::default() { T::default() } else { variance }
}

/// Mean and biased variance of all pieces together.
pub(super) struct Moments<'a, S> {
    pub(super) pieces: &'a [&'a [S]],
}

/// The sums of what `term` adds for each element of all pieces, in the type itself up to so many elements.
#[inline(always)]
pub(super) fn sums<T: Real, S: Stored<Computed = T>, const N: usize>(
    room: &mut Room<T, HELD>,
    pieces: &[&[S]],
    most: usize,
    term: impl Fn([T; N], T) -> [T; N],
) -> [f64; N] {
    let mut sums = Sums::new(most);
    for piece in pieces {
        sums.piece(piece.len());
        for part in piece.chunks(Room::<T, HELD>::most::<S>()) {
            let x = room.wide(part);
            sums.add(x, x, |sums, x, _| term(sums, x));
        }
    }
    sums.finish()
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Moments<'_, S> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run(self) -> (f64, f64) {
        let count: usize = self.pieces.iter().map(|piece| piece.len()).sum();
        let mut room = Room::new();
        let [total] = sums(&mut room, self.pieces, PIECE, |[sum], x| [sum + x]);
        let centre = T::of(total / count as f64);
        let [first, second] = sums(&mut room, self.pieces, PIECE, |[first, second], x| {
            let d = x - centre;
            [first + d, d.fma(d, second)]
        });
        // What rounding left of the mean.
        let rest = first / count as f64;
        (centre.to_f64() + rest, positive(second / count as f64 - rest * rest))
    }
}

/// `y = (x - mean) * scale + shift`, and what is done after that.
pub(super) struct Apply<'a, S: Stored> {
    pub(super) x: &'a [S],
    pub(super) y: &'a mut [S],
    pub(super) mean: S::Computed,
    pub(super) scale: S::Computed,
    pub(super) shift: S::Computed,
    pub(super) after: Option<After<'a, S>>,
}

impl<T: Real, S: Stored<Computed = T>> Kernel for Apply<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let normal = |x: S| (x.wide() - self.mean).fma(self.scale, self.shift);
        let all = self.y.iter_mut().zip(self.x);
        match self.after {
            None => all.for_each(|(y, &x)| *y = S::rounded(normal(x))),
            Some(After { residual: None, limits }) => {
                all.for_each(|(y, &x)| *y = S::rounded(limited(normal(x), limits)));
            }
            Some(After { residual: Some(residual), limits }) => {
                for ((y, &x), &r) in all.zip(residual) {
                    *y = S::rounded(limited(normal(x) + r.wide(), limits));
                }
            }
        }
    }
}

/// A backward pass whose tasks own channels.
pub(super) struct GradChannels<'a, S: Stored> {
    pub(super) g: &'a [S],
    pub(super) x: &'a [S],
    pub(super) mean: &'a [S::Computed],
    pub(super) gx: Parts<'a, S>,
    activated: Option<ActivatedParts<'a, S>>,
    eps: f64,
    variance: &'a [S::Computed],
    weight: Option<&'a [S::Computed]>,
    gweight: Parts<'a, S::Computed>,
    gbias: Parts<'a, S::Computed>,
}

impl<'a, T: Real, S: Stored<Computed = T>> GradChannels<'a, S> {
    pub(super) fn new(job: Backward<'a, S>) -> Self {
        let Backward { eps, g, x, mean, variance, weight, gx, gweight, gbias, activated } = job;
        let activated = activated.map(ActivatedParts::new);
        let (gx, gweight, gbias) = (Parts::new(gx), Parts::new(gweight), Parts::new(gbias));
        Self { g, x, mean, gx, activated, eps, variance, weight, gweight, gbias }
    }

    /// Elements that [`GradChannels::before`] needs room for, of so many.
    pub(super) fn room(&self, elements: usize) -> usize {
        self.activated.as_ref().map_or(0, |activated| activated.room(elements))
    }

    /// The gradient before the activation, of runs of `len` that begin at `starts`.
    ///
    /// # Safety
    /// No other task has these runs.
    pub(super) unsafe fn before<'b>(
        &'b self,
        level: Level,
        starts: impl Iterator<Item = usize>,
        len: usize,
        room: &'b mut [S],
    ) -> Vec<&'b [S]> {
        match &self.activated {
            None => starts.map(|start| &self.g[start..start + len]).collect(),
            // SAFETY: promised by the caller.
            Some(activated) => unsafe { activated.before(level, self.g, starts, len, room) },
        }
    }

    /// Notes the gradients of a channel's weight and bias by the sums of `g` and of `g * (x - mean)` over `count`
    /// elements, and gives the numbers of its [`GradApply`]: mean, scale, first and slope.
    ///
    /// # Safety
    /// No other task has the channel.
    #[inline(always)]
    pub(super) unsafe fn note(&self, c: usize, [of_g, of_gx]: [f64; 2], count: f64) -> [T; 4] {
        let r = 1.0 / (self.variance[c].to_f64() + self.eps).sqrt();
        // SAFETY: promised by the caller.
        unsafe {
            self.gbias.part(c..c + 1)[0] = T::of(of_g);
            self.gweight.part(c..c + 1)[0] = T::of(of_gx * r);
        }
        let scale = T::of(r) * self.weight.map_or(T::ONE, |w| w[c]);
        [self.mean[c], scale, T::of(of_g / count), T::of(of_gx * r * r / count)]
    }
}

pub(super) fn backward<T: Real, S: Stored<Computed = T>>(
    cpu: &Cpu,
    shape: &Shape,
    job: Backward<'_, S>,
) -> Result<()> {
    let planes = Planes::new(shape);
    if job.x.is_empty() {
        job.gweight.fill(T::ZERO);
        job.gbias.fill(T::ZERO);
        return Ok(());
    }
    let job = GradChannels::new(job);
    if planes.area <= SHORT {
        return columns::backward(cpu, planes, &job);
    }
    let level = cpu.level();
    tasks(cpu, planes.channels, 2 * planes.count() * COST, |c| {
        let mut room = Scratch::new(cpu, job.room(planes.count()))?;
        // SAFETY: channels are disjoint.
        let g = unsafe { job.before(level, planes.starts(c), planes.area, room.slice()) };
        let x = planes.of(c, job.x);
        let sums = level.run(GradSums { g: &pieces(&g), x: &pieces(&x), mean: job.mean[c] }).into();
        // SAFETY: channels are disjoint.
        let [mean, scale, first, slope] = unsafe { job.note(c, sums, planes.count() as f64) };
        for ((g, x), start) in g.into_iter().zip(x).zip(planes.starts(c)) {
            // SAFETY: planes are disjoint.
            let gx = unsafe { job.gx.part(start..start + planes.area) };
            level.run(GradApply { g, x, gx, mean, scale, first, slope });
        }
        Ok(())
    })
}

/// The sums of `g` and of `g * (x - mean)` over all pieces.
pub(super) struct GradSums<'a, S: Stored> {
    pub(super) g: &'a [&'a [S]],
    pub(super) x: &'a [&'a [S]],
    pub(super) mean: S::Computed,
}

impl<T: Real, S: Stored<Computed = T>> Kernel for GradSums<'_, S> {
    type Output = (f64, f64);

    #[inline(always)]
    fn run(self) -> (f64, f64) {
        let (mut sums, mut of_g, mut of_x) =
            (Sums::new(PIECE), Room::<T, HELD>::new(), Room::<T, HELD>::new());
        let (mean, most) = (self.mean, Room::<T, HELD>::most::<S>());
        for (g, x) in self.g.iter().zip(self.x) {
            sums.piece(x.len());
            for (g, x) in g.chunks(most).zip(x.chunks(most)) {
                let (g, x) = (of_g.wide(g), of_x.wide(x));
                sums.add(g, x, |[first, second], g, x| [first + g, g.fma(x - mean, second)]);
            }
        }
        sums.finish().into()
    }
}

/// `gx = scale * (g - first - (x - mean) * slope)`.
pub(super) struct GradApply<'a, S: Stored> {
    pub(super) g: &'a [S],
    pub(super) x: &'a [S],
    pub(super) gx: &'a mut [S],
    pub(super) mean: S::Computed,
    pub(super) scale: S::Computed,
    pub(super) first: S::Computed,
    pub(super) slope: S::Computed,
}

impl<T: Real, S: Stored<Computed = T>> Kernel for GradApply<'_, S> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((gx, &g), &x) in self.gx.iter_mut().zip(self.g).zip(self.x) {
            let rest = g.wide() - self.first - (x.wide() - self.mean) * self.slope;
            *gx = S::rounded(self.scale * rest);
        }
    }
}
