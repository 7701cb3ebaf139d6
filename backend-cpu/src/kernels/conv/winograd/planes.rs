//! Between planes of images and lanes of tiles.
//!
//! Tiles of some images are numbered by tile row, then image, then tile column, so that the tiles of one row of
//! all images are neighbours, however narrow the images are. Each tile row begins at a multiple of [`LANES`].

use std::ops::Range;

use super::super::super::dense::{Parts, Real};
use super::super::forward::pitch;
use super::super::geometry::Geometry;
use super::tile::{self, IN, OUT};
use crate::kernels::matmul::registers::{InLanes, Lanes};

/// Tile rows begin at multiples of so many: the widest register.
pub(super) const LANES: usize = 16;

/// The tiles of some tile rows of some images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    /// Images that are transformed together.
    pub(super) images: usize,
    /// The first tile row.
    first: usize,
    /// Tile rows and columns.
    grid: [usize; 2],
    /// Input rows and columns.
    size: [usize; 2],
    /// Output rows and columns.
    out: [usize; 2],
    padding: [isize; 2],
}

impl Tiles {
    /// All tiles of some images.
    pub(super) fn new(g: &Geometry, images: usize) -> Self {
        let out = [g.out[1], g.out[2]];
        Self {
            images,
            first: 0,
            grid: out.map(|n| n.div_ceil(OUT)),
            size: [g.size[1], g.size[2]],
            out,
            padding: [g.padding[1], g.padding[2]],
        }
    }

    /// Some of the tile rows.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        Self { first: self.first + rows.start, grid: [rows.len(), self.grid[1]], ..self }
    }

    /// The rows of an output plane that the tiles are of.
    pub(super) fn lines(&self) -> Range<usize> {
        self.first * OUT..((self.first + self.grid[0]) * OUT).min(self.out[0])
    }

    /// Tiles of a tile row, rounded up to whole lanes.
    pub(super) fn row(&self) -> usize {
        (self.images * self.grid[1]).next_multiple_of(LANES)
    }

    /// All tiles, those in between that belong to no image included.
    pub(super) fn count(&self) -> usize {
        self.grid[0] * self.row()
    }

    /// The distance from the tiles of one channel to those of the next.
    pub(super) fn pitch(&self) -> usize {
        pitch(self.count())
    }

    /// Elements of scratch memory that [`Gather`] needs.
    pub(super) fn gather_scratch(&self) -> usize {
        (self.grid[0] * OUT + IN - OUT) * IN * (self.row() + LANES) + self.line()
    }

    /// Elements of scratch memory that [`Scatter`] and [`Spread`] need.
    pub(super) fn scatter_scratch(&self) -> usize {
        OUT * OUT * (self.row() + LANES) + self.line()
    }

    /// The elements of a line that are read or written in whole registers.
    fn line(&self) -> usize {
        OUT * self.grid[1].next_multiple_of(LANES) + IN
    }
}

/// Where values of tiles lie: product `f` of tile `p` at `f * pitch + p`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products<T> {
    pub(super) start: *mut T,
    pub(super) pitch: usize,
}

/// Splits a line into its even and odd elements, as many tiles' as needed and then rounded up to whole registers.
///
/// # Safety
/// The machine has the register. `line` holds twice, `even` and `odd` hold as many elements as that.
#[inline(always)]
unsafe fn apart<V: Lanes>(line: &[V::Element], n: usize, even: &mut [V::Element], odd: &mut [V::Element]) {
    for j in (0..n).step_by(V::LANES) {
        let to = (&mut even[j..j + V::LANES], &mut odd[j..j + V::LANES]);
        // SAFETY: the slices hold what is read and written.
        unsafe {
            let [a, b] = V::load_pairs(line[OUT * j..OUT * (j + V::LANES)].as_ptr());
            a.store(to.0.as_mut_ptr());
            b.store(to.1.as_mut_ptr());
        }
    }
}

/// Transforms one channel of the images into what the products take.
pub(super) struct Gather<'a, T> {
    pub(super) tiles: Tiles,
    /// The channel's plane of the first image and everything behind it, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    /// Room for [`PRODUCTS`](tile::PRODUCTS) times [`Tiles::count`] values.
    pub(super) to: Products<T>,
}

