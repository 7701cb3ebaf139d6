//! Samples of convolutions and pools.

use gradus_tensor_core::op::{Conv, ConvBlock, Pool, PoolKind, Spatial};
use gradus_tensor_core::{Op, UnaryOp};

use super::{Input, Kind, Sample};

/// A convolution's parameters and the sizes of its input, `[N, C, *size]`, and weight, `[O, C / groups, *kernel]`.
fn convolutions() -> Vec<(Conv, Vec<usize>, Vec<usize>)> {
    let conv = |stride: Spatial, padding: Spatial, dilation: Spatial, groups| Conv {
        stride,
        padding,
        dilation,
        groups,
    };
    let one = [1; 3];
    vec![
        (conv(one, [0; 3], one, 1), vec![2, 3, 7], vec![4, 3, 3]),
        (conv([2, 1, 1], [1, 0, 0], [2, 1, 1], 1), vec![1, 2, 9], vec![3, 2, 3]),
        (conv(one, [0; 3], one, 1), vec![2, 2, 5, 4], vec![3, 2, 3, 2]),
        (conv(one, [1; 3], one, 1), vec![1, 3, 4, 5], vec![2, 3, 3, 3]),
        (conv([2, 3, 1], [1, 2, 0], one, 1), vec![2, 2, 6, 7], vec![2, 2, 3, 4]),
        (conv(one, [2; 3], [2, 2, 1], 1), vec![1, 2, 5, 5], vec![2, 2, 3, 3]),
        (conv(one, [1; 3], one, 2), vec![2, 4, 4, 4], vec![6, 2, 3, 3]),
        (conv([2, 2, 1], [1; 3], one, 4), vec![1, 4, 5, 6], vec![4, 1, 3, 3]),
        (conv(one, [0; 3], one, 1), vec![2, 3, 4, 3], vec![5, 3, 1, 1]),
        (conv([2, 2, 1], [0; 3], one, 1), vec![1, 2, 4, 4], vec![3, 2, 1, 1]),
        // Windows of nothing but padding.
        (conv([2, 1, 1], [2, 1, 0], one, 1), vec![2, 2, 0, 3], vec![2, 2, 3, 2]),
        (conv(one, [1; 3], one, 2), vec![1, 2, 0], vec![4, 1, 2]),
        // The last row and column of the input reach no window.
        (conv([3, 3, 1], [0; 3], one, 1), vec![1, 1, 6, 6], vec![1, 1, 2, 2]),
        (conv(one, [1, 0, 1], one, 1), vec![1, 2, 3, 3, 3], vec![2, 2, 2, 2, 3]),
        (conv([2, 1, 1], [1; 3], [1, 2, 1], 2), vec![1, 2, 4, 5, 3], vec![2, 1, 3, 2, 3]),
    ]
}

fn spatial(dims: &[usize]) -> Spatial {
    let mut out = [1; 3];
    out[..dims.len()].copy_from_slice(dims);
    out
}

pub(super) fn conv() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (conv, x, w) in convolutions() {
        let Ok(size) = conv.output_size(&x[2..], &w[2..]) else { continue };
        let g = [&[x[0], w[0]], &size[..x.len() - 2]].concat();
        let terms = w[1..].iter().product::<usize>() as f64;
        let input = |dims: &[usize]| Input::number(dims);
        samples.push(Sample::new(Op::Conv(conv), [input(&x), input(&w)]).within(16.0, 4.0 * terms));
        samples.push(
            Sample::new(Op::Conv(conv), [input(&x), input(&w), input(&w[..1])]).within(16.0, 4.0 * terms),
        );
        let back = Op::ConvBackwardInput { conv, size: spatial(&x[2..]) };
        samples.push(Sample::new(back, [input(&g), input(&w)]).within(16.0, 64.0));
        let back = Op::ConvBackwardWeight { conv, kernel: spatial(&w[2..]) };
        samples.push(Sample::new(back, [input(&g), input(&x)]).within(16.0, 64.0));
    }
    samples.extend(blocks());
    // Of a size at which kernels tile, block and start threads.
    let conv = Conv { padding: [1; 3], ..Conv::default() };
    let wide = Sample::new(Op::Conv(conv), [Input::number(&[3, 17, 12, 11]), Input::number(&[19, 17, 3, 3])]);
    samples.push(wide.within(32.0, 300.0).rough());
    samples
}

