//! Between planes of images and lanes of tiles.
//!
//! Tiles of some images are numbered by tile row, then image, then tile column, so that the tiles of one row of
//! all images are neighbours, however narrow the images are. Each tile row begins at a multiple of [`LANES`].

use super::super::super::dense::{Parts, Real};
use super::super::forward::pitch;
use super::super::geometry::Geometry;
use super::tile::{self, IN, OUT, rows};
use crate::level::Kernel;

/// Tile rows begin at multiples of so many: a register or two.
const LANES: usize = 16;

/// The tiles of some images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    /// Images that are transformed together.
    pub(super) images: usize,
    /// Tile rows and columns of an image.
    grid: [usize; 2],
    /// Input rows and columns.
    size: [usize; 2],
    /// Output rows and columns.
    out: [usize; 2],
    padding: [isize; 2],
}

impl Tiles {
    pub(super) fn new(g: &Geometry, images: usize) -> Self {
        let out = [g.out[1], g.out[2]];
        Self {
            images,
            grid: out.map(|n| n.div_ceil(OUT)),
            size: [g.size[1], g.size[2]],
            out,
            padding: [g.padding[1], g.padding[2]],
        }
    }

    /// Tiles of a tile row, rounded up to whole lanes.
    fn row(&self) -> usize {
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
        (self.grid[0] * OUT + IN - OUT + IN) * IN * self.row() + self.padded_width()
    }

    /// Elements of scratch memory that [`Scatter`] and [`Spread`] need.
    pub(super) fn scatter_scratch(&self) -> usize {
        (OUT + IN) * OUT * self.row()
    }

    /// Columns that the tiles of a row of one image read.
    fn padded_width(&self) -> usize {
        self.grid[1] * OUT + IN - OUT
    }
}

/// Where a value of a tile lies: product `f` of tile `p` at `f * pitch + p`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Products<T> {
    pub(super) start: *mut T,
    pub(super) pitch: usize,
}

impl<T: Real> Products<T> {
    /// Products `f` of `n` tiles from tile `p` on.
    ///
    /// # Safety
    /// They lie in the products' memory, and nobody writes them at the same time.
    #[inline(always)]
    pub(super) unsafe fn read<'a>(self, f: usize, p: usize, n: usize) -> &'a [T] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.start.add(f * self.pitch + p), n) }
    }

    /// The same, to be written.
    ///
    /// # Safety
    /// They lie in the products' memory, and nobody else uses them at the same time.
    #[inline(always)]
    pub(super) unsafe fn write<'a>(self, f: usize, p: usize, n: usize) -> &'a mut [T] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(f * self.pitch + p), n) }
    }
}

/// Transforms one channel of the images into what the products take.
pub(super) struct Gather<'a, T> {
    pub(super) tiles: Tiles,
    /// The channel's plane of the first image, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    /// Room for [`PRODUCTS`] times [`Tiles::count`] values.
    pub(super) to: Products<T>,
}

impl<T: Real> Kernel for Gather<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Tiles { images, grid, size, padding, .. } = self.tiles;
        let row = self.tiles.row();
        let (line, rest) = self.scratch.split_at_mut(self.tiles.padded_width());
        let (between, apart) = rest.split_at_mut(IN * IN * row);
        let used = images * grid[1];
        // Every padded row, with column `OUT * j + k` of image `i` at `[k][i * grid + j]`.
        let lines = grid[0] * OUT + IN - OUT;
        for h in 0..lines {
            let apart = &mut apart[h * IN * row..(h + 1) * IN * row];
            let from = h as isize - padding[0];
            if from < 0 || from >= size[0] as isize {
                apart.fill(T::ZERO);
                continue;
            }
            for k in 0..IN {
                apart[k * row + used..(k + 1) * row].fill(T::ZERO);
            }
            for i in 0..images {
                let start = i * self.image_pitch + from as usize * size[1];
                place(&self.planes[start..start + size[1]], padding[1], line);
                for k in 0..IN {
                    let to = &mut apart[k * row + i * grid[1]..][..grid[1]];
                    for (to, from) in to.iter_mut().zip(line[k..].as_chunks::<OUT>().0) {
                        *to = from[0];
                    }
                    // The last tile's column may be the last of the line, which is half a chunk.
                    if k + OUT * (grid[1] - 1) + OUT > line.len() {
                        to[grid[1] - 1] = line[k + OUT * (grid[1] - 1)];
                    }
                }
            }
        }
        for r in 0..grid[0] {
            let values = |h: usize, k: usize| &apart[((r * OUT + h) * IN + k) * row..][..row];
            // SAFETY: the tiles of this row are in the products' room, which is this call's.
            let to = |a: usize| std::array::from_fn(|b| unsafe { self.to.write(a * IN + b, r * row, row) });
            tile::twice(values, between, to, row, tile::input);
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
    /// writes these planes at the same time.
    pub(super) planes: &'a Parts<'a, T>,
    pub(super) first: usize,
    pub(super) image_pitch: usize,
}

