//! Gradient scaling: PyTorch's sequence of scales, and what the types and errors hold.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use common::{Golden, close};
use gradus_autograd::{Autograd, Gradients};
use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Param, Parameters};
use gradus_optim::{GradScaler, Optimizer, Sgd, clip_grad_norm};
use gradus_tensor_core::{DType, Result, Tensor};

/// A model of one parameter.
#[derive(Clone, Debug, Parameters)]
struct One {
    p: Param,
}

impl One {
    fn new(values: Tensor) -> Result<Self> {
        Ok(One { p: Param::new(values)? })
    }

    /// The sum of the parameter times a number.
    fn loss(&self, factor: f64) -> Result<Tensor> {
        let factor = Tensor::full(factor, (), DType::F32, &Cpu::device())?;
        self.p.value()?.mul(&factor)?.sum_all()
    }
}

fn small() -> Result<One> {
    One::new(Tensor::from_vec(vec![1.0f32, 2.0], 2, &Cpu::device())?)
}

#[test]
fn scales_trackers_and_skipped_steps_are_pytorchs() -> Result<()> {
    let golden = Golden::open("amp", &Cpu::device());
    let cases = golden.of("grad_scaler");
    let case = &cases[0];
    let mut model = One::new(case.tensor("input.0"))?;
    let mut optimizer = Sgd::new(case.number("lr"));
    let mut scaler = GradScaler::new()
        .init_scale(case.number("init_scale"))
        .growth_factor(case.number("growth_factor"))
        .backoff_factor(case.number("backoff_factor"))
        .growth_interval(case.number("growth_interval") as u64);
    let infinite = case.tensor("input.1").to_vec::<i64>()?;
    let scales = case.tensor("output.0").to_vec::<f64>()?;
    let trackers = case.tensor("output.1").to_vec::<f64>()?;
    for (step, inf) in infinite.iter().enumerate() {
        let loss = model.loss(if *inf == 1 { f64::INFINITY } else { 0.5 })?;
        let gradients = scaler.unscale(scaler.scale(&loss)?.backward()?)?;
        assert_eq!(gradients.is_finite(), *inf == 0);
        let taken = scaler.step(&mut optimizer, &mut model, gradients)?;
        assert_eq!(taken.is_some(), *inf == 0, "step {step}");
        assert_eq!(scaler.scale_factor(), scales[step], "step {step}");
        assert_eq!(scaler.state_dict()["_growth_tracker"], trackers[step], "step {step}");
        close("parameter", model.p.tensor(), &case.tensor("output.2").select(0, step)?, 0.0);
    }
    assert_eq!(scaler.skipped_steps(), infinite.iter().sum::<i64>() as u64);
    assert_eq!(scaler.skipped_in_a_row(), 0);
    Ok(())
}

#[test]
fn gradients_are_clipped_after_they_are_unscaled() -> Result<()> {
    let (mut scaled, mut plain) = (small()?, small()?);
    let scaler = &mut GradScaler::new();
    let mut gradients = scaler.unscale(scaler.scale(&scaled.loss(3.0)?)?.backward()?)?;
    let mut expected: Gradients = plain.loss(3.0)?.backward()?;
    assert_eq!(gradients.grad_norm(2.0)?, 18f64.sqrt());
    assert_eq!(gradients.clip_grad_norm(1.0)?, clip_grad_norm(&mut expected, 1.0)?);
    gradients.clip_grad_value(0.6)?;
    gradients.clip_grad_value(10.0)?;
    scaler.step(&mut Sgd::new(1.0), &mut scaled, gradients)?;
    Sgd::new(1.0).step(&mut plain, &{
        gradus_optim::clip_grad_value(&mut expected, 0.6)?;
        expected
    })?;
    assert_eq!(scaled.p.tensor().to_vec::<f32>()?, plain.p.tensor().to_vec::<f32>()?);
    Ok(())
}

