//! Steps that fail: what was changed, and what a second try does.

use std::collections::BTreeMap;

use gradus_autograd::Gradients;
use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Parameters, Relu, Sequential};
use gradus_optim::{Adam, AdamW, Group, Optimizer, OptimizerState, Sgd};
use gradus_tensor_core::op::{InPlaceOp, Sgd as Step};
use gradus_tensor_core::{DType, Device, Error, Result, Tensor, rng};
use gradus_testkit::devices::Faulty;

fn mlp(dtype: DType, device: &Device) -> Result<Sequential> {
    rng::manual_seed(3);
    Ok(Sequential::new()
        .then(Linear::new(4, 8).dtype(dtype).init(device)?)
        .then(Relu)
        .then(Linear::new(8, 2).dtype(dtype).init(device)?))
}

/// Gradients of any model's parameters, the same in every call.
fn gradients(model: &dyn Parameters, dtype: DType) -> Result<Gradients> {
    let mut all = Gradients::new();
    rng::manual_seed(7);
    model.for_each_param(&mut |_, param| {
        let value = param.tensor();
        all.insert(param.id(), Tensor::randn(value.shape(), dtype, value.device())?);
        Ok(())
    })?;
    Ok(all)
}

type Bits = BTreeMap<String, Vec<u64>>;

fn bits<'a>(tensors: impl Iterator<Item = (&'a str, &'a Tensor)>) -> Result<Bits> {
    let bits =
        |x: &Tensor| -> Result<Vec<u64>> { Ok(x.to_vec::<f64>()?.into_iter().map(f64::to_bits).collect()) };
    tensors.map(|(name, x)| Ok((name.to_owned(), bits(x)?))).collect()
}

fn values(model: &Sequential) -> Result<Bits> {
    bits(model.state_dict().iter())
}

/// Tensors and step counts of what an optimizer remembers.
fn state(state: &OptimizerState) -> Result<(Bits, BTreeMap<String, f64>)> {
    Ok((bits(state.tensors.iter())?, state.numbers.clone()))
}

type Make = fn() -> Box<dyn Optimizer>;

const OPTIMIZERS: [Make; 5] = [
    || Box::new(Sgd::new(0.1).weight_decay(0.01)),
    || Box::new(Sgd::new(0.1).momentum(0.9).dampening(0.1)),
    || Box::new(Adam::new(0.01).group(Group::vectors().lr_scale(0.5))),
    || Box::new(Adam::new(0.01).amsgrad(true)),
    || Box::new(AdamW::new(0.01).group(Group::vectors().weight_decay(0.0))),
];

#[test]
fn a_device_that_fails_leaves_each_parameter_with_its_own_state() -> Result<()> {
    let names = ["0.weight", "0.bias", "2.weight", "2.bias"];
    for (make, steps_before) in OPTIMIZERS.into_iter().flat_map(|make| [(make, 0), (make, 2)]) {
        let faulty = Faulty::new();
        let device = faulty.around(&Cpu::builder().threads(1).build()?);
        let start = || -> Result<_> {
            let (mut model, mut optimizer) = (mlp(DType::F32, &device)?, make());
            let g = gradients(&model, DType::F32)?;
            for _ in 0..steps_before {
                optimizer.step(&mut model, &g)?;
            }
            Ok((model, optimizer, g))
        };
        let (mut model, mut optimizer, g) = start()?;
        let (old, old_state) = (values(&model)?, state(&optimizer.state_dict())?);
        faulty.heal();
        optimizer.step(&mut model, &g)?;
        let calls = faulty.calls();
        let (new, new_state) = (values(&model)?, state(&optimizer.state_dict())?);

        for n in 1..=calls {
            faulty.heal();
            let (mut model, mut optimizer, g) = start()?;
            faulty.fail_at(n);
            let error = optimizer.step(&mut model, &g).expect_err("the step has that many calls");
            faulty.heal();
            assert!(matches!(error.root(), Error::OutOfMemory { .. }), "{error}");
            let (now, now_state) = (values(&model)?, state(&optimizer.state_dict())?);
            // Those before the one that is named were changed, those after it were not.
            let changed = names.into_iter().filter(|name| now[*name] != old[*name]).count();
            let text = error.to_string();
            let after =
                format!("optimizer step of {}, after {changed} parameters were changed:", names[changed]);
            assert!(text.contains(&after) || changed == 0 && !text.contains("after"), "call {n}: {text}");
            for (i, name) in names.into_iter().enumerate() {
                let (values, (tensors, numbers)) =
                    if i < changed { (&new, &new_state) } else { (&old, &old_state) };
                assert_eq!(now[name], values[name], "{name} after a failure at call {n}");
                let mine = |key: &String| key.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                let of = |all: &Bits| all.clone().into_iter().filter(|(key, _)| mine(key)).collect::<Bits>();
                assert_eq!(of(&now_state.0), of(tensors), "the state of {name}, call {n}");
                let of = |all: &BTreeMap<String, f64>| {
                    all.clone().into_iter().filter(|(key, _)| mine(key)).collect::<BTreeMap<_, _>>()
                };
                assert_eq!(of(&now_state.1), of(numbers), "the numbers of {name}, call {n}");
            }
            // The rest of the step.
            for name in &names[..changed] {
                model.freeze(name)?;
            }
            optimizer.step(&mut model, &g)?;
            assert_eq!(values(&model)?, new, "the rest of the step after a failure at call {n}");
            assert_eq!(state(&optimizer.state_dict())?, new_state);
        }
    }
    Ok(())
}

