//! The `f32` functions against double precision.

use gradus_tensor_core::UnaryOp;

use super::{exp, log, normal, trig};

/// The distance of a result from the exact value, in units in the last place of `f32` there.
fn ulp(got: f32, exact: f64) -> f64 {
    let nearest = exact as f32;
    if got.to_bits() == nearest.to_bits() || got.is_nan() && nearest.is_nan() {
        return 0.0;
    }
    if !nearest.is_finite() || !got.is_finite() {
        // The last finite number and infinity are neighbours.
        let far = nearest.is_nan() || got.is_nan() || nearest.is_sign_positive() != got.is_sign_positive();
        return if far || nearest.abs().min(got.abs()) < f32::MAX { f64::INFINITY } else { 1.0 };
    }
    let spacing = ((exact.abs() as f32).max(f32::MIN_POSITIVE).to_bits() & 0x7f80_0000) as i32 >> 23;
    (got as f64 - exact).abs() / 2f64.powi(spacing - 127 - 23)
}

/// Every bit pattern in steps, each exponent's first and last numbers, and the special values.
fn arguments() -> impl Iterator<Item = f32> {
    let sweep = (0..=u32::MAX / 1009).map(|i| f32::from_bits(i.wrapping_mul(1009)));
    let edges =
        (0..512u32).flat_map(|e| (-4i32..4).map(move |d| f32::from_bits((e << 23).wrapping_add_signed(d))));
    let dense = (-400_000..400_000).map(|i| i as f32 * 3.1e-5);
    sweep.chain(edges).chain(dense)
}

#[track_caller]
fn accuracy(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, bound: f64) {
    let worst = arguments()
        .map(|x| (ulp(f(x), exact(x as f64)), x))
        .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a });
    let x = worst.1;
    assert!(worst.0 <= bound, "{} ULP at {x:e}: {:e} instead of {:e}", worst.0, f(x), exact(x as f64));
}

#[test]
fn exponentials_are_within_their_stated_error() {
    accuracy(exp::exp, f64::exp, 1.0);
    let least = f32::MIN_POSITIVE as f64;
    let falling = |x: f64| match x.exp() {
        y if x > 0.0 || y < least => f64::from(x > 0.0),
        y => y,
    };
    accuracy(|x| exp::exp_falling(if x > 0.0 { 0.0 } else { x }), falling, 1.0);
    let raised = |x: f64| if x <= 0.0 { x.max(-130.0).exp() * 2f64.powi(64) } else { f64::NAN };
    accuracy(|x| if x <= 0.0 { exp::exp_raised(x) } else { f32::NAN }, raised, 1.0);
    accuracy(exp::exp2, f64::exp2, 1.0);
    accuracy(exp::expm1, f64::exp_m1, 2.0);
    accuracy(exp::sigmoid, |x| UnaryOp::Sigmoid.eval(x), 3.0);
    accuracy(exp::softplus, |x| UnaryOp::Softplus.eval(x), 2.0);
    accuracy(exp::tanh, f64::tanh, 2.0);
    accuracy(exp::sinh, f64::sinh, 2.0);
    accuracy(exp::cosh, f64::cosh, 2.0);
    accuracy(exp::tanh_softplus, |x| UnaryOp::Softplus.eval(x).tanh(), 4.0);
}

#[test]
fn logarithms_are_within_their_stated_error() {
    accuracy(log::log, f64::ln, 1.0);
    accuracy(log::log2, f64::log2, 2.0);
    accuracy(log::log1p, f64::ln_1p, 2.0);
}

#[test]
fn circular_functions_are_within_their_stated_error() {
    let soft =
        |f: fn(f32) -> f32| move |x: f32| if trig::is_hard(x) || !x.is_finite() { f32::NAN } else { f(x) };
    let exact = |f: fn(f64) -> f64| move |x: f64| if trig::is_hard(x as f32) { f64::NAN } else { f(x) };
    accuracy(soft(trig::sin), exact(f64::sin), 1.5);
    accuracy(soft(trig::cos), exact(f64::cos), 1.5);
    accuracy(soft(trig::tan), exact(f64::tan), 3.0);
}

#[test]
fn normal_functions_are_within_their_stated_error() {
    accuracy(normal::erf, libm::erf, 2.0);
    accuracy(normal::gelu, |x| UnaryOp::Gelu.eval(x), 4.0);
    accuracy(
        |x| normal::cdf_and_density(x).0,
        |x| 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2),
        6.0,
    );
}
