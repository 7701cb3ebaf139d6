//! Between an image and its column matrix.
//!
//! The column matrix has a row for each (channel, window element) and a column for each output position, so
//! that a convolution is weight times columns. Rows are written as runs of whole output rows.

use std::ops::Range;

use gradus_tensor_core::Element;

use super::geometry::Geometry;
#[cfg(target_arch = "x86_64")]
use super::masked;
use crate::Level;
use crate::kernels::dense::Real;

/// Shorter runs are copied element by element.
const SHORT: usize = 16;

/// A run of output positions that share all but the last spatial index: `[plane, row]` and which columns.
struct Run {
    at: [usize; 2],
    columns: Range<usize>,
}

/// The runs that make up a range of flat output positions.
fn runs(geometry: &Geometry, range: Range<usize>) -> impl Iterator<Item = Run> {
    let [_, rows, width] = geometry.out;
    let mut next = range.start;
    std::iter::from_fn(move || {
        if next >= range.end {
            return None;
        }
        let (line, first) = (next / width, next % width);
        let end = width.min(first + range.end - next);
        next += end - first;
        Some(Run { at: [line / rows, line % rows], columns: first..end })
    })
}

/// Where a run reads the input for one window element.
struct Reading {
    /// Zeros in front.
    before: usize,
    /// Elements read.
    len: usize,
    /// The first of them in the channel.
    start: usize,
}

fn reading(geometry: &Geometry, tap: [usize; 3], run: &Run) -> Option<Reading> {
    let valid = |axis: usize| geometry.valid(axis, tap[axis]);
    if !valid(0).contains(&run.at[0]) || !valid(1).contains(&run.at[1]) {
        return None;
    }
    let across = valid(2);
    let first = across.start.max(run.columns.start);
    let end = across.end.min(run.columns.end);
    if first >= end {
        return None;
    }
    let [depth, row] = [0, 1].map(|axis| geometry.position(axis, run.at[axis], tap[axis]));
    let start = (depth * geometry.size[1] + row) * geometry.size[2] + geometry.position(2, first, tap[2]);
    Some(Reading { before: first - run.columns.start, len: end - first, start })
}

/// The window elements of a channel, in the weight's order.
fn taps(geometry: &Geometry) -> impl Iterator<Item = [usize; 3]> + use<> {
    let [depth, rows, width] = geometry.kernel;
    (0..depth).flat_map(move |d| (0..rows).flat_map(move |r| (0..width).map(move |w| [d, r, w])))
}

/// Elements of a row of the column matrix that lie evenly in a channel.
#[derive(Clone, Copy)]
struct Copy {
    /// The first column, counted from the first that is wanted.
    to: usize,
    /// The first position in the channel.
    from: usize,
    len: usize,
}

/// Where a range of columns of one image is read: the same for every channel and every image, so that it is
/// worked out once.
pub(super) struct Columns {
    /// How many columns.
    len: usize,
    /// Positions of a channel.
    area: usize,
    /// Distance in the channel from one column to the next.
    stride: usize,
    copies: Vec<Copy>,
    /// For each window element which of the copies are its, and whether they leave columns that are zero.
    taps: Vec<(Range<usize>, bool)>,
}

impl Columns {
    pub(super) fn new(geometry: &Geometry, range: Range<usize>) -> Self {
        let stride = geometry.stride[2];
        let mut copies: Vec<Copy> = Vec::new();
        let mut ends = Vec::with_capacity(geometry.taps());
        for tap in taps(geometry) {
            let first = copies.len();
            let (mut at, mut covered) = (0, 0);
            for run in runs(geometry, range.clone()) {
                if let Some(Reading { before, len, start: from }) = reading(geometry, tap, &run) {
                    let to = at + before;
                    covered += len;
                    match copies[first..].last_mut() {
                        Some(last) if last.to + last.len == to && last.from + last.len * stride == from => {
                            last.len += len;
                        }
                        _ => copies.push(Copy { to, from, len }),
                    }
                }
                at += run.columns.len();
            }
            ends.push((first..copies.len(), covered < range.len()));
        }
        Self { len: range.len(), area: geometry.area(), stride, copies, taps: ends }
    }

    /// Writes the columns of an image: row `r` of the column matrix from `to[r * pitch]` on. `image` holds the
    /// channels whose rows are wanted, one after the other.
    pub(super) fn gather<T: Element>(&self, level: Level, image: &[T], to: &mut [T], pitch: usize) {
        #[cfg(target_arch = "x86_64")]
        if masked::suits(level, self.stride, size_of::<T>()) {
            // SAFETY: that level.
            return unsafe {
                match self.stride {
                    1 => masked::gather::<T, 1>(self, image, to, pitch),
                    _ => masked::gather::<T, 2>(self, image, to, pitch),
                }
            };
        }
        let _ = level;
        self.each_run(image, to, pitch, |to, from| {
            if self.stride > 1 {
                to.iter_mut().zip(from.iter().step_by(self.stride)).for_each(|(to, &from)| *to = from);
            } else if to.len() < SHORT {
                // A call to copy memory takes longer than a few elements do.
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = from);
            } else {
                to.copy_from_slice(from);
            }
        });
    }

    /// Clears what is not copied, and copies each run.
    #[inline(always)]
    pub(super) fn each_run<T: Element>(
        &self,
        image: &[T],
        to: &mut [T],
        pitch: usize,
        copy: impl Fn(&mut [T], &[T]),
    ) {
        let mut rows = to.chunks_mut(pitch);
        for channel in image.chunks_exact(self.area) {
            for ((copies, gaps), row) in self.taps.iter().zip(&mut rows) {
                if *gaps {
                    row[..self.len].fill(T::default());
                }
                for &Copy { to, from, len } in &self.copies[copies.clone()] {
                    copy(&mut row[to..to + len], &channel[from..=from + (len - 1) * self.stride]);
                }
            }
        }
    }

    /// Adds columns back onto the channel they are read from.
    pub(super) fn scatter<T: Real>(&self, level: Level, from: &[T], pitch: usize, channel: &mut [T]) {
        #[cfg(target_arch = "x86_64")]
        if masked::suits(level, self.stride, size_of::<T>()) && size_of::<T>() == size_of::<f32>() {
            let (from, channel) = (bytemuck::cast_slice(from), bytemuck::cast_slice_mut(channel));
            // SAFETY: that level.
            return unsafe {
                match self.stride {
                    1 => masked::scatter::<1>(self, from, pitch, channel),
                    _ => masked::scatter::<2>(self, from, pitch, channel),
                }
            };
        }
        let _ = level;
        self.each_sum(from, pitch, channel, |to, from| {
            to.iter_mut().step_by(self.stride).zip(from).for_each(|(to, &from)| *to += from);
        });
    }

    /// Adds each run.
    #[inline(always)]
    pub(super) fn each_sum<T>(
        &self,
        from: &[T],
        pitch: usize,
        channel: &mut [T],
        add: impl Fn(&mut [T], &[T]),
    ) {
        for ((copies, _), row) in self.taps.iter().zip(from.chunks(pitch)) {
            for &Copy { to, from, len } in &self.copies[copies.clone()] {
                add(&mut channel[from..=from + (len - 1) * self.stride], &row[to..to + len]);
            }
        }
    }
}
