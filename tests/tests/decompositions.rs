//! What decompositions promise beyond PyTorch's numbers: edges, half precision, and finite gradients where a
//! discarded branch would make NaN of them.

use gradus_autograd::{Autograd, Backward};
use gradus_tensor_core::op::{
    Attention, BatchNormBlock, Conv, ConvBlock, CrossEntropy, Linear, Norm, NormKind, Pool, PoolKind,
    Softmax, UnaryOp,
};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, Error, Meta, Op, Result, Shape, Tensor};
use gradus_testkit::Reference;

const INF: f64 = f64::INFINITY;

fn tensor(data: &[f64], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(data, shape, &Reference::device())
}

fn apply(op: UnaryOp, x: &Tensor) -> Result<Tensor> {
    Ok(Op::Unary(op).run(&[x])?.remove(0))
}

/// Every element of the first and of the second derivative of the sum is finite.
fn twice_differentiable(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<()> {
    let x = x.requires_grad()?;
    let first = Backward::new().create_graph().run(&f(&x)?.sum_all()?)?;
    let gx = first.get(&x).expect("x took part");
    assert!(gx.isfinite()?.all(..)?.item::<bool>()?, "{:?}", gx.to_vec::<f64>()?);
    if gx.is_tracked() {
        let second = gx.sum_all()?.backward()?;
        if let Some(gx) = second.get(&x) {
            assert!(gx.isfinite()?.all(..)?.item::<bool>()?, "{:?}", gx.to_vec::<f64>()?);
        }
    }
    Ok(())
}

#[test]
fn dropout_keeps_what_its_key_says_and_scales_it() -> Result<()> {
    let key = Key { seed: 3, stream: 8 };
    let x = Tensor::ones([40], DType::F32, &Reference::device())?;
    let y = x.dropout(0.25, key)?.to_vec::<f32>()?;
    for (i, y) in y.into_iter().enumerate() {
        let kept = key.uniform32(i as u64) >= 0.25;
        assert_eq!(y, if kept { 1.0 / 0.75 } else { 0.0 });
    }
    assert_eq!(x.dropout(1.0, key)?.to_vec::<f32>()?, [0.0; 40]);
    assert_eq!(x.dropout(0.0, key)?.to_vec::<f32>()?, [1.0; 40]);
    Ok(())
}

#[test]
fn padding_never_wins_a_max_pool_even_against_negative_infinity() -> Result<()> {
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [3; 3],
        stride: [2; 3],
        padding: [1; 3],
        dilation: [1; 3],
        ceil_mode: false,
    };
    let x = tensor(&[-INF, -INF, -INF, 1.0, 1.0, f64::NAN], &[1, 1, 6])?;
    let out = Op::Pool(pool).run(&[&x])?;
    let y = out[0].to_vec::<f64>()?;
    assert_eq!(y[..2], [-INF, 1.0]);
    assert!(y[2].is_nan());
    assert_eq!(out[1].to_vec::<i64>()?, [0, 3, 5]);
    Ok(())
}

#[test]
fn a_window_of_nothing_but_padding_has_no_winner_and_no_gradient() -> Result<()> {
    let pool = Pool {
        kind: PoolKind::Max,
        kernel: [2; 3],
        stride: [1; 3],
        padding: [1; 3],
        dilation: [3; 3],
        ceil_mode: false,
    };
    let x = tensor(&[5.0, 7.0], &[1, 1, 2])?.requires_grad()?;
    let out = Op::Pool(pool).run(&[&x])?;
    assert_eq!(out[0].to_vec::<f64>()?, [-INF]);
    assert_eq!(out[1].to_vec::<i64>()?, [-1]);
    assert_eq!(out[0].sum_all()?.backward()?.get(&x).unwrap().to_vec::<f64>()?, [0.0, 0.0]);
    Ok(())
}

#[test]
fn a_row_without_visible_keys_attends_to_nothing_and_has_finite_gradients() -> Result<()> {
    let device = Reference::device();
    let q = Tensor::randn([2, 3], DType::F64, &device)?;
    let kv = Tensor::randn([4, 3], DType::F64, &device)?;
    let mask = tensor(&[0.0, 1.0, -INF, 0.5, -INF, -INF, -INF, -INF], &[2, 4])?.to(&device)?;
    let op = Op::Attention(Attention { scale: 0.7, causal: false });
    let out = op.run(&[&q, &kv, &kv, &mask])?;
    assert_eq!(out[0].select(0, 1)?.to_vec::<f64>()?, [0.0; 3]);
    assert_eq!(out[1].to_vec::<f64>()?[1], -INF);
    let attend = |q: &Tensor, kv: &Tensor| {
        let out = op.run(&[q, kv, kv, &mask])?;
        out[0].square()
    };
    twice_differentiable(&q, |q| attend(q, &kv))?;
    twice_differentiable(&kv, |kv| attend(&q, kv))?;
    let none = Tensor::zeros([0, 3], DType::F64, &device)?;
    let out = op.run(&[&q, &none, &none])?;
    assert_eq!(out[0].to_vec::<f64>()?, [0.0; 6]);
    Ok(())
}

