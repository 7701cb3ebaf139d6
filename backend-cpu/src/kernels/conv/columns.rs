//! Between an image and its column matrix.
//!
//! The column matrix has a row for each (channel, window element) and a column for each output position, so
//! that a convolution is weight times columns. Rows are written as runs of whole output rows.

use std::ops::Range;

use super::geometry::Geometry;
use crate::kernels::dense::Real;

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

/// Writes the columns `range` of an image's column matrix: row `r` from `to[r * pitch]` on. `image` holds the
/// channels whose rows are wanted, one after the other.
pub(super) fn gather<T: Real>(
    geometry: &Geometry,
    image: &[T],
    range: Range<usize>,
    to: &mut [T],
    pitch: usize,
) {
    let stride = geometry.stride[2];
    let mut rows = to.chunks_mut(pitch);
    for channel in image.chunks_exact(geometry.area()) {
        for (tap, row) in taps(geometry).zip(&mut rows) {
            let mut at = 0;
            for run in runs(geometry, range.clone()) {
                let piece = &mut row[at..at + run.columns.len()];
                at += piece.len();
                let Some(Reading { before, len, start }) = reading(geometry, tap, &run) else {
                    piece.fill(T::ZERO);
                    continue;
                };
                let (front, rest) = piece.split_at_mut(before);
                let (middle, back) = rest.split_at_mut(len);
                front.fill(T::ZERO);
                back.fill(T::ZERO);
                if stride == 1 {
                    middle.copy_from_slice(&channel[start..start + len]);
                } else {
                    let from = &channel[start..=start + (len - 1) * stride];
                    for (to, &from) in middle.iter_mut().zip(from.iter().step_by(stride)) {
                        *to = from;
                    }
                }
            }
        }
    }
}

/// Adds a column matrix (all output positions of one image) back onto the channels it was read from.
pub(super) fn scatter<T: Real>(geometry: &Geometry, from: &[T], pitch: usize, image: &mut [T]) {
    let stride = geometry.stride[2];
    let mut rows = from.chunks(pitch);
    for channel in image.chunks_exact_mut(geometry.area()) {
        for (tap, row) in taps(geometry).zip(&mut rows) {
            let mut at = 0;
            for run in runs(geometry, 0..geometry.out_area()) {
                let piece = &row[at..at + run.columns.len()];
                at += piece.len();
                if let Some(Reading { before, len, start }) = reading(geometry, tap, &run) {
                    let to = &mut channel[start..=start + (len - 1) * stride];
                    let from = &piece[before..before + len];
                    if stride == 1 {
                        to.iter_mut().zip(from).for_each(|(to, &from)| *to += from);
                    } else {
                        to.iter_mut().step_by(stride).zip(from).for_each(|(to, &from)| *to += from);
                    }
                }
            }
        }
    }
}
