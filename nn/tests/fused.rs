//! Convolutions and linear layers that are computed as one op with what follows them.

use gradus_autograd::{Autograd, no_grad};
use gradus_backend_cpu::Cpu;
use gradus_nn::zoo::{Gpt, GptConfig, MobileNetV2, ResNet, Stem};
use gradus_nn::{
    Activation, Add, BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Gelu, Linear, Module, Parameters, Relu,
    Relu6, Sequential, Silu, Softmax, Tanh, TransformerEncoderLayer, chain, fuse_conv_bn,
};
use gradus_tensor_core::rng::manual_seed;
use gradus_tensor_core::{DType, Device, Result, Tensor};
use gradus_testkit::Reference;
use gradus_testkit::devices::Counting;

fn randn(dims: &[usize], device: &Device) -> Result<Tensor> {
    Tensor::randn(dims, DType::F32, device)
}

fn assert_close(a: &Tensor, b: &Tensor, tolerance: f64) -> Result<()> {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.detach()?.to_vec::<f32>()?, b.detach()?.to_vec::<f32>()?);
    let scale = b.iter().fold(1e-3, |m: f64, &x| m.max(f64::from(x.abs())));
    for (a, b) in a.iter().zip(&b) {
        assert!(f64::from((a - b).abs()) <= tolerance * scale, "{a} is not {b}");
    }
    Ok(())
}

/// Running statistics, weights and biases that are not what they start as.
fn stir(model: &mut dyn Module, x: &Tensor) -> Result<()> {
    model.for_each_param_mut(&mut |name, param| {
        let vector = param.tensor().rank() == 1 && !name.starts_with("fc") && !name.starts_with("classifier");
        if vector {
            let noise = randn(param.tensor().dims(), param.tensor().device())?.mul(0.2)?;
            param.update(|p| p.add_assign(&noise))?;
        }
        Ok(())
    })?;
    for _ in 0..3 {
        no_grad(|| model.forward(x))?;
    }
    Ok(())
}

#[test]
fn networks_are_evaluated_in_one_op_for_each_convolution_and_give_what_the_steps_give() -> Result<()> {
    manual_seed(3);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let models: [(Box<dyn Module>, usize, usize); 2] = [
        (Box::new(ResNet::new(3, 5, Stem::Small, [1, 1, 1, 1], &device)?), 12, 16),
        (Box::new(MobileNetV2::new(3, 5, 0.2, &device)?), 52, 32),
    ];
    for (mut model, convolutions, size) in models {
        let x = randn(&[3, 3, size, size], &device)?;
        stir(&mut *model, &x)?;
        assert_eq!(counting.take().get("conv_block"), None, "training needs the convolution's own output");
        model.set_training(false);
        let fused = no_grad(|| model.forward(&x))?;
        let made = counting.take();
        assert_eq!(made.get("conv_block"), Some(&convolutions));
        for step in ["conv", "batch_norm", "relu", "clamp", "add"] {
            assert_eq!(made.get(step), None, "{step} was computed by itself");
        }
        // What is recorded is computed step by step.
        let steps = model.forward(&x)?;
        let made = counting.take();
        assert_eq!((made.get("conv_block"), made.get("batch_norm")), (None, Some(&convolutions)));
        assert_close(&fused, &steps, 2e-5)?;
    }
    Ok(())
}

/// A convolution, batch normalization and an activation.
fn small(device: &Device) -> Result<Sequential> {
    let mut model = Sequential::new()
        .then(Conv2d::new(3, 4, 3).padding(1).init(device)?)
        .then(BatchNorm2d::new(4).init(device)?)
        .then(Silu);
    stir(&mut model, &randn(&[2, 3, 5, 5], device)?)?;
    model.set_training(false);
    Ok(model)
}

#[test]
fn what_is_frozen_is_fused_unless_its_input_is_tracked() -> Result<()> {
    manual_seed(4);
    let counting = Counting::new();
    let device = counting.around(&Reference::device());
    let mut model = small(&device)?;
    let x = randn(&[2, 3, 5, 5], &device)?;
    let blocks = |x: &Tensor, model: &dyn Module| -> Result<(Tensor, usize)> {
        counting.take();
        Ok((model.forward(x)?, counting.of("conv_block")))
    };
    let (steps, n) = blocks(&x, &model)?;
    assert_eq!(n, 0, "parameters are trained");
    model.freeze("*")?;
    let (fused, n) = blocks(&x, &model)?;
    assert_eq!(n, 1);
    assert_close(&fused, &steps, 1e-6)?;
    let tracked = x.requires_grad()?;
    let (y, n) = blocks(&tracked, &model)?;
    assert_eq!(n, 0);
    assert!(y.sum_all()?.backward()?.get(&tracked).is_some());
    Ok(())
}

