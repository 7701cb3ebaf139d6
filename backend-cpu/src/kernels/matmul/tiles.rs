//! A product cut into tiles for threads.

use std::ops::Range;

/// Multiplications that are worth a tile of their own: some tens of microseconds.
const TILE_WORK: usize = 1 << 22;
/// What a product of nothing costs, as `Cpu::for_blocks` counts it.
const CALL: usize = 512;
/// More tiles than this are not needed to keep threads busy, unless tiles grow beyond the largest.
const ENOUGH: usize = 16;
/// The largest tile: its part of both operands fits a second-level cache for usual depths.
const MAX_TILE: [usize; 2] = [256, 512];
/// The smallest tile: below, packing costs more than multiplying.
const MIN_TILE: [usize; 2] = [32, 96];
/// Tiles are cut across before they have fewer rows: each panel should meet some.
const FLAT: usize = 64;
/// Tile sizes are multiples of the micro-kernels' own tiles.
const STEP: [usize; 2] = [8, 48];

/// How a `rows x cols` product of some depth is cut: a function of these three numbers alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tiles {
    shape: [usize; 2],
    tile: [usize; 2],
    counts: [usize; 2],
    depth: usize,
}

impl Tiles {
    pub(crate) fn new(rows: usize, cols: usize, depth: usize) -> Self {
        Self::batched(1, rows, cols, depth)
    }

    /// Of each product of a batch.
    pub(crate) fn batched(batches: usize, rows: usize, cols: usize, depth: usize) -> Self {
        let shape = [rows, cols];
        let mut tile = [0, 1].map(|d| even(shape[d], shape[d].div_ceil(MAX_TILE[d]).max(1), STEP[d]));
        let count = |tile: [usize; 2]| batches * shape[0].div_ceil(tile[0]) * shape[1].div_ceil(tile[1]);
        while count(tile) < ENOUGH && work(tile, depth) > 2 * TILE_WORK {
            // Rows that are one tile meet every panel of the right operand while it is in the first cache. Where they
            // are more, rows first: the right operand is packed for all of them, and a left one that is packed as well
            // is so for each tile beside another.
            let few = shape[0] <= MAX_TILE[0] && tile[1] >= 2 * MIN_TILE[1];
            let d = if !few && (tile[0] >= 2 * FLAT || tile[1] < 2 * MIN_TILE[1]) { 0 } else { 1 };
            let half = even(tile[d], 2, STEP[d]);
            if half >= tile[d] || half < MIN_TILE[d] / 2 {
                break;
            }
            tile[d] = half;
        }
        Tiles { shape, tile, counts: [0, 1].map(|d| shape[d].div_ceil(tile[d])), depth }
    }

    /// The number of tiles.
    pub(crate) fn count(&self) -> usize {
        self.counts[0] * self.counts[1]
    }

    /// The number of tiles one above the other, and side by side.
    pub(crate) fn counts(&self) -> [usize; 2] {
        self.counts
    }

    /// Rows and columns of a tile.
    pub(crate) fn get(&self, i: usize) -> [Range<usize>; 2] {
        let at = [i / self.counts[1].max(1), i % self.counts[1].max(1)];
        [0, 1].map(|d| at[d] * self.tile[d]..((at[d] + 1) * self.tile[d]).min(self.shape[d]))
    }

    /// What a tile costs, as `Cpu::for_blocks` counts it.
    pub(crate) fn cost(&self) -> usize {
        CALL + work(self.tile, self.depth) / 4
    }
}

/// Multiplications, and memory traffic in their place where there is little to reuse.
fn work(tile: [usize; 2], depth: usize) -> usize {
    let [rows, cols] = tile;
    rows.saturating_mul(cols).saturating_mul(depth).saturating_add((rows + cols).saturating_mul(depth * 8))
}

/// The size of `parts` about even parts, rounded up to a multiple of `step`; at least 1.
pub(super) fn even(size: usize, parts: usize, step: usize) -> usize {
    let part = size.div_ceil(parts);
    if part <= step { part.max(1) } else { part.next_multiple_of(step) }
}

#[cfg(test)]
mod tests {
    use super::Tiles;

    #[test]
    fn tiles_cover_every_element_once() {
        for (rows, cols, depth) in
            [(0, 5, 3), (1, 1, 1), (1, 10_000, 700), (9_000, 1, 700), (300, 700, 500), (2048, 2048, 2048)]
        {
            let tiles = Tiles::new(rows, cols, depth);
            let covered: usize = (0..tiles.count())
                .map(|i| {
                    let [r, c] = tiles.get(i);
                    assert!(r.end <= rows && c.end <= cols && (r.start, c.start) < (rows, cols));
                    r.len() * c.len()
                })
                .sum();
            assert_eq!(covered, rows * cols, "{rows}x{cols}");
        }
    }

    #[test]
    fn small_products_stay_whole_and_large_ones_feed_many_threads() {
        assert_eq!(Tiles::new(64, 64, 64).count(), 1);
        assert!(Tiles::new(128, 512, 784).count() >= 4);
        assert!(Tiles::new(1024, 1024, 1024).count() >= 8);
        assert!(Tiles::new(1, 65_536, 1024).count() >= 8);
    }
}
