//! Every differentiable op, differentiated once and twice, against finite differences: contiguous, through
//! strided views, with repeated operands, with one tensor for all operands, and without elements.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{BinaryOp, DType, Device, HostArray, Op, Result, Shape, Tensor};
use gradus_testkit::samples::{Family, Input, Kind, Sample};
use gradus_testkit::{Arrangement, Mismatch, Options, Reference, gradcheck, gradgradcheck};

fn smooth() -> impl Iterator<Item = (usize, Sample)> {
    let all = Family::ALL.into_iter().flat_map(Family::samples);
    all.filter(|s| s.smooth && s.dtypes.contains(&DType::F64)).enumerate()
}

/// Fails with all that is wrong, not only the first.
fn sweep(check: impl Fn(usize, &Sample) -> Option<Result<(), Mismatch>>) {
    let (mut checked, mut failures) = (0, Vec::new());
    for (number, sample) in smooth() {
        let Some(outcome) = check(number, &sample) else { continue };
        checked += 1;
        if let Err(mismatch) = outcome {
            failures.push(format!("{} {:?}: {mismatch}", sample.op.name(), sample.op));
        }
    }
    assert!(checked > 20, "only {checked} samples were checked");
    assert!(failures.is_empty(), "{} of {checked} failed:\n{}", failures.len(), failures.join("\n"));
}

fn key(number: usize) -> Key {
    Key { seed: 0x6AD, stream: number as u64 }
}

fn upload(values: &[HostArray], device: &Device) -> Result<Vec<Tensor>> {
    values.iter().map(|v| device.upload(v)).collect()
}

fn once(device: &Device, number: usize, sample: &Sample) -> Result<(), Mismatch> {
    let inputs = upload(&sample.values(DType::F64, key(number))?, device)?;
    gradcheck(|x| sample.function(x), &inputs.iter().collect::<Vec<_>>(), Options::default()).map(drop)
}

fn twice(device: &Device, number: usize, sample: &Sample, options: Options) -> Result<(), Mismatch> {
    let inputs = upload(&sample.values(DType::F64, key(number))?, device)?;
    gradgradcheck(|x| sample.function(x), &inputs.iter().collect::<Vec<_>>(), options).map(drop)
}

#[test]
fn first_derivatives_of_fused_ops_are_right() {
    let device = Cpu::device();
    sweep(|number, sample| Some(once(&device, number, sample)));
}

#[test]
fn first_derivatives_of_decomposed_ops_are_right() {
    let device = Reference::device();
    sweep(|number, sample| (!sample.op.is_primitive()).then(|| once(&device, number, sample)));
}

/// The gradient of a gradient op is a third derivative of something: enough is enough.
fn is_gradient(op: &Op) -> bool {
    matches!(
        op,
        Op::UnaryGrad(_)
            | Op::SoftmaxGrad(_)
            | Op::NormGrad(_)
            | Op::BatchNormBlockGrad(_)
            | Op::CrossEntropyGrad(_)
            | Op::AttentionGrad(_)
            | Op::LstmGrad
            | Op::GruGrad
    )
}

#[test]
fn second_derivatives_are_right() {
    let device = Cpu::device();
    sweep(|number, sample| {
        let small = sample.inputs.iter().map(|i| i.dims.iter().product::<usize>()).sum::<usize>() <= 40;
        let options = if small { Options::default() } else { Options::fast() };
        (!is_gradient(&sample.op)).then(|| twice(&device, number, sample, options))
    });
}

/// The leaves are whole buffers with gaps in them, and the op reads them through views: what lies in the gaps must
/// get no gradient, and what is read many times all of it.
#[test]
fn gradients_pass_through_strided_and_repeated_operands() {
    let device = Cpu::device();
    sweep(|number, sample| {
        let arrange = |(i, input): (usize, &Input)| {
            let (rank, key) = (input.dims.len(), key(number).fold(i as u64));
            let some = Arrangement::random(rank, key);
            let repeats = matches!(input.kind, Kind::Number { .. }) && rank > 0 && key.below(7, 2) == 0;
            if repeats { some.repeating(key.below(8, rank as u64) as usize) } else { some }
        };
        let arrangements: Vec<Arrangement> = sample.inputs.iter().enumerate().map(arrange).collect();
        let run = || -> Result<(), Mismatch> {
            let values = sample.values_with(DType::F64, key(number), |i, v| arrangements[i].settled(v))?;
            let mut buffers = Vec::new();
            let mut layouts = Vec::new();
            for (i, values) in values.iter().enumerate() {
                let computed = matches!(sample.inputs[i].kind, Kind::Output { .. });
                let arrangement = if computed { Arrangement::CONTIGUOUS } else { arrangements[i] };
                // Junk would be NaN, and NaN times zero is NaN: the sum of the results must stay a number.
                let (len, layout) = arrangement.layout(values.shape())?;
                let mut buffer = Tensor::zeros([len], values.dtype(), &device)?;
                buffer
                    .view_assign(&device.upload(&arrangement.settled(values.clone()))?, |_| Ok(layout))
                    .or_else(
                        // Repeated elements cannot be written through the layout that repeats them.
                        |_| -> Result<()> {
                            buffer = arrangement.place(values, &device)?.flat();
                            let numbers = buffer.eq(&buffer)?;
                            buffer = numbers.where_(&buffer, &buffer.zeros_like()?)?;
                            Ok(())
                        },
                    )?;
                buffers.push(buffer);
                layouts.push(layout);
            }
            let f = |x: &[Tensor]| {
                let views = x.iter().zip(&layouts).map(|(x, layout)| x.with_layout(*layout));
                sample.function(&views.collect::<Result<Vec<_>>>()?)
            };
            gradcheck(f, &buffers.iter().collect::<Vec<_>>(), Options::default()).map(drop)
        };
        (sample.inputs.iter().map(|i| i.dims.len()).sum::<usize>() > 0).then(run)
    });
}

