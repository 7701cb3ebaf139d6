//! Transforms of `bf16` planes with AVX-512, for the large tile.
//!
//! Two neighbours of a row are a word, and the first one or the second, alone in it, is an `f32`: so 16 tiles of 4 columns
//! are two registers of words, and a permutation of those gives the first two columns of all tiles, and the last two. What
//! tiles read beyond that are the first two columns of the same row four elements further on (`gather`). Numbers are widened
//! on their way to a transform and rounded on their way from it, and a transform is applied along rows while they are in
//! registers. What lies outside of an image is masked, so borders cost nothing.

mod gather;
mod scatter;

use gradus_tensor_core::DType;

pub(super) use self::gather::{Planes, gather};
pub(super) use self::scatter::{Target, scatter};
use super::four::Four;
use super::planes::Tiles;
use super::tile::Tile;
use crate::Level;
use crate::kernels::dense::Stored;

/// Tiles in a register.
const LANES: usize = 16;
/// Outputs of a tile along an axis.
const OUT: usize = Four::OUT;
/// Values that a tile has in the products along an axis.
const IN: usize = Four::IN;
/// Elements that are written behind the last ones of a line.
const BEHIND: usize = 32;

/// Whether planes of that type are transformed here.
pub(super) fn suits<S: Stored, F: Tile>(level: Level) -> bool {
    S::DTYPE == DType::BF16 && F::OUT == OUT && level >= Level::Avx512
}

/// Tile rows, tile columns, and tiles of a row of all images.
#[derive(Clone, Copy)]
pub(super) struct Grid {
    rows: usize,
    columns: usize,
    row: usize,
}

impl Grid {
    pub(super) fn new<F: Tile>(tiles: &Tiles<F>) -> Self {
        Grid { rows: tiles.grid[0], columns: tiles.grid[1], row: tiles.row() }
    }

    /// Elements of a line of all images, and those written behind it.
    fn line(&self) -> usize {
        OUT * self.row + BEHIND
    }

    /// From one value of the tiles of a row to the next: lines are no power of two apart.
    fn width(&self) -> usize {
        self.row + LANES
    }

    /// Words of scratch memory that [`gather`] needs for tiles of `inputs` values along an axis.
    fn gathers(&self, inputs: usize) -> usize {
        let lines = self.rows * OUT + inputs - OUT;
        lines * (IN * self.width() + self.line())
    }

    /// Words of scratch memory for any of the transforms.
    pub(super) fn scratch(&self) -> usize {
        self.gathers(IN).max(OUT * self.line())
    }
}