#[test]
fn in_training_a_normalization_is_one_op_with_what_follows_it() -> Result<()> {
    manual_seed(6);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let normalizations = [
        (Box::new(ResNet::new(3, 5, Stem::Small, [1, 1, 1, 1], &device)?) as Box<dyn Module>, 9, 3, 16),
        (Box::new(MobileNetV2::new(3, 5, 0.0, &device)?), 45, 7, 32),
    ];
    for (model, blocks, alone, size) in normalizations {
        let x = randn(&[4, 3, size, size], &device)?;
        counting.take();
        let y = model.forward(&x)?;
        let made = counting.take();
        assert_eq!((made.get("batch_norm_block"), made.get("batch_norm")), (Some(&blocks), Some(&alone)));
        for step in ["relu", "clamp"] {
            assert_eq!(made.get(step), None, "{step} was computed by itself");
        }
        let gradients = y.sum_all()?.backward()?;
        model.for_each_param(&mut |name, param| {
            assert!(gradients.get_id(param.id()).is_some(), "{name} has no gradient");
            Ok(())
        })?;
        assert_eq!(counting.of("unary_grad"), 0);
    }
    Ok(())
}

#[test]
fn blocks_in_training_give_the_values_gradients_and_statistics_of_their_steps() -> Result<()> {
    manual_seed(7);
    let device = Cpu::device();
    let x = randn(&[4, 3, 5, 6], &device)?;
    let added = randn(&[4, 3, 5, 6], &device)?.requires_grad()?;
    let broadcast = randn(&[3, 1, 1], &device)?.requires_grad()?;
    let activations: [&dyn Module; 5] = [&Relu, &Relu6, &Tanh, &Silu, &Gelu::Exact];
    for (activation, added) in
        activations.into_iter().flat_map(|f| [(f, None), (f, Some(&added)), (f, Some(&broadcast))])
    {
        let (input, other) = (x.requires_grad()?, x.requires_grad()?);
        let (norm, same) = (BatchNorm2d::new(3).init(&device)?, BatchNorm2d::new(3).init(&device)?);
        let add = added.map(Add);
        let add = add.as_ref().map(|add| ("add", add as &dyn Module));
        let modules = [("norm", &norm as &dyn Module)].into_iter().chain(add).chain([("f", activation)]);
        let y = chain(modules, &input)?;
        let steps = same.forward(&other)?;
        let steps = activation.forward(&added.map_or(Ok(steps.clone()), |added| steps.add(added))?)?;
        assert_close(&y, &steps, 1e-6)?;
        let weights = randn(y.dims(), &device)?;
        let [ours, theirs] = [&y, &steps].map(|y| y.mul(&weights)?.sum_all()?.backward());
        let (ours, theirs) = (ours?, theirs?);
        assert_close(ours.get(&input).unwrap(), theirs.get(&other).unwrap(), 1e-5)?;
        if let Some(added) = added {
            assert_close(ours.get(added).unwrap(), theirs.get(added).unwrap(), 1e-5)?;
        }
        let parameters = |norm: &BatchNorm2d| [&norm.weight, &norm.bias].map(|p| p.as_ref().unwrap().id());
        for (a, b) in parameters(&norm).into_iter().zip(parameters(&same)) {
            assert_close(ours.get_id(a).unwrap(), theirs.get_id(b).unwrap(), 1e-5)?;
        }
        let kept =
            |norm: &BatchNorm2d| [&norm.running_mean, &norm.running_var].map(|b| b.as_ref().unwrap().value());
        for (a, b) in kept(&norm).iter().zip(&kept(&same)) {
            assert_close(a, b, 1e-6)?;
        }
    }
    Ok(())
}

#[test]
fn a_layer_in_between_ends_a_block() -> Result<()> {
    let counting = Counting::new();
    let device = counting.around(&Reference::device());
    let conv = || Conv2d::new(2, 2, 1).init(&device);
    let mut model = Sequential::new().then(conv()?).then(Softmax(1)).then(Relu).then(conv()?).then(conv()?);
    model.set_training(false);
    counting.take();
    no_grad(|| model.forward(&randn(&[1, 2, 3, 3], &device)?))?;
    assert_eq!((counting.of("conv_block"), counting.of("conv"), counting.of("relu")), (0, 3, 1));
    Ok(())
}

