//! Some tiles through all phases in one task, so that what lies between the phases never leaves a second-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::planes::{LANES, Laid, Products, Tiles, stride};
use super::tile::Tile;
use super::weight::{self, padded};
use super::{Pass, gather_channel, gather_scratch, multiply, scatter_scratch};
use crate::kernels::conv::geometry::Geometry;
use crate::kernels::dense::{Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old};

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
pub(super) fn cut<F: Tile>(g: &Geometry) -> Option<Vec<Block>> {
    if F::PRODUCTS * g.channels * g.outputs > WEIGHT {
        return None;
    }
    let [rows, columns] = [g.out[1], g.out[2]].map(|n| n.div_ceil(F::OUT));
    let fit = VALUES / (F::PRODUCTS * (g.channels + g.outputs.min(OUTPUTS)));
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

impl<S: Stored, F: Tile> Pass<'_, S, F> {
    pub(super) fn in_blocks(&self, blocks: &[Block]) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let u = weight::transformed::<S, F>(cpu, g, self.w)?;
        let tiles = |block: &Block| Tiles::<F>::new(g, block.images.len()).rows(block.rows.clone());
        let most = blocks.first().map_or(0, |block| tiles(block).count());
        tasks(cpu, blocks.len(), g.channels * g.outputs * most * F::PRODUCTS / 4, |i| {
            self.block(tiles(&blocks[i]), blocks[i].images.start, u.as_slice())
        })
    }

    /// Some tiles of some images, from `first` on.
    fn block(&self, tiles: Tiles<F>, first: usize, u: &[S::Computed]) -> Result<()> {
        let Pass { cpu, g, x, .. } = *self;
        let (channels, outputs) = (g.channels, g.outputs);
        let (count, pitch) = (tiles.count(), tiles.pitch());
        let together = outputs.min(OUTPUTS);
        let laid = Laid::panels::<S::Computed>(cpu.level(), channels);
        let (v_stride, m_stride) = (laid.stride(&tiles, channels), stride(together, pitch));
        let (u_pitch, u_stride) = (padded(channels), stride(outputs, padded(channels)));
        let mut v = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * v_stride)?;
        let mut m = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * m_stride)?;
        let needed = gather_scratch::<S, F>(&tiles).max(scatter_scratch::<S, F>(&tiles));
        let mut scratch = Scratch::new(cpu, needed)?;
        let (to, borders) = (v.slice().as_mut_ptr(), tiles.borders());
        for c in 0..channels {
            let x = &x[(first * channels + c) * g.area()..];
            // SAFETY: channel `c` of the products lies in `v`.
            let to = Products { start: unsafe { to.add(c * laid.channel) }, stride: v_stride };
            gather_channel(cpu, g, tiles, &borders, x, to, laid, scratch.slice());
        }
        let v = v.as_slice();
        for start in (0..outputs).step_by(together) {
            let rows = start..(start + together).min(outputs);
            for f in 0..F::PRODUCTS {
                let to = &mut m.slice()[f * m_stride..(f + 1) * m_stride];
                let mut c = MatMut::pitched(to, rows.len(), count, pitch);
                let v = &v[f * v_stride..(f + 1) * v_stride];
                let u = Mat::pitched(&u[f * u_stride..(f + 1) * u_stride], outputs, channels, u_pitch);
                multiply(&mut c, Old::Ignore, u.rows(rows.clone()), v, laid, 0);
            }
            let from = m.slice().as_mut_ptr();
            for o in rows {
                // SAFETY: channel `o` of the products lies in `m`.
                let from = Products { start: unsafe { from.add((o - start) * pitch) }, stride: m_stride };
                self.scatter(tiles, first, o, from, scratch.slice());
            }
        }
        Ok(())
    }
}
