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
use super::dense::{Dense, Output, Real, with_real};
use super::matmul::gemm::Mat;
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// `Op::Conv`.
pub(crate) fn conv(cpu: &Cpu, op: &Conv, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    with_real!(out.dtype, T => {
        let bias = inputs.get(2).map(|b| Dense::<T>::new(cpu, b)).transpose()?;
        forward_by(cpu, op, [&inputs[0], &inputs[1]], &Epilogue::bias(bias.as_deref()), out)
    })
}

/// `Op::ConvBlock`.
pub(crate) fn conv_block(cpu: &Cpu, op: &ConvBlock, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let Some(operands) = op.operands(inputs) else { return Ok(Outcome::Unsupported) };
    with_real!(out.dtype, T => {
        let after = epilogue::Operands::<T>::new(cpu, op, &operands)?;
        match after.epilogue(op) {
            Some(epilogue) => forward_by(cpu, &op.conv, [operands.x, operands.weight], &epilogue, out),
            None => Ok(Outcome::Unsupported),
        }
    })
}

fn forward_by<T: Real>(
    cpu: &Cpu,
    op: &Conv,
    [x, w]: [&View<'_, CpuBuffer>; 2],
    epilogue: &Epilogue<'_, T>,
    out: &Meta,
) -> Done {
    let geometry = Geometry::new(op, x.layout.shape(), w.layout.shape(), &out.shape);
    let mut y = Output::<T>::new(cpu, out)?;
    let (x, w) = (Dense::<T>::new(cpu, x)?, Dense::<T>::new(cpu, w)?);
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
    } else if winograd::suits(geometry) {
        winograd::convolve(cpu, geometry, x, winograd::Weight::Forward(w), epilogue, y)
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
    let geometry = Geometry::new(op, &out.shape, w.layout.shape(), g.layout.shape());
    with_real!(g.dtype, T => {
        let mut gx = Output::<T>::new(cpu, out)?;
        let (g, w) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, w)?);
        if geometry.depthwise() && !g.is_empty() && !gx.slice().is_empty() {
            depthwise::backward_input(cpu, &geometry, &g, &w, gx.slice())?;
        } else if winograd::suits(&geometry.reversed()) && geometry.stride == [1; 3] {
            let (reversed, w) = (geometry.reversed(), winograd::Weight::Reversed(&w));
            winograd::convolve(cpu, &reversed, &g, w, &Epilogue::bias(None), gx.slice())?;
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
    let geometry = Geometry::new(op, x.layout.shape(), &out.shape, g.layout.shape());
    with_real!(g.dtype, T => {
        let mut gw = Output::<T>::new(cpu, out)?;
        let (g, x) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, x)?);
        if geometry.depthwise() && !g.is_empty() && !x.is_empty() {
            depthwise::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        } else if winograd::suits(&geometry) {
            winograd::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        } else {
            weight::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        }
        done(gw.finish(cpu)?)
    })
}
