//! Losses and their gradients against PyTorch's.

mod common;

use common::{Case, Golden, devices};
use gradus_nn::loss::{self, BceOptions, CrossEntropyOptions, KlDivOptions, Reduction};
use gradus_testkit::Reference;

/// Runs a check of every case of an op, on every device.
fn each(op: &str, check: impl Fn(&Case<'_>)) {
    for device in devices() {
        Golden::open("loss", &device).of(op).iter().for_each(&check);
    }
}

fn reduction(case: &Case<'_>) -> Reduction {
    match case.params()["reduction"].as_str().unwrap() {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        "batchmean" => Reduction::BatchMean,
        other => panic!("unknown reduction {other}"),
    }
}

#[test]
fn cross_entropy_is_pytorchs_with_weights_smoothing_and_ignored_classes() {
    each("cross_entropy", |case| {
        let (ignore_index, label_smoothing) =
            (case.number("ignore_index") as i64, case.number("label_smoothing"));
        case.check(|x| {
            let reduction = reduction(case);
            let options = CrossEntropyOptions { reduction, ignore_index, label_smoothing, weight: x.get(2) };
            Ok(vec![loss::cross_entropy_with(&x[0], &x[1], options)?])
        });
    });
}

#[test]
fn cross_entropy_with_a_distribution_is_pytorchs() {
    each("cross_entropy_probabilities", |case| {
        case.check(|x| {
            let options = CrossEntropyOptions {
                reduction: reduction(case),
                label_smoothing: case.number("label_smoothing"),
                ..CrossEntropyOptions::default()
            };
            Ok(vec![loss::cross_entropy_with(&x[0], &x[1], options)?])
        });
    });
}

#[test]
fn negative_log_likelihood_is_pytorchs() {
    each("nll_loss", |case| {
        case.check(|x| {
            let options = CrossEntropyOptions {
                reduction: reduction(case),
                ignore_index: case.number("ignore_index") as i64,
                weight: x.get(2),
                ..CrossEntropyOptions::default()
            };
            Ok(vec![loss::nll_loss_with(&x[0], &x[1], options)?])
        });
    });
}

#[test]
fn distances_are_pytorchs_at_their_kinks_too() {
    each("mse_loss", |case| case.check(|x| Ok(vec![loss::mse_loss_with(&x[0], &x[1], reduction(case))?])));
    each("l1_loss", |case| case.check(|x| Ok(vec![loss::l1_loss_with(&x[0], &x[1], reduction(case))?])));
    each("smooth_l1_loss", |case| {
        let beta = case.number("beta");
        case.check(|x| Ok(vec![loss::smooth_l1_with(&x[0], &x[1], beta, reduction(case))?]));
    });
    each("huber_loss", |case| {
        let delta = case.number("delta");
        case.check(|x| Ok(vec![loss::huber_with(&x[0], &x[1], delta, reduction(case))?]));
    });
}

#[test]
fn binary_cross_entropy_is_pytorchs() {
    each("binary_cross_entropy", |case| {
        case.check(|x| Ok(vec![loss::bce_with(&x[0], &x[1], reduction(case))?]));
    });
    each("binary_cross_entropy_with_logits", |case| {
        case.check(|x| {
            let options = BceOptions { reduction: reduction(case), pos_weight: x.get(2) };
            Ok(vec![loss::bce_with_logits_with(&x[0], &x[1], options)?])
        });
    });
}

#[test]
fn kl_divergence_is_pytorchs() {
    each("kl_div", |case| {
        case.check(|x| {
            let log_target = case.params()["log_target"].as_bool().unwrap();
            let options = KlDivOptions { reduction: reduction(case), log_target };
            Ok(vec![loss::kl_div_with(&x[0], &x[1], options)?])
        });
    });
}

#[test]
fn binary_cross_entropy_of_certain_mistakes_is_bounded_and_has_no_nan_gradient() {
    use gradus_autograd::Autograd;
    let device = Reference::device();
    let p = gradus_tensor_core::Tensor::from_vec(vec![0.0f64, 1.0, 0.0, 1.0], 4, &device).unwrap();
    let t = gradus_tensor_core::Tensor::from_vec(vec![1.0f64, 0.0, 0.0, 1.0], 4, &device).unwrap();
    let p = p.requires_grad().unwrap();
    let losses = loss::bce_with(&p, &t, Reduction::None).unwrap();
    assert_eq!(losses.to_vec::<f64>().unwrap(), [100.0, 100.0, 0.0, 0.0]);
    let gradients = losses.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&p).unwrap().to_vec::<f64>().unwrap().iter().all(|g| g.is_finite()));
}

#[test]
fn shapes_that_would_broadcast_are_refused() {
    let device = Reference::device();
    let column = gradus_tensor_core::Tensor::zeros([3, 1], gradus_tensor_core::DType::F32, &device).unwrap();
    let row = gradus_tensor_core::Tensor::zeros(3, gradus_tensor_core::DType::F32, &device).unwrap();
    let error = loss::mse_loss(&column, &row).unwrap_err().to_string();
    assert!(error.contains("mse_loss") && error.contains("[3, 1]") && error.contains("one shape"), "{error}");
}
