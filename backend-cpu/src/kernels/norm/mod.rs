//! Normalizations and their gradients.
//!
//! [`rows`] normalizes contiguous rows with a weight for each element (layer and RMS norm); [`batch`] and
//! [`group`] have one weight for each run of elements. Mean and variance take two passes, of which the first
//! brings the data into cache, so no precision is lost to a mean far from zero. Sums over rows that threads
//! share are kept in blocks of fixed extent and added in order.
//!
//! What has as many elements as `x` is read and written as memory holds it ([`Stored`]): half precision is widened and
//! rounded in registers, in each pass, and no tensor is made in between.

mod affine;
mod batch;
mod block;
mod columns;
mod group;
mod rows;

use gradus_tensor_core::op::{Norm, NormKind};
use gradus_tensor_core::{Meta, Outcome, Result, View};

use self::block::{Activated, After};
pub(crate) use self::block::{batch_norm_block, batch_norm_block_grad};
use self::rows::Centre;
use super::dense::{Dense, Output, Real, Stored, finished, with_stored};
use crate::execute::{Done, done};
use crate::{Cpu, CpuBuffer};

/// The operands and outputs of a forward pass.
struct Forward<'a, S: Stored> {
    eps: f64,
    x: &'a [S],
    weight: Option<&'a [S::Computed]>,
    bias: Option<&'a [S::Computed]>,
    y: &'a mut [S],
    /// Of each row, channel or group.
    mean: &'a mut [S::Computed],
    variance: &'a mut [S::Computed],
    /// Of batch norm alone.
    after: Option<After<'a, S>>,
}

/// The operands and outputs of a backward pass.
struct Backward<'a, S: Stored> {
    eps: f64,
    g: &'a [S],
    x: &'a [S],
    mean: &'a [S::Computed],
    variance: &'a [S::Computed],
    weight: Option<&'a [S::Computed]>,
    gx: &'a mut [S],
    gweight: &'a mut [S::Computed],
    /// Empty if there is none.
    gbias: &'a mut [S::Computed],
    /// Of batch norm alone.
    activated: Option<Activated<'a, S>>,
}

/// `Op::Norm`; operands `x`, and optionally weight and bias.
pub(crate) fn norm(cpu: &Cpu, op: &Norm, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    let shape = &out[0].shape;
    with_stored!(out[0].dtype, S => {
        type T = <S as Stored>::Computed;
        let operand = |i: usize| inputs.get(i).map(|view| Dense::<T>::new(cpu, view)).transpose();
        let (x, weight, bias) = (Dense::<S>::new(cpu, &inputs[0])?, operand(1)?, operand(2)?);
        let mut y = Output::<S>::new(cpu, &out[0])?;
        let (mut mean, mut variance) = (Output::<T>::new(cpu, &out[1])?, Output::<T>::new(cpu, &out[2])?);
        let job = Forward {
            eps: op.eps,
            x: &x,
            weight: weight.as_deref(),
            bias: bias.as_deref(),
            y: y.slice(),
            mean: mean.slice(),
            variance: variance.slice(),
            after: None,
        };
        match op.kind {
            NormKind::Layer { .. } => rows::forward(cpu, Centre::Mean, job),
            NormKind::Rms { .. } => rows::forward(cpu, Centre::Zero, job),
            NormKind::Batch => batch::forward(cpu, shape, job)?,
            NormKind::Group { groups } => group::forward(cpu, shape, groups, job),
        }
        finished([y.finish(cpu)?, mean.finish(cpu)?, variance.finish(cpu)?])
    })
}

/// `Op::NormGrad`; operands `g`, `x`, `mean`, `variance` and optionally the weight.
pub(crate) fn norm_grad(cpu: &Cpu, op: &Norm, inputs: &[View<'_, CpuBuffer>], out: &[Meta]) -> Done {
    let shape = &out[0].shape;
    with_stored!(out[0].dtype, S => {
        type T = <S as Stored>::Computed;
        let operand = |i: usize| Dense::<T>::new(cpu, &inputs[i]);
        let (g, x) = (Dense::<S>::new(cpu, &inputs[0])?, Dense::<S>::new(cpu, &inputs[1])?);
        let (mean, variance) = (operand(2)?, operand(3)?);
        let weight = if inputs.len() > 4 { Some(operand(4)?) } else { None };
        let mut gx = Output::<S>::new(cpu, &out[0])?;
        let mut gweight = Output::<T>::new(cpu, &out[1])?;
        let mut gbias = out.get(2).map(|meta| Output::<T>::new(cpu, meta)).transpose()?;
        let job = Backward {
            eps: op.eps,
            g: &g,
            x: &x,
            mean: &mean,
            variance: &variance,
            weight: weight.as_deref(),
            gx: gx.slice(),
            gweight: gweight.slice(),
            gbias: gbias.as_mut().map_or(&mut [], Output::slice),
            activated: None,
        };
        match op.kind {
            NormKind::Layer { .. } => rows::backward(cpu, Centre::Mean, job)?,
            NormKind::Rms { .. } => rows::backward(cpu, Centre::Zero, job)?,
            NormKind::Batch => batch::backward(cpu, shape, job)?,
            NormKind::Group { groups } => group::backward(cpu, shape, groups, job)?,
        }
        let gbias = gbias.map(|gbias| gbias.finish(cpu)).transpose()?;
        let buffers = [gx.finish(cpu)?, gweight.finish(cpu)?];
        Ok(Outcome::Done(buffers.into_iter().chain(gbias).collect()))
    })
}

/// `Op::BatchNormEval`; operands `x`, mean, variance, and optionally weight and bias.
pub(crate) fn batch_norm_eval(cpu: &Cpu, eps: f64, inputs: &[View<'_, CpuBuffer>], out: &Meta) -> Done {
    with_stored!(out.dtype, S => {
        type T = <S as Stored>::Computed;
        let operand = |i: usize| inputs.get(i).map(|view| Dense::<T>::new(cpu, view)).transpose();
        let (x, mean, variance) =
            (Dense::<S>::new(cpu, &inputs[0])?, Dense::<T>::new(cpu, &inputs[1])?, Dense::<T>::new(cpu, &inputs[2])?);
        let (weight, bias) = (operand(3)?, operand(4)?);
        let mut y = Output::<S>::new(cpu, out)?;
        let channels = affine::given(cpu, eps, &mean, &variance, weight.as_deref(), bias.as_deref());
        affine::per_channel(cpu, &channels, &x, y.slice(), &out.shape)?;
        done(y.finish(cpu)?)
    })
}

/// Mean, scale and shift of each channel, by mean, variance, weight and bias.
pub(crate) fn channels<T: Real>(
    cpu: &Cpu,
    eps: f64,
    vectors: &[View<'_, CpuBuffer>; 4],
) -> Result<Vec<[T; 3]>> {
    let [mean, variance, weight, bias] = vectors.each_ref().map(|view| Dense::<T>::new(cpu, view));
    Ok(affine::given(cpu, eps, &mean?, &variance?, Some(&*weight?), Some(&*bias?)))
}
