//! Numbers that ride in ops, and arguments of any size, where a device computes.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{BinaryOp, ConvOptions, DType, Device, Error, InPlaceOp, Result, Tensor};
use gradus_testkit::Reference;

fn each(check: impl Fn(&Device) -> Result<()>) -> Result<()> {
    [Reference::device(), Cpu::device()].iter().try_for_each(check)
}

fn ints(x: &[i64], device: &Device) -> Result<Tensor> {
    Tensor::from_slice(x, x.len(), device)
}

/// Beyond 2^53 not every integer is a double.
#[test]
fn large_integers_are_added_and_multiplied_exactly() -> Result<()> {
    const LARGE: i64 = (1 << 60) + 1;
    each(|device| {
        let x = [1, -1, 7, i64::MAX, i64::MIN];
        let start = ints(&x, device)?;
        for n in [LARGE, -LARGE, i64::MAX, i64::MIN, 9_000_000_000_000_000, (1 << 53) + 1, 3] {
            assert_eq!(start.add(n)?.to_vec::<i64>()?, x.map(|x| x.wrapping_add(n)), "+ {n}");
            assert_eq!(start.sub(n)?.to_vec::<i64>()?, x.map(|x| x.wrapping_sub(n)), "- {n}");
            assert_eq!(start.mul(n)?.to_vec::<i64>()?, x.map(|x| x.wrapping_mul(n)), "* {n}");
            let mut changed = start.clone();
            changed.add_assign(n)?;
            changed.mul_assign(n)?;
            changed.sub_assign(n)?;
            let expected = x.map(|x| x.wrapping_add(n).wrapping_mul(n).wrapping_sub(n));
            assert_eq!(changed.to_vec::<i64>()?, expected, "in place, {n}");
        }
        assert_eq!(Tensor::ones(1, DType::F64, device)?.sub(i64::MIN)?.item::<f64>()?, 2f64.powi(63));
        assert_eq!(
            Tensor::arange(LARGE, LARGE + 3, DType::I64, device)?.to_vec::<i64>()?,
            [LARGE, LARGE + 1, LARGE + 2]
        );
        let last = Tensor::arange(i64::MAX - 2, i64::MAX, DType::I64, device)?;
        assert_eq!(last.to_vec::<i64>()?, [i64::MAX - 2, i64::MAX - 1]);
        Ok(())
    })
}

/// 49 * (1 / 49) is less than 1.
#[test]
fn integers_divided_in_place_are_divided() -> Result<()> {
    each(|device| {
        let mut x = ints(&[49, -3, 98, 48], device)?;
        x.div_assign(49)?;
        assert_eq!(x.to_vec::<i64>()?, [1, -1, 2, 0]);
        let mut by_tensor = ints(&[49, -3, 98, 48], device)?;
        by_tensor.div_assign(&ints(&[49], device)?)?;
        assert_eq!(by_tensor.to_vec::<i64>()?, x.to_vec::<i64>()?);
        assert!(x.clone().div_assign(0).is_err());
        assert!(matches!(x.div_assign(0.5), Err(Error::DType(_))));
        assert_eq!(x.to_vec::<i64>()?, [1, -1, 2, 0]);
        Ok(())
    })
}

/// The reciprocal of a subnormal number is infinite, and that of a large one has few digits.
#[test]
fn numbers_without_a_reciprocal_divide_all_the_same() -> Result<()> {
    each(|device| {
        for (x, n) in [(1e-40f32, 1e-41f32), (3e38, 3e38), (1.5e38, 2.5e38), (6.0, 3.0), (1.0, 1e-45)] {
            let quotient = Tensor::full(x, 1, DType::F32, device)?.div(n)?.item::<f32>()?;
            assert!((quotient / (x / n) - 1.0).abs() <= f32::EPSILON || quotient == x / n, "{x} / {n}");
            let mut changed = Tensor::full(x, 1, DType::F32, device)?;
            changed.div_assign(n)?;
            assert_eq!(changed.item::<f32>()?, quotient, "{x} / {n}");
        }
        let by = |n: f64| Tensor::from_vec(vec![1.0f32, -2.0, 0.0], 3, device)?.div(n)?.to_vec::<f32>();
        let zero = by(0.0)?;
        assert!(zero[0] == f32::INFINITY && zero[1] == f32::NEG_INFINITY && zero[2].is_nan());
        assert_eq!(by(f64::INFINITY)?, [0.0, -0.0, 0.0]);
        Ok(())
    })
}