impl<T: Real> InLanes<T> for Gather<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, size, padding, first, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.gather_scratch(), "too little memory for lines");
        let (line, lines) = self.scratch.split_at_mut(self.tiles.line());
        // Every padded row, with column `OUT * j + k` of image `i` at `[k][i * columns + j]`. Registers that reach
        // beyond an image's tiles are overwritten by the next image, beyond the last image they end between rows.
        let (width, reads) = (row + LANES, self.tiles.line());
        let used = images * columns;
        let count = grid[0] * OUT + IN - OUT;
        assert!(lines.len() >= count * IN * width && used <= row, "tiles beyond their row");
        // Of the elements that are read with a line, those that lie outside of it, as offsets of where they are put.
        let is_outside = |k: usize, j: usize| {
            !(padding[1]..padding[1] + size[1] as isize).contains(&((OUT * j + k) as isize))
        };
        let outside = (0..IN).flat_map(|k| (0..columns).map(move |j| (k, j)));
        let outside: Vec<usize> =
            outside.filter(|&(k, j)| is_outside(k, j)).map(|(k, j)| k * width + j).collect();
        for h in 0..count {
            let to = &mut lines[h * IN * width..(h + 1) * IN * width];
            let from = (first * OUT + h) as isize - padding[0];
            if from < 0 || from >= size[0] as isize {
                to.fill(T::ZERO);
                continue;
            }
            for i in 0..images {
                let start = i * self.image_pitch + from as usize * size[1];
                let padded = start as isize - padding[1];
                let whole = padded >= 0 && padded as usize + reads <= self.planes.len();
                if !whole {
                    place(&self.planes[start..start + size[1]], padding[1], line);
                }
                // SAFETY: so many elements can be read from `padded` on, as was just seen, and so many has `line`.
                // All of an image's tiles have room in each of the four rows, and a register behind them: that is
                // how wide rows are, which was checked.
                unsafe {
                    let source =
                        if whole { self.planes.as_ptr().add(padded as usize) } else { line.as_ptr() };
                    let to = to.as_mut_ptr().add(i * columns);
                    for j in (0..columns).step_by(V::LANES) {
                        let [a, b] = V::load_pairs(source.add(OUT * j));
                        let [c, d] = V::load_pairs(source.add(OUT * j + OUT));
                        a.store(to.add(j));
                        b.store(to.add(width + j));
                        c.store(to.add(2 * width + j));
                        d.store(to.add(3 * width + j));
                    }
                    // In the neighbours' memory, or zero already.
                    for &at in &outside {
                        *to.add(at) = T::ZERO;
                    }
                }
            }
            if used < row {
                to.chunks_exact_mut(width).for_each(|to| to[used..row].fill(T::ZERO));
            }
        }
        for r in 0..grid[0] {
            for p in (0..row).step_by(V::LANES) {
                let from = lines[r * OUT * IN * width + p..].as_ptr();
                // SAFETY: the lines hold four padded rows from there on; the tiles of this row are in the products'
                // room, which is this call's.
                unsafe {
                    let to = self.to.start.add(r * row + p);
                    tile::twice::<V, tile::Input, IN, IN>(from, width, to, self.to.pitch);
                }
            }
        }
    }
}

/// A row of an image between zeros.
#[inline(always)]
fn place<T: Real>(row: &[T], padding: isize, to: &mut [T]) {
    let before = padding.max(0) as usize;
    let skipped = (-padding).max(0) as usize;
    let n = row.len().saturating_sub(skipped).min(to.len().saturating_sub(before));
    let before = before.min(to.len());
    to[..before].fill(T::ZERO);
    if n > 0 {
        to[before..before + n].copy_from_slice(&row[skipped..skipped + n]);
    }
    to[before + n..].fill(T::ZERO);
}

/// Transforms the products of one output channel into planes of the images.
pub(super) struct Scatter<'a, T> {
    pub(super) tiles: Tiles,
    pub(super) from: Products<T>,
    pub(super) bias: T,
    pub(super) scratch: &'a mut [T],
    /// Where the channel's plane of the first image begins, and the distance to that of the next. No other call
    /// writes the tiles' rows of these planes at the same time.
    pub(super) planes: &'a Parts<'a, T>,
    pub(super) first: usize,
    pub(super) image_pitch: usize,
}