#[test]
fn additions_broadcast_in_a_chain_as_they_do_outside() -> Result<()> {
    let device = Reference::device();
    let conv = Conv2d::new(2, 3, 1).init(&device)?;
    let (x, bias) = (randn(&[2, 2, 4, 4], &device)?, randn(&[3, 1, 1], &device)?);
    let add = Add(&bias);
    let y = no_grad(|| chain([("conv", &conv as &dyn Module), ("add", &add), ("relu", &Relu)], &x))?;
    assert_close(&y, &no_grad(|| conv.forward(&x)?.add(&bias)?.relu())?, 1e-6)
}

#[test]
fn an_error_in_a_block_names_the_layer_that_made_it() -> Result<()> {
    let device = Reference::device();
    let error = |norm: &dyn Module, channels: usize| -> Result<String> {
        let conv = Conv2d::new(2, 3, 1).init(&device)?;
        let x = randn(&[2, channels, 4, 4], &device)?;
        let made = no_grad(|| chain([("conv", &conv as &dyn Module), ("bn", norm), ("relu", &Relu)], &x));
        Ok(made.unwrap_err().to_string())
    };
    let (mut wide, mut flat) = (BatchNorm2d::new(4).init(&device)?, BatchNorm1d::new(3).init(&device)?);
    wide.set_training(false);
    flat.set_training(false);
    assert!(error(&wide, 2)?.starts_with("bn: batch_norm"), "{}", error(&wide, 2)?);
    assert!(error(&flat, 2)?.starts_with("bn: batch_norm"), "{}", error(&flat, 2)?);
    assert!(error(&wide, 5)?.starts_with("conv: conv2d"), "{}", error(&wide, 5)?);
    Ok(())
}

#[test]
fn a_normalization_can_be_computed_into_the_convolution_before_it() -> Result<()> {
    manual_seed(5);
    let device = Cpu::device();
    for (bias, affine, groups) in [(true, true, 1), (false, true, 2), (true, false, 4), (false, false, 1)] {
        let conv = Conv2d::new(4, 8, 3).padding(1).groups(groups).bias(bias).init(&device)?;
        let mut norm = BatchNorm2d::new(8).affine(affine).init(&device)?;
        stir(&mut norm, &randn(&[5, 8, 3, 3], &device)?.affine(1.7, 0.4)?)?;
        norm.set_training(false);
        let x = randn(&[2, 4, 6, 5], &device)?;
        let fused = no_grad(|| fuse_conv_bn(&conv, &norm)?.forward(&x))?;
        assert_close(&fused, &no_grad(|| norm.forward(&conv.forward(&x)?))?, 1e-5)?;
    }
    let conv = Conv2d::new(4, 8, 3).init(&device)?;
    let none = BatchNorm2d::new(8).track_running_stats(false).init(&device)?;
    assert!(fuse_conv_bn(&conv, &none).unwrap_err().to_string().contains("running statistics"));
    assert!(fuse_conv_bn(&conv, &BatchNorm2d::new(4).init(&device)?).is_err());
    Ok(())
}

/// Two linear layers with an activation between them, and what goes in.
fn layers(
    activation: &'static dyn Module,
    device: &Device,
) -> Result<(Linear, Linear, &'static dyn Module, Tensor)> {
    let (up, down) = (Linear::new(6, 9).init(device)?, Linear::new(9, 6).bias(false).init(device)?);
    Ok((up, down, activation, randn(&[3, 5, 6], device)?))
}

