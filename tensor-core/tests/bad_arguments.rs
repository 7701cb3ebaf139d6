//! Every argument that does not fit, however large, is an error and never a panic, and what is not an error
//! stays inside the buffer.

mod support;

use gradus_tensor_core::op::{
    ArgReduce, Attention, Conv, CrossEntropy, Linear, Norm, NormKind, Pool, PoolKind, Softmax, Sort,
};
use gradus_tensor_core::{DType, Error, Layout, Meta, Op, Result, Shape, Tensor};
use proptest::prelude::*;
use support::Holder;

fn number() -> impl Strategy<Value = usize> {
    let large =
        [usize::MAX, usize::MAX - 1, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX / 8, 1 << 58, 1 << 32];
    prop_oneof![6 => 0usize..10, 4 => prop::sample::select(large.to_vec())]
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(number(), 0..10)
}

fn layouts() -> Vec<Layout> {
    let shape = |dims: &[usize]| Shape::new(dims).unwrap();
    let plain = Layout::contiguous(shape(&[2, 3, 1, 4]));
    vec![
        plain,
        plain.permute(&[3, 0, 2, 1]).unwrap().flip(0).unwrap(),
        Layout::contiguous(shape(&[])),
        Layout::contiguous(shape(&[0, 5])),
        Layout::contiguous(shape(&[1, 2, 1, 2, 1, 2, 1, 2])),
        // The largest shapes there are.
        Layout::contiguous(shape(&[1, 1])).expand(shape(&[1 << 29, 1 << 29])).unwrap(),
        Layout::contiguous(shape(&[1 << 29, 0, 1 << 29])),
        Layout::contiguous(shape(&[5])).unfold(0, 3, 1, 1).unwrap(),
    ]
}

fn holds(before: &Layout, after: Result<Layout>) {
    let Ok(after) = after else { return };
    let (outer, inner) = (before.span(), after.span());
    assert!(inner.is_empty() || outer.start <= inner.start && inner.end <= outer.end, "{before:?} {after:?}");
    // Nothing that is computed from a layout overflows either.
    let _ = (after.is_contiguous(), after.is_injective(), after.simplified(), after.runs().len);
    let _ = (after.permutation_of(after.numel()), after.broadcast_axes(), after.contiguous_range());
    let _ = (after.positions().next(), after.position(0), after.covers(outer.end));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn layouts_take_any_argument(
        (a, b, c, d) in (number(), number(), number(), number()),
        dims in dims(),
        signed in any::<isize>(),
        twice in any::<bool>(),
    ) {
        for start in layouts() {
            let mut made: Vec<(Layout, Result<Layout>)> = Vec::new();
            let mut apply = |l: &Layout| {
                made.push((*l, l.permute(&dims)));
                made.push((*l, l.transpose(a, b)));
                made.push((*l, l.slice(a, b, c, d)));
                made.push((*l, l.narrow(a, b, c)));
                made.push((*l, l.select(a, b)));
                made.push((*l, l.flip(a)));
                made.push((*l, l.unfold(a, b, c, d)));
                for offset in [signed, isize::MIN, isize::MAX, b as isize, 0] {
                    made.push((*l, l.diagonal(offset, a, c)));
                }
                made.push((*l, l.squeeze(a)));
                made.push((*l, l.unsqueeze(a)));
                if let Ok(shape) = Shape::new(&dims) {
                    made.push((*l, l.expand(shape)));
                    made.push((*l, l.reshape(shape).and_then(|l| l.ok_or(Error::argument("reshape", "copy")))));
                }
            };
            apply(&start);
            for next in made.iter().filter_map(|(_, l)| l.as_ref().ok()).copied().collect::<Vec<_>>() {
                if twice { // chains of extremes, too
                    let apply_again = |l: Result<Layout>| holds(&next, l);
                    apply_again(next.slice(a, b, c, d));
                    apply_again(next.unfold(a, b, c, d));
                    apply_again(next.unsqueeze(b));
                    apply_again(next.flip(b));
                    apply_again(next.diagonal(signed, b, c));
                }
            }
            made.into_iter().for_each(|(before, after)| holds(&before, after));
        }
    }

    #[test]
    fn shapes_take_any_dimensions(a in dims(), b in dims()) {
        let (Ok(a), b) = (Shape::new(&a), Shape::new(&b)) else { return Ok(()) };
        let _ = (a.numel(), a.contiguous_strides());
        if let Ok(b) = b && let Some(both) = a.broadcast(&b) {
            prop_assert!(Shape::new(&both).is_ok());
            prop_assert_eq!(b.broadcast(&a), Some(both));
        }
    }

    #[test]
    fn tensors_take_any_argument(
        (a, b, c, d) in (number(), number(), number(), number()),
        dims in dims(),
        signed in any::<[isize; 3]>(),
    ) {
        let x = Tensor::from_vec((0..6i64).collect(), [2, 3], &Holder::device()).unwrap();
        let _ = (x.reshape(signed), x.reshape([isize::MAX, isize::MAX, -1]), x.reshape([a as isize, -1]));
        let _ = (x.reshape(dims.clone()), x.expand(dims.clone()), x.unflatten(a as isize, &dims));
        let _ = (x.dim(a), x.dim(signed[0]), x.flatten(signed[0], b), x.permute(signed), x.transpose(a, signed[1]));
        let _ = (x.narrow(a, b, c), x.slice(a, b, c, d), x.select(signed[0], b), x.flip(&dims), x.squeeze(a));
        let _ = (x.unfold(a, b, c), x.unfold_dilated(a, b, c, d), x.diagonal(signed[0], a, b), x.unsqueeze(a));
        let _ = (x.split(a, b), x.chunk(1 + a % 100, b), x.chunk(a, 7));
        let _ = Tensor::from_vec(vec![0u8; 4], dims, &Holder::device());
    }
}

