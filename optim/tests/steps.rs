//! Optimizers and clipping against PyTorch's, step by step.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use common::{Case, Golden, close, devices};
use gradus_autograd::{Gradients, LeafId};
use gradus_nn::Param;
use gradus_optim::{
    Adam, AdamW, ClipOptions, Optimizer, Sgd, clip_grad_norm_with, clip_grad_value, grad_norm,
};
use gradus_tensor_core::{DType, Tensor};
use gradus_testkit::Reference;

/// Gives the recorded gradients of each step to the optimizer and compares the parameters after it.
fn check(case: &Case<'_>, mut optimizer: impl Optimizer) {
    let mut params: Vec<Param> = case.inputs().into_iter().map(|value| Param::new(value).unwrap()).collect();
    let tolerance = if params[0].tensor().dtype() == DType::F64 { 1e-13 } else { 2e-6 };
    for s in 0..case.info["steps"].as_u64().unwrap() {
        let mut gradients = Gradients::new();
        for (j, param) in params.iter().enumerate() {
            gradients.insert(param.id(), case.tensor(&format!("step_grad.{s}.{j}")));
        }
        let report = optimizer.step(&mut params, &gradients).unwrap();
        assert_eq!(report.updated, params.len());
        for (j, param) in params.iter().enumerate() {
            let suffix = format!("step.{s}.{j}");
            close(&format!("{}.{suffix}", case.name), param.tensor(), &case.tensor(&suffix), tolerance);
        }
    }
}

#[test]
fn sgd_takes_pytorchs_steps() {
    for device in devices() {
        for case in Golden::open("optim", &device).of("sgd") {
            let sgd = Sgd::new(case.number("lr"))
                .momentum(case.number("momentum"))
                .dampening(case.number("dampening"))
                .nesterov(case.params()["nesterov"].as_bool().unwrap())
                .weight_decay(case.number("weight_decay"));
            check(&case, sgd);
        }
    }
}

#[test]
fn adam_and_adamw_take_pytorchs_steps() {
    type New = fn(f64) -> Adam;
    for device in devices() {
        let golden = Golden::open("optim", &device);
        for (op, new) in [("adam", Adam::new as New), ("adamw", AdamW::new as New)] {
            for case in golden.of(op) {
                let betas = &case.params()["betas"];
                let adam = new(case.number("lr"))
                    .betas(betas[0].as_f64().unwrap(), betas[1].as_f64().unwrap())
                    .eps(case.number("eps"))
                    .weight_decay(case.number("weight_decay"))
                    .amsgrad(case.params()["amsgrad"].as_bool().unwrap());
                check(&case, adam);
            }
        }
    }
}

fn gradients(tensors: Vec<Tensor>) -> (Gradients, Vec<LeafId>) {
    let mut all = Gradients::new();
    let ids = tensors
        .into_iter()
        .map(|tensor| {
            let id = LeafId::fresh();
            all.insert(id, tensor);
            id
        })
        .collect();
    (all, ids)
}

#[test]
fn clipping_by_the_global_norm_is_pytorchs_and_returns_the_norm() {
    let device = Reference::device();
    for case in Golden::open("optim", &device).of("clip_grad_norm") {
        let (mut all, ids) = gradients(case.inputs());
        let norm_type = case.params()["norm_type"].as_f64().unwrap_or(f64::INFINITY);
        let options = ClipOptions { norm_type, ..ClipOptions::default() };
        let norm = clip_grad_norm_with(&mut all, case.number("max_norm"), options).unwrap();
        let mut outputs = vec![Tensor::full(norm, (), DType::F64, &device).unwrap()];
        outputs.extend(ids.iter().map(|&id| all.take_id(id).unwrap()));
        case.check_outputs(&outputs);
    }
}

#[test]
fn clipping_by_value_is_pytorchs() {
    for case in Golden::open("optim", &Reference::device()).of("clip_grad_value") {
        let (mut all, ids) = gradients(case.inputs());
        clip_grad_value(&mut all, case.number("clip_value")).unwrap();
        let outputs: Vec<Tensor> = ids.iter().map(|&id| all.take_id(id).unwrap()).collect();
        case.check_outputs(&outputs);
    }
}

#[test]
fn a_norm_that_is_not_finite_is_an_error_if_asked_and_changes_nothing() {
    let device = Reference::device();
    let values = vec![1.0f32, f32::INFINITY];
    let (mut all, ids) = gradients(vec![Tensor::from_vec(values.clone(), 2, &device).unwrap()]);
    let options = ClipOptions { error_if_nonfinite: true, ..ClipOptions::default() };
    let error = clip_grad_norm_with(&mut all, 1.0, options).unwrap_err();
    assert!(matches!(error, gradus_tensor_core::Error::NotFinite { .. }), "{error}");
    assert_eq!(all.get_id(ids[0]).unwrap().to_vec::<f32>().unwrap(), values);
    assert!(clip_grad_norm_with(&mut all, -1.0, ClipOptions::default()).is_err());
}

#[test]
fn the_norm_of_many_small_gradients_and_large_ones_is_that_of_all_elements() {
    for device in devices() {
        let dtypes = [DType::F32, DType::F64, DType::BF16];
        let tensor = |(i, n): (usize, usize)| {
            let values: Vec<f32> = (0..n).map(|j| ((i * 31 + j * 7) % 97) as f32 / 16.0 - 3.0).collect();
            // A transpose is as good a gradient as any.
            let values = Tensor::from_vec(values, [n / 2, 2], &device).unwrap().t().unwrap();
            values.cast(dtypes[i % 7 % 3]).unwrap()
        };
        let sizes = (0..60).map(|i| (i, 2 * (i % 13))).chain([(60, 4094), (61, 4096), (62, 9000)]);
        let tensors: Vec<Tensor> = sizes.map(tensor).collect();
        let elements: Vec<f64> = tensors.iter().flat_map(|x| x.to_vec::<f64>().unwrap()).collect();
        let (mut all, ids) = gradients(tensors);
        for p in [1.0, 2.0, 3.0] {
            let expected = elements.iter().map(|x| x.abs().powf(p)).sum::<f64>().powf(1.0 / p);
            let norm = grad_norm(&all, p).unwrap();
            assert!((norm / expected - 1.0).abs() < 1e-6, "{norm} instead of {expected}, p = {p}");
        }
        let largest = elements.iter().fold(0.0f64, |a, x| a.max(x.abs()));
        assert_eq!(grad_norm(&all, f64::INFINITY).unwrap(), largest);
        // One value that is not finite, in a small gradient and in a large one.
        for (id, bad) in [(ids[20], f64::NAN), (ids[62], f64::INFINITY), (ids[3], f64::NEG_INFINITY)] {
            let good = all.get_id(id).unwrap().clone();
            let mut changed = good.clone();
            let bad = Tensor::full(bad, (), good.dtype(), &device).unwrap();
            changed.view_assign(&bad, |layout| layout.narrow(0, 1, 1)?.narrow(1, 0, 1)).unwrap();
            all.insert(id, changed);
            for p in [1.0, 2.0, f64::INFINITY] {
                assert!(!grad_norm(&all, p).unwrap().is_finite());
            }
            all.insert(id, good);
        }
        assert!(grad_norm(&all, 2.0).unwrap().is_finite());
    }
}
