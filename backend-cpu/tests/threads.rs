//! Large operands: what runs in parallel gives the same bits for any number of threads, and the right ones.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::{
    Adam, ArgReduce, Distribution, InPlaceOp, Linear, Random, Reduce, ReduceKind, Scan, Sgd, Sort,
};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{
    AxisSet, BinaryOp, CompareOp, DType, Device, HostArray, Meta, Op, Result, Shape, Tensor, UnaryOp,
};
use gradus_testkit::Reference;

/// Numbers of both signs without a pattern that sums could cancel on.
fn values(device: &Device, dims: &[usize], seed: u64) -> Result<Tensor> {
    let shape = Shape::new(dims)?;
    let key = Key { seed, stream: 0 };
    let data: Vec<f32> = (0..shape.numel() as u64).map(|i| key.uniform32(i) * 4.0 - 1.5).collect();
    device.upload(&HostArray::new(data, shape)?)
}

fn indices(device: &Device, n: usize, below: u64) -> Result<Tensor> {
    let key = Key { seed: 3, stream: 1 };
    device.upload(&HostArray::new(
        (0..n as u64).map(|i| key.below(i, below) as i64).collect(),
        Shape::new(&[n])?,
    )?)
}

/// Every case's results on one device, each as `f64` and with the accuracy it can be expected to have.
fn results(device: &Device) -> Result<Vec<(&'static str, Vec<f64>, f64)>> {
    let wide = values(device, &[600, 701], 1)?; // 420,600 elements: above the grain of every kernel
    let tall = values(device, &[701, 600], 2)?;
    let cube = values(device, &[70, 61, 101], 3)?;
    let index = indices(device, 5000, 600)?;
    let rows = values(device, &[5000, 701], 4)?;
    let key = Key { seed: 9, stream: 2 };
    let meta = Meta::new(Shape::new(&[601, 700])?, DType::F32);
    let random = |distribution| Op::Random(Random { distribution, key, out: meta });
    let reduce = |kind, axes| Op::Reduce(Reduce { kind, axes });
    let axes = |list: &[usize]| list.iter().fold(AxisSet::EMPTY, |set, &a| set.union(AxisSet::single(a)));
    let transposed = tall.t()?;
    let condition = &Op::Compare(CompareOp::Lt).run(&[&wide, &transposed])?[0];
    let bf16 = wide.cast(DType::BF16)?;

    let cases: Vec<(&'static str, Op, Vec<&Tensor>, f64)> = vec![
        ("add", Op::Binary(BinaryOp::Add), vec![&wide, &transposed], 1e-6),
        ("gelu", Op::Unary(UnaryOp::Gelu), vec![&wide], 1e-6),
        ("gelu of a transpose", Op::Unary(UnaryOp::Gelu), vec![&transposed], 1e-6),
        ("gelu of bf16", Op::Unary(UnaryOp::Gelu), vec![&bf16], 8e-3),
        ("gelu gradient", Op::UnaryGrad(UnaryOp::Gelu), vec![&wide, &transposed], 2e-6),
        ("copy of a transpose", Op::Copy, vec![&transposed], 0.0),
        ("cast of a transpose", Op::Cast(DType::I32), vec![&transposed], 0.0),
        ("linear", Op::Linear(Linear::default()), vec![&wide, &transposed], 1e-5),
        ("select", Op::Select, vec![condition, &wide, &transposed], 0.0),
        ("sum of all", reduce(ReduceKind::Sum, axes(&[0, 1])), vec![&wide], 2e-6),
        ("sum of rows", reduce(ReduceKind::Sum, axes(&[1])), vec![&wide], 2e-6),
        ("sum of columns", reduce(ReduceKind::Sum, axes(&[0])), vec![&wide], 2e-6),
        ("sum around the middle", reduce(ReduceKind::Sum, axes(&[0, 2])), vec![&cube], 2e-6),
        ("sum of the middle", reduce(ReduceKind::Sum, axes(&[1])), vec![&cube], 2e-6),
        ("max of columns", reduce(ReduceKind::Max, axes(&[0])), vec![&transposed], 0.0),
        ("argmax", Op::ArgReduce(ArgReduce { largest: true, axis: 0 }), vec![&wide], 0.0),
        ("cumsum", Op::Scan(Scan { kind: ReduceKind::Sum, axis: 0, reverse: true }), vec![&wide], 2e-6),
        ("index_select", Op::IndexSelect { axis: 0 }, vec![&wide, &index], 0.0),
        ("index_add", Op::IndexAdd { axis: 0 }, vec![&wide, &index, &rows], 1e-5),
        ("concat", Op::Concat { axis: 1 }, vec![&wide, &transposed], 0.0),
        ("uniform", random(Distribution::Uniform { low: -1.0, high: 2.0 }), vec![], 0.0),
        ("normal", random(Distribution::Normal { mean: 1.0, std: 2.0 }), vec![], 1e-6),
        ("integers", random(Distribution::Integer { low: -5, high: 50 }), vec![], 0.0),
        ("dropout", Op::Dropout { p: 0.3, key }, vec![&transposed], 1e-6),
    ];
    let mut all = Vec::new();
    for (name, op, inputs, tolerance) in cases {
        let out = device.execute(&op, &inputs)?;
        all.push((name, out[0].to_host()?.convert(), tolerance));
    }
    let sorted = Op::Sort(Sort { axis: 1, descending: true }).run(&[&wide])?;
    all.push(("sorted", sorted[0].to_host()?.convert(), 0.0));
    all.push(("order", sorted[1].to_host()?.convert(), 0.0));

    let (mut p, mut m, mut v) = (wide.copy()?, wide.square()?, wide.square()?);
    let adam = Adam {
        lr: 0.1,
        betas: (0.9, 0.99),
        eps: 1e-8,
        weight_decay: 0.1,
        decoupled: true,
        amsgrad: false,
        step: 3,
    };
    InPlaceOp::Adam(adam).run(&mut [&mut p, &mut m, &mut v], &[&transposed])?;
    let sgd = Sgd { lr: 0.1, momentum: 0.9, dampening: 0.1, weight_decay: 0.2, nesterov: true, first: false };
    InPlaceOp::Sgd(sgd).run(&mut [&mut p, &mut v], &[&transposed])?;
    all.extend(
        [("parameter", p, 2e-6), ("moment", m, 2e-6), ("velocity", v, 2e-6)]
            .map(|(name, t, tol)| (name, t.to_host().expect("the result of a step").convert(), tol)),
    );
    Ok(all)
}

