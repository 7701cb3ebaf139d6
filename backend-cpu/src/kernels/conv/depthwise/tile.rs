//! Sixteen planes with their channels innermost.

use crate::kernels::dense::Real;
use crate::kernels::matmul::registers::Lanes as Register;
use crate::math::real::Real as _;

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
    /// The positions and the planes that are transposed in registers: the rest go one by one.
    #[inline(always)]
    fn in_blocks<V: Register>(self, area: usize) -> [usize; 2] {
        if V::BLOCK == 0 { [0; 2] } else { [area, self.count].map(|n| n / V::BLOCK * V::BLOCK) }
    }

    /// Brings the planes into a tile of as many positions; lanes without a plane become zero.
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    pub(super) unsafe fn load<V: Register>(self, planes: &[V::Element], tile: &mut [Lanes<V::Element>]) {
        let area = tile.len();
        if self.count < LANES {
            tile.fill([V::Element::ZERO; LANES]);
        }
        let [whole, across] = self.in_blocks::<V>(area);
        if whole > 0 && across > 0 {
            let end = (self.count - 1) * self.pitch + area;
            assert!(self.count <= LANES && end <= planes.len(), "planes beyond their memory");
            let to = tile.as_flattened_mut().as_mut_ptr();
            for start in (0..whole).step_by(V::BLOCK) {
                for lane in (0..across).step_by(V::BLOCK) {
                    // SAFETY: the positions of these planes, and the same lanes at these positions, as was checked.
                    unsafe {
                        let from = planes.as_ptr().add(lane * self.pitch + start);
                        V::transpose(from, self.pitch as isize, to.add(start * LANES + lane), LANES);
                    }
                }
            }
        }
        for (lane, plane) in planes.chunks(self.pitch).take(self.count).enumerate() {
            let done = if lane < across { whole } else { 0 };
            for (to, &v) in tile[done..].iter_mut().zip(&plane[done..area]) {
                to[lane] = v;
            }
        }
    }

    /// Brings a tile back to planes.
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    pub(super) unsafe fn store<V: Register>(self, tile: &[Lanes<V::Element>], planes: &mut [V::Element]) {
        let area = tile.len();
        let [whole, across] = self.in_blocks::<V>(area);
        if whole > 0 && across > 0 {
            let end = (self.count - 1) * self.pitch + area;
            assert!(self.count <= LANES && end <= planes.len(), "planes beyond their memory");
            let from = tile.as_flattened().as_ptr();
            for start in (0..whole).step_by(V::BLOCK) {
                for lane in (0..across).step_by(V::BLOCK) {
                    // SAFETY: as above.
                    unsafe {
                        let to = planes.as_mut_ptr().add(lane * self.pitch + start);
                        V::transpose(from.add(start * LANES + lane), LANES as isize, to, self.pitch);
                    }
                }
            }
        }
        for (lane, plane) in planes.chunks_mut(self.pitch).take(self.count).enumerate() {
            let done = if lane < across { whole } else { 0 };
            for (to, from) in plane[done..area].iter_mut().zip(&tile[done..]) {
                *to = from[lane];
            }
        }
    }
}
