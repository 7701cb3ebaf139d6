//! Names, walks, freezing, modes and state dicts.

use gradus_autograd::Autograd;
use gradus_nn::{
    BatchNorm2d, Buffer, Conv2d, Dropout, Linear, Module, Param, Parameters, Relu, Sequential, StateDict,
    Within,
};
use gradus_tensor_core::{DType, Device, Result, Tensor};
use gradus_testkit::Reference;

#[derive(Parameters)]
struct Block {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    skip: Option<Linear>,
    width: usize,
}

#[derive(Parameters)]
struct Net<H> {
    layer1: Vec<Block>,
    #[parameters(rename = "fc")]
    head: H,
    pair: (Linear, [Linear; 1]),
    #[parameters(flatten)]
    scale: Scale,
    kind: Kind,
    #[parameters(skip)]
    _started: Option<std::time::Instant>,
}

#[derive(Parameters)]
struct Scale {
    gain: Param,
    shift: Buffer,
}

#[derive(Parameters)]
enum Kind {
    Plain,
    Dense(Linear),
    Named { inner: Linear },
}

fn net(device: &Device, kind: Kind) -> Result<Net<Box<dyn Module>>> {
    let block = |skip: bool| -> Result<Block> {
        Ok(Block {
            conv1: Conv2d::new(1, 2, 3).init(device)?,
            bn1: BatchNorm2d::new(2).init(device)?,
            skip: skip.then(|| Linear::new(2, 2).init(device)).transpose()?,
            width: 2,
        })
    };
    Ok(Net {
        layer1: vec![block(false)?, block(true)?],
        head: Box::new(
            Sequential::new()
                .then(Linear::new(4, 3).init(device)?)
                .then(Relu)
                .then_named("out", Linear::new(3, 2).bias(false).init(device)?),
        ),
        pair: (Linear::new(1, 1).init(device)?, [Linear::new(1, 1).bias(false).init(device)?]),
        scale: Scale {
            gain: Param::new(Tensor::ones((), DType::F32, device)?)?,
            shift: Buffer::new(Tensor::zeros((), DType::F32, device)?)?,
        },
        kind,
        _started: None,
    })
}

