//! Between planes of images and lanes of tiles.
//!
//! Tiles of some images are numbered by tile row, then image, then tile column, so that the tiles of one row of
//! all images are neighbours, however narrow the images are. Each tile row begins at a multiple of [`LANES`].

use std::marker::PhantomData;
use std::ops::Range;

use super::super::super::dense::{Parts, Real};
use super::super::forward::pitch;
use super::super::geometry::Geometry;
use super::tile::{self, MOST, Tile};
use crate::kernels::matmul::registers::{InLanes, Lanes};

/// Tile rows begin at multiples of so many: the widest register.
pub(super) const LANES: usize = 16;

/// Rows of outputs that are narrower than this are read and written one element at a time.
const NARROW: usize = 8;

/// The tiles of some tile rows of some images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles<F> {
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
    tile: PhantomData<F>,
}

impl<F: Tile> Tiles<F> {
    /// All tiles of some images.
    pub(super) fn new(g: &Geometry, images: usize) -> Self {
        let out = [g.out[1], g.out[2]];
        Self {
            images,
            first: 0,
            grid: out.map(|n| n.div_ceil(F::OUT)),
            size: [g.size[1], g.size[2]],
            out,
            padding: [g.padding[1], g.padding[2]],
            tile: PhantomData,
        }
    }

    /// Some of the tile rows.
    pub(super) fn rows(self, rows: Range<usize>) -> Self {
        Self { first: self.first + rows.start, grid: [rows.len(), self.grid[1]], ..self }
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
        (self.grid[0] * F::OUT + F::IN - F::OUT) * F::IN * self.width() + self.line()
    }

    /// Elements of scratch memory that [`Scatter`] and [`Spread`] need.
    pub(super) fn scatter_scratch(&self) -> usize {
        F::OUT * F::OUT * self.width() + self.line()
    }

    /// From one value of the tiles of a row to the next value: a register more than they take, since the last one of an
    /// image may reach beyond them.
    fn width(&self) -> usize {
        self.row() + LANES
    }

    /// The elements of a line that are read or written in whole registers.
    fn line(&self) -> usize {
        F::OUT * self.grid[1].next_multiple_of(LANES) + F::IN
    }

    /// Where a value of a tile row that has `values` of each tile lies: the one at `column` of an image.
    fn place(&self, column: usize) -> usize {
        column % F::OUT * self.width() + column / F::OUT
    }

    /// What tiles read of a row of an image.
    pub(super) fn borders(&self) -> Borders {
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for k in 0..F::IN {
            for j in 0..self.grid[1] {
                let (from, to) = ((F::OUT * j + k) as isize - self.padding[1], k * self.width() + j);
                match usize::try_from(from) {
                    Ok(from) if from < self.size[1] => inside.push((from, to)),
                    _ => outside.push(to),
                }
            }
        }
        Borders { inside, outside }
    }
}

/// The elements that the tiles of an image read of a row.
#[derive(Debug)]
pub(super) struct Borders {
    /// Those of the image, and where they are put.
    inside: Vec<(usize, usize)>,
    /// Where those are put that lie beside it.
    outside: Vec<usize>,
}

/// The distance from one product's matrix of so many rows to the next one's: an odd number of lines, since all products of
/// a tile are read or written at once, and lines that are a power of two apart compete for the same places of a cache.
pub(super) fn stride(rows: usize, pitch: usize) -> usize {
    let lines = (rows * pitch).div_ceil(LANES);
    (lines | 1) * LANES
}

/// Where values of tiles lie: product `f` of tile `p` at `f * stride + p`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products<T> {
    pub(super) start: *mut T,
    pub(super) stride: usize,
}

/// Transforms one channel of the images into what the products take.
pub(super) struct Gather<'a, T, F> {
    pub(super) tiles: Tiles<F>,
    pub(super) borders: &'a Borders,
    /// The channel's plane of the first image and everything behind it, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    /// Room for [`PRODUCTS`](Tile::PRODUCTS) times [`Tiles::count`] values.
    pub(super) to: Products<T>,
}