#[test]
fn evenly_spaced_numbers_reach_both_ends() -> Result<()> {
    each(|device| {
        for n in [2, 3, 50, 99, 1000] {
            let x = Tensor::linspace(0.1, 0.7, n, DType::F64, device)?.to_vec::<f64>()?;
            assert_eq!((x.len(), x[0], x[n - 1]), (n, 0.1, 0.7));
            let even = |i: usize| 0.1 + 0.6 * i as f64 / (n - 1) as f64;
            assert!(x.iter().enumerate().all(|(i, x)| (x - even(i)).abs() < 1e-15), "{n}");
        }
        assert_eq!(Tensor::linspace(2.0, 3.0, 1, DType::F32, device)?.to_vec::<f32>()?, [2.0]);
        assert_eq!(Tensor::linspace(2.0, 3.0, 0, DType::F32, device)?.dims(), [0]);
        Ok(())
    })
}

#[test]
fn limits_that_are_floats_make_floats_of_integers() -> Result<()> {
    each(|device| {
        let x = ints(&[0, 1, 5], device)?;
        assert_eq!(x.clamp(0.5, 2.5)?.to_vec::<f32>()?, [0.5, 1.0, 2.5]);
        assert_eq!(x.clamp(1, 2)?.dtype(), DType::I64);
        assert!(x.clamp(f64::NAN, 2.0).is_err() && x.clamp(0.0, f64::NAN).is_err() && x.clamp(2, 1).is_err());
        Ok(())
    })
}

#[test]
fn sizes_that_are_no_integer_are_refused_and_diagonals_may_lie_outside() -> Result<()> {
    each(|device| {
        for n in [usize::MAX, 1 << 63, (1 << 63) + 5] {
            assert!(matches!(Tensor::eye(n, DType::F32, device), Err(Error::TooLarge { .. })));
            let labels = Tensor::zeros(2, DType::I64, device)?;
            assert!(matches!(labels.one_hot(n, DType::F32), Err(Error::TooLarge { .. })));
        }
        let x = Tensor::ones([2, 3], DType::F32, device)?;
        let sum = |x: Result<Tensor>| x?.sum_all()?.item::<f32>();
        for (diagonal, lower) in
            [(isize::MAX, 6.0), (2, 6.0), (1, 5.0), (-1, 1.0), (-2, 0.0), (isize::MIN, 0.0)]
        {
            assert_eq!(sum(x.tril(diagonal))?, lower, "{diagonal}");
            assert_eq!(sum(x.triu(diagonal.saturating_add(1)))?, 6.0 - lower, "{diagonal}");
        }
        Ok(())
    })
}

#[test]
fn a_transposed_convolution_takes_any_option() -> Result<()> {
    each(|device| {
        let x = Tensor::ones([1, 2, 5, 5], DType::F32, device)?;
        let w = Tensor::ones([2, 3, 3, 3], DType::F32, device)?;
        let options = ConvOptions::default();
        for n in [usize::MAX, usize::MAX / 2, 1 << 62, 1 << 61] {
            for options in
                [options.stride(n), options.dilation(n), options.padding(n), options.stride(n).padding(n)]
            {
                let y = x.conv_transpose(&w, None, options, &[0, 0]);
                assert!(matches!(y, Err(Error::Shape(_) | Error::TooLarge { .. })), "{n}: {y:?}");
            }
        }
        // A bias for each of three outputs, and no other.
        assert!(x.conv_transpose(&w, Some(&Tensor::ones(3, DType::F32, device)?), options, &[0, 0]).is_ok());
        for bias in [Tensor::ones(1, DType::F32, device)?, Tensor::ones([3, 1], DType::F32, device)?] {
            assert!(x.conv_transpose(&w, Some(&bias), options, &[0, 0]).is_err());
        }
        Ok(())
    })
}

/// One element is asked for: a million are not downloaded to say that they are too many.
#[test]
fn an_item_of_many_elements_is_refused_before_they_are_read() -> Result<()> {
    each(|device| {
        let many = Tensor::zeros(1, DType::F32, device)?.expand([1 << 58])?;
        assert!(matches!(many.item::<f32>(), Err(Error::Shape(_))));
        assert!(Tensor::zeros([0], DType::F32, device)?.item::<f32>().is_err());
        Ok(())
    })
}

#[test]
fn integer_powers_take_exponents_of_64_bits() -> Result<()> {
    each(|device| {
        let (a, b) =
            (ints(&[3, 2, -1, 0, 5], device)?, ints(&[1 << 62, 1 << 40, i64::MAX, 1 << 33, -1], device)?);
        assert_eq!(a.pow(&b)?.to_vec::<i64>()?, [1, 0, -1, 0, 0]);
        let mut changed = a.clone();
        InPlaceOp::Binary(BinaryOp::Pow).run(&mut [&mut changed], &[&b])?;
        assert_eq!(changed.to_vec::<i64>()?, [1, 0, -1, 0, 0]);
        Ok(())
    })
}
