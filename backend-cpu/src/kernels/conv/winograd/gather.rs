//! From planes to what the products take.

use super::planes::{Borders, Laid, NARROW, Planes, Products, Rows, Tiles, place};
use super::tile::{self, MOST, Tile};
use crate::kernels::dense::Real;
use crate::kernels::matmul::registers::{InLanes, Lanes};

/// Transforms one channel of the images into what the products take.
pub(super) struct Gather<'a, T, F> {
    pub(super) tiles: Tiles<F>,
    pub(super) borders: &'a Borders,
    pub(super) planes: Planes<'a, T>,
    pub(super) scratch: &'a mut [T],
    /// Room for [`PRODUCTS`](Tile::PRODUCTS) times [`Tiles::count`] values.
    pub(super) to: Products<T>,
    pub(super) laid: Laid,
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
        let (each, Planes { data, pitch, .. }) = (F::OUT * columns, self.planes);
        for h in 0..count {
            let to = &mut lines[h * F::IN * width..(h + 1) * F::IN * width];
            let from = (first * F::OUT + h) as isize - padding[0];
            if from < 0 || from >= size[0] as isize {
                to.fill(T::ZERO);
                continue;
            }
            let begin = self.planes.row(from as usize, size[1]);
            let padded = begin as isize - padding[1];
            let last = padded + ((images - 1) * pitch + each.next_multiple_of(V::LANES) + F::OUT) as isize;
            if each > NARROW && each.is_multiple_of(V::LANES) && padded >= 0 && last <= data.len() as isize {
                let planes = &data[padded as usize..];
                let (mut rows, zeros) = (Rows::new(pitch, each, images), [T::ZERO; MOST]);
                // SAFETY: the rows of all images lie in the planes, as was just seen; so many registers begin within a row of
                // lines, which ends a register later.
                unsafe {
                    for p in (0..used).step_by(V::LANES) {
                        let mut registers = [V::splat(T::ZERO); MOST];
                        for register in registers.iter_mut().take(F::OUT) {
                            if let Some(at) = rows.next::<V>() {
                                *register = V::load(planes.as_ptr().add(at));
                            }
                        }
                        // What the last tile reads of the next register, unless it is the last one of its image.
                        let next =
                            rows.clone().next::<V>().map_or(zeros.as_ptr(), |at| planes.as_ptr().add(at));
                        let values = tile::inputs::<V, F>(F::split(registers), next);
                        for (k, value) in values.into_iter().take(F::IN).enumerate() {
                            value.store(to.as_mut_ptr().add(k * width + p));
                        }
                    }
                }
                for i in 0..images {
                    let row = &planes[i * pitch + each..][..F::IN - F::OUT];
                    let to = &mut to[i * columns..];
                    for (k, &value) in row.iter().enumerate() {
                        to[(F::OUT + k) * width + columns - 1] = value;
                    }
                    outside.iter().for_each(|&at| to[at] = T::ZERO);
                }
                to.chunks_exact_mut(width).for_each(|to| to[used..row].fill(T::ZERO));
                continue;
            }
            for i in 0..images {
                let start = begin + i * pitch;
                if columns * F::OUT <= NARROW {
                    let (from, to) = (&data[start..start + size[1]], &mut to[i * columns..]);
                    inside.iter().for_each(|&(from_at, at)| to[at] = from[from_at]);
                    outside.iter().for_each(|&at| to[at] = T::ZERO);
                    continue;
                }
                let padded = start as isize - padding[1];
                let whole = padded >= 0 && padded as usize + reads <= data.len();
                if !whole {
                    place(&data[start..start + size[1]], padding[1], line);
                }
                // SAFETY: so many elements can be read from `padded` on, as was just seen, and so many has `line`.
                // All of an image's tiles have room in each of the rows, and a register behind them: that is how wide
                // rows are, which was checked.
                unsafe {
                    let source = if whole { data.as_ptr().add(padded as usize) } else { line.as_ptr() };
                    let to = to.as_mut_ptr().add(i * columns);
                    for j in (0..columns).step_by(V::LANES) {
                        let line = source.add(F::OUT * j);
                        let own = F::split(tile::load::<V, F>(line));
                        let values = tile::inputs::<V, F>(own, line.add(F::OUT * V::LANES));
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
                    let to = self.to.start.add(self.laid.at(r * row + p));
                    tile::twice::<V, F, tile::Input>(from, width as isize, to, self.to.stride);
                }
            }
        }
    }
}
