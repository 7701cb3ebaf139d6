//! Whole training steps against PyTorch's, resuming, groups, and what goes wrong.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use common::{Golden, close, devices};
use gradus_autograd::{Autograd, Gradients};
use gradus_nn::{
    Activation, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Parameters, Relu, Sequential,
    TransformerEncoderLayer, loss,
};
use gradus_optim::{Adam, AdamW, Group, Optimizer, Sgd};
use gradus_tensor_core::{DType, Device, Result, Tensor, rng};
use gradus_testkit::Reference;

type Loss = fn(&Tensor, &Tensor) -> Result<Tensor>;

fn check(
    name: &str,
    model: &mut dyn Module,
    optimizer: &mut dyn Optimizer,
    criterion: Loss,
    device: &Device,
    tolerance: f64,
) {
    let golden = Golden::open("model", device);
    let op = if name.starts_with("cnn") { "cnn" } else { "transformer_block" };
    let cases = golden.of(op);
    let case = cases.iter().find(|case| case.name == name).unwrap();
    model.load_state_dict(&case.state("state")).unwrap();
    let (x, target) = (case.tensor("input.0"), case.tensor("input.1"));
    for (step, expected) in case.tensor("losses").to_vec::<f64>().unwrap().into_iter().enumerate() {
        let loss = criterion(&model.forward(&x).unwrap(), &target).unwrap();
        let value: f64 = loss.item().unwrap();
        assert!(
            (value - expected).abs() <= tolerance,
            "{name}: loss {value} at step {step}, PyTorch {expected}"
        );
        let gradients = loss.backward().unwrap();
        drop(loss);
        optimizer.step(model, &gradients).unwrap();
    }
    let state = model.state_dict();
    let expected = case.state("final");
    assert_eq!(state.names().collect::<Vec<_>>(), expected.names().collect::<Vec<_>>());
    for (key, theirs) in expected.iter() {
        close(key, state.get(key).unwrap(), theirs, tolerance);
    }
    model.set_training(false);
    close(name, &model.forward(&x).unwrap(), &case.tensor("eval_output"), tolerance);
}

fn cnn(dtype: DType, device: &Device) -> Result<Sequential> {
    Ok(Sequential::new()
        .then_named("conv1", Conv2d::new(1, 4, 3).padding(1).dtype(dtype).init(device)?)
        .then_named("bn1", BatchNorm2d::new(4).dtype(dtype).init(device)?)
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then_named("conv2", Conv2d::new(4, 6, 3).stride(2).padding(1).bias(false).dtype(dtype).init(device)?)
        .then_named("bn2", BatchNorm2d::new(6).dtype(dtype).init(device)?)
        .then(Relu)
        .then(Flatten::new())
        .then_named("fc", Linear::new(24, 5).dtype(dtype).init(device)?))
}

#[test]
fn three_steps_of_a_convolutional_network_are_pytorchs() {
    for device in devices() {
        for (name, dtype, tolerance) in [("cnn_f64", DType::F64, 1e-9), ("cnn_f32", DType::F32, 1e-4)] {
            let mut sgd = Sgd::new(0.1).momentum(0.9).weight_decay(0.01);
            let mut model = cnn(dtype, &device).unwrap();
            check(name, &mut model, &mut sgd, loss::cross_entropy, &device, tolerance);
        }
    }
}

#[test]
fn three_steps_of_a_transformer_block_are_pytorchs() {
    for device in devices() {
        let mut block = TransformerEncoderLayer::new(8, 2)
            .feed_forward(12)
            .dropout(0.0)
            .activation(Activation::Gelu)
            .norm_first(true)
            .causal(true)
            .dtype(DType::F64)
            .init(&device)
            .unwrap();
        let mut adamw = AdamW::new(0.01).weight_decay(0.1);
        check("transformer_block_f64", &mut block, &mut adamw, loss::mse_loss, &device, 1e-9);
    }
}

fn mlp(device: &Device) -> Result<Sequential> {
    rng::manual_seed(3);
    Ok(Sequential::new()
        .then(Linear::new(4, 8).init(device)?)
        .then(Relu)
        .then(Linear::new(8, 2).init(device)?))
}

fn gradients(model: &Sequential, seed: u64) -> Result<Gradients> {
    rng::manual_seed(seed);
    let x = Tensor::randn([6, 4], DType::F32, model.state_dict().get("0.weight").unwrap().device())?;
    model.forward(&x)?.square()?.mean_all()?.backward()
}

#[test]
fn a_run_that_resumes_takes_the_same_steps_bit_for_bit() -> Result<()> {
    let device = Reference::device();
    let makers: [fn() -> Box<dyn Optimizer>; 4] = [
        || Box::new(Sgd::new(0.1).momentum(0.9).dampening(0.1)),
        || Box::new(Adam::new(0.01)),
        || Box::new(Adam::new(0.01).amsgrad(true)),
        || Box::new(AdamW::new(0.01)),
    ];
    for make in makers {
        let (mut model, mut optimizer) = (mlp(&device)?, make());
        for step in 0..3 {
            let g = gradients(&model, step)?;
            optimizer.step(&mut model, &g)?;
        }
        optimizer.set_learning_rate(0.003);
        let (weights, state) = (model.state_dict(), optimizer.state_dict());
        for step in 3..6 {
            let g = gradients(&model, step)?;
            optimizer.step(&mut model, &g)?;
        }
        let (mut resumed, mut again) = (mlp(&device)?, make());
        resumed.load_state_dict(&weights)?;
        again.load_state_dict(&state)?;
        assert_eq!(again.learning_rate(), 0.003);
        for step in 3..6 {
            let g = gradients(&resumed, step)?;
            again.step(&mut resumed, &g)?;
        }
        for (name, theirs) in model.state_dict().iter() {
            let ours = resumed.state_dict().remove(name).unwrap().to_vec::<f32>()?;
            assert_eq!(ours, theirs.to_vec::<f32>()?, "{} {name}", state.algorithm);
        }
        assert!(Sgd::new(0.1).load_state_dict(&Adam::new(0.1).state_dict()).is_err());
    }
    Ok(())
}