impl<T: Real, F: Tile> InLanes<T> for Gather<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, size, padding, first, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.gather_scratch(), "too little memory for lines");
        let (line, lines) = self.scratch.split_at_mut(self.tiles.line());
        // Every padded row, with column `OUT * j + k` of image `i` at `[k][i * columns + j]`. Registers that reach
        // beyond an image's tiles are overwritten by the next image, beyond the last image they end between rows.
        let (width, reads) = (self.tiles.width(), self.tiles.line());
        let used = images * columns;
        let count = grid[0] * F::OUT + F::IN - F::OUT;
        assert!(lines.len() >= count * F::IN * width && used <= row, "tiles beyond their row");
        let Borders { inside, outside } = self.borders;
        for h in 0..count {
            let to = &mut lines[h * F::IN * width..(h + 1) * F::IN * width];
            let from = (first * F::OUT + h) as isize - padding[0];
            if from < 0 || from >= size[0] as isize {
                to.fill(T::ZERO);
                continue;
            }
            for i in 0..images {
                let start = i * self.image_pitch + from as usize * size[1];
                if columns * F::OUT <= NARROW {
                    let (from, to) = (&self.planes[start..start + size[1]], &mut to[i * columns..]);
                    inside.iter().for_each(|&(from_at, at)| to[at] = from[from_at]);
                    outside.iter().for_each(|&at| to[at] = T::ZERO);
                    continue;
                }
                let padded = start as isize - padding[1];
                let whole = padded >= 0 && padded as usize + reads <= self.planes.len();
                if !whole {
                    place(&self.planes[start..start + size[1]], padding[1], line);
                }
                // SAFETY: so many elements can be read from `padded` on, as was just seen, and so many has `line`.
                // All of an image's tiles have room in each of the rows, and a register behind them: that is how wide
                // rows are, which was checked.
                unsafe {
                    let source =
                        if whole { self.planes.as_ptr().add(padded as usize) } else { line.as_ptr() };
                    let to = to.as_mut_ptr().add(i * columns);
                    for j in (0..columns).step_by(V::LANES) {
                        let values = F::inputs::<V>(source.add(F::OUT * j));
                        for (k, value) in values.into_iter().take(F::IN).enumerate() {
                            value.store(to.add(k * width + j));
                        }
                    }
                    // In the neighbours' memory, or zero already.
                    for &at in outside {
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
                let from = lines[r * F::OUT * F::IN * width + p..].as_ptr();
                // SAFETY: the lines hold so many padded rows from there on; the tiles of this row are in the products'
                // room, which is this call's.
                unsafe {
                    let to = self.to.start.add(r * row + p);
                    tile::twice::<V, F, tile::Input>(from, width, to, self.to.stride);
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
pub(super) struct Scatter<'a, T, F> {
    pub(super) tiles: Tiles<F>,
    pub(super) from: Products<T>,
    pub(super) bias: T,
    pub(super) scratch: &'a mut [T],
    /// Where the channel's plane of the first image begins, and the distance to that of the next. No other call
    /// writes the tiles' rows of these planes at the same time.
    pub(super) planes: &'a Parts<'a, T>,
    pub(super) first: usize,
    pub(super) image_pitch: usize,
}

impl<T: Real, F: Tile> InLanes<T> for Scatter<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, out, first, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.scatter_scratch(), "too little memory for lines");
        let (line, apart) = self.scratch.split_at_mut(self.tiles.line());
        let width = self.tiles.width();
        // SAFETY: the machine has the register, here and below.
        let (one, bias) = unsafe { (V::splat(T::ONE), V::splat(self.bias)) };
        let lines = first * F::OUT..((first + grid[0]) * F::OUT).min(out[0]);
        for r in 0..grid[0] {
            for p in (0..row).step_by(V::LANES) {
                let to = apart[p..].as_mut_ptr();
                // SAFETY: the tiles of this row are in the products' memory, which nobody writes now; there is room for
                // all rows of outputs.
                unsafe {
                    let from = self.from.start.add(r * row + p);
                    tile::twice::<V, F, tile::Output>(from, self.from.stride, to, width);
                }
            }
            for i in 0..images {
                let start = self.first + i * self.image_pitch;
                // SAFETY: whoever made the call promised these rows to it alone.
                let plane =
                    unsafe { self.planes.part(start + lines.start * out[1]..start + lines.end * out[1]) };
                for a in 0..F::OUT.min(lines.len() - r * F::OUT) {
                    let from = &apart[a * F::OUT * width + i * columns..];
                    let to = &mut plane[(r * F::OUT + a) * out[1]..];
                    if columns * F::OUT <= NARROW {
                        let row = to.iter_mut().take(out[1]).enumerate();
                        row.for_each(|(c, to)| *to = from[self.tiles.place(c)] + self.bias);
                        continue;
                    }
                    for j in (0..columns).step_by(V::LANES) {
                        let n = (F::OUT * V::LANES).min(out[1] - F::OUT * j);
                        // What lies behind the row is written later, if there is anything.
                        let whole = to.get_mut(F::OUT * j..F::OUT * (j + V::LANES));
                        let direct = whole.is_some();
                        let target = whole.unwrap_or(&mut line[..F::OUT * V::LANES]);
                        // SAFETY: the slices hold what is read and written.
                        unsafe {
                            let mut values = [V::splat(T::ZERO); MOST];
                            for (k, value) in values.iter_mut().take(F::OUT).enumerate() {
                                let from = from[k * width + j..k * width + j + V::LANES].as_ptr();
                                *value = one.fma(V::load(from), bias);
                            }
                            F::join(values, target.as_mut_ptr());
                        }
                        if !direct {
                            to[F::OUT * j..F::OUT * j + n].copy_from_slice(&line[..n]);
                        }
                    }
                }
            }
        }
    }
}

/// Transforms one channel of the outputs' gradient into gradients of the products.
pub(super) struct Spread<'a, T, F> {
    pub(super) tiles: Tiles<F>,
    /// The channel's plane of the first image and everything behind it, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    pub(super) to: Products<T>,
}

