//! Which windows meet which rows of the input, and which elements of a row.
//!
//! All of it is laid out before the loops, which are compiled once per feature level and must not call out.

use std::ops::Range;

use super::super::geometry::Geometry;

/// Windows of this width are computed without a branch where all of their elements lie in the input.
pub(super) const WIDTH: usize = 3;

/// The windows of an output row, split into those that lie in the input whole and the rest, element by element.
pub(super) struct Across {
    /// Windows that lie in the input whole; empty unless windows are [`WIDTH`] wide.
    pub(super) inside: Range<usize>,
    /// Where the first of them begins.
    pub(super) start: usize,
    /// For the other windows: an element, the windows that have it in the input, and where it lies for the first.
    pub(super) edges: Vec<(usize, Range<usize>, usize)>,
    /// The pairs of rows that meet.
    pub(super) rows: Vec<Row>,
    pub(super) stride: usize,
    pub(super) dilation: usize,
}

impl Across {
    pub(super) fn new(g: &Geometry) -> Self {
        let taps = g.kernel[2];
        let mut inside = 0..0;
        if taps == WIDTH {
            let (first, last) = (g.valid(2, 0), g.valid(2, WIDTH - 1));
            // Where the first and the last element lie in the input, so do those between.
            inside = first.start.max(last.start)..first.end.min(last.end);
            if inside.is_empty() {
                inside = 0..0;
            }
        }
        let mut edges = Vec::new();
        for tap in 0..taps {
            let valid = g.valid(2, tap);
            let (before, after) = if inside.is_empty() {
                (valid, 0..0)
            } else {
                (valid.start..inside.start.min(valid.end), inside.end.max(valid.start)..valid.end)
            };
            for windows in [before, after] {
                if !windows.is_empty() {
                    edges.push((tap, windows.clone(), g.position(2, windows.start, tap)));
                }
            }
        }
        let start = if inside.is_empty() { 0 } else { g.position(2, inside.start, 0) };
        Across { inside, start, edges, rows: rows(g), stride: g.stride[2], dilation: g.dilation[2] }
    }
}

/// A row of outputs and a row of inputs that its windows meet.
pub(super) struct Row {
    pub(super) out: usize,
    /// The input row.
    pub(super) row: usize,
    /// The row of taps.
    pub(super) tap: usize,
    /// Whether the next two rows of taps are meant as well: all of the windows' [`WIDTH`] rows lie in the input.
    pub(super) three: bool,
}

/// Every pair of rows, in the order of taps for each output.
fn rows(g: &Geometry) -> Vec<Row> {
    let at = |d: usize, o: usize, k: usize| {
        let at = (o * g.stride[d] + k * g.dilation[d]) as isize - g.padding[d];
        (at >= 0 && (at as usize) < g.size[d]).then_some(at as usize)
    };
    let mut rows = Vec::with_capacity(g.out[0] * g.out[1] * g.kernel[0]);
    for a in 0..g.out[0] {
        for b in 0..g.out[1] {
            for i in 0..g.kernel[0] {
                let Some(plane) = at(0, a, i) else { continue };
                let mut push = |row: usize, j: usize, three: bool| {
                    let (out, row, tap) = (a * g.out[1] + b, plane * g.size[1] + row, i * g.kernel[1] + j);
                    rows.push(Row { out, row, tap, three });
                };
                if g.kernel[1] == WIDTH
                    && let (Some(first), Some(_)) = (at(1, b, 0), at(1, b, WIDTH - 1))
                {
                    push(first, 0, true);
                    continue;
                }
                for j in 0..g.kernel[1] {
                    if let Some(row) = at(1, b, j) {
                        push(row, j, false);
                    }
                }
            }
        }
    }
    rows
}