#[test]
fn branches_that_are_not_taken_do_not_poison_derivatives() -> Result<()> {
    let large = tensor(&[1e4, -1e4, 0.0], &[3])?;
    for op in UnaryOp::ALL {
        let (low, high) = op.domain();
        if op == UnaryOp::Not || (low, high) != (-4.0, 4.0) {
            continue;
        }
        if matches!(op, UnaryOp::Exp | UnaryOp::Exp2 | UnaryOp::Expm1 | UnaryOp::Sinh | UnaryOp::Cosh) {
            continue; // these overflow by themselves
        }
        twice_differentiable(&large, |x| apply(op, x))?;
    }
    let class = Tensor::from_vec(vec![-100i64, 1], [2], large.device())?;
    let logits = tensor(&[1e4, -1e4, 3.0, 2.0], &[2, 2])?.to(large.device())?;
    twice_differentiable(&logits, |z| z.cross_entropy(&class, CrossEntropy::default()))
}

#[test]
fn a_class_out_of_range_is_an_error_unless_it_is_ignored() -> Result<()> {
    let logits = tensor(&[0.0; 6], &[2, 3])?;
    let target = Tensor::from_vec(vec![0i64, 3], [2], logits.device())?;
    let ignoring = |ignore_index| CrossEntropy { ignore_index, ..CrossEntropy::default() };
    let error = logits.cross_entropy(&target, ignoring(-100)).unwrap_err();
    assert!(matches!(error.root(), Error::Index { .. }), "{error}");
    let loss = logits.cross_entropy(&target, ignoring(3))?.to_vec::<f64>()?;
    assert!((loss[0] - 3f64.ln()).abs() < 1e-12);
    assert_eq!(loss[1], 0.0);
    Ok(())
}

/// A composite of each kind with shapes for its operands; `None` stands for indices in `0..2`.
fn composites() -> Vec<(Op, Vec<Option<Vec<usize>>>)> {
    let f = |dims: &[usize]| Some(dims.to_vec());
    let (softmax, log) = (Softmax { axis: 1, log: false }, Softmax { axis: 0, log: true });
    let conv = Conv { stride: [2; 3], padding: [1; 3], dilation: [1; 3], groups: 2 };
    let average = Pool {
        kind: PoolKind::Average { count_include_pad: false },
        kernel: [2; 3],
        stride: [2; 3],
        padding: [1; 3],
        dilation: [1; 3],
        ceil_mode: true,
    };
    let attention = Attention { scale: 0.5, causal: true };
    let activation = Some(UnaryOp::Silu);
    let key = Key { seed: 1, stream: 2 };
    let norm = |kind| Norm { kind, eps: 1e-5 };
    let mut all = vec![
        (Op::Linear(Linear::default()), vec![f(&[2, 3]), f(&[4, 3]), f(&[4])]),
        (
            Op::Linear(Linear { residual: true, activation }),
            vec![f(&[2, 3]), f(&[4, 3]), f(&[4]), f(&[2, 4])],
        ),
        (Op::Softmax(softmax), vec![f(&[2, 3])]),
        (Op::Softmax(log), vec![f(&[2, 3])]),
        (Op::SoftmaxGrad(log), vec![f(&[2, 3]), f(&[2, 3])]),
        (Op::Conv(conv), vec![f(&[1, 4, 5]), f(&[2, 2, 3]), f(&[2])]),
        (
            Op::ConvBlock(ConvBlock { bias: true, norm: Some(1e-3), residual: true, activation, conv }),
            [vec![f(&[1, 4, 5]), f(&[2, 2, 3])], vec![f(&[2]); 5], vec![f(&[1, 2, 3])]].concat(),
        ),
        (Op::ConvBackwardInput { conv, size: [5, 1, 1] }, vec![f(&[1, 2, 3]), f(&[2, 2, 3])]),
        (Op::ConvBackwardWeight { conv, kernel: [3, 1, 1] }, vec![f(&[1, 2, 3]), f(&[1, 4, 5])]),
        (Op::Pool(average), vec![f(&[1, 2, 4])]),
        (Op::PoolGrad { pool: average, size: [4, 1, 1] }, vec![f(&[1, 2, 3])]),
        (Op::Pool(Pool { kind: PoolKind::Max, ..average }), vec![f(&[1, 2, 4])]),
        (Op::Attention(attention), vec![f(&[2, 3]), f(&[4, 3]), f(&[4, 2])]),
        (Op::Dropout { p: 0.5, key }, vec![f(&[4])]),
        (
            Op::CrossEntropy(CrossEntropy { label_smoothing: 0.1, ..CrossEntropy::default() }),
            vec![f(&[2, 3]), None],
        ),
        (Op::IndexSelect { axis: 1 }, vec![f(&[3, 2]), None]),
        (Op::IndexAdd { axis: 1 }, vec![f(&[3, 2]), None, f(&[3, 2])]),
    ];
    for kind in [NormKind::Layer { dims: 2 }, NormKind::Batch, NormKind::Group { groups: 2 }] {
        let parameter = norm(kind).affine(&Shape::new(&[3, 4, 2]).expect("a shape")).to_vec();
        all.push((Op::Norm(norm(kind)), vec![f(&[3, 4, 2]), Some(parameter.clone()), Some(parameter)]));
    }
    all.push((Op::Norm(norm(NormKind::Rms { dims: 1 })), vec![f(&[3, 4]), f(&[4])]));
    let block = BatchNormBlock { eps: 1e-3, residual: true, activation: Some(UnaryOp::Relu) };
    let (planes, channels) = (f(&[3, 4, 2]), f(&[4]));
    let operands = [&planes, &channels, &channels, &planes].map(Clone::clone);
    all.push((Op::BatchNormBlock(block), operands.to_vec()));
    all.push((Op::BatchNormEval { eps: 1e-3 }, vec![f(&[3, 4, 2]), f(&[4]), f(&[4]), f(&[4]), f(&[4])]));
    all.extend(
        UnaryOp::ALL
            .into_iter()
            .filter(|op| *op != UnaryOp::Not)
            .map(|op| (Op::UnaryGrad(op), vec![f(&[3]), f(&[3])])),
    );
    all
}

