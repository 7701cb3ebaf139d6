//! Convolutions in one, two or three dimensions, as matrix products.
//!
//! A convolution is weight times column matrix ([`columns`]); `forward`, `input` and `weight` are its three
//! passes, each of which gathers the columns it needs piece by piece into cached scratch memory ([`masked`] with AVX-512).
//! Columns are what is multiplied, a [`Factor`]: `bf16` where there are instructions for its products, otherwise what the
//! operands are computed in; sums are that always, and are rounded once, by the task that made them. Convolutions
//! with one channel to a group have nothing to sum over channels and take the direct way of [`depthwise`]. What follows
//! a convolution in the same op is done by [`epilogue`], wherever the sums were made.

mod columns;
mod depthwise;
mod epilogue;
mod forward;
mod geometry;
mod input;
#[cfg(target_arch = "x86_64")]
mod masked;
mod weight;
mod winograd;

use gradus_tensor_core::half::bf16;
use gradus_tensor_core::op::{Conv, ConvBlock};
use gradus_tensor_core::{DType, Meta, Outcome, View};

use self::epilogue::Epilogue;
use self::geometry::Geometry;
use super::dense::{Dense, Output, Stored, with_stored};
use super::matmul::gemm::Mat;
use super::matmul::multiplied::Multiplied;
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// Elements that columns are made of and that are multiplied as they are, with sums in what they are computed in.
trait Factor: Stored + Multiplied<Sum = <Self as Stored>::Computed> {}
impl<T: Stored + Multiplied<Sum = <T as Stored>::Computed>> Factor for T {}

/// Runs a block with type names bound to the element of a float dtype and to the [`Factor`] of its products: the element
/// itself if there are instructions that multiply it, otherwise what it is computed in. Leaves the function with
/// `Unsupported` for any other dtype.
macro_rules! with_factors {
    ($cpu:expr, $dtype:expr, $s:ident, $t:ident => $body:expr) => {
        match $dtype {
            DType::BF16 if $cpu.level().has_bf16_dot() => {
                type $s = bf16;
                type $t = bf16;
                $body
            }
            dtype => with_stored!(dtype, $s => {
                type $t = <$s as Stored>::Computed;
                $body
            }),
        }
    };
}

/// `Op::Conv`.
pub(crate) fn conv(cpu: &Cpu, op: &Conv, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    with_factors!(cpu, out.dtype, S, T => {
        let bias = inputs.get(2).map(|b| Dense::<<S as Stored>::Computed>::new(cpu, b)).transpose()?;
        forward_by::<S, T>(cpu, op, [&inputs[0], &inputs[1]], &Epilogue::bias(bias.as_deref()), out)
    })
}

/// `Op::ConvBlock`.
pub(crate) fn conv_block(cpu: &Cpu, op: &ConvBlock, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    let Some(operands) = op.operands(inputs) else { return Ok(Outcome::Unsupported) };
    with_factors!(cpu, out.dtype, S, T => {
        let after = epilogue::Operands::<<S as Stored>::Computed>::new(cpu, op, &operands)?;
        match after.epilogue(op) {
            Some(epilogue) => forward_by::<S, T>(cpu, &op.conv, [operands.x, operands.weight], &epilogue, out),
            None => Ok(Outcome::Unsupported),
        }
    })
}

fn forward_by<S: Stored, T: Factor<Computed = S::Computed>>(
    cpu: &Cpu,
    op: &Conv,
    [x, w]: [&View<'_, CpuBuffer>; 2],
    epilogue: &Epilogue<'_, S::Computed>,
    out: &Meta,
) -> Done {
    let precision = cpu.precision_of(x.dtype);
    let g = Geometry::new(op, x.layout.shape(), w.layout.shape(), &out.shape, precision);
    if let Some(size) = winograd::suits(cpu, x.dtype, &g) {
        let mut y = Output::<S>::new(cpu, out)?;
        let (x, w) = (Dense::<S>::new(cpu, x)?, Dense::<S>::new(cpu, w)?);
        winograd::convolve(cpu, size, &g, &x, winograd::Weight::Forward(&w), epilogue, y.slice())?;
        return done(y.finish(cpu)?);
    }
    if g.depthwise() && x.layout.shape().numel() > 0 && out.shape.numel() > 0 {
        let mut y = Output::<S::Computed>::new(cpu, out)?;
        let (x, w) = (Dense::<S::Computed>::new(cpu, x)?, Dense::<S::Computed>::new(cpu, w)?);
        depthwise::forward(cpu, &g, &x, &w, epilogue, y.slice())?;
        return done(y.finish(cpu)?);
    }
    let mut y = Output::<T>::new(cpu, out)?;
    if !y.slice().is_empty() {
        let (x, w) = (Dense::<T>::new(cpu, x)?, Dense::<T>::new(cpu, w)?);
        let w = Mat::new(&w, g.groups * g.outputs, g.depth());
        forward::forward(cpu, &g, &x, w, epilogue, y.slice())?;
    }
    done(y.finish(cpu)?)
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
    let size = winograd::suits(cpu, g.dtype, &reversed);
    with_factors!(cpu, g.dtype, S, T => {
        if let Some(size) = size {
            let mut gx = Output::<S>::new(cpu, out)?;
            let (g, w) = (Dense::<S>::new(cpu, g)?, Dense::<S>::new(cpu, w)?);
            winograd::convolve(cpu, size, &reversed, &g, winograd::Weight::Reversed(&w), &Epilogue::bias(None), gx.slice())?;
            return done(gx.finish(cpu)?);
        }
        if geometry.depthwise() && g.layout.shape().numel() > 0 && out.shape.numel() > 0 {
            type Real = <S as Stored>::Computed;
            let mut gx = Output::<Real>::new(cpu, out)?;
            let (g, w) = (Dense::<Real>::new(cpu, g)?, Dense::<Real>::new(cpu, w)?);
            depthwise::backward_input(cpu, &geometry, &g, &w, gx.slice())?;
            return done(gx.finish(cpu)?);
        }
        let mut gx = Output::<T>::new(cpu, out)?;
        let (g, w) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, w)?);
        input::backward_input(cpu, &geometry, &g, &w, gx.slice())?;
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
    let size = winograd::suits(cpu, g.dtype, &geometry);
    with_factors!(cpu, g.dtype, S, T => {
        if let Some(size) = size {
            let mut gw = Output::<S>::new(cpu, out)?;
            let (g, x) = (Dense::<S>::new(cpu, g)?, Dense::<S>::new(cpu, x)?);
            winograd::backward_weight(cpu, size, &geometry, &g, &x, gw.slice())?;
            return done(gw.finish(cpu)?);
        }
        if geometry.depthwise() && g.layout.shape().numel() > 0 && x.layout.shape().numel() > 0 {
            type Real = <S as Stored>::Computed;
            let mut gw = Output::<Real>::new(cpu, out)?;
            let (g, x) = (Dense::<Real>::new(cpu, g)?, Dense::<Real>::new(cpu, x)?);
            depthwise::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
            return done(gw.finish(cpu)?);
        }
        let mut gw = Output::<T>::new(cpu, out)?;
        let (g, x) = (Dense::<T>::new(cpu, g)?, Dense::<T>::new(cpu, x)?);
        weight::backward_weight(cpu, &geometry, &g, &x, gw.slice())?;
        done(gw.finish(cpu)?)
    })
}
