//! No layer stops gradients: what lies before it trains, and so do its own parameters, all of them.

use gradus_autograd::Autograd;
use gradus_backend_cpu::Cpu;
use gradus_nn::{
    Activation, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AvgPool1d, AvgPool2d, BatchNorm1d, BatchNorm2d, Conv1d,
    Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, Elu, Flatten, Gelu, GroupNorm, LayerNorm, Linear,
    LogSoftmax, MaxPool1d, MaxPool2d, Mish, Module, MultiheadAttention, Parameters, RmsNorm, Sigmoid, Silu,
    Softmax, Tanh, TransformerEncoderLayer,
};
use gradus_tensor_core::rng::{self, Key};
use gradus_tensor_core::{DType, Device, Result, Tensor};
use gradus_testkit::{Options, Reference, gradcheck};

const F: DType = DType::F64;

/// A layer, with its name and the shape of an input that it takes.
type Case = (&'static str, Box<dyn Module>, Vec<usize>);

/// Every layer.
fn layers(device: &Device) -> Result<Vec<Case>> {
    rng::manual_seed(8);
    let image = || vec![2, 4, 5, 6];
    let rows = || vec![3, 4];
    let sequence = || vec![2, 3, 4];
    Ok(vec![
        ("linear", Box::new(Linear::new(4, 3).dtype(F).init(device)?), rows()),
        ("conv1d", Box::new(Conv1d::new(4, 3, 2).dtype(F).init(device)?), vec![2, 4, 5]),
        (
            "conv2d in groups",
            Box::new(Conv2d::new(4, 6, 3).padding(1).groups(2).dtype(F).init(device)?),
            image(),
        ),
        (
            "conv2d by channel",
            Box::new(Conv2d::new(4, 4, 3).stride(2).groups(4).dtype(F).init(device)?),
            image(),
        ),
        ("conv3d", Box::new(Conv3d::new(2, 2, 2).dtype(F).init(device)?), vec![1, 2, 3, 3, 2]),
        (
            "conv_transpose1d",
            Box::new(ConvTranspose1d::new(4, 3, 3).stride(2).dtype(F).init(device)?),
            sequence_of(4),
        ),
        (
            "conv_transpose2d",
            Box::new(
                ConvTranspose2d::new(4, 2, 3).stride(2).output_padding(1).groups(2).dtype(F).init(device)?,
            ),
            vec![1, 4, 3, 2],
        ),
        ("max_pool1d, overlapping", Box::new(MaxPool1d::new(3).stride(1)), sequence_of(4)),
        ("max_pool2d, overlapping", Box::new(MaxPool2d::new(3).stride(2).padding(1)), image()),
        ("max_pool2d, with gaps", Box::new(MaxPool2d::new(1).stride(2)), image()),
        ("avg_pool1d, overlapping", Box::new(AvgPool1d::new(3).stride(1)), sequence_of(4)),
        ("avg_pool2d, with gaps", Box::new(AvgPool2d::new([1, 2]).stride(3)), image()),
        ("adaptive_avg_pool1d", Box::new(AdaptiveAvgPool1d::new(3)), sequence_of(4)),
        ("adaptive_avg_pool2d", Box::new(AdaptiveAvgPool2d::new([2, 4])), image()),
        ("batch_norm1d", Box::new(BatchNorm1d::new(4).dtype(F).init(device)?), rows()),
        ("batch_norm2d", Box::new(BatchNorm2d::new(4).dtype(F).init(device)?), image()),
        ("layer_norm", Box::new(LayerNorm::new(4).dtype(F).init(device)?), rows()),
        ("rms_norm", Box::new(RmsNorm::new(4).dtype(F).init(device)?), rows()),
        ("group_norm", Box::new(GroupNorm::new(2, 4).dtype(F).init(device)?), image()),
        (
            "attention",
            Box::new(MultiheadAttention::new(4, 2).causal(true).dtype(F).init(device)?),
            sequence(),
        ),
        (
            "transformer",
            Box::new(
                TransformerEncoderLayer::new(4, 2)
                    .feed_forward(6)
                    .dropout(0.0)
                    .activation(Activation::Gelu)
                    .dtype(F)
                    .init(device)?,
            ),
            sequence(),
        ),
        ("softmax", Box::new(Softmax(-1)), rows()),
        ("log_softmax", Box::new(LogSoftmax(-1)), rows()),
        ("gelu", Box::new(Gelu::default()), rows()),
        ("silu", Box::new(Silu), rows()),
        ("mish", Box::new(Mish), rows()),
        ("elu", Box::new(Elu(1.3)), rows()),
        ("tanh", Box::new(Tanh), rows()),
        ("sigmoid", Box::new(Sigmoid), rows()),
        ("flatten", Box::new(Flatten::new()), image()),
    ])
}

fn sequence_of(channels: usize) -> Vec<usize> {
    vec![2, channels, 6]
}

fn normal(dims: &[usize], stream: u64, device: &Device) -> Result<Tensor> {
    Tensor::normal(0.0, 1.0, Key { seed: 4, stream }, dims, F, device)
}

#[test]
fn every_layer_passes_the_right_gradient_to_what_lies_before_it() -> Result<()> {
    for device in [Reference::device(), Cpu::device()] {
        for (name, layer, dims) in layers(&device)? {
            let x = normal(&dims, 0, &device)?;
            let shape = *layer.forward(&x)?.shape();
            let weights = normal(&shape, 1, &device)?;
            let weighted = |x: &[Tensor]| layer.forward(&x[0])?.mul(&weights);
            gradcheck(weighted, &[&x], Options::default()).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    Ok(())
}

/// Not merely a gradient that is not zero: of grouped convolutions, every group's filters.
#[test]
fn every_number_of_every_parameter_takes_part() -> Result<()> {
    let device = Cpu::device();
    for (name, layer, dims) in layers(&device)? {
        let x = normal(&dims, 2, &device)?;
        let y = layer.forward(&x)?;
        if !y.is_tracked() {
            assert_eq!(layer.num_parameters(), 0, "{name}");
            continue;
        }
        let weights = normal(y.shape(), 3, &device)?;
        let gradients = y.mul(&weights)?.sum_all()?.backward()?;
        layer.for_each_param(&mut |path, param| {
            let gradient =
                gradients.get_id(param.id()).unwrap_or_else(|| panic!("{name}: {path} has no gradient"));
            let gradient = gradient.to_vec::<f64>()?;
            assert!(gradient.iter().all(|g| g.is_finite()), "{name}: {path}");
            // The bias of keys adds one number to all of a query's scores, which changes no softmax.
            let silent = if path.ends_with("in_proj_bias") { gradient.len() / 3 } else { 0 };
            let zeros = gradient.iter().filter(|g| **g == 0.0).count();
            assert!(zeros <= silent, "{name}: {path} has {zeros} gradients of 0");
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_seed_fixes_initialization_and_dropout_on_the_cpu() -> Result<()> {
    let device = Cpu::device();
    let draw = |seed| -> Result<Vec<f32>> {
        rng::manual_seed(seed);
        let layer = Linear::new(5, 7).init(&device)?;
        let x = Tensor::randn([4, 5], DType::F32, &device)?;
        gradus_nn::Dropout::new(0.5)?.forward(&layer.forward(&x)?)?.to_vec()
    };
    assert_eq!(draw(3)?, draw(3)?);
    assert_ne!(draw(3)?, draw(4)?);
    Ok(())
}
