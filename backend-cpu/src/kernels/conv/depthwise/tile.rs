//! Sixteen planes with their channels innermost.

use crate::kernels::dense::Real;

/// Channels that are computed together: the lanes of a vector.
pub(super) const LANES: usize = 16;

/// One number of each of the channels.
pub(super) type Lanes<T> = [T; LANES];

/// `acc += x * w`, lane by lane.
#[inline(always)]
pub(super) fn accumulate<T: Real>(acc: &mut Lanes<T>, x: &Lanes<T>, w: &Lanes<T>) {
    for l in 0..LANES {
        acc[l] = x[l].fma(w[l], acc[l]);
    }
}

/// `acc += x`, lane by lane.
#[inline(always)]
pub(super) fn add<T: Real>(acc: &mut Lanes<T>, x: &Lanes<T>) {
    for l in 0..LANES {
        acc[l] += x[l];
    }
}

/// Planes of one size in memory: `count` of them, at most [`LANES`], each `pitch` elements after the one before.
#[derive(Clone, Copy)]
pub(super) struct Planes {
    pub(super) count: usize,
    pub(super) pitch: usize,
}

impl Planes {
    /// Brings the planes into a tile of as many positions; lanes without a plane become zero.
    #[inline(always)]
    pub(super) fn load<T: Real>(self, planes: &[T], tile: &mut [Lanes<T>]) {
        let area = tile.len();
        if self.count < LANES {
            tile.fill([T::ZERO; LANES]);
        }
        let whole = area / LANES * LANES;
        if self.count == LANES {
            for start in (0..whole).step_by(LANES) {
                let tile = &mut tile[start..start + LANES];
                for (lane, plane) in planes.chunks(self.pitch).take(LANES).enumerate() {
                    let plane = &plane[start..start + LANES];
                    for i in 0..LANES {
                        tile[i][lane] = plane[i];
                    }
                }
            }
        }
        let done = if self.count == LANES { whole } else { 0 };
        for (lane, plane) in planes.chunks(self.pitch).take(self.count).enumerate() {
            for (to, &v) in tile[done..].iter_mut().zip(&plane[done..area]) {
                to[lane] = v;
            }
        }
    }

    /// Brings a tile back to planes.
    #[inline(always)]
    pub(super) fn store<T: Real>(self, tile: &[Lanes<T>], planes: &mut [T]) {
        let area = tile.len();
        for start in (0..area).step_by(LANES) {
            let tile = &tile[start..(start + LANES).min(area)];
            for (lane, plane) in planes.chunks_mut(self.pitch).take(self.count).enumerate() {
                for (to, from) in plane[start..start + tile.len()].iter_mut().zip(tile) {
                    *to = from[lane];
                }
            }
        }
    }
}
