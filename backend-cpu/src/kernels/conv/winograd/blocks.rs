//! Some tiles through all phases in one task, so that what lies between the phases never leaves a second-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::planes::{Gather, LANES, Products, Tiles};
use super::tile::{OUT, PRODUCTS};
use super::{PRECISION, Pass};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::dense::{Real, Scratch, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};

/// Transformed values of a block: three quarters of a megabyte of `f32`.
const VALUES: usize = 3 << 16;
/// Columns of the products' widest micro-tile: blocks are whole ones where possible.
const STEP: usize = 48;
/// The most tiles of a block: more do not make products faster.
const MOST: usize = 192;
/// Output channels that are multiplied before they are transformed.
const OUTPUTS: usize = 64;
/// The largest transformed weight that every block reads: 4 MB of `f32`.
const WEIGHT: usize = 1 << 20;
/// Fewer blocks are no work for several threads.
const FEWEST: usize = 8;

/// Some tile rows of some images.
#[derive(Clone, Debug)]
pub(super) struct Block {
    images: Range<usize>,
    rows: Range<usize>,
}

/// The blocks of a convolution, if it is one to be computed so.
pub(super) fn cut(g: &Geometry) -> Option<Vec<Block>> {
    if PRODUCTS * g.channels * g.outputs > WEIGHT {
        return None;
    }
    let [rows, columns] = [g.out[1], g.out[2]].map(|n| n.div_ceil(OUT));
    let fit = VALUES / (PRODUCTS * (g.channels + g.outputs.min(OUTPUTS)));
    let most = (fit / STEP * STEP).clamp(STEP, MOST);
    let tiles = |images: usize, rows: usize| rows * (images * columns).next_multiple_of(LANES);
    // What blocks of `n` images and `r` tile rows compute: whole micro-tiles, and lines that neighbours read as well.
    let cost = |n: usize, r: usize| {
        let one = |n: usize, r: usize| match n * r {
            0 => 0,
            _ => tiles(n, r).next_multiple_of(STEP) + tiles(n, 1) / 4,
        };
        let row = |n: usize| rows / r * one(n, r) + one(n, rows % r);
        g.images / n * row(n) + row(g.images % n)
    };
    let sizes = (1..=g.images).take_while(|&n| n == 1 || tiles(n, 1) <= most);
    let sizes = sizes
        .flat_map(|n| (1..=rows).take_while(move |&r| r == 1 || tiles(n, r) <= most).map(move |r| (n, r)));
    let (n, r) = sizes.min_by_key(|&(n, r)| cost(n, r))?;
    let cuts = |size: usize, step: usize| (0..size).step_by(step).map(move |at| at..(at + step).min(size));
    let blocks: Vec<_> = cuts(g.images, n)
        .flat_map(|images| cuts(rows, r).map(move |rows| Block { images: images.clone(), rows }))
        .collect();
    (blocks.len() >= FEWEST).then_some(blocks)
}

impl<T: Real> Pass<'_, T> {
    pub(super) fn in_blocks(&self, blocks: &[Block]) -> Result<()> {
        let g = self.g;
        let most = blocks.first().map_or(0, |b| Tiles::new(g, b.images.len()).rows(b.rows.clone()).count());
        tasks(self.cpu, blocks.len(), g.channels * g.outputs * most * PRODUCTS / 4, |i| {
            self.block(&blocks[i])
        })
    }

    fn block(&self, block: &Block) -> Result<()> {
        let Pass { cpu, g, x, .. } = *self;
        let (channels, outputs) = (g.channels, g.outputs);
        let tiles = Tiles::new(g, block.images.len()).rows(block.rows.clone());
        let (count, pitch) = (tiles.count(), tiles.pitch());
        let together = outputs.min(OUTPUTS);
        let mut v = Scratch::<T>::new(cpu, PRODUCTS * channels * pitch)?;
        let mut m = Scratch::<T>::new(cpu, PRODUCTS * together * pitch)?;
        let mut scratch = Scratch::new(cpu, tiles.gather_scratch().max(tiles.scatter_scratch()))?;
        let to = v.slice().as_mut_ptr();
        for c in 0..channels {
            let work = Gather {
                tiles,
                planes: &x[(block.images.start * channels + c) * g.area()..],
                image_pitch: channels * g.area(),
                scratch: scratch.slice(),
                // SAFETY: channel `c` of the products lies in `v`.
                to: Products { start: unsafe { to.add(c * pitch) }, pitch: channels * pitch },
            };
            T::in_lanes(cpu.level(), work);
        }
        let v = &*v.slice();
        for first in (0..outputs).step_by(together) {
            let rows = first..(first + together).min(outputs);
            for f in 0..PRODUCTS {
                let to = &mut m.slice()[f * together * pitch..(f + 1) * together * pitch];
                let mut c = MatMut::pitched(to, rows.len(), count, pitch);
                let v = &v[f * channels * pitch..(f + 1) * channels * pitch];
                let v = Mat::pitched(v, channels, count, pitch);
                product(PRECISION, &mut c, Old::Ignore, T::ONE, self.weight(f).rows(rows.clone()), v);
            }
            let from = m.slice().as_mut_ptr();
            for o in rows.clone() {
                // SAFETY: channel `o` of the products lies in `m`.
                let start = unsafe { from.add((o - first) * pitch) };
                let from = Products { start, pitch: together * pitch };
                self.scatter(tiles, block.images.start, o, from, scratch.slice());
            }
        }
        Ok(())
    }
}
