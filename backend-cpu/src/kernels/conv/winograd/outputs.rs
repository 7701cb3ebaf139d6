//! Some output channels through all phases in one task, so that transformed weights never leave a second-level cache.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::planes::{Products, Tiles, stride};
use super::tile::Tile;
use super::weight::{self, padded};
use super::{PRECISION, Pass, gather, images_at_once, scatter_scratch};
use crate::kernels::dense::{Scratch, Stored, tasks};
use crate::kernels::matmul::gemm::{Mat, MatMut, Old, product};
use crate::math::real::Real as _;

/// Transformed values of the input: 16 MB of `f32`, a part of a last-level cache.
const VALUES: usize = 1 << 22;
/// Output channels of a task.
const OUTPUTS: usize = 32;
/// Transformed weights of a task at a time: half a megabyte of `f32`.
const WEIGHTS: usize = 1 << 17;
/// Channels whose weights are transformed at a time are a multiple of this, or its half: where products cut their sums.
const DEPTH: usize = 256;

impl<S: Stored, F: Tile> Pass<'_, S, F> {
    pub(super) fn by_outputs(&self) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let most = images_at_once::<F>(g, g.channels, VALUES);
        let tiles = |images: usize| Tiles::<F>::new(g, images);
        let mut v = Scratch::new(cpu, F::PRODUCTS * stride(g.channels, tiles(most).pitch()))?;
        for first in (0..g.images).step_by(most) {
            let tiles = tiles(most.min(g.images - first));
            gather(cpu, g, tiles, &self.x[first * g.channels * g.area()..], v.slice())?;
            let v = v.as_slice();
            let cost = OUTPUTS * g.channels * tiles.count() * F::PRODUCTS / 4;
            tasks(cpu, g.outputs.div_ceil(OUTPUTS), cost, |i| {
                let some = i * OUTPUTS..((i + 1) * OUTPUTS).min(g.outputs);
                self.outputs(tiles, first, v, some)
            })?;
        }
        Ok(())
    }

    /// Some output channels of some images, from `first` on, whose transformed input is `v`.
    fn outputs(&self, tiles: Tiles<F>, first: usize, v: &[S::Computed], some: Range<usize>) -> Result<()> {
        let Pass { cpu, g, .. } = *self;
        let (count, pitch) = (tiles.count(), tiles.pitch());
        let (v_stride, m_stride) = (stride(g.channels, pitch), stride(some.len(), pitch));
        let together = if F::PRODUCTS * OUTPUTS * DEPTH > WEIGHTS { DEPTH / 2 } else { DEPTH };
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
                let v = Mat::pitched(&v[f * v_stride..(f + 1) * v_stride], g.channels, count, pitch);
                let m = &mut m.slice()[f * m_stride..(f + 1) * m_stride];
                let mut c = MatMut::pitched(m, some.len(), count, pitch);
                product(PRECISION, &mut c, old, S::Computed::ONE, u, v.rows(channels.clone()));
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