impl<T: Real> Kernel for Scatter<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Tiles { images, grid, out, .. } = self.tiles;
        let row = self.tiles.row();
        let (apart, between) = self.scratch.split_at_mut(OUT * OUT * row);
        let bias = self.bias;
        for r in 0..grid[0] {
            // SAFETY: the tiles of this row are in the products' memory, which nobody writes now.
            let values = |a: usize, b: usize| unsafe { self.from.read(a * IN + b, r * row, row) };
            let mut lines = apart.chunks_exact_mut(OUT * row);
            let to = |_| tile::rows_mut(lines.next().unwrap_or_default(), row);
            tile::twice(values, between, to, row, tile::output);
            for i in 0..images {
                let start = self.first + i * self.image_pitch;
                // SAFETY: whoever made the call promised the planes to it alone.
                let plane = unsafe { self.planes.part(start..start + out[0] * out[1]) };
                for a in 0..OUT.min(out[0] - r * OUT) {
                    let to = &mut plane[(r * OUT + a) * out[1]..(r * OUT + a + 1) * out[1]];
                    let [even, odd] = rows(&apart[a * OUT * row..], row);
                    let [even, odd] = [even, odd].map(|all: &[T]| &all[i * grid[1]..(i + 1) * grid[1]]);
                    let (pairs, last) = to.as_chunks_mut::<OUT>();
                    for ((to, &even), &odd) in pairs.iter_mut().zip(even).zip(odd) {
                        *to = [even + bias, odd + bias];
                    }
                    if let [last] = last {
                        *last = even[grid[1] - 1] + bias;
                    }
                }
            }
        }
    }
}

/// Transforms one channel of the outputs' gradient into gradients of the products.
pub(super) struct Spread<'a, T> {
    pub(super) tiles: Tiles,
    /// The channel's plane of the first image, and the distance to that of the next.
    pub(super) planes: &'a [T],
    pub(super) image_pitch: usize,
    pub(super) scratch: &'a mut [T],
    pub(super) to: Products<T>,
}

impl<T: Real> Kernel for Spread<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Tiles { images, grid, out, .. } = self.tiles;
        let row = self.tiles.row();
        let (apart, between) = self.scratch.split_at_mut(OUT * OUT * row);
        // Tiles of no image, and outputs beyond the last: no gradient.
        apart.fill(T::ZERO);
        for r in 0..grid[0] {
            for a in 0..OUT {
                if r * OUT + a >= out[0] {
                    apart[a * OUT * row..(a + 1) * OUT * row].fill(T::ZERO);
                    continue;
                }
                let (evens, odds) = apart[a * OUT * row..(a + 1) * OUT * row].split_at_mut(row);
                for i in 0..images {
                    let start = i * self.image_pitch + (r * OUT + a) * out[1];
                    let from = &self.planes[start..start + out[1]];
                    let even = &mut evens[i * grid[1]..(i + 1) * grid[1]];
                    let odd = &mut odds[i * grid[1]..(i + 1) * grid[1]];
                    let (pairs, last) = from.as_chunks::<OUT>();
                    for ((from, even), odd) in pairs.iter().zip(&mut *even).zip(odd) {
                        [*even, *odd] = *from;
                    }
                    if let [last] = last {
                        even[grid[1] - 1] = *last;
                    }
                }
            }
            let values = |a: usize, b: usize| &apart[(a * OUT + b) * row..][..row];
            // SAFETY: the tiles of this row are in the products' room, which is this call's.
            let to = |a: usize| std::array::from_fn(|b| unsafe { self.to.write(a * IN + b, r * row, row) });
            tile::twice(values, between, to, row, tile::output_adjoint);
        }
    }
}