impl<T: Real> InLanes<T> for Scatter<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, out, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.scatter_scratch(), "too little memory for lines");
        let (line, apart) = self.scratch.split_at_mut(self.tiles.line());
        let width = row + LANES;
        // SAFETY: the machine has the register, here and below.
        let (one, bias) = unsafe { (V::splat(T::ONE), V::splat(self.bias)) };
        let lines = self.tiles.lines();
        for r in 0..grid[0] {
            for p in (0..row).step_by(V::LANES) {
                let to = apart[p..].as_mut_ptr();
                // SAFETY: the tiles of this row are in the products' memory, which nobody writes now; there is room for
                // two rows of pairs.
                unsafe {
                    let from = self.from.start.add(r * row + p);
                    tile::twice::<V, tile::Output, IN, OUT>(from, self.from.pitch, to, width);
                }
            }
            for i in 0..images {
                let start = self.first + i * self.image_pitch;
                // SAFETY: whoever made the call promised these rows to it alone.
                let plane =
                    unsafe { self.planes.part(start + lines.start * out[1]..start + lines.end * out[1]) };
                for a in 0..OUT.min(lines.len() - r * OUT) {
                    let from = &apart[a * OUT * width + i * columns..];
                    let to = &mut plane[(r * OUT + a) * out[1]..];
                    for j in (0..columns).step_by(V::LANES) {
                        let n = (OUT * V::LANES).min(out[1] - OUT * j);
                        // What lies behind the row is written later, if there is anything.
                        let whole = to.get_mut(OUT * j..OUT * (j + V::LANES));
                        let direct = whole.is_some();
                        let target = whole.unwrap_or(&mut line[..OUT * V::LANES]);
                        let (even, odd) = (&from[j..j + V::LANES], &from[width + j..width + j + V::LANES]);
                        // SAFETY: the slices hold what is read and written.
                        unsafe {
                            let (even, odd) = (V::load(even.as_ptr()), V::load(odd.as_ptr()));
                            let pairs = [one.fma(even, bias), one.fma(odd, bias)];
                            V::store_pairs(pairs, target.as_mut_ptr());
                        }
                        if !direct {
                            to[OUT * j..OUT * j + n].copy_from_slice(&line[..n]);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms one channel of the outputs' gradient into gradients of the products.
pub(super) struct Spread<'a, T> {
    pub(super) tiles: Tiles,
    /// The channel's plane of the first image and everything behind it, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    pub(super) to: Products<T>,
}

impl<T: Real> InLanes<T> for Spread<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, out, first, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.scatter_scratch(), "too little memory for lines");
        let (line, lines) = self.scratch.split_at_mut(self.tiles.line());
        let (width, used, reads) = (row + LANES, images * columns, self.tiles.line());
        for r in 0..grid[0] {
            for (a, to) in lines.chunks_exact_mut(OUT * width).take(OUT).enumerate() {
                let h = (first + r) * OUT + a;
                if h >= out[0] {
                    to.fill(T::ZERO);
                    continue;
                }
                let (even, odd) = to.split_at_mut(width);
                for i in 0..images {
                    let start = i * self.image_pitch + h * out[1];
                    let source = match self.planes.get(start..start + reads) {
                        Some(whole) => whole,
                        None => {
                            place(&self.planes[start..start + out[1]], 0, line);
                            &*line
                        }
                    };
                    let at = i * columns;
                    // SAFETY: the machine has the register; lines and rows are long enough, which is checked.
                    unsafe { self::apart::<V>(source, columns, &mut even[at..], &mut odd[at..]) };
                    if !out[1].is_multiple_of(OUT) {
                        odd[at + columns - 1] = T::ZERO;
                    }
                }
                // Tiles of no image have no gradient.
                even[used..row].fill(T::ZERO);
                odd[used..row].fill(T::ZERO);
            }
            for p in (0..row).step_by(V::LANES) {
                let from = lines[p..].as_ptr();
                // SAFETY: the lines hold two rows of pairs; the tiles of this row are in the products' room, which is
                // this call's.
                unsafe {
                    let to = self.to.start.add(r * row + p);
                    tile::twice::<V, tile::OutputAdjoint, OUT, IN>(from, width, to, self.to.pitch);
                }
            }
        }
    }
}
