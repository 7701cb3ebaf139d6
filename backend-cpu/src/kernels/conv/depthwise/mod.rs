//! Convolutions with one input channel to a group, in all three passes.
//!
//! There is nothing to sum over channels, so these convolutions live from memory and from how little happens around
//! each plane. Usually there are many small planes: [`lanes`] computes sixteen channels at once, one to a lane of a
//! vector, whatever the stride and however narrow the plane. A few large planes are computed one by one, along
//! their rows, by [`padded`].

mod across;
mod lanes;
mod lanes_weight;
mod padded;
mod tile;

use gradus_tensor_core::Result;

use super::epilogue::Epilogue;
use super::geometry::Geometry;
use crate::Cpu;
use crate::kernels::dense::Real;

/// Elements of sixteen planes that fit the second-level cache together with what is made of them.
const SMALL: usize = 1 << 17;
/// With fewer channels most lanes would be empty.
const FEWEST: usize = 6;

/// Whether sixteen channels are to be computed at once: where that is faster, and where nearly all of a padded plane would
/// be padding, which takes no memory there.
fn in_lanes(g: &Geometry) -> bool {
    g.groups >= FEWEST && tile::LANES * g.area().max(g.out_area()) <= SMALL || padded::is_mostly_padding(g)
}

/// The outputs of a convolution.
pub(super) fn forward<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    x: &[T],
    w: &[T],
    epilogue: &Epilogue<'_, T>,
    y: &mut [T],
) -> Result<()> {
    if in_lanes(g) {
        lanes::forward(cpu, g, x, w, epilogue, y)
    } else {
        padded::forward(cpu, g, x, w, epilogue, y)
    }
}

/// `gx` from the output's gradient and the weight.
pub(super) fn backward_input<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    if in_lanes(g) {
        lanes::backward_input(cpu, g, gy, w, gx)
    } else {
        padded::backward_input(cpu, g, gy, w, gx)
    }
}

/// `gw` from the output's gradient and the input.
pub(super) fn backward_weight<T: Real>(
    cpu: &Cpu,
    g: &Geometry,
    gy: &[T],
    x: &[T],
    gw: &mut [T],
) -> Result<()> {
    if in_lanes(g) {
        lanes_weight::backward_weight(cpu, g, gy, x, gw)
    } else {
        padded::backward_weight(cpu, g, gy, x, gw)
    }
}
