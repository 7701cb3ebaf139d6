//! Layers and their gradients against PyTorch's.

mod common;

use common::{Case, Golden, close, devices};
use gradus_autograd::{Autograd, Backward};
use gradus_nn::{
    AttendOptions, BatchNorm1d, BatchNorm2d, BatchNorm3d, Conv2d, ConvTranspose2d, Embedding, Linear, Module,
    MultiheadAttention, Param, Parameters, adaptive_avg_pool,
};
use gradus_tensor_core::{DType, Device, Result, Tensor, rng};
use gradus_testkit::Reference;

/// Runs a check of every case of an op, on every device.
fn each(family: &str, op: &str, check: impl Fn(&Device, &Case<'_>)) {
    for device in devices() {
        Golden::open(family, &device).of(op).iter().for_each(|case| check(&device, case));
    }
}

#[test]
fn adaptive_average_pooling_is_pytorchs_for_even_and_uneven_windows() {
    for op in ["adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d"] {
        each("pool", op, |_, case| {
            let size = case.params()["output_size"].as_array().unwrap();
            let size: Vec<usize> = size.iter().map(|n| n.as_u64().unwrap() as usize).collect();
            case.check(|x| Ok(vec![adaptive_avg_pool(&x[0], &size)?]));
        });
    }
}

#[test]
fn an_embedding_reads_its_padding_row_and_gives_it_no_gradient() {
    each("embedding", "embedding", |_, case| {
        let padding = case.params()["padding_idx"].as_u64().map(|id| id as usize);
        let (ids, weight) = (case.tensor("input.0"), case.tensor("input.1"));
        let layer = Embedding { weight: Param::new(weight).unwrap(), padding_idx: padding };
        let y = layer.forward(&ids).unwrap();
        case.check_outputs(std::slice::from_ref(&y));
        let gradients = case.loss(&[y]).backward().unwrap();
        close(case.name, gradients.get_id(layer.weight.id()).unwrap(), &case.tensor("grad.1"), 1e-12);
    });
}

#[test]
fn multihead_attention_is_pytorchs_with_masks_padding_and_weights() {
    each("attention", "multihead_attention", |device, case| {
        let mut layer =
            MultiheadAttention::new(case.number("embed_dim") as usize, case.number("num_heads") as usize)
                .bias(case.params()["bias"].as_bool().unwrap())
                .dtype(DType::F64)
                .init(device)
                .unwrap();
        layer.load_state_dict(&case.state("state")).unwrap();
        let inputs = case.inputs();
        let mut options = AttendOptions { weights: true, ..AttendOptions::default() };
        options.causal = case.params()["mask"] == "causal";
        let [q, k, v] = match inputs.as_slice() {
            [x] => [x, x, x],
            [x, padding] => {
                options.key_padding = Some(padding);
                [x, x, x]
            }
            [q, k, v] => [q, k, v],
            _ => panic!("{}: too many inputs", case.name),
        };
        let (y, weights) = layer.attend(q, k, v, options).unwrap();
        // The fused path, which makes no weights, gives the same.
        let (fused, _) = layer.attend(q, k, v, AttendOptions { weights: false, ..options }).unwrap();
        close(case.name, &fused, &y, 1e-12);
        let outputs = [y, weights.unwrap()];
        case.check_outputs(&outputs);
        let gradients = case.loss(&outputs).backward().unwrap();
        for (i, x) in inputs.iter().enumerate().filter(|(_, x)| x.is_tracked()) {
            close(case.name, gradients.get(x).unwrap(), &case.tensor(&format!("grad.{i}")), 1e-10);
        }
        check_state_grads(case, &layer, &gradients);
    });
}

fn check_state_grads(case: &Case<'_>, model: &dyn Parameters, gradients: &gradus_autograd::Gradients) {
    let expected = case.state("state_grad");
    let mut seen = 0;
    model
        .for_each_param(&mut |name, param| {
            let ours = gradients.get_id(param.id()).unwrap_or_else(|| panic!("no gradient of {name}"));
            close(&format!("{}.{name}", case.name), ours, expected.get(name).unwrap(), 1e-10);
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, expected.len(), "{}", case.name);
}

#[test]
fn batch_normalization_keeps_pytorchs_running_statistics_and_uses_them_in_evaluation() {
    each("norm", "batch_norm", |device, case| {
        let rank = case.tensor("input.0").rank();
        match rank {
            2 | 3 => check_batch_norm(case, BatchNorm1d::new(features(case)), device),
            4 => check_batch_norm(case, BatchNorm2d::new(features(case)), device),
            _ => check_batch_norm(case, BatchNorm3d::new(features(case)), device),
        }
    });
}

fn features(case: &Case<'_>) -> usize {
    case.tensor("input.0").dims()[1]
}

fn check_batch_norm<const D: usize>(
    case: &Case<'_>,
    builder: gradus_nn::BatchNormBuilder<D>,
    device: &Device,
) {
    let training = case.params()["training"].as_bool().unwrap();
    let inputs = case.inputs();
    let mut layer = builder
        .eps(case.number("eps"))
        .momentum(case.number("momentum"))
        .affine(inputs.len() == 5)
        .dtype(DType::F64)
        .init(device)
        .unwrap();
    layer.set_training(training);
    layer.running_mean.as_ref().unwrap().set(case.tensor("input.1")).unwrap();
    layer.running_var.as_ref().unwrap().set(case.tensor("input.2")).unwrap();
    if let [_, _, _, weight, bias] = inputs.as_slice() {
        layer.weight.as_mut().unwrap().set(weight.detach().unwrap()).unwrap();
        layer.bias.as_mut().unwrap().set(bias.detach().unwrap()).unwrap();
    }
    let y = layer.forward(&inputs[0]).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    let mut outputs = vec![y];
    if training {
        outputs.push(layer.running_mean.as_ref().unwrap().value());
        outputs.push(layer.running_var.as_ref().unwrap().value());
        let count: i64 = layer.num_batches_tracked.as_ref().unwrap().value().item().unwrap();
        assert_eq!(count, 1);
    }
    case.check_outputs(&outputs);
    let gradients = case.loss(&outputs[..1]).backward().unwrap();
    close(case.name, gradients.get(&inputs[0]).unwrap(), &case.tensor("grad.0"), 1e-10);
    if let (Some(weight), Some(bias)) = (&layer.weight, &layer.bias) {
        close(case.name, gradients.get_id(weight.id()).unwrap(), &case.tensor("grad.3"), 1e-10);
        close(case.name, gradients.get_id(bias.id()).unwrap(), &case.tensor("grad.4"), 1e-10);
    }
}

#[test]
fn a_cumulative_batch_norm_averages_over_all_batches() -> Result<()> {
    let device = Reference::device();
    let layer = BatchNorm1d::new(1).momentum(None).dtype(DType::F64).init(&device)?;
    for batch in [[0.0f64, 2.0], [4.0, 8.0], [10.0, 20.0]] {
        layer.forward(&Tensor::from_vec(batch.to_vec(), [2, 1], &device)?)?;
    }
    let mean: f64 = layer.running_mean.as_ref().unwrap().value().item()?;
    let variance: f64 = layer.running_var.as_ref().unwrap().value().item()?;
    assert!((mean - (1.0 + 6.0 + 15.0) / 3.0).abs() < 1e-12, "{mean}");
    assert!((variance - (2.0 + 8.0 + 50.0) / 3.0).abs() < 1e-12, "{variance}");
    Ok(())
}

#[test]
fn one_value_per_channel_has_no_statistics_and_is_an_error() -> Result<()> {
    let device = Reference::device();
    let layer = BatchNorm1d::new(3).init(&device)?;
    let error = layer.forward(&Tensor::ones([1, 3], DType::F32, &device)?).unwrap_err().to_string();
    assert!(error.contains("at least 2 values per channel"), "{error}");
    Ok(())
}

/// Mean and variance, and the largest absolute value.
fn moments(tensor: &Tensor) -> Result<(f64, f64, f64)> {
    let x = tensor.to_vec::<f64>()?;
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64;
    Ok((mean, variance, x.iter().fold(0.0, |a, v| a.max(v.abs()))))
}

#[test]
fn parameters_start_in_pytorchs_distributions() -> Result<()> {
    let device = Reference::device();
    rng::manual_seed(1);
    // A uniform distribution in ±b has the variance b² / 3.
    let uniform = |what: &str, param: &Param, bound: f64| -> Result<()> {
        let (mean, variance, largest) = moments(param.tensor())?;
        let n = param.tensor().numel() as f64;
        assert!(mean.abs() < 4.0 * bound / (3.0 * n).sqrt(), "{what}: mean {mean}");
        let spread = variance / (bound * bound / 3.0);
        assert!((spread - 1.0).abs() < 4.0 / n.sqrt(), "{what}: variance off by {spread}");
        assert!(largest <= bound * (1.0 + 1e-6) && largest > 0.9 * bound, "{what}: {largest} of {bound}");
        Ok(())
    };
    let linear = Linear::new(64, 100).init(&device)?;
    uniform("linear weight", &linear.weight, 1.0 / 8.0)?;
    uniform("linear bias", linear.bias.as_ref().unwrap(), 1.0 / 8.0)?;
    let conv = Conv2d::new(8, 32, 3).groups(2).init(&device)?;
    uniform("conv weight", &conv.weight, 1.0 / 6.0)?;
    uniform("conv bias", conv.bias.as_ref().unwrap(), 1.0 / 6.0)?;
    // PyTorch counts the second axis of [in, out / groups, *kernel] as the fan in.
    let transposed = ConvTranspose2d::new(32, 16, 2).init(&device)?;
    assert_eq!(transposed.weight.tensor().dims(), [32, 16, 2, 2]);
    uniform("transposed weight", &transposed.weight, 1.0 / 8.0)?;
    let attention = MultiheadAttention::new(32, 4).init(&device)?;
    uniform("in_proj_weight", &attention.in_proj_weight, (6.0f64 / (4.0 * 32.0)).sqrt())?;
    uniform("out_proj.weight", &attention.out_proj.weight, 1.0 / 32f64.sqrt())?;
    for bias in [attention.in_proj_bias.as_ref(), attention.out_proj.bias.as_ref()] {
        assert_eq!(moments(bias.unwrap().tensor())?, (0.0, 0.0, 0.0));
    }
    let table = Embedding::new(100, 50).padding_idx(3).init(&device)?;
    let (mean, variance, _) = moments(table.weight.tensor())?;
    assert!(mean.abs() < 0.06 && (variance - 0.99).abs() < 0.08, "{mean} {variance}");
    assert_eq!(moments(&table.weight.tensor().select(0, 3)?)?, (0.0, 0.0, 0.0));
    let norm = BatchNorm2d::new(3).init(&device)?;
    assert_eq!(norm.weight.as_ref().unwrap().tensor().to_vec::<f32>()?, [1.0; 3]);
    assert_eq!(norm.running_var.as_ref().unwrap().value().to_vec::<f32>()?, [1.0; 3]);
    Ok(())
}

#[test]
fn attention_with_dropout_in_evaluation_is_attention() -> Result<()> {
    let device = Reference::device();
    let mut layer = MultiheadAttention::new(8, 2).dropout(0.5).causal(true).init(&device)?;
    let x = Tensor::randn([2, 4, 8], DType::F32, &device)?;
    let dropped = layer.forward(&x)?;
    layer.set_training(false);
    let whole = layer.forward(&x)?;
    assert_ne!(dropped.to_vec::<f32>()?, whole.to_vec::<f32>()?);
    assert_eq!(whole.to_vec::<f32>()?, layer.forward(&x)?.to_vec::<f32>()?);
    // A graph can be walked from any output.
    let gradients = Backward::new().run(&whole.sum_all()?)?;
    assert_eq!(gradients.len(), 4);
    Ok(())
}