#[test]
fn state_that_does_not_fit_the_last_parameter_is_found_before_the_first_is_changed() -> Result<()> {
    let device = Cpu::device();
    for (mut optimizer, kind) in [
        (Box::new(Sgd::new(0.1).momentum(0.9)) as Box<dyn Optimizer>, "momentum_buffer"),
        (Box::new(Adam::new(0.1)), "exp_avg_sq"),
    ] {
        let mut model = mlp(DType::F32, &device)?;
        let g = gradients(&model, DType::F32)?;
        optimizer.step(&mut model, &g)?;
        let good = optimizer.state_dict();
        let mut bad = good.clone();
        bad.tensors.insert(format!("2.bias.{kind}"), Tensor::zeros(3, DType::F32, &device)?);
        optimizer.load_state_dict(&bad)?;
        let before = (values(&model)?, state(&optimizer.state_dict())?);
        let error = optimizer.step(&mut model, &g).unwrap_err().to_string();
        assert!(error.contains("2.bias") && error.contains(kind), "{error}");
        assert_eq!((values(&model)?, state(&optimizer.state_dict())?), before);
        optimizer.load_state_dict(&good)?;
        assert_eq!(optimizer.step(&mut model, &g)?.updated, 4);
    }
    Ok(())
}

#[test]
fn a_step_changes_no_snapshot_and_no_gradient() -> Result<()> {
    for make in OPTIMIZERS {
        let mut model = mlp(DType::F32, &Cpu::device())?;
        let (mut optimizer, g) = (make(), gradients(&model, DType::F32)?);
        optimizer.step(&mut model, &g)?;
        let (snapshot, remembered) = (model.state_dict(), optimizer.state_dict());
        let before = (bits(snapshot.iter())?, state(&remembered)?);
        let given: Vec<Vec<f32>> = g.iter().map(|(_, g)| g.to_vec()).collect::<Result<_>>()?;
        optimizer.step(&mut model, &g)?;
        assert_eq!((bits(snapshot.iter())?, state(&remembered)?), before);
        assert_eq!(g.iter().map(|(_, g)| g.to_vec()).collect::<Result<Vec<Vec<f32>>>>()?, given);
        assert_ne!(values(&model)?, before.0);
    }
    Ok(())
}

#[test]
fn parameters_of_half_precision_take_their_steps_in_it() -> Result<()> {
    for dtype in [DType::BF16, DType::F16] {
        let mut model = mlp(dtype, &Cpu::device())?;
        // In `f32`, as gradients that were accumulated are.
        let g = gradients(&model, DType::F32)?;
        let mut expected = BTreeMap::new();
        let mut parameters = Vec::new();
        model.for_each_param(&mut |name, param| {
            parameters.push((name.to_owned(), param.tensor().copy()?, param.id()));
            Ok(())
        })?;
        for (name, mut value, id) in parameters {
            let mut velocity = value.zeros_like()?;
            for first in [true, false] {
                let step = Step {
                    lr: 0.1,
                    momentum: 0.9,
                    dampening: 0.0,
                    weight_decay: 0.01,
                    nesterov: true,
                    first,
                };
                let gradient = g.get_id(id).unwrap().cast(dtype)?;
                InPlaceOp::Sgd(step).run(&mut [&mut value, &mut velocity], &[&gradient])?;
            }
            expected.insert(name, value);
        }
        let mut sgd = Sgd::new(0.1).momentum(0.9).nesterov(true).weight_decay(0.01);
        sgd.step(&mut model, &g)?;
        sgd.step(&mut model, &g)?;
        let expected = bits(expected.iter().map(|(name, x)| (name.as_str(), x)))?;
        assert_eq!(values(&model)?, expected, "{dtype}");
    }
    Ok(())
}

#[test]
fn amsgrad_can_be_switched_on_and_off_between_steps() -> Result<()> {
    let mut model = mlp(DType::F32, &Cpu::device())?;
    let g = gradients(&model, DType::F32)?;
    let mut adam = Adam::new(0.01);
    for amsgrad in [false, true, false] {
        adam = adam.amsgrad(amsgrad);
        assert_eq!(adam.step(&mut model, &g)?.updated, 4);
    }
    Ok(())
}