#[test]
fn parameters_without_a_gradient_are_named_and_nothing_is_changed() -> Result<()> {
    let device = Reference::device();
    let mut model = mlp(&device)?;
    let mut g = gradients(&model, 0)?;
    model.for_each_param(&mut |name, param| {
        if name.starts_with("2.") {
            g.take_id(param.id());
        }
        Ok(())
    })?;
    let before = model.state_dict();
    let error = Sgd::new(0.1).step(&mut model, &g).unwrap_err().to_string();
    assert!(error.contains("2 of 4") && error.contains("2.weight, 2.bias"), "{error}");
    for (name, tensor) in model.state_dict().iter() {
        assert_eq!(tensor.to_vec::<f32>()?, before.get(name).unwrap().to_vec::<f32>()?);
    }
    let report = Sgd::new(0.1).allow_missing(true).step(&mut model, &g)?;
    assert_eq!((report.updated, report.missing), (2, vec!["2.weight".to_owned(), "2.bias".to_owned()]));
    model.freeze("2.*")?;
    assert_eq!(Sgd::new(0.1).step(&mut model, &g)?.updated, 2);
    Ok(())
}

#[test]
fn groups_have_rates_of_their_own() -> Result<()> {
    let device = Reference::device();
    let mut model = mlp(&device)?;
    let before = model.state_dict();
    // Gradients of 0 leave nothing but the weight decay.
    let mut g = gradients(&model, 0)?;
    g.scale(0.0)?;
    let mut sgd = Sgd::new(0.5)
        .weight_decay(0.2)
        .group(Group::vectors().weight_decay(0.0))
        .group(Group::named("2.*").lr_scale(0.1).weight_decay(0.4));
    sgd.step(&mut model, &g)?;
    let after = model.state_dict();
    for (name, factor) in [("0.weight", 0.9), ("0.bias", 1.0), ("2.weight", 0.98), ("2.bias", 1.0)] {
        let pairs = before.get(name).unwrap().to_vec::<f64>()?;
        for (b, a) in pairs.into_iter().zip(after.get(name).unwrap().to_vec::<f64>()?) {
            assert!((a - factor * b).abs() < 1e-6, "{name}: {b} became {a}");
        }
    }
    let mut typo = Sgd::new(0.5).group(Group::named("backbone.*").lr_scale(0.1));
    let error = typo.step(&mut model, &g).unwrap_err().to_string();
    assert!(error.contains("backbone.*"), "{error}");
    Ok(())
}

#[test]
fn parameters_of_one_name_are_refused_because_they_would_share_state() -> Result<()> {
    let device = Reference::device();
    let mut model = Sequential::new()
        .then_named("fc", Linear::new(4, 4).init(&device)?)
        .then_named("fc", Linear::new(4, 4).init(&device)?);
    let x = Tensor::ones([1, 4], DType::F32, &device)?;
    let g = model.forward(&x)?.sum_all()?.backward()?;
    let error = Adam::new(0.1).step(&mut model, &g).unwrap_err().to_string();
    assert!(error.contains("fc.weight"), "{error}");
    let error = model.load_state_dict(&model.state_dict()).unwrap_err().to_string();
    assert!(error.contains("fc.weight"), "{error}");
    Ok(())
}

#[test]
fn options_out_of_their_domain_are_errors_at_the_first_step() -> Result<()> {
    let device = Reference::device();
    let mut model = mlp(&device)?;
    let g = gradients(&model, 0)?;
    let all: [Box<dyn Optimizer>; 6] = [
        Box::new(Sgd::new(-0.1)),
        Box::new(Sgd::new(f64::NAN)),
        Box::new(Sgd::new(0.1).nesterov(true)),
        Box::new(Sgd::new(0.1).momentum(-1.0)),
        Box::new(Adam::new(0.1).betas(0.9, 1.0)),
        Box::new(Adam::new(0.1).eps(f64::INFINITY)),
    ];
    for mut optimizer in all {
        assert!(optimizer.step(&mut model, &g).is_err());
    }
    Ok(())
}

#[test]
fn steps_change_parameters_where_they_are() -> Result<()> {
    let device = Reference::device();
    let mut model = mlp(&device)?;
    let mut adam = Adam::new(0.01);
    let g = gradients(&model, 0)?;
    adam.step(&mut model, &g)?;
    let bytes = device.memory().allocated;
    for step in 1..20 {
        let g = gradients(&model, step)?;
        adam.step(&mut model, &g)?;
        model.for_each_param(&mut |name, param| {
            assert!(param.tensor().is_unique(), "{name} is shared after step {step}");
            Ok(())
        })?;
    }
    assert_eq!(device.memory().allocated, bytes, "steps leave nothing behind");
    Ok(())
}
