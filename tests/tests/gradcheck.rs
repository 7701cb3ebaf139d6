//! The gradient check itself: right gradients pass, every kind of wrong one fails and is named.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use gradus_autograd::{Function, apply};
use gradus_tensor_core::{Device, Error, Result, Tensor};
use gradus_testkit::{Mismatch, Mode, Options, Reference, gradcheck, gradgradcheck};

fn x() -> Result<Tensor> {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    Tensor::from_vec(vec![0.5f64, -1.0, 2.0, 0.25], [2, 2], DEVICE.get_or_init(Reference::device))
}

/// `x * x` with a gradient of the test's choosing.
#[derive(Debug)]
struct Square(fn(&Tensor, &Tensor) -> Result<Option<Tensor>>);

impl Function for Square {
    fn name(&self) -> &'static str {
        "square"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![inputs[0].square()?])
    }

    fn backward(&self, inputs: &[Tensor], _: &[Tensor], g: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        match &g[0] {
            Some(g) => Ok(vec![(self.0)(g, &inputs[0])?]),
            None => Ok(vec![None]),
        }
    }
}

fn check(
    backward: fn(&Tensor, &Tensor) -> Result<Option<Tensor>>,
    options: Options,
) -> Result<Result<gradus_testkit::Report, Mismatch>> {
    Ok(gradcheck(|x| Ok(apply(Square(backward), &[&x[0]])?.remove(0)), &[&x()?], options))
}

#[test]
fn a_right_gradient_passes_in_both_modes() -> Result<()> {
    for options in [Options::default(), Options::fast()] {
        let report = check(|g, x| g.mul(x)?.mul(2.0).map(Some), options)?.unwrap();
        assert_eq!(report.failed, 0);
        assert!(report.largest_error() < 1e-8, "{report}");
    }
    Ok(())
}

#[test]
fn a_wrong_factor_fails_in_both_modes() -> Result<()> {
    for options in [Options::default(), Options::fast()] {
        let failure = check(|g, x| g.mul(x)?.mul(2.001).map(Some), options)?.unwrap_err();
        assert!(matches!(&failure, Mismatch::Gradient(report) if report.failed > 0), "{failure}");
    }
    Ok(())
}

#[test]
fn one_wrong_element_is_found_and_named() -> Result<()> {
    let wrong = |g: &Tensor, x: &Tensor| {
        let mut right = g.mul(x)?.mul(2.0)?;
        let corner = right.narrow(0, 1, 1)?.narrow(1, 0, 1)?.mul(1.5)?;
        right.view_assign(&corner, |v| v.narrow(0, 1, 1)?.narrow(1, 0, 1))?;
        Ok(Some(right))
    };
    let Err(Mismatch::Gradient(report)) = check(wrong, Options::default())? else { panic!("it passed") };
    assert_eq!((report.failed, report.compared), (1, 4));
    assert_eq!((report.worst[0].input, &report.worst[0].index[..]), (Some(0), &[1, 0][..]));
    let text = Mismatch::Gradient(report).to_string();
    assert!(text.contains("input 0[1, 0]") && text.contains("1 of 4"), "{text}");
    Ok(())
}

#[test]
fn a_missing_gradient_fails() -> Result<()> {
    assert!(matches!(check(|_, _| Ok(None), Options::default())?, Err(Mismatch::Gradient(_))));
    Ok(())
}

#[test]
fn a_gradient_that_is_not_a_number_fails() -> Result<()> {
    let nan = |g: &Tensor, _: &Tensor| g.mul(f64::NAN).map(Some);
    for options in [Options::default(), Options::fast()] {
        assert!(matches!(check(nan, options)?, Err(Mismatch::Gradient(_))));
    }
    Ok(())
}

#[test]
fn a_gradient_cut_by_detaching_fails() -> Result<()> {
    use gradus_autograd::Autograd;
    let failure = gradcheck(|x| x[0].mul(&x[0].detach()?), &[&x()?], Options::default()).unwrap_err();
    assert!(matches!(failure, Mismatch::Gradient(_)), "{failure}");
    let failure = gradcheck(|x| x[0].detach()?.square(), &[&x()?], Options::default()).unwrap_err();
    assert!(matches!(failure, Mismatch::Gradient(_)), "a result that is not tracked: {failure}");
    Ok(())
}

#[test]
fn a_backward_that_changes_its_mind_fails() -> Result<()> {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let drifting = |g: &Tensor, x: &Tensor| {
        let noise = 1e-12 * CALLS.fetch_add(1, Ordering::Relaxed) as f64;
        g.mul(x)?.mul(2.0 + noise).map(Some)
    };
    let failure = check(drifting, Options::default())?.unwrap_err();
    assert!(matches!(failure, Mismatch::Nondeterministic { input: 0, .. }), "{failure}");
    Ok(())
}

#[test]
fn unused_and_integer_inputs_are_allowed() -> Result<()> {
    let (x, unused) = (x()?, x()?);
    let index = Tensor::from_vec(vec![1i64, 0, 1], [3], x.device())?;
    let f = |x: &[Tensor]| x[2].index_select(0, &x[1])?.square();
    let report = gradcheck(f, &[&unused, &index, &x], Options::default()).unwrap();
    assert_eq!(report.compared, 8);
    gradgradcheck(f, &[&unused, &index, &x], Options::default()).unwrap();
    Ok(())
}

#[test]
fn errors_of_the_function_come_out() -> Result<()> {
    let failure = gradcheck(|x| x[0].reshape([3]), &[&x()?], Options::default()).unwrap_err();
    assert!(matches!(failure, Mismatch::Failed(_)), "{failure}");
    let halves = x()?.cast(gradus_tensor_core::DType::F32)?;
    let failure = gradcheck(|x| x[0].square(), &[&halves], Options::default()).unwrap_err();
    assert!(matches!(failure, Mismatch::Failed(Error::Argument { .. })), "{failure}");
    Ok(())
}

#[test]
fn second_derivatives_are_checked() -> Result<()> {
    let f = |x: &[Tensor]| x[0].sin()?.mul(&x[1].exp()?);
    for options in [Options::default(), Options { mode: Mode::Directions(3), ..Options::default() }] {
        gradgradcheck(f, &[&x()?, &x()?.t()?], options).unwrap();
    }
    // A right gradient that hides how it depends on the input from a second pass.
    let wrong = |x: &[Tensor]| {
        Ok(apply(
            Square(|g, x| {
                use gradus_autograd::Autograd;
                g.mul(&x.detach()?)?.mul(2.0).map(Some)
            }),
            &[&x[0]],
        )?
        .remove(0))
    };
    gradcheck(wrong, &[&x()?], Options::default()).unwrap();
    assert!(gradgradcheck(wrong, &[&x()?], Options::default()).is_err());
    Ok(())
}

#[test]
fn a_tensor_may_be_an_input_twice() -> Result<()> {
    gradcheck(|x| x[0].mul(&x[0].t()?)?.add(&x[0]), &[&x()?], Options::default()).unwrap();
    Ok(())
}
