//! Some output channels through all phases in one task, so that transformed weights never leave a second-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::planes::{Laid, Products, Tiles, stride};
use super::tile::Tile;
use super::weight::{self, padded};
use super::{Pass, gather, images_at_once, multiply, scatter_scratch};
use crate::kernels::dense::{Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old};

/// Transformed values of the input: 16 MB of `f32`, a part of a last-level cache.
const VALUES: usize = 1 << 22;
/// Output channels of a task.
const OUTPUTS: usize = 32;
/// With at most so many tiles a task has twice as many: or else it has too little use for the transformed input, which
/// comes from a last-level cache.
const FEW: usize = 48;
/// Transformed weights of a task at a time: 0.6 MB of `f32`.
const WEIGHTS: usize = 9 << 14;
/// Channels whose weights are transformed at a time are at most so many, where products cut their sums, or a part of it
/// that is a power of two.
const DEPTH: usize = 256;
const LEAST: usize = 64;

impl<S: Stored, F: Tile> Pass<'_, S, F> {
    pub(super) fn by_outputs(&self) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let most = images_at_once::<F>(g, g.channels, VALUES);
        let tiles = |images: usize| Tiles::<F>::new(g, images);
        let laid = Laid::panels::<S::Computed>(cpu.level(), g.channels);
        let mut v = Scratch::new(cpu, F::PRODUCTS * laid.stride(&tiles(most), g.channels))?;
        for first in (0..g.images).step_by(most) {
            let tiles = tiles(most.min(g.images - first));
            gather(cpu, g, tiles, &self.x[first * g.channels * g.area()..], v.slice(), laid)?;
            let v = v.as_slice();
            let each = if tiles.count() <= FEW { 2 * OUTPUTS } else { OUTPUTS };
            let cost = each * g.channels * tiles.count() * F::PRODUCTS / 4;
            tasks(cpu, g.outputs.div_ceil(each), cost, |i| {
                let some = i * each..((i + 1) * each).min(g.outputs);
                self.outputs(tiles, first, v, laid, some)
            })?;
        }
        Ok(())
    }

    /// Some output channels of some images, from `first` on, whose transformed input is `v`.
    fn outputs(
        &self,
        tiles: Tiles<F>,
        first: usize,
        v: &[S::Computed],
        laid: Laid,
        some: Range<usize>,
    ) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let (count, pitch) = (tiles.count(), tiles.pitch());
        let (v_stride, m_stride) = (laid.stride(&tiles, g.channels), stride(some.len(), pitch));
        let mut together = DEPTH;
        while together > LEAST && F::PRODUCTS * some.len() * together > WEIGHTS {
            together /= 2;
        }
        let u_stride = stride(some.len(), padded(together.min(g.channels)));
        let mut u = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * u_stride)?;
        let mut m = Scratch::<S::Computed>::new(cpu, F::PRODUCTS * m_stride)?;
        let mut old = Old::Ignore;
        for start in (0..g.channels).step_by(together) {
            let channels = start..(start + together).min(g.channels);
            let to = Products { start: u.slice().as_mut_ptr(), stride: u_stride };
            // SAFETY: there is room for the products of so many outputs and channels.
            unsafe { weight::transform::<S, F>(cpu, g, self.w, [some.clone(), channels.clone()], to)? };
            let u_pitch = padded(channels.len());
            for f in 0..F::PRODUCTS {
                let u = &u.as_slice()[f * u_stride..(f + 1) * u_stride];
                let u = Mat::pitched(u, some.len(), channels.len(), u_pitch);
                let v = &v[f * v_stride..(f + 1) * v_stride];
                let m = &mut m.slice()[f * m_stride..(f + 1) * m_stride];
                let mut c = MatMut::pitched(m, some.len(), count, pitch);
                multiply(&mut c, old, u, v, laid, channels.start);
            }
            old = Old::Keep;
        }
        let mut scratch = Scratch::new(cpu, scatter_scratch::<S, F>(&tiles))?;
        let m = m.slice().as_mut_ptr();
        for (i, o) in some.enumerate() {
            // SAFETY: the `i`-th channel of the products lies in `m`.
            let from = Products { start: unsafe { m.add(i * pitch) }, stride: m_stride };
            self.scatter(tiles, first, o, from, scratch.slice());
        }
        Ok(())
    }
}