#[test]
fn linear_layers_are_one_op_with_what_follows_them() -> Result<()> {
    manual_seed(8);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    for (activation, name, recorded) in [
        (&Relu as &'static dyn Module, "relu", true),
        (&Tanh, "tanh", true),
        (&Gelu::Exact, "gelu", false),
        (&Silu, "silu", false),
    ] {
        let (up, down, activation, x) = layers(activation, &device)?;
        // Nothing in evaluation, and without a probability.
        let dropout = Dropout::new(0.0)?;
        let forward = |x: &Tensor| {
            let add = Add(x);
            let modules: [&dyn Module; 6] = [&up, &dropout, activation, &down, &dropout, &add];
            chain(modules.into_iter().enumerate(), x)
        };
        let steps = |x: &Tensor| down.forward(&activation.forward(&up.forward(x)?)?)?.add(x);
        let made = |x: &Tensor| -> Result<(Tensor, [usize; 3])> {
            counting.take();
            let y = forward(x)?;
            Ok((y, ["linear", name, "add"].map(|op| counting.of(op))))
        };
        let (y, counts) = no_grad(|| made(&x))?;
        assert_eq!(counts, [2, 0, 0]);
        assert_eq!(y.to_vec::<f32>()?, no_grad(|| steps(&x))?.to_vec::<f32>()?, "other bits than the steps");

        // A gradient needs the sum of an addition never, and that before an activation if its result does not tell.
        let (a, b) = (x.requires_grad()?, x.requires_grad()?);
        let (y, counts) = made(&a)?;
        assert_eq!(counts, [2, usize::from(!recorded), 0], "{name} in training");
        let want = steps(&b)?;
        assert_eq!(y.detach()?.to_vec::<f32>()?, want.detach()?.to_vec::<f32>()?);
        let weights = randn(y.dims(), &device)?;
        let [ours, theirs] = [&y, &want].map(|y| y.mul(&weights)?.sum_all()?.backward());
        let (ours, theirs) = (ours?, theirs?);
        assert_eq!(ours.get(&a).unwrap().to_vec::<f32>()?, theirs.get(&b).unwrap().to_vec::<f32>()?);
        for param in [Some(&up.weight), up.bias.as_ref(), Some(&down.weight)].into_iter().flatten() {
            let [ours, theirs] = [&ours, &theirs].map(|g| g.get_id(param.id()).unwrap().to_vec::<f32>());
            assert_eq!(ours?, theirs?);
        }
    }
    Ok(())
}

#[test]
fn what_is_added_to_a_frozen_layer_gets_its_gradient() -> Result<()> {
    manual_seed(9);
    let device = Cpu::device();
    let mut layer = Linear::new(4, 4).init(&device)?;
    layer.freeze("*")?;
    for activation in [&Tanh as &dyn Module, &Gelu::Exact] {
        let (x, added) = (randn(&[3, 4], &device)?, randn(&[3, 4], &device)?.requires_grad()?);
        let add = Add(&added);
        let y = chain([("layer", &layer as &dyn Module), ("add", &add), ("f", activation)], &x)?;
        let gradient = y.sum_all()?.backward()?.get(&added).unwrap().clone();
        let steps = activation.forward(&layer.forward(&x)?.add(&added)?)?;
        assert_close(&gradient, steps.sum_all()?.backward()?.get(&added).unwrap(), 1e-6)?;
    }
    Ok(())
}

#[test]
fn additions_to_a_linear_layer_broadcast_in_a_chain_as_they_do_outside() -> Result<()> {
    let device = Reference::device();
    let layer = Linear::new(2, 3).init(&device)?;
    let x = randn(&[4, 2], &device)?;
    for dims in [&[3][..], &[1], &[2, 4, 3], &[1, 1, 4, 1]] {
        let other = randn(dims, &device)?;
        let add = Add(&other);
        let y = chain([("layer", &layer as &dyn Module), ("add", &add), ("relu", &Relu)], &x)?;
        assert_close(&y, &layer.forward(&x)?.add(&other)?.relu()?, 1e-6)?;
    }
    Ok(())
}

#[test]
fn transformers_add_and_activate_in_their_linear_layers() -> Result<()> {
    manual_seed(10);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let config = GptConfig { vocabulary: 7, context: 5, width: 8, heads: 2, blocks: 3, dropout: 0.1 };
    let mut gpt = Gpt::new(config, &device)?;
    gpt.set_training(false);
    let ids = Tensor::zeros([2, 5], DType::I64, &device)?;
    let names = ["linear", "gelu", "add"];
    for (recorded, counts) in [(false, [13, 0, 1]), (true, [13, 3, 1])] {
        counting.take();
        let y = if recorded { gpt.forward(&ids)? } else { no_grad(|| gpt.forward(&ids))? };
        assert_eq!(names.map(|name| counting.of(name)), counts, "positions are added to tokens");
        assert_eq!(y.dims(), [2, 5, 7]);
    }
    for norm_first in [false, true] {
        let block = TransformerEncoderLayer::new(8, 2).norm_first(norm_first).activation(Activation::Gelu);
        let mut block = block.init(&device)?;
        block.set_training(false);
        let x = randn(&[2, 3, 8], &device)?;
        counting.take();
        let fused = no_grad(|| block.forward(&x))?;
        assert_eq!(names.map(|name| counting.of(name)), [4, 0, 0]);
        let attend = |x: &Tensor| block.self_attn.forward(x);
        let feed = |x: &Tensor| block.linear2.forward(&block.linear1.forward(x)?.gelu()?);
        let steps = no_grad(|| match norm_first {
            true => {
                let x = x.add(&attend(&block.norm1.forward(&x)?)?)?;
                x.add(&feed(&block.norm2.forward(&x)?)?)
            }
            false => {
                let x = block.norm1.forward(&x.add(&attend(&x)?)?)?;
                block.norm2.forward(&x.add(&feed(&x)?)?)
            }
        })?;
        assert_eq!(fused.to_vec::<f32>()?, steps.to_vec::<f32>()?);
    }
    Ok(())
}
