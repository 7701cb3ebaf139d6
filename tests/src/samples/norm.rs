//! Samples of softmax and the normalizations.

use gradus_tensor_core::op::{BatchNormBlock, Norm, NormKind, Softmax};
use gradus_tensor_core::{Op, UnaryOp};

use super::{Input, Sample};

pub(super) fn softmax() -> Vec<Sample> {
    let mut samples = Vec::new();
    for log in [false, true] {
        for (dims, axis) in [(&[7][..], 0), (&[3, 5], 1), (&[5, 3], 0), (&[2, 4, 3], 1), (&[2, 1], 1)] {
            let softmax = Softmax { axis, log };
            let x = Input::number(dims);
            samples.push(Sample::new(Op::Softmax(softmax), [x.clone()]));
            let y = Input::new(dims, super::Kind::Number { low: -2.0, high: if log { -0.1 } else { 1.0 } });
            samples.push(Sample::new(Op::SoftmaxGrad(softmax), [x, y]).within(32.0, 4.0));
        }
        let wide = Sample::new(Op::Softmax(Softmax { axis: 1, log }), [Input::number(&[3, 1030])]);
        samples.push(wide.within(32.0, if log { 8.0 } else { 0.01 }).rough());
    }
    samples
}

pub(super) fn norm() -> Vec<Sample> {
    let mut samples = Vec::new();
    let kinds: [(NormKind, &[usize]); 9] = [
        (NormKind::Layer { dims: 1 }, &[3, 6]),
        (NormKind::Layer { dims: 2 }, &[2, 3, 4]),
        (NormKind::Layer { dims: 1 }, &[9]),
        (NormKind::Rms { dims: 1 }, &[2, 3, 5]),
        (NormKind::Rms { dims: 2 }, &[2, 2, 3]),
        (NormKind::Batch, &[5, 3]),
        (NormKind::Batch, &[3, 2, 2, 3]),
        (NormKind::Group { groups: 2 }, &[2, 4, 3]),
        (NormKind::Group { groups: 1 }, &[2, 3, 2, 2]),
    ];
    for (kind, dims) in kinds {
        let norm = Norm { kind, eps: 1e-3 };
        let affine = || Input::number(&affine_dims(kind, dims));
        let most = if matches!(kind, NormKind::Rms { .. }) { 1 } else { 2 };
        for extra in 0..=most {
            let inputs = std::iter::once(Input::number(dims)).chain((0..extra).map(|_| affine()));
            samples.push(Sample::new(Op::Norm(norm), inputs).within(64.0, 4.0));
        }
        for weighted in [false, true] {
            let mut inputs = vec![
                Input::number(dims),
                Input::number(dims),
                Input::output(Op::Norm(norm), &[1], 1),
                Input::output(Op::Norm(norm), &[1], 2),
            ];
            inputs.extend(weighted.then(affine));
            samples.push(Sample::new(Op::NormGrad(norm), inputs).within(128.0, 16.0));
        }
    }
    samples.extend(blocks());
    for (dims, parameters) in [(&[3, 2, 2, 3][..], 0), (&[5, 3], 1), (&[2, 4, 3], 2)] {
        let channels = &[dims[1]];
        let variance = Input::new(channels, super::Kind::Number { low: 0.1, high: 2.0 });
        let mut inputs = vec![Input::number(dims), Input::number(channels), variance];
        inputs.extend((0..parameters).map(|_| Input::number(channels)));
        samples.push(Sample::new(Op::BatchNormEval { eps: 1e-3 }, inputs).within(64.0, 4.0));
    }
    samples
}

/// Blocks of batch normalization and their gradients.
fn blocks() -> impl Iterator<Item = Sample> {
    let activations =
        [None, Some(UnaryOp::Relu), Some(UnaryOp::Tanh), Some(UnaryOp::Clamp { min: 0.0, max: 6.0 })];
    let shapes: [&[usize]; 3] = [&[5, 3], &[3, 2, 2, 3], &[2, 4, 3]];
    let all = activations.into_iter().flat_map(move |activation| shapes.map(|dims| (activation, dims)));
    all.enumerate().flat_map(|(i, (activation, dims))| {
        let op = BatchNormBlock { eps: 1e-3, residual: i % 2 == 0, activation };
        let norm = Op::Norm(Norm { kind: NormKind::Batch, eps: 1e-3 });
        let [x, channels] = [dims, &dims[1..2]].map(Input::number);
        let residual = op.residual.then(|| x.clone());
        let forward = [x.clone(), channels.clone(), channels.clone()].into_iter().chain(residual);
        let forward = Sample::new(Op::BatchNormBlock(op), forward).within(64.0, 16.0);
        let statistics = [1, 2].map(|output| Input::output(norm.clone(), &[2], output));
        let gradient = [x.clone(), x.clone(), x].into_iter().chain(statistics).chain([channels]);
        let gradient = Sample::new(Op::BatchNormBlockGrad(op), gradient).within(128.0, 32.0);
        // ReLU and its like have kinks where finite differences say nothing.
        let smooth = matches!(activation, None | Some(UnaryOp::Tanh));
        [forward, gradient].map(|sample| if smooth { sample } else { sample.rough() })
    })
}

fn affine_dims(kind: NormKind, dims: &[usize]) -> Vec<usize> {
    match kind {
        NormKind::Layer { dims: n } | NormKind::Rms { dims: n } => dims[dims.len() - n..].to_vec(),
        NormKind::Batch | NormKind::Group { .. } => vec![dims[1]],
    }
}