impl<T: Real, F: Tile> InLanes<T> for Spread<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, out, first, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.scatter_scratch(), "too little memory for lines");
        let (line, lines) = self.scratch.split_at_mut(self.tiles.line());
        let (width, used, reads) = (self.tiles.width(), images * columns, self.tiles.line());
        for r in 0..grid[0] {
            for (a, to) in lines.chunks_exact_mut(F::OUT * width).take(F::OUT).enumerate() {
                let h = (first + r) * F::OUT + a;
                if h >= out[0] {
                    to.fill(T::ZERO);
                    continue;
                }
                for i in 0..images {
                    let start = i * self.image_pitch + h * out[1];
                    let to = &mut to[i * columns..];
                    if columns * F::OUT <= NARROW {
                        let row = self.planes[start..start + out[1]].iter().enumerate();
                        row.for_each(|(c, &from)| to[self.tiles.place(c)] = from);
                    } else {
                        let source = match self.planes.get(start..start + reads) {
                            Some(whole) => whole,
                            None => {
                                place(&self.planes[start..start + out[1]], 0, line);
                                &*line
                            }
                        };
                        for j in (0..columns).step_by(V::LANES) {
                            let source = source[F::OUT * j..F::OUT * (j + V::LANES)].as_ptr();
                            // SAFETY: the machine has the register, and the slices hold what is read and written.
                            unsafe {
                                let values = F::split::<V>(source);
                                for (k, value) in values.into_iter().take(F::OUT).enumerate() {
                                    value.store(to[k * width + j..k * width + j + V::LANES].as_mut_ptr());
                                }
                            }
                        }
                    }
                    (out[1]..columns * F::OUT).for_each(|c| to[self.tiles.place(c)] = T::ZERO);
                }
                // Tiles of no image have no gradient.
                to.chunks_exact_mut(width).for_each(|to| to[used..row].fill(T::ZERO));
            }
            for p in (0..row).step_by(V::LANES) {
                let from = lines[p..].as_ptr();
                // SAFETY: the lines hold all rows of outputs; the tiles of this row are in the products' room, which is
                // this call's.
                unsafe {
                    let to = self.to.start.add(r * row + p);
                    tile::twice::<V, F, tile::OutputAdjoint>(from, width, to, self.to.stride);
                }
            }
        }
    }
}
