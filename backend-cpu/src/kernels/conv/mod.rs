//! Convolutions in one, two or three dimensions, as matrix products.
//!
//! A convolution is weight times column matrix ([`columns`]); `forward`, `input` and `weight` are its three
//! passes, each of which gathers the columns it needs piece by piece into cached scratch memory. Convolutions
//! with one channel to a group have nothing to sum over channels and take the direct way of [`depthwise`]. What follows
//! a convolution in the same op is done by [`epilogue`], wherever the sums were made.

mod columns;
mod depthwise;
mod epilogue;
mod forward;
mod geometry;
mod input;
mod weight;
mod winograd;

use gradus_tensor_core::op::{Conv, ConvBlock};
use gradus_tensor_core::{Meta, Outcome, Result, View};

use self::epilogue::Epilogue;
use self::geometry::Geometry;
use super::dense::{Dense, Output, Real, Stored, with_real, with_stored};
use super::matmul::gemm::Mat;
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// `Op::Conv`.
pub(crate) fn conv(cpu: &Cpu, op: &Conv, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    with_stored!(out.dtype, S => {
        let bias = inputs.get(2).map(|b| Dense::<<S as Stored>::Computed>::new(cpu, b)).transpose()?;
        forward_by::<S>(cpu, op, [&inputs[0], &inputs[1]], &Epilogue::bias(bias.as_deref()), out)
    })
}

/// `Op::ConvBlock`.
pub(crate) fn conv_block(cpu: &Cpu, op: &ConvBlock, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let Some(operands) = op.operands(inputs) else { return Ok(Outcome::Unsupported) };
    with_stored!(out.dtype, S => {
        let after = epilogue::Operands::<<S as Stored>::Computed>::new(cpu, op, &operands)?;
        match after.epilogue(op) {
            Some(epilogue) => forward_by::<S>(cpu, &op.conv, [operands.x, operands.weight], &epilogue, out),
            None => Ok(Outcome::Unsupported),
        }
    })
}

fn forward_by<S: Stored>(
    cpu: &Cpu,
    op: &Conv,
    [x, w]: [&View<'_, CpuBuffer>; 2],
    epilogue: &Epilogue<'_, S::Computed>,
    out: &Meta,
) -> Done {
    let precision = cpu.precision_of(x.dtype);
    let geometry = Geometry::new(op, x.layout.shape(), w.layout.shape(), &out.shape, precision);
    if let Some(size) = winograd::suits(cpu, x.dtype, &geometry) {
        let mut y = Output::<S>::new(cpu, out)?;
        let (x, w) = (Dense::<S>::new(cpu, x)?, Dense::<S>::new(cpu, w)?);
        let w = winograd::Weight::Forward(&w);
        winograd::convolve(cpu, size, &geometry, &x, w, epilogue, y.slice())?;
        return done(y.finish(cpu)?);
    }
    let mut y = Output::<S::Computed>::new(cpu, out)?;
    let (x, w) = (Dense::<S::Computed>::new(cpu, x)?, Dense::<S::Computed>::new(cpu, w)?);
    run_forward(cpu, &geometry, &x, &w, epilogue, y.slice())?;
    done(y.finish(cpu)?)
}

fn run_forward<T: Real>(
    cpu: &Cpu,
    geometry: &Geometry,
    x: &[T],
    w: &[T],
    epilogue: &Epilogue<'_, T>,
    y: &mut [T],
) -> Result<()> {
    if y.is_empty() {
        Ok(())
    } else if geometry.depthwise() && !x.is_empty() {
        depthwise::forward(cpu, geometry, x, w, epilogue, y)
    } else {
        let w = Mat::new(w, geometry.groups * geometry.outputs, geometry.depth());
        forward::forward(cpu, geometry, x, w, epilogue, y)
    }
}

/// `Op::ConvBackwardInput`.
pub(crate) fn backward_input(
    cpu: &Cpu,
    op: &Conv,
    g: &View<'_, CpuBuffer>,
    w: &View<'_, CpuBuffer>,
    out: &Meta,
) -> Done {
    let precision = cpu.precision_of(g.dtype);
    let geometry = Geometry::new(op, &out.shape, w.layout.shape(), g.layout.shape(), precision);
    let reversed = geometry.reversed();
    if let Some(size) = winograd::suits(cpu, g.dtype, &reversed) {
        return with_stored!(g.dtype, S => {
            let mut gx = Output::<S>::new(cpu, out)?;
            let (g, w) = (Dense::<S>::new(cpu, g)?, Dense::<S>::new(cpu, w)?);
            winograd::convolve(cpu, size, &reversed, &g, winograd::Weight::Reversed(&w), &Epilogue::bias(None), gx.slice())?;
            done(gx.finish(cpu)?)
        });
    }
    with_real!(g.dtype, T => {
        let mut gx = Output::<T>::new(cpu, out)?;
        let (g, w) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, w)?);
        if geometry.depthwise() && !g.is_empty() && !gx.slice().is_empty() {
            depthwise::backward_input(cpu, &geometry, &g, &w, gx.slice())?;
        } else {
            input::backward_input(cpu, &geometry, &g, &w, gx.slice())?;
        }
        done(gx.finish(cpu)?)
    })
}

/// `Op::ConvBackwardWeight`.
pub(crate) fn backward_weight(
    cpu: &Cpu,
    op: &Conv,
    g: &View<'_, CpuBuffer>,
    x: &View<'_, CpuBuffer>,
    out: &Meta,
) -> Done {
    let precision = cpu.precision_of(g.dtype);
    let geometry = Geometry::new(op, x.layout.shape(), &out.shape, g.layout.shape(), precision);
    if let Some(size) = winograd::suits(cpu, g.dtype, &geometry) {
        return with_stored!(g.dtype, S => {
            let mut gw = Output::<S>::new(cpu, out)?;
            let (g, x) = (Dense::<S>::new(cpu, g)?, Dense::<S>::new(cpu, x)?);
            winograd::backward_weight(cpu, size, &geometry, &g, &x, gw.slice())?;
            done(gw.finish(cpu)?)
        });
    }
    with_real!(g.dtype, T => {
        let mut gw = Output::<T>::new(cpu, out)?;
        let (g, x) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, x)?);
        if geometry.depthwise() && !g.is_empty() && !x.is_empty() {
            depthwise::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        } else {
            weight::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        }
        done(gw.finish(cpu)?)
    })
}