#[test]
fn results_have_the_same_bits_for_any_number_of_threads() -> Result<()> {
    let one = results(&Cpu::builder().threads(1).build()?)?;
    for threads in [2, 3] {
        for (got, want) in results(&Cpu::builder().threads(threads).build()?)?.iter().zip(&one) {
            let same = got.1.len() == want.1.len()
                && got.1.iter().zip(&want.1).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} differs between {threads} threads and one", got.0);
        }
    }
    Ok(())
}

#[test]
fn large_operands_give_what_the_reference_gives() -> Result<()> {
    let reference = results(&Reference::device())?;
    for ((name, got, tolerance), (_, want, _)) in
        results(&Cpu::builder().threads(2).build()?)?.iter().zip(&reference)
    {
        assert_eq!(got.len(), want.len(), "{name}");
        // Sums of numbers of both signs: errors relative to the size of the summands.
        let scale = want.iter().map(|x| x.abs()).sum::<f64>() / want.len() as f64;
        for (i, (a, b)) in got.iter().zip(want).enumerate() {
            assert!((a - b).abs() <= tolerance * (b.abs() + scale), "{name}: element {i} is {a}, not {b}");
        }
    }
    Ok(())
}

#[test]
fn outputs_that_are_larger_than_any_cache_are_right_everywhere() -> Result<()> {
    let (rows, columns) = (3533, 3559);
    let value = |i: usize| (i % 16_381) as f32;
    for threads in [1, 3] {
        let device = Cpu::builder().threads(threads).build()?;
        let data: Vec<f32> = (0..rows * columns).map(value).collect();
        let x = device.upload(&HostArray::new(data, Shape::new(&[rows, columns])?)?)?;
        let sum = x.add(&x)?.to_vec::<f32>()?;
        let bias = x.narrow(0, 0, 1)?;
        let rows_added = x.add(&bias)?.to_vec::<f32>()?;
        let turned = x.t()?.contiguous()?.to_vec::<f32>()?;
        let whole = x.cast(DType::I32)?.to_vec::<i32>()?;
        for i in 0..rows * columns {
            let (r, c) = (i / columns, i % columns);
            assert_eq!(sum[i], 2.0 * value(i), "the sum at {i}");
            assert_eq!(rows_added[i], value(i) + value(c), "the sum with a row at {i}");
            assert_eq!(turned[c * rows + r], value(i), "the transpose at {i}");
            assert_eq!(whole[i], value(i) as i32, "the cast at {i}");
        }
    }
    Ok(())
}