#[test]
fn micro_batches_add_up_under_one_scale() -> Result<()> {
    let mut model = small()?;
    let mut scaler = GradScaler::new();
    let mut sum = scaler.scale(&model.loss(1.0)?)?.backward()?;
    sum.accumulate(scaler.scale(&model.loss(2.0)?)?.backward()?)?;
    sum.multiply(0.5)?;
    let gradients = scaler.unscale(sum.clone())?;
    assert_eq!(gradients.gradients().iter().next().unwrap().1.to_vec::<f32>()?, [1.5, 1.5]);
    scaler.step(&mut Sgd::new(0.1), &mut model, gradients)?;
    let other = GradScaler::new().init_scale(2.0).scale(&model.loss(1.0)?)?.backward()?;
    let error = sum.accumulate(other).unwrap_err().to_string();
    assert!(error.contains("65536") && error.contains('2'), "{error}");
    Ok(())
}

#[test]
fn a_gradient_that_vanishes_in_f16_survives_scaling() -> Result<()> {
    use gradus_optim::MixedPrecision;
    let device = Cpu::device();
    let model = Linear::new(1, 1).bias(false).init(&device)?;
    let x = Tensor::full(1e-4, [1, 1], DType::F32, &device)?.autocast(DType::F16)?;
    // The gradient that reaches the product is 1e-5, times the input 1e-4: below what f16 can hold.
    let loss = || gradus_nn::Module::forward(&model, &x)?.cast(DType::F32)?.mul(1e-5)?.sum_all();
    let plain = loss()?.backward()?;
    assert_eq!(plain.get_id(model.weight.id()).unwrap().item::<f64>()?, 0.0);
    let scaler = GradScaler::new();
    let gradients = scaler.unscale(scaler.scale(&loss()?)?.backward()?)?;
    let g = gradients.gradients().get_id(model.weight.id()).unwrap().item::<f64>()?;
    assert!((g - 1e-9).abs() < 1e-11, "{g}");
    Ok(())
}

#[test]
fn gradients_of_f16_parameters_are_refused() -> Result<()> {
    let model = One::new(Tensor::ones([2], DType::F16, &Cpu::device())?)?;
    let scaler = GradScaler::new().init_scale(2.0);
    let error = scaler.unscale(scaler.scale(&model.loss(1.0)?)?.backward()?).unwrap_err().to_string();
    assert!(error.contains("f32"), "{error}");
    Ok(())
}

#[test]
fn the_scale_stays_a_finite_f32() -> Result<()> {
    let mut model = small()?;
    let mut scaler = GradScaler::new().init_scale(2f64.powi(127)).growth_interval(1);
    let gradients = scaler.unscale(scaler.scale(&model.loss(1e-3)?)?.backward()?)?;
    assert!(gradients.is_finite());
    scaler.step(&mut Sgd::new(0.1), &mut model, gradients)?;
    assert_eq!(scaler.scale_factor(), 2f64.powi(127));
    Ok(())
}

#[test]
fn options_out_of_their_domain_are_refused() -> Result<()> {
    let loss = small()?.loss(1.0)?;
    for scaler in [
        GradScaler::new().init_scale(0.0),
        GradScaler::new().init_scale(f64::NAN),
        GradScaler::new().growth_factor(1.0),
        GradScaler::new().backoff_factor(1.0),
        GradScaler::new().growth_interval(0),
    ] {
        assert!(scaler.scale(&loss).is_err(), "{scaler:?}");
    }
    Ok(())
}

#[test]
fn a_saved_scaler_goes_on_where_it_was() -> Result<()> {
    let mut model = small()?;
    let mut scaler = GradScaler::new().growth_interval(2);
    for factor in [1.0, f64::INFINITY, 1.0] {
        let gradients = scaler.unscale(scaler.scale(&model.loss(factor)?)?.backward()?)?;
        scaler.step(&mut Sgd::new(0.1), &mut model, gradients)?;
    }
    let mut other = GradScaler::new();
    other.load_state_dict(&scaler.state_dict())?;
    assert_eq!(other, scaler);
    let mut broken = scaler.state_dict();
    broken.insert("_growth_tracker".into(), 0.5);
    assert!(other.load_state_dict(&broken).is_err());
    broken.remove("scale");
    assert!(other.load_state_dict(&broken).unwrap_err().to_string().contains("scale"));
    assert_eq!(other, scaler);
    Ok(())
}