#[test]
fn a_derived_tree_has_pytorchs_dotted_names() -> Result<()> {
    let device = Reference::device();
    let names = |kind| -> Result<Vec<String>> {
        Ok(net(&device, kind)?.state_dict().names().map(str::to_owned).collect())
    };
    let plain = names(Kind::Plain)?;
    let mut expected: Vec<&str> = vec![
        "fc.0.bias",
        "fc.0.weight",
        "fc.out.weight",
        "gain",
        "pair.0.bias",
        "pair.0.weight",
        "pair.1.0.weight",
        "shift",
        "layer1.1.skip.bias",
        "layer1.1.skip.weight",
    ];
    let block: Vec<String> = (0..2)
        .flat_map(|i| {
            ["conv1.weight", "conv1.bias", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
                .into_iter()
                .chain(["bn1.num_batches_tracked"])
                .map(move |name| format!("layer1.{i}.{name}"))
        })
        .collect();
    expected.extend(block.iter().map(String::as_str));
    expected.sort_unstable();
    assert_eq!(plain, expected);
    let device = &device;
    let dense = names(Kind::Dense(Linear::new(1, 1).bias(false).init(device)?))?;
    assert!(dense.contains(&"kind.weight".to_owned()), "{dense:?}");
    let named = names(Kind::Named { inner: Linear::new(1, 1).bias(false).init(device)? })?;
    assert!(named.contains(&"kind.inner.weight".to_owned()), "{named:?}");
    assert_eq!(net(device, Kind::Plain)?.layer1[0].width, 2);
    Ok(())
}

#[test]
fn counting_counts_parameters_and_not_buffers() -> Result<()> {
    let device = Reference::device();
    let layer = BatchNorm2d::new(5).init(&device)?;
    assert_eq!(layer.num_parameters(), 10);
    assert_eq!(layer.state_dict().len(), 5);
    assert_eq!(Linear::new(3, 4).init(&device)?.num_parameters(), 16);
    Ok(())
}

#[test]
fn frozen_parameters_get_no_gradient_and_unfrozen_ones_do_again() -> Result<()> {
    let device = Reference::device();
    let mut model =
        Sequential::new().then(Linear::new(2, 3).init(&device)?).then(Linear::new(3, 1).init(&device)?);
    let x = Tensor::ones([1, 2], DType::F32, &device)?;
    let count = |model: &Sequential| -> Result<usize> { Ok(model.forward(&x)?.sum_all()?.backward()?.len()) };
    assert_eq!(count(&model)?, 4);
    assert_eq!(model.freeze("0.*")?, 2);
    assert_eq!(count(&model)?, 2);
    assert_eq!(model.freeze("*.bias")?, 2);
    assert_eq!(count(&model)?, 1);
    assert_eq!(model.unfreeze("*")?, 4);
    assert_eq!(count(&model)?, 4);
    let error = model.freeze("encoder.*").unwrap_err().to_string();
    assert!(error.contains("encoder.*") && error.contains("0.weight"), "{error}");
    Ok(())
}

#[test]
fn modes_reach_every_dropout_and_switch_it_off() -> Result<()> {
    let device = Reference::device();
    let mut model = Sequential::new().then(Sequential::new().then(Dropout::new(0.5)?));
    let x = Tensor::ones([64], DType::F32, &device)?;
    let trained = model.forward(&x)?.to_vec::<f32>()?;
    assert!(trained.contains(&0.0) && trained.contains(&2.0));
    model.set_training(false);
    assert_eq!(model.forward(&x)?.to_vec::<f32>()?, vec![1.0; 64]);
    model.set_training(true);
    assert_ne!(model.forward(&x)?.to_vec::<f32>()?, vec![1.0; 64]);
    assert!(Dropout::new(1.5).is_err());
    Ok(())
}

#[test]
fn an_update_happens_in_place_unless_a_graph_holds_the_old_values() -> Result<()> {
    let device = Reference::device();
    let mut param = Param::new(Tensor::ones(1000, DType::F32, &device)?)?;
    let loss = param.value()?.square()?.sum_all()?;
    param.update(|value| {
        assert!(!value.is_unique(), "the graph holds the values");
        value.mul_assign(3.0)
    })?;
    assert_eq!(param.tensor().to_vec::<f32>()?[0], 3.0);
    // The graph still has the ones it was computed from.
    assert_eq!(loss.backward()?.get_id(param.id()).unwrap().to_vec::<f32>()?[0], 2.0);
    drop(loss);

    let id = param.id();
    let loss = param.value()?.square()?.sum_all()?;
    let gradients = loss.backward()?;
    drop(loss);
    param.update(|value| {
        assert!(value.is_unique(), "backward has consumed the graph");
        value.sub_assign(gradients.get_id(id).unwrap())
    })?;
    assert_eq!(param.tensor().to_vec::<f32>()?[0], -3.0);
    assert_eq!(param.id(), id);
    assert_eq!(param.value()?.leaf_id(), Some(id));
    Ok(())
}

#[test]
fn a_parameter_keeps_its_values_when_an_update_fails_or_panics() -> Result<()> {
    let device = Reference::device();
    let mut param = Param::new(Tensor::ones(2, DType::F32, &device)?)?;
    let failed = param.update(|value| {
        value.mul_assign(2.0)?;
        value.add_assign(&Tensor::ones(3, DType::F32, &device)?)
    });
    assert!(failed.is_err());
    assert_eq!(param.value()?.to_vec::<f32>()?, [2.0, 2.0]);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        param.update(|_| -> Result<()> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    assert_eq!(param.value()?.to_vec::<f32>()?, [2.0, 2.0]);
    assert!(param.set(Tensor::ones(2, DType::I64, &device)?).is_err());
    assert_eq!(param.value()?.to_vec::<f32>()?, [2.0, 2.0]);
    Ok(())
}

#[test]
fn copies_of_a_model_are_other_models() -> Result<()> {
    let device = Reference::device();
    let layer = Linear::new(2, 1).init(&device)?;
    let mut copy = layer.clone();
    assert_ne!(layer.weight.id(), copy.weight.id());
    copy.weight.update(|w| w.mul_assign(0.0))?;
    assert_ne!(layer.weight.tensor().to_vec::<f32>()?, copy.weight.tensor().to_vec::<f32>()?);
    Ok(())
}

#[test]
fn a_state_dict_is_a_snapshot_and_survives_a_file() -> Result<()> {
    let device = Reference::device();
    let mut layer = Linear::new(2, 2).init(&device)?;
    let state = layer.state_dict();
    let before = layer.weight.tensor().to_vec::<f32>()?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    state.save(&path)?;
    layer.weight.update(|w| w.mul_assign(0.0))?;
    assert_eq!(state.get("weight").unwrap().to_vec::<f32>()?, before);
    layer.load_state_dict(&StateDict::load(&path, &device)?)?;
    assert_eq!(layer.weight.tensor().to_vec::<f32>()?, before);
    Ok(())
}

#[test]
fn strict_loading_lists_everything_that_does_not_fit_and_changes_nothing() -> Result<()> {
    let device = Reference::device();
    let mut model = Sequential::new().then(Linear::new(2, 3).init(&device)?);
    let before = model.state_dict().get("0.weight").unwrap().to_vec::<f32>()?;
    let mut state = model.state_dict().renamed(|name| Some(format!("module.{name}")));
    state.insert("0.weight", Tensor::zeros([5, 2], DType::F32, &device)?);
    let error = model.load_state_dict(&state).unwrap_err().to_string();
    for part in [
        "shape of 0.weight: the model has [3, 2], the state dict has [5, 2]",
        "missing 0.bias [3]",
        "unexpected module.0.bias [3]",
    ] {
        assert!(error.contains(part), "no `{part}` in: {error}");
    }
    assert!(model.load_state_dict_partial(&state).is_err(), "shapes must fit in partial loading too");
    assert_eq!(model.state_dict().get("0.weight").unwrap().to_vec::<f32>()?, before);
    Ok(())
}

#[test]
fn partial_loading_takes_what_fits_and_reports_the_rest() -> Result<()> {
    let device = Reference::device();
    let mut model = Sequential::new().then(Linear::new(2, 3).init(&device)?);
    let mut state = StateDict::new();
    state.insert("0.bias", Tensor::full(7.0, 3, DType::F64, &device)?);
    state.insert("extra", Tensor::zeros(1, DType::F32, &device)?);
    let report = model.load_state_dict_partial(&state)?;
    assert_eq!(report.loaded, ["0.bias"]);
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.unexpected[0].0, "extra");
    assert!(!report.is_exact());
    let bias = model.state_dict().remove("0.bias").unwrap();
    assert_eq!((bias.dtype(), bias.to_vec::<f32>()?), (DType::F32, vec![7.0; 3]));
    Ok(())
}

#[test]
fn converting_a_model_leaves_counts_alone_and_keeps_identities() -> Result<()> {
    let device = Reference::device();
    let mut layer = BatchNorm2d::new(2).init(&device)?;
    let id = layer.weight.as_ref().unwrap().id();
    layer.to_dtype(DType::F64)?;
    assert_eq!(layer.weight.as_ref().unwrap().tensor().dtype(), DType::F64);
    assert_eq!(layer.weight.as_ref().unwrap().id(), id);
    assert_eq!(layer.running_mean.as_ref().unwrap().value().dtype(), DType::F64);
    assert_eq!(layer.num_batches_tracked.as_ref().unwrap().value().dtype(), DType::I64);
    assert!(layer.to_dtype(DType::I64).is_err());
    let other = Reference::device();
    layer.to_device(&other)?;
    let y = layer.forward(&Tensor::randn([2, 2, 2, 2], DType::F64, &other)?)?;
    assert_eq!(y.dims(), [2, 2, 2, 2]);
    Ok(())
}

#[test]
fn an_error_says_in_which_layer_it_happened() -> Result<()> {
    let device = Reference::device();
    let model = Sequential::new()
        .then(Sequential::new().then(Relu).then_named("conv1", Conv2d::new(4, 64, 3).init(&device)?));
    let error = model.forward(&Tensor::zeros([1, 3, 8, 8], DType::F32, &device)?).within("layer1");
    let text = error.unwrap_err().to_string();
    assert!(
        text.starts_with("layer1.0.conv1: conv2d: input has 3 channels but weight [64, 4, 3, 3] expects 4"),
        "{text}"
    );
    Ok(())
}

#[test]
fn options_out_of_their_domain_are_errors() -> Result<()> {
    let device = Reference::device();
    let error = Conv2d::new(3, 8, 3).groups(2).init(&device).unwrap_err().to_string();
    assert!(error.contains("groups = 2 must divide both 3 input and 8 output channels"), "{error}");
    assert!(Conv2d::new(3, 8, 3).groups(0).init(&device).is_err());
    assert!(Conv2d::new(3, 8, [3, 0]).init(&device).is_err());
    assert!(Linear::new(2, 2).dtype(DType::I64).init(&device).is_err());
    assert!(gradus_nn::GroupNorm::new(3, 4).init(&device).is_err());
    assert!(gradus_nn::MultiheadAttention::new(6, 4).init(&device).is_err());
    assert!(gradus_nn::Embedding::new(2, 2).padding_idx(2).init(&device).is_err());
    Ok(())
}