/// A block of each kind of convolution, each with other steps.
fn blocks() -> impl Iterator<Item = Sample> {
    // ReLU and its like have kinks where finite differences say nothing.
    let activations =
        [None, Some(UnaryOp::Relu), Some(UnaryOp::Silu), Some(UnaryOp::Clamp { min: 0.0, max: 6.0 })];
    convolutions().into_iter().enumerate().filter_map(move |(i, (conv, x, w))| {
        let activation = activations[i % 4];
        let norm = (i % 3 != 0).then_some(1e-3);
        let op = ConvBlock { conv, bias: i % 2 == 0, norm, residual: i % 5 < 3, activation };
        let size = conv.output_size(&x[2..], &w[2..]).ok()?;
        let channels = &w[..1];
        let mut inputs = vec![Input::number(&x), Input::number(&w)];
        inputs.extend(op.bias.then(|| Input::number(channels)));
        if norm.is_some() {
            let variance = Input::new(channels, Kind::Number { low: 0.5, high: 2.0 });
            let number = || Input::number(channels);
            inputs.extend([number(), variance, number(), number()]);
        }
        let out = [&[x[0], w[0]], &size[..x.len() - 2]].concat();
        inputs.extend(op.residual.then(|| Input::number(&out)));
        // Numbers below 2 are summed, and scaled by less than 3.
        let terms = w[1..].iter().product::<usize>() as f64;
        let sample = Sample::new(Op::ConvBlock(op), inputs).within(32.0, 12.0 * terms + 16.0);
        Some(if matches!(activation, None | Some(UnaryOp::Silu)) { sample } else { sample.rough() })
    })
}

/// Pools, the size of their input, `[N, C, *size]`.
fn pools() -> Vec<(Pool, Vec<usize>)> {
    let mut all = Vec::new();
    for kind in [
        PoolKind::Max,
        PoolKind::Average { count_include_pad: true },
        PoolKind::Average { count_include_pad: false },
    ] {
        let pool = |k: usize, s: usize, p: usize, ceil_mode: bool| Pool {
            kind,
            kernel: [k; 3],
            stride: [s; 3],
            padding: [p; 3],
            dilation: [1; 3],
            ceil_mode,
        };
        all.push((pool(2, 2, 0, false), vec![2, 3, 4, 6]));
        all.push((pool(3, 2, 1, false), vec![1, 2, 5, 7]));
        all.push((pool(3, 1, 1, false), vec![1, 2, 4, 4]));
        all.push((pool(3, 2, 1, true), vec![1, 2, 6, 5]));
        all.push((pool(2, 2, 0, true), vec![2, 1, 5, 3]));
        all.push((pool(2, 2, 0, false), vec![2, 3, 7]));
        all.push((pool(2, 1, 1, false), vec![1, 2, 3, 2, 3]));
        if kind == PoolKind::Max {
            all.push((Pool { dilation: [2; 3], ..pool(2, 1, 1, false) }, vec![1, 2, 5, 6]));
        }
    }
    all
}

pub(super) fn pool() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (pool, dims) in pools() {
        samples.push(Sample::new(Op::Pool(pool), [Input::new(&dims, Kind::Apart)]).within(16.0, 4.0));
        let Ok(size) = pool.output_size(&dims[2..]) else { continue };
        let g = Input::number(&[&dims[..2], &size[..dims.len() - 2]].concat());
        let grad = Op::PoolGrad { pool, size: spatial(&dims[2..]) };
        match pool.kind {
            PoolKind::Max => {
                samples.push(Sample::new(Op::Pool(pool), [Input::new(&dims, Kind::Ties)]).rough());
                let n: usize = size[..dims.len() - 2].iter().product();
                let indices = max_indices(&pool, &dims, n);
                samples.push(Sample::new(grad, [g.clone(), Input::new(&g.dims, indices)]).within(16.0, 8.0));
            }
            PoolKind::Average { .. } => samples.push(Sample::new(grad, [g]).within(16.0, 4.0)),
        }
    }
    samples
}

/// Indices that a maximum could have been at: of the first element of each window that is in the input.
fn max_indices(pool: &Pool, dims: &[usize], windows: usize) -> Kind {
    let size = &dims[2..];
    let out = pool.output_size(size).unwrap_or([1; 3]);
    let first = |window: usize| {
        let (mut rest, mut place, mut step) = (window, 0, 1);
        for d in (0..size.len()).rev() {
            let start = (rest % out[d] * pool.stride[d]) as isize - pool.padding[d] as isize;
            let inside = if start < 0 { (start + pool.dilation[d] as isize).max(0) } else { start };
            place += inside as usize * step;
            (rest, step) = (rest / out[d], step * size[d]);
        }
        place as i64
    };
    Kind::Labels((0..dims[0] * dims[1]).flat_map(|_| (0..windows).map(first)).collect())
}