/// `f(x, x)`: what flows to one tensor along several edges adds up.
#[test]
fn gradients_of_one_tensor_used_for_every_operand_add_up() {
    let device = Cpu::device();
    sweep(|number, sample| {
        let free = sample.inputs.iter().all(Input::is_free);
        let alike = sample.inputs.windows(2).all(|w| w[0].dims == w[1].dims);
        // The operands of a remainder that are equal are at a jump.
        if !free || !alike || sample.inputs.len() < 2 || matches!(sample.op, Op::Binary(BinaryOp::Rem)) {
            return None;
        }
        let values = Input::new(&sample.inputs[0].dims, Kind::Number { low: 0.4, high: 0.9 });
        let run = || -> Result<(), Mismatch> {
            let Some(values) = values.value(DType::F64, key(number))? else { return Ok(()) };
            let x = device.upload(&values)?;
            let n = sample.inputs.len();
            let f = |x: &[Tensor]| sample.function(&vec![x[0].clone(); n]);
            gradcheck(f, &[&x], Options::default())?;
            gradgradcheck(f, &[&x], Options::fast()).map(drop)
        };
        Some(run())
    });
}

#[test]
fn tensors_without_elements_have_gradients_without_elements() -> Result<()> {
    use gradus_autograd::Autograd;
    let device = Cpu::device();
    for dims in [&[0][..], &[0, 3], &[3, 0], &[2, 0, 4]] {
        let x = Tensor::zeros(dims, DType::F64, &device)?.requires_grad()?;
        let y = x.exp()?.mul(&x)?.softmax(0)?.cumsum(0)?.flip(0)?;
        let joined = Tensor::cat(&[&y, &x], 0)?;
        let gradients = joined.sum_all()?.backward()?;
        assert_eq!(gradients.get(&x).map(|g| *g.shape()), Some(Shape::new(dims)?));
    }
    let a = Tensor::ones([2, 0], DType::F64, &device)?.requires_grad()?;
    let b = Tensor::ones([0, 3], DType::F64, &device)?.requires_grad()?;
    let gradients = a.matmul(&b)?.sum_all()?.backward()?;
    assert_eq!(gradients.get(&a).map(|g| g.dims().to_vec()), Some(vec![2, 0]));
    assert_eq!(gradients.get(&b).map(|g| g.dims().to_vec()), Some(vec![0, 3]));
    Ok(())
}

#[test]
fn broadcast_operands_get_the_sum_of_what_flows_back() -> Result<(), Mismatch> {
    let device = Cpu::device();
    let key = Key { seed: 4, stream: 2 };
    let x = |dims: &[usize], n: u64| -> Result<Tensor> {
        let values = Input::number(dims).value(DType::F64, key.fold(n))?;
        values.map_or_else(|| Tensor::zeros(dims, DType::F64, &device), |v| device.upload(&v))
    };
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 1], &[1, 4]),
        (&[], &[2, 3]),
        (&[4], &[2, 3, 4]),
        (&[2, 1, 3], &[5, 1]),
        (&[1, 1], &[1]),
        (&[2, 3], &[3]),
    ];
    for (a, b) in shapes {
        gradcheck(|x| x[0].mul(&x[1])?.tanh(), &[&x(a, 0)?, &x(b, 1)?], Options::default())?;
        gradgradcheck(|x| x[0].mul(&x[1])?.tanh(), &[&x(a, 0)?, &x(b, 1)?], Options::default())?;
    }
    let batched = |x: &[Tensor]| x[0].matmul(&x[1]);
    gradcheck(batched, &[&x(&[2, 1, 3, 4], 2)?, &x(&[3, 4, 2], 3)?], Options::default())?;
    gradcheck(batched, &[&x(&[4], 4)?, &x(&[3, 4, 2], 5)?], Options::default())?;
    Ok(())
}
