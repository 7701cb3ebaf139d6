//! What no sweep says about the linear layer with a weight of 8 bits: its gradient, which is straight through the rounding
//! and so no limit of differences; its sums, which never saturate; and what it refuses.

use gradus_autograd::{Autograd, vjp};
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, Error, Result, Tensor};
use gradus_testkit::{Reference, strategies};
use proptest::prelude::*;

fn random(dims: &[usize], dtype: DType, stream: u64, device: &Device) -> Result<Tensor> {
    Tensor::uniform(-1.0, 1.0, Key { seed: 8, stream }, dims, dtype, device)
}

fn weight(n: usize, k: usize, device: &Device) -> Result<(Tensor, Tensor)> {
    let bytes = random(&[n, k], DType::F32, 1, device)?.mul(127.0)?.cast(DType::I8)?;
    Ok((bytes, random(&[n], DType::F32, 2, device)?.abs()?.mul(0.01)?))
}

#[test]
fn the_gradient_is_that_of_the_linear_layer_it_stands_for() -> Result<()> {
    for device in [Cpu::device(), Reference::device()] {
        for dtype in [DType::F32, DType::F64] {
            let (w, s) = weight(7, 9, &device)?;
            let float = w.cast(dtype)?.mul(&s.cast(dtype)?.unsqueeze(1)?)?;
            let (x, b) = (random(&[2, 3, 9], dtype, 3, &device)?, random(&[7], DType::F32, 4, &device)?);
            let g = random(&[2, 3, 7], dtype, 5, &device)?;
            let (_, ours) = vjp(|x| x[0].linear_dynamic(&w, &s, Some(&x[1])), &[&x, &b], &g)?;
            let (_, exact) = vjp(|x| x[0].linear(&float, Some(&x[1].cast(dtype)?)), &[&x, &b], &g)?;
            for (ours, exact) in ours.iter().zip(&exact) {
                assert_eq!(ours.meta(), exact.meta());
                let off = ours.sub(exact)?.abs()?.amax_all()?.item::<f64>()?;
                assert!(off < 1e-6, "{dtype}: off by {off}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_scale_that_wants_a_gradient_is_refused_when_it_is_used() -> Result<()> {
    let device = Cpu::device();
    let (w, s) = weight(3, 4, &device)?;
    let x = random(&[2, 4], DType::F32, 3, &device)?;
    let refused = x.linear_dynamic(&w, &s.requires_grad()?, None).unwrap_err();
    assert!(matches!(refused.root(), Error::NotDifferentiable { op: "linear_dynamic", .. }), "{refused}");
    Ok(())
}

#[test]
fn operands_of_other_dtypes_or_shapes_are_refused() -> Result<()> {
    let device = Cpu::device();
    let (w, s) = weight(3, 4, &device)?;
    let x = random(&[2, 4], DType::F32, 3, &device)?;
    let shape = |e: Error| matches!(e.root(), Error::Shape { .. });
    let dtype = |e: Error| matches!(e.root(), Error::DType { .. });
    assert!(dtype(x.linear_dynamic(&w.cast(DType::U8)?, &s, None).unwrap_err()));
    assert!(dtype(x.linear_dynamic(&w, &s.cast(DType::F64)?, None).unwrap_err()));
    assert!(dtype(x.cast(DType::I64)?.linear_dynamic(&w, &s, None).unwrap_err()));
    assert!(dtype(x.linear_dynamic(&w, &s, Some(&s.cast(DType::F16)?)).unwrap_err()));
    assert!(shape(x.linear_dynamic(&w, &s.narrow(0, 0, 2)?, None).unwrap_err()));
    assert!(shape(x.linear_dynamic(&w.t()?, &s, None).unwrap_err()));
    assert!(shape(Tensor::scalar(1.0, &device)?.linear_dynamic(&w, &s, None).unwrap_err()));
    Ok(())
}

#[test]
fn sums_beyond_32_bits_are_exact() -> Result<()> {
    let device = Cpu::device();
    for k in [1 << 16, (1 << 16) + 1, 140_000] {
        let x = Tensor::full(255.0, [2, k], DType::F32, &device)?;
        for extreme in [-128i64, 127] {
            let w = Tensor::full(extreme, [1, k], DType::I8, &device)?;
            let y = x.linear_dynamic(&w, &Tensor::ones([1], DType::F32, &device)?, None)?;
            assert_eq!(y.to_vec::<f32>()?, [(255 * extreme * k as i64) as f32; 2], "{k} times {extreme}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_cpu_gives_the_bits_of_the_definition(
        (x, out, bias) in strategies::shape(1..=3, 0..=70).prop_flat_map(|shape| {
            let values = strategies::values(DType::F32, shape, -3.0..5.0);
            (values, 0..=70usize, any::<bool>())
        }),
    ) {
        let run = |device: &Device| -> Result<Vec<f32>> {
            let x = device.upload(&x)?;
            let (w, s) = weight(out, x.dim(-1)?, &Reference::device())?;
            let (w, s) = (device.upload(&w.to_host()?)?, device.upload(&s.to_host()?)?);
            x.linear_dynamic(&w, &s, bias.then_some(&s))?.to_vec()
        };
        prop_assume!(x.shape().numel() <= 10_000);
        prop_assert_eq!(run(&Cpu::device()).unwrap(), run(&Reference::device()).unwrap());
    }
}
