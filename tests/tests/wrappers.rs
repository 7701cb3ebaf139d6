//! A wrapper changes nothing but what it is for: every op gives the same bits on a device and on one around it.

use gradus_autograd::{Autograd, autodiff};
use gradus_backend_cpu::Cpu;
use gradus_optim::{Autocast, Policy};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, HostArray, Op, Result, Tensor};
use gradus_testkit::devices::Counting;
use gradus_testkit::samples::{Family, Sample};

/// Every sample in every dtype, run on two devices by two functions that must agree to the bit.
fn same(
    skip: impl Fn(&Sample) -> bool,
    left: impl Fn(&Op, &[Tensor]) -> Result<Vec<HostArray>>,
    right: impl Fn(&Op, &[Tensor]) -> Result<Vec<HostArray>>,
    device: &Device,
) -> Result<()> {
    let mut checked = 0;
    let samples = Family::ALL.into_iter().flat_map(Family::samples);
    for (number, sample) in samples.enumerate().filter(|(_, s)| !s.inputs.is_empty() && !skip(s)) {
        for &dtype in &sample.dtypes {
            let values = sample.values(dtype, Key { seed: 0xAB, stream: number as u64 })?;
            let x: Vec<Tensor> = values.iter().map(|v| device.upload(v)).collect::<Result<_>>()?;
            let (left, right) = (left(&sample.op, &x)?, right(&sample.op, &x)?);
            // Debug text tells -0 from 0, and NaN equals itself in it.
            assert_eq!(format!("{left:?}"), format!("{right:?}"), "{:?} over {dtype}", sample.op);
            checked += 1;
        }
    }
    assert!(checked > 500, "only {checked}");
    Ok(())
}

fn plain(op: &Op, x: &[Tensor]) -> Result<Vec<HostArray>> {
    op.run(&x.iter().collect::<Vec<_>>())?.iter().map(Tensor::to_host).collect()
}

#[test]
fn the_autodiff_device_computes_what_the_plain_one_does() -> Result<()> {
    let device = Cpu::device();
    let around = autodiff(&device);
    let lifted = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
        let x: Vec<Tensor> = x.iter().map(|x| x.to(&around)).collect::<Result<_>>()?;
        plain(op, &x)
    };
    same(|_| false, plain, lifted, &device)
}

#[test]
fn recording_changes_no_value() -> Result<()> {
    let device = Cpu::device();
    // Ops whose gradient decomposes are computed from their parts when they are recorded.
    let decomposes = |s: &Sample| {
        matches!(
            s.op,
            Op::UnaryGrad(_)
                | Op::SoftmaxGrad(_)
                | Op::NormGrad(_)
                | Op::BatchNormBlockGrad(_)
                | Op::CrossEntropyGrad(_)
                | Op::AttentionGrad(_)
                | Op::LstmGrad
                | Op::GruGrad
        ) || matches!(s.op, Op::Attention(_) if s.inputs.len() == 4)
    };
    let tracked = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
        // The scale of a quantized weight is a constant, and refused as anything else.
        let constant = |i: usize| matches!(op, Op::LinearDynamic) && i == 2;
        let leaf = |(i, x): (usize, &Tensor)| {
            if x.dtype().is_float() && !constant(i) { x.requires_grad() } else { Ok(x.clone()) }
        };
        plain(op, &x.iter().enumerate().map(leaf).collect::<Result<Vec<_>>>()?)
    };
    same(decomposes, plain, tracked, &device)
}

#[test]
fn a_decorated_device_computes_what_the_plain_one_does() -> Result<()> {
    let device = Cpu::device();
    let around = Counting::new().around(&device);
    let lifted = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
        let x: Vec<Tensor> = x.iter().map(|x| x.to(&around)).collect::<Result<_>>()?;
        plain(op, &x)
    };
    same(|_| false, plain, lifted, &device)
}

#[test]
fn autocast_computes_what_casting_the_operands_computes() -> Result<()> {
    let device = Cpu::device();
    for lower in [DType::BF16, DType::F16] {
        let around = Autocast::device(&device, lower)?;
        // What the policy names is cast by hand, on the plain device.
        let by_hand = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
            let given: Vec<_> = x.iter().map(Tensor::dtype).collect();
            let Some(dtypes) = around.operand_dtypes(op, &given) else { return plain(op, x) };
            let cast = x.iter().zip(dtypes).map(|(x, dtype)| x.cast(dtype));
            plain(op, &cast.collect::<Result<Vec<_>>>()?)
        };
        let lifted = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
            let x: Vec<Tensor> = x.iter().map(|x| x.to(&around)).collect::<Result<_>>()?;
            plain(op, &x)
        };
        same(|_| false, by_hand, lifted, &device)?;
    }
    Ok(())
}

#[test]
fn autocast_leaves_doubles_and_integers_as_they_are() -> Result<()> {
    let device = Cpu::device();
    let around = Autocast::device(&device, DType::BF16)?;
    let exact =
        |x: &[Tensor]| x.iter().any(|x| x.dtype() == DType::F64) || !x.iter().any(|x| x.dtype().is_float());
    let lifted = |op: &Op, x: &[Tensor]| -> Result<Vec<HostArray>> {
        if !exact(x) {
            return plain(op, x);
        }
        let x: Vec<Tensor> = x.iter().map(|x| x.to(&around)).collect::<Result<_>>()?;
        plain(op, &x)
    };
    same(|_| false, plain, lifted, &device)
}

#[test]
fn every_op_that_the_policy_names_is_an_op() {
    let samples = Family::ALL.into_iter().flat_map(Family::samples);
    let ops: std::collections::BTreeSet<&str> = samples.map(|sample| sample.op.name()).collect();
    for (op, _) in Policy::default().iter() {
        assert!(ops.contains(op), "{op} is not an op");
    }
}

#[test]
fn wrappers_stack_around_autocast() -> Result<()> {
    let counting = Counting::new();
    let device = counting.around(&Autocast::device(&Cpu::device(), DType::BF16)?);
    let leaf = Tensor::ones([2, 2], DType::F32, &Cpu::device())?.requires_grad()?;
    let x = leaf.to(&device)?;
    let y = x.matmul(&leaf)?;
    assert_eq!((y.dtype(), y.device()), (DType::BF16, &device));
    assert_eq!(counting.of("matmul"), 1);
    let gradients = y.sum_all()?.backward()?;
    assert_eq!(gradients.get(&leaf).expect("it takes part").to_vec::<f32>()?, [4.0; 4]);
    // Differentiation is there already.
    assert!(autodiff(&device) == device);
    Ok(())
}

#[test]
fn wrappers_stack() -> Result<()> {
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let x = Tensor::from_vec(vec![1.0f64, 2.0, 3.0], [3], &device)?.requires_grad()?;
    let y = x.exp()?.mul(&x)?.sum_all()?;
    counting.take();
    let gradients = y.backward()?;
    let g = gradients.get(&x).expect("x takes part").to_vec::<f64>()?;
    for (g, x) in g.iter().zip([1.0f64, 2.0, 3.0]) {
        assert!((g - x.exp() * (x + 1.0)).abs() < 1e-12);
    }
    assert!(counting.of("mul") > 0, "the backward pass ran on the counted device: {:?}", counting.take());
    assert_eq!(x.dtype(), DType::F64);
    Ok(())
}
