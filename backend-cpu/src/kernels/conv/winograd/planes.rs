//! Between planes of images and lanes of tiles.
//!
//! Tiles of some images are numbered by tile row, then image, then tile column, so that the tiles of one row of
//! all images are neighbours, however narrow the images are. Each tile row begins at a multiple of [`LANES`].

use std::marker::PhantomData;
use std::ops::Range;

use super::super::super::dense::{Real, Stored};
use super::super::forward::pitch;
use super::super::geometry::Geometry;
use super::tile::Tile;
use crate::kernels::matmul::micro::panel_width;
use crate::kernels::matmul::registers::Lanes;
use crate::{Cpu, Level};

/// Tile rows begin at multiples of so many: the widest register.
pub(super) const LANES: usize = 16;

/// Rows of outputs that are narrower than this are read and written one element at a time.
pub(super) const NARROW: usize = 8;

/// The tiles of some tile rows of some images.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles<F> {
    /// Images that are transformed together.
    pub(super) images: usize,
    /// The first tile row.
    pub(super) first: usize,
    /// Tile rows and columns.
    pub(super) grid: [usize; 2],
    /// Input rows and columns.
    pub(super) size: [usize; 2],
    /// Output rows and columns.
    pub(super) out: [usize; 2],
    pub(super) padding: [isize; 2],
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
    pub(super) fn width(&self) -> usize {
        self.row() + LANES
    }

    /// The elements of a line that are read or written in whole registers.
    pub(super) fn line(&self) -> usize {
        F::OUT * self.grid[1].next_multiple_of(LANES) + F::IN
    }

    /// The rows of an image that tiles read.
    pub(super) fn read(&self) -> Read {
        let start = (self.first * F::OUT) as isize - self.padding[0];
        let end = start + (self.grid[0] * F::OUT + F::IN - F::OUT) as isize;
        let [start, end] = [start, end].map(|row| row.clamp(0, self.size[0] as isize) as usize);
        Read {
            images: self.images,
            width: self.size[1],
            rows: start..end,
            before: self.padding[1].max(0) as usize,
            behind: self.line(),
        }
    }

    /// The rows of an image's gradient that tiles read.
    pub(super) fn gradients(&self) -> Read {
        let rows = self.written();
        Read { images: self.images, width: self.out[1], rows, before: 0, behind: self.line() }
    }

    /// The rows of an image that tiles write.
    pub(super) fn written(&self) -> Range<usize> {
        self.first * F::OUT..((self.first + self.grid[0]) * F::OUT).min(self.out[0])
    }

    /// The elements of a plane before those that tiles write.
    pub(super) fn before(&self) -> usize {
        self.written().start * self.out[1]
    }

    /// The elements of an image's plane that tiles write.
    pub(super) fn outputs(&self) -> usize {
        self.written().len() * self.out[1]
    }

    /// Where a value of a tile row that has `values` of each tile lies: the one at `column` of an image.
    pub(super) fn place(&self, column: usize) -> usize {
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

/// Rows of planes of some images.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) images: usize,
    pub(super) width: usize,
    pub(super) rows: Range<usize>,
    /// Elements that are read before a row and, with it, from its first element on, and then not used.
    pub(super) before: usize,
    pub(super) behind: usize,
}

impl Read {
    /// Elements of scratch memory that [`Planes`] need.
    pub(super) fn scratch(&self) -> usize {
        self.before + self.images * self.rows.len() * self.width + self.behind
    }
}

/// One channel of some images: row `r` of image `i` at `start + i * pitch + (r - skipped) * width`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes<'a, T> {
    pub(super) data: &'a [T],
    start: usize,
    pub(super) pitch: usize,
    skipped: usize,
}

impl<'a, T: Real> Planes<'a, T> {
    /// The channel's plane of the first image and everything behind it, and the distance to that of the next: where they
    /// lie, or widened to scratch memory.
    pub(super) fn new<S: Stored<Computed = T>>(
        cpu: &Cpu,
        from: &'a [S],
        pitch: usize,
        read: &Read,
        scratch: &'a mut [T],
    ) -> Self {
        if let Some(data) = S::computed(from) {
            return Planes { data, start: 0, pitch, skipped: 0 };
        }
        let (each, skipped) = (read.rows.len() * read.width, read.rows.start);
        for i in 0..read.images {
            let from = &from[i * pitch + skipped * read.width..][..each];
            S::widen(cpu.level(), from, &mut scratch[read.before + i * each..][..each]);
        }
        Planes { data: &scratch[..read.scratch()], start: read.before, pitch: each, skipped }
    }

    /// Where a row of the first image begins.
    #[inline(always)]
    pub(super) fn row(&self, row: usize, width: usize) -> usize {
        self.start + (row - self.skipped) * width
    }
}

/// The elements that the tiles of an image read of a row.
#[derive(Debug)]
pub(super) struct Borders {
    /// Those of the image, and where they are put.
    pub(super) inside: Vec<(usize, usize)>,
    /// Where those are put that lie beside it.
    pub(super) outside: Vec<usize>,
}

/// Registers of rows of several images, one image after the other, of rows that whole registers divide.
#[derive(Clone)]
pub(super) struct Rows {
    /// From one image to the next, and how much of each is read.
    pitch: usize,
    each: usize,
    images: usize,
    image: usize,
    at: usize,
}

impl Rows {
    pub(super) fn new(pitch: usize, each: usize, images: usize) -> Self {
        Rows { pitch, each, images, image: 0, at: 0 }
    }

    /// Where the next register begins.
    #[inline(always)]
    pub(super) fn next<V: Lanes>(&mut self) -> Option<usize> {
        if self.at == self.each {
            (self.image, self.at) = (self.image + 1, 0);
        }
        let found = self.image * self.pitch + self.at;
        self.at += V::LANES;
        (self.image < self.images).then_some(found)
    }
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

/// How tiles of some channels lie in the matrix of a product: a row for each channel, or in panels, whose rows follow each
/// other, as products take their right operand ([`panel_width`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct Laid {
    /// From one channel to the next.
    pub(super) channel: usize,
    /// Tiles of a panel.
    pub(super) width: usize,
    /// From one panel to the next.
    panel: usize,
}

impl Laid {
    pub(super) fn rows<F: Tile>(tiles: &Tiles<F>) -> Self {
        Laid { channel: tiles.pitch(), width: tiles.count(), panel: 0 }
    }

    pub(super) fn panels<T>(level: Level, channels: usize) -> Self {
        let width = panel_width::<T>(level);
        Laid { channel: width, width, panel: channels * width }
    }

    /// Elements that so many tiles of so many channels take.
    pub(super) fn stride<F: Tile>(&self, tiles: &Tiles<F>, channels: usize) -> usize {
        stride(channels, self.channel * tiles.count().div_ceil(self.width))
    }

    /// Where a tile of the first channel lies; as many tiles as a register has lanes follow, if the number of the tile is
    /// a multiple of those.
    #[inline(always)]
    pub(super) fn at(&self, tile: usize) -> usize {
        tile / self.width * self.panel + tile % self.width
    }
}

/// A row of an image between zeros.
#[inline(always)]
pub(super) fn place<T: Real>(row: &[T], padding: isize, to: &mut [T]) {
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
