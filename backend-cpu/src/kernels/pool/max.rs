//! Maxima of windows: sixteen windows of a row at a time, in registers, element by element of the window.

use super::{NOWHERE, Windows};
use crate::kernels::dense::Real;
use crate::level::Kernel;

/// Windows that are worked on together.
const LANES: usize = 16;

/// A position in a plane, as wide as its lanes.
pub(super) trait Position: Copy {
    fn of(at: i64) -> Self;
    fn wide(self) -> i64;
}

impl Position for i32 {
    #[inline(always)]
    fn of(at: i64) -> i32 {
        at as i32
    }
    #[inline(always)]
    fn wide(self) -> i64 {
        i64::from(self)
    }
}

impl Position for i64 {
    #[inline(always)]
    fn of(at: i64) -> i64 {
        at
    }
    #[inline(always)]
    fn wide(self) -> i64 {
        self
    }
}

/// What is the same for all planes: where the elements of windows lie.
pub(super) struct Plan {
    /// For each output row, the starts of the input's lines that its windows meet.
    rows: Vec<Vec<usize>>,
    /// For each element of a window along the last axis: where it lies, from the line's start, for window 0, and which
    /// windows have it inside of the input.
    across: Vec<(isize, std::ops::Range<usize>)>,
    /// For each window along the last axis, the first of its elements that lies inside of a line.
    first: Vec<Option<usize>>,
    stride: usize,
    width: usize,
}

impl Plan {
    pub(super) fn new(windows: &Windows) -> Self {
        let inside = |axis: usize, window: usize| {
            (0..windows.kernel[axis]).filter_map(move |tap| windows.position(axis, window, tap))
        };
        let rows = (0..windows.out[0]).flat_map(|plane| (0..windows.out[1]).map(move |row| (plane, row)));
        let rows = rows.map(|(plane, row)| {
            let lines = inside(0, plane).flat_map(|a| inside(1, row).map(move |b| (a, b)));
            lines.map(|(a, b)| (a * windows.size[1] + b) * windows.size[2]).collect()
        });
        let across = (0..windows.kernel[2]).map(|tap| {
            let from = (tap * windows.dilation[2]) as isize - windows.padding[2] as isize;
            let is_inside = |&w: &usize| windows.position(2, w, tap).is_some();
            let first = (0..windows.out[2]).find(is_inside).unwrap_or(0);
            let end = (first..windows.out[2]).rfind(is_inside).map_or(first, |last| last + 1);
            (from, first..end)
        });
        Plan {
            rows: rows.collect(),
            across: across.collect(),
            first: (0..windows.out[2]).map(|w| inside(2, w).next()).collect(),
            stride: windows.stride[2],
            width: windows.out[2],
        }
    }
}

/// The maxima of a plane's windows, and where they lie. The first of equals counts, and so does the first NaN.
pub(super) struct Maxima<'a, T, I> {
    pub(super) plan: &'a Plan,
    pub(super) x: &'a [T],
    pub(super) y: &'a mut [T],
    pub(super) index: &'a mut [i64],
    /// Its type is that of positions.
    pub(super) none: I,
}

impl<T: Real, I: Position> Kernel for Maxima<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Maxima { plan, x, y, index, none } = self;
        for (row, lines) in plan.rows.iter().enumerate() {
            for start in (0..plan.width).step_by(LANES) {
                let count = LANES.min(plan.width - start);
                // Where nothing is greater than negative infinity, the first element is the answer.
                let mut at = [none; LANES];
                if let Some(line) = lines.first() {
                    for (at, first) in at.iter_mut().zip(&plan.first[start..start + count]) {
                        *at = I::of(first.map_or(NOWHERE, |first| (line + first) as i64));
                    }
                }
                let mut most = [T::NEG_INFINITY; LANES];
                for &line in lines {
                    for (from, inside) in &plan.across {
                        let first = (line + start * plan.stride) as isize + from;
                        let mut values = load(x, first, plan.stride);
                        if inside.start > start || inside.end < start + count {
                            for (l, value) in values.iter_mut().enumerate() {
                                let is_inside = inside.start <= start + l && start + l < inside.end;
                                *value = if is_inside { *value } else { T::NEG_INFINITY };
                            }
                        }
                        for l in 0..LANES {
                            let value = values[l];
                            let wins = ((value > most[l]) | value.is_nan()) & !most[l].is_nan();
                            most[l] = if wins { value } else { most[l] };
                            let here = I::of((first + (l * plan.stride) as isize) as i64);
                            at[l] = if wins { here } else { at[l] };
                        }
                    }
                }
                let to = row * plan.width + start;
                // What lies behind is written later, if there is anything.
                if let (Some(y), Some(index)) = (y[to..].first_chunk_mut(), index[to..].first_chunk_mut()) {
                    *y = most;
                    *index = at.map(I::wide);
                } else {
                    y[to..to + count].copy_from_slice(&most[..count]);
                    index[to..to + count].copy_from_slice(&at.map(I::wide)[..count]);
                }
            }
        }
    }
}

/// Elements a stride apart; what lies outside of the plane is arbitrary.
#[inline(always)]
fn load<T: Real>(x: &[T], first: isize, stride: usize) -> [T; LANES] {
    let here = usize::try_from(first).ok().and_then(|first| x.get(first..)).unwrap_or(&[]);
    match stride {
        1 => {
            if let Some(values) = here.first_chunk() {
                return *values;
            }
        }
        2 => {
            if let Some(pairs) = here.first_chunk::<{ 2 * LANES }>() {
                return std::array::from_fn(|l| pairs[2 * l]);
            }
        }
        _ => {}
    }
    let mut values = [T::NEG_INFINITY; LANES];
    for (l, value) in values.iter_mut().enumerate() {
        let at = first + (l * stride) as isize;
        *value = usize::try_from(at).ok().and_then(|at| x.get(at)).copied().unwrap_or(*value);
    }
    values
}