/// Ops of every family that has parameters, with any.
fn ops() -> impl Strategy<Value = Op> {
    let spatial = || prop::array::uniform3(number());
    let conv = (spatial(), spatial(), spatial(), number())
        .prop_map(|(stride, padding, dilation, groups)| Conv { stride, padding, dilation, groups })
        .boxed();
    let kinds = [PoolKind::Max, PoolKind::Average { count_include_pad: true }].to_vec();
    let pool = (prop::sample::select(kinds), spatial(), spatial(), spatial(), spatial(), any::<bool>());
    let pool = pool.prop_map(|(kind, kernel, stride, padding, dilation, ceil_mode)| Pool {
        kind,
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode,
    });
    let pool = pool.boxed();
    let kind = prop_oneof![
        number().prop_map(|dims| NormKind::Layer { dims }),
        number().prop_map(|dims| NormKind::Rms { dims }),
        Just(NormKind::Batch),
        number().prop_map(|groups| NormKind::Group { groups }),
    ];
    let norm = kind.prop_map(|kind| Norm { kind, eps: 1e-5 }).boxed();
    let along = number().prop_flat_map(|axis| {
        prop::sample::select(vec![
            Op::Gather { axis },
            Op::ScatterAdd { axis },
            Op::Concat { axis },
            Op::IndexSelect { axis },
            Op::IndexAdd { axis },
            Op::Sort(Sort { axis, descending: true }),
            Op::ArgReduce(ArgReduce { largest: true, axis }),
            Op::Softmax(Softmax { axis, log: false }),
            Op::SoftmaxGrad(Softmax { axis, log: false }),
        ])
    });
    let plain = prop::sample::select(vec![
        Op::MatMul,
        Op::Linear(Linear::default()),
        Op::Select,
        Op::Attention(Attention { scale: 1.0, causal: true }),
        Op::AttentionGrad(Attention { scale: 1.0, causal: true }),
        Op::CrossEntropy(CrossEntropy::default()),
        Op::CrossEntropyGrad(CrossEntropy::default()),
    ]);
    prop_oneof![
        conv.clone().prop_map(Op::Conv),
        (conv.clone(), spatial()).prop_map(|(conv, size)| Op::ConvBackwardInput { conv, size }),
        (conv, spatial()).prop_map(|(conv, kernel)| Op::ConvBackwardWeight { conv, kernel }),
        pool.clone().prop_map(Op::Pool),
        (pool, spatial()).prop_map(|(pool, size)| Op::PoolGrad { pool, size }),
        norm.clone().prop_map(Op::Norm),
        norm.prop_map(Op::NormGrad),
        along,
        plain,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn ops_take_any_parameters_and_operands(
        op in ops(),
        rank in 0usize..6,
        sizes in prop::collection::vec(prop::collection::vec(number(), 6), 0..6),
        floats in any::<u8>(),
    ) {
        let meta = |(i, dims): (usize, &Vec<usize>)| {
            let dtype = if floats >> i & 1 == 0 { DType::F32 } else { DType::I64 };
            Shape::new(&dims[..rank]).ok().map(|shape| Meta::new(shape, dtype))
        };
        let operands: Vec<Meta> = sizes.iter().enumerate().filter_map(meta).collect();
        let _ = (op.infer(&operands), op.cost(&operands));
    }
}

#[test]
fn a_last_window_that_would_start_beyond_any_axis_is_left_out() {
    let pool = Pool {
        kind: PoolKind::Average { count_include_pad: true },
        kernel: [1; 3],
        stride: [1 << 63; 3],
        padding: [0; 3],
        dilation: [1; 3],
        ceil_mode: true,
    };
    assert_eq!(pool.output_size(&[usize::MAX, 5]).unwrap(), [2, 1, 1]);
}

#[test]
fn a_step_or_dilation_beyond_the_axis_reaches_one_position() {
    let x = Layout::contiguous(Shape::new(&[5]).unwrap());
    assert!(x.slice(0, 1, 5, usize::MAX).unwrap().positions().eq([1]));
    assert_eq!(x.unfold(0, 1, usize::MAX, usize::MAX).unwrap().positions().collect::<Vec<_>>(), [0]);
    assert!(x.unfold(0, 2, 1, usize::MAX).is_err());
}

#[test]
fn an_axis_too_large_for_any_tensor_is_named_as_such() {
    let x = Layout::contiguous(Shape::new(&[5]).unwrap());
    for error in [x.flip(usize::MAX), x.unsqueeze(usize::MAX)] {
        assert!(matches!(error, Err(Error::Axis { axis: isize::MAX, .. })), "{error:?}");
    }
    assert!(matches!(x.select(0, usize::MAX), Err(Error::Index { index: i64::MAX, size: 5, .. })));
}
