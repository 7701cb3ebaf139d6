//! From products to planes, and from the gradients of these to those of the products.

use super::planes::{NARROW, Planes, Products, Rows, Tiles, place};
use super::tile::{self, MOST, Tile};
use crate::kernels::dense::{Parts, Real};
use crate::kernels::matmul::registers::{InLanes, Lanes};

/// Transforms the products of one output channel into planes of the images.
pub(super) struct Scatter<'a, T, F> {
    pub(super) tiles: Tiles<F>,
    pub(super) from: Products<T>,
    pub(super) bias: T,
    pub(super) scratch: &'a mut [T],
    /// Where the rows that the tiles write begin in the channel's plane of the first image, and the distance to those of
    /// the next. No other call writes these rows at the same time.
    pub(super) planes: &'a Parts<'a, T>,
    pub(super) first: usize,
    pub(super) image_pitch: usize,
}

impl<T: Real, F: Tile> InLanes<T> for Scatter<'_, T, F> {
    #[inline(always)]
    unsafe fn run<V: Lanes<Element = T>>(self) {
        let Tiles { images, grid, out, .. } = self.tiles;
        let (row, columns) = (self.tiles.row(), grid[1]);
        assert!(self.scratch.len() >= self.tiles.scatter_scratch(), "too little memory for lines");
        let (line, apart) = self.scratch.split_at_mut(self.tiles.line());
        let width = self.tiles.width();
        // SAFETY: the machine has the register, here and below.
        let (one, bias) = unsafe { (V::splat(T::ONE), V::splat(self.bias)) };
        let lines = self.tiles.written();
        for r in 0..grid[0] {
            for p in (0..row).step_by(V::LANES) {
                let to = apart[p..].as_mut_ptr();
                // SAFETY: the tiles of this row are in the products' memory, which nobody writes now; there is room for
                // all rows of outputs.
                unsafe {
                    let from = self.from.start.add(r * row + p);
                    tile::twice::<V, F, tile::Output>(from, self.from.stride as isize, to, width);
                }
            }
            let whole = out[1] == F::OUT * columns && out[1] > NARROW && out[1].is_multiple_of(V::LANES);
            if whole {
                for a in 0..F::OUT.min(lines.len() - r * F::OUT) {
                    let mut rows = Rows::new(self.image_pitch, out[1], images);
                    let start = self.first + (r * F::OUT + a) * out[1];
                    let from = &apart[a * F::OUT * width..];
                    for p in (0..images * columns).step_by(V::LANES) {
                        // SAFETY: the slices hold what is read and written; whoever made the call promised these rows to it
                        // alone.
                        unsafe {
                            let mut values = [V::splat(T::ZERO); MOST];
                            for (k, value) in values.iter_mut().take(F::OUT).enumerate() {
                                let from = from[k * width + p..k * width + p + V::LANES].as_ptr();
                                *value = one.fma(V::load(from), bias);
                            }
                            for register in F::join(values).into_iter().take(F::OUT) {
                                if let Some(at) = rows.next::<V>() {
                                    let to = self.planes.part(start + at..start + at + V::LANES);
                                    register.store(to.as_mut_ptr());
                                }
                            }
                        }
                    }
                }
                continue;
            }
            for i in 0..images {
                let start = self.first + i * self.image_pitch;
                // SAFETY: whoever made the call promised these rows to it alone.
                let plane = unsafe { self.planes.part(start..start + lines.len() * out[1]) };
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
                            for (l, register) in F::join(values).into_iter().take(F::OUT).enumerate() {
                                register.store(target[l * V::LANES..(l + 1) * V::LANES].as_mut_ptr());
                            }
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
    pub(super) planes: Planes<'a, T>,
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
        let Planes { data, pitch, .. } = self.planes;
        for r in 0..grid[0] {
            for (a, to) in lines.chunks_exact_mut(F::OUT * width).take(F::OUT).enumerate() {
                let h = (first + r) * F::OUT + a;
                if h >= out[0] {
                    to.fill(T::ZERO);
                    continue;
                }
                let begin = self.planes.row(h, out[1]);
                if out[1] == F::OUT * columns && out[1] > NARROW && out[1].is_multiple_of(V::LANES) {
                    let mut rows = Rows::new(pitch, out[1], images);
                    for p in (0..used).step_by(V::LANES) {
                        // SAFETY: the machine has the register, and the slices hold what is read and written.
                        unsafe {
                            let mut registers = [V::splat(T::ZERO); MOST];
                            for register in registers.iter_mut().take(F::OUT) {
                                if let Some(at) = rows.next::<V>() {
                                    let from = &data[begin + at..][..V::LANES];
                                    *register = V::load(from.as_ptr());
                                }
                            }
                            for (k, value) in F::split(registers).into_iter().take(F::OUT).enumerate() {
                                value.store(to[k * width + p..k * width + p + V::LANES].as_mut_ptr());
                            }
                        }
                    }
                    to.chunks_exact_mut(width).for_each(|to| to[used..row].fill(T::ZERO));
                    continue;
                }
                for i in 0..images {
                    let start = begin + i * pitch;
                    let to = &mut to[i * columns..];
                    if columns * F::OUT <= NARROW {
                        let row = data[start..start + out[1]].iter().enumerate();
                        row.for_each(|(c, &from)| to[self.tiles.place(c)] = from);
                    } else {
                        let source = match data.get(start..start + reads) {
                            Some(whole) => whole,
                            None => {
                                place(&data[start..start + out[1]], 0, line);
                                &*line
                            }
                        };
                        for j in (0..columns).step_by(V::LANES) {
                            let source = source[F::OUT * j..F::OUT * (j + V::LANES)].as_ptr();
                            // SAFETY: the machine has the register, and the slices hold what is read and written.
                            unsafe {
                                let values = F::split(tile::load::<V, F>(source));
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
                    tile::twice::<V, F, tile::OutputAdjoint>(from, width as isize, to, self.to.stride);
                }
            }
        }
    }
}