fn operands(shapes: &[Option<Vec<usize>>], device: &Device) -> Result<Vec<Tensor>> {
    let mut seed = 0;
    let mut draw = |dims: &Vec<usize>| {
        seed += 1;
        // Representable in every float dtype, within the domain of every function.
        let noise = Tensor::uniform(2.0, 14.0, Key { seed, stream: 0 }, dims, DType::F64, device)?;
        noise.floor()?.mul(1.0 / 16.0)
    };
    shapes
        .iter()
        .map(|dims| match dims {
            Some(dims) => draw(dims),
            None => Tensor::from_vec(vec![1i64, 0], [2], device),
        })
        .collect()
}

#[test]
fn half_precision_is_rounded_once() -> Result<()> {
    let device = Reference::device();
    for (op, shapes) in composites() {
        let exact_operands = operands(&shapes, &device)?;
        let exact = op.run(&exact_operands.iter().collect::<Vec<_>>())?;
        for (dtype, digits) in [(DType::F16, 11), (DType::BF16, 8), (DType::F32, 24)] {
            let cast = |t: &Tensor| if t.dtype().is_float() { t.cast(dtype) } else { Ok(t.clone()) };
            let x = exact_operands.iter().map(cast).collect::<Result<Vec<_>>>()?;
            let found = op.run(&x.iter().collect::<Vec<_>>())?;
            for (found, exact) in found.iter().zip(&exact) {
                // Half a unit in the last place, and what the arithmetic in f32 adds.
                let unit = if found.dtype() == dtype { 0.5f64.powi(digits) } else { 0.0 } + 1e-5;
                for (a, b) in found.to_vec::<f64>()?.into_iter().zip(exact.to_vec::<f64>()?) {
                    assert!((a - b).abs() <= unit * b.abs() + 1e-6, "{} {dtype}: {a} is not {b}", op.name());
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_composite_infers_what_it_decomposes_into() -> Result<()> {
    let device = Reference::device();
    for (op, shapes) in composites() {
        let x = operands(&shapes, &device)?;
        assert!(!op.is_primitive());
        let metas: Vec<Meta> = x.iter().map(Tensor::meta).collect();
        let made = op.decompose(&x).expect("a composite")?;
        assert_eq!(made.iter().map(Tensor::meta).collect::<Vec<_>>(), op.infer(&metas)?.to_vec());
    }
    Ok(())
}
