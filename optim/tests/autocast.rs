//! Mixed precision: what is computed in which dtype, what gradients come back in, and PyTorch's numbers.

#[path = "../../nn/tests/common/mod.rs"]
mod common;

use common::{Golden, devices};
use gradus_autograd::{Autograd, Backward, Function, apply, checkpoint, no_grad};
use gradus_backend_cpu::Cpu;
use gradus_nn::{
    Activation, Add, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Module, Parameters, Relu, Sequential,
    StateDict, TransformerEncoderLayer, chain, loss,
};
use gradus_optim::{Adam, Autocast, GradScaler, MixedPrecision, Optimizer, Policy, Precision};
use gradus_tensor_core::{AttentionOptions, ConvOptions, DType, Device, PoolOptions, Result, Tensor, rng};
use gradus_testkit::devices::Counting;

const BF16: DType = DType::BF16;

fn randn<const N: usize>(shape: [usize; N]) -> Result<Tensor> {
    Tensor::randn(shape, DType::F32, &Cpu::device())
}

/// The largest difference, relative to the largest value.
fn distance(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.dims(), theirs.dims());
    let (a, b) = (ours.to_vec::<f64>().unwrap(), theirs.to_vec::<f64>().unwrap());
    let largest = b.iter().fold(1e-30f64, |m, x| m.max(x.abs()));
    a.iter().zip(&b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn each_class_of_ops_has_its_precision() -> Result<()> {
    rng::manual_seed(1);
    let x = randn([4, 8])?.autocast(BF16)?;
    let w = randn([8, 8])?;
    let low = x.matmul(&w)?;
    assert_eq!(low.dtype(), BF16);
    assert_eq!(x.linear(&w, Some(&randn([8])?))?.dtype(), BF16);
    let image = randn([2, 3, 6, 6])?.autocast(BF16)?;
    assert_eq!(image.conv(&randn([4, 3, 3, 3])?, None, ConvOptions::default())?.dtype(), BF16);
    let up = image.conv_transpose(&randn([3, 4, 3, 3])?, None, ConvOptions::default(), &[0, 0])?;
    assert_eq!(up.dtype(), BF16);
    let q = randn([2, 5, 8])?.autocast(BF16)?;
    let mask = Tensor::ones([5, 5], DType::Bool, &Cpu::device())?;
    let options = AttentionOptions { mask: Some(&mask), ..AttentionOptions::default() };
    assert_eq!(q.attention(&q, &q, options)?.dtype(), BF16);

    // What loses digits is computed in f32, also from bf16.
    let full = [
        low.softmax(1)?,
        low.log_softmax(1)?,
        low.sum(1)?,
        low.mean(0)?,
        low.prod(1)?,
        low.cumsum(1)?,
        low.exp()?,
        low.abs()?.log1p()?,
        low.pow(2.0)?,
        low.square()?,
        loss::cross_entropy(&low, &Tensor::zeros(4, DType::I64, &Cpu::device())?)?,
        low.var(1, 1)?,
        loss::mse_loss(&low, &low)?,
        loss::l1_loss(&low, &low)?,
    ];
    for y in full {
        assert_eq!(y.dtype(), DType::F32);
    }
    // What is neither follows its operands.
    assert_eq!(low.relu()?.dtype(), BF16);
    assert_eq!(low.amax(1)?.dtype(), BF16);
    assert_eq!(low.add(&low)?.dtype(), BF16);
    assert_eq!(low.add(&w.narrow(0, 0, 4)?)?.dtype(), DType::F32);
    assert_eq!(Tensor::cat(&[&low, &w], 0)?.dtype(), DType::F32);
    assert_eq!(up.max_pool(PoolOptions::new(2))?.dtype(), BF16);
    // A normalization follows its input; its statistics are f32.
    let (weight, bias) = (randn([8])?, randn([8])?);
    assert_eq!(low.layer_norm(1, Some(&weight), Some(&bias), 1e-5)?.dtype(), BF16);
    assert_eq!(x.layer_norm(1, Some(&weight), Some(&bias), 1e-5)?.dtype(), DType::F32);
    let (y, mean, variance) = up.batch_norm_train(None, None, 1e-5)?;
    assert_eq!((y.dtype(), mean.dtype(), variance.dtype()), (BF16, DType::F32, DType::F32));
    Ok(())
}

#[test]
fn doubles_and_integers_are_left_alone() -> Result<()> {
    let device = Cpu::device();
    let x = Tensor::randn([3, 3], DType::F64, &device)?;
    let y = x.autocast(BF16)?;
    assert_eq!(y.matmul(&x)?.to_vec::<f64>()?, x.matmul(&x)?.to_vec::<f64>()?);
    assert_eq!(y.matmul(&x.cast(DType::F32)?)?.dtype(), DType::F64);
    let n = Tensor::arange(0, 9, DType::I64, &device)?.reshape([3, 3])?;
    assert_eq!(n.autocast(BF16)?.matmul(&n)?.to_vec::<i64>()?, n.matmul(&n)?.to_vec::<i64>()?);
    Ok(())
}

#[test]
fn a_policy_can_be_changed_and_printed() -> Result<()> {
    let device = Cpu::device();
    let policy = Policy::default().with("matmul", Precision::Full).with("exp", Precision::Widest);
    let around = Autocast::with_policy(&device, BF16, policy.clone())?;
    let x = randn([2, 2])?.to(&around)?;
    assert_eq!(x.matmul(&x.cast(BF16)?)?.dtype(), DType::F32);
    assert_eq!(x.cast(BF16)?.exp()?.dtype(), BF16);
    assert!(around != Autocast::device(&device, BF16)?);
    assert!(around == Autocast::with_policy(&device, BF16, policy)?);
    let printed = Policy::default().to_string();
    for word in ["lower", "matmul", "f32", "softmax", "input's", "batch_norm", "everything else"] {
        assert!(printed.contains(word), "{printed}");
    }
    Ok(())
}

#[test]
fn only_half_precisions_are_lower() {
    for dtype in [DType::F32, DType::F64, DType::I64] {
        let error = Autocast::device(&Cpu::device(), dtype).unwrap_err().to_string();
        assert!(error.contains("f16 or bf16"), "{error}");
    }
}

/// A model that has a bit of everything.
fn network(device: &Device) -> Result<Sequential> {
    Ok(Sequential::new()
        .then(Conv2d::new(1, 4, 3).padding(1).init(device)?)
        .then(BatchNorm2d::new(4).init(device)?)
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(Flatten::new())
        .then(Linear::new(36, 16).init(device)?)
        .then(Activation::Gelu)
        .then(Linear::new(16, 5).init(device)?))
}

fn batch(device: &Device) -> Result<(Tensor, Tensor)> {
    let x = Tensor::randn([8, 1, 6, 6], DType::F32, device)?;
    Ok((x, Tensor::randint(0, 5, [8], DType::I64, device)?))
}

#[test]
fn gradients_come_back_in_f32_and_near_those_of_f32() -> Result<()> {
    for device in devices() {
        rng::manual_seed(3);
        let model = network(&device)?;
        let (x, y) = batch(&device)?;
        let exact = loss::cross_entropy(&model.forward(&x)?, &y)?;
        let expected = exact.backward()?;
        for (dtype, tolerance) in [(BF16, 0.05), (DType::F16, 0.006)] {
            let loss = loss::cross_entropy(&model.forward(&x.autocast(dtype)?)?, &y)?;
            assert_eq!(loss.dtype(), DType::F32);
            assert!(loss.is_tracked());
            assert!(distance(&loss.reshape([1])?, &exact.reshape([1])?) < tolerance);
            let gradients = loss.backward()?;
            assert_eq!(gradients.len(), expected.len());
            model.for_each_param(&mut |name, param| {
                let (ours, theirs) =
                    (gradients.get_id(param.id()).unwrap(), expected.get_id(param.id()).unwrap());
                assert_eq!((ours.dtype(), ours.device()), (DType::F32, &device), "{name}");
                // Batch normalization cancels the gradient of a bias before it: both are noise.
                if name != "0.bias" {
                    let d = distance(ours, theirs);
                    assert!(d < tolerance, "{name}: {d} in {dtype}");
                    assert!(d > 0.0, "{name} was computed in f32");
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// How far autocast is from `f32` must be about what it is in PyTorch: two roundings of one value differ by as much.
fn against_pytorch(
    op: &str,
    model: &dyn Fn(&Device) -> Result<Box<dyn Module>>,
    criterion: fn(&Tensor, &Tensor) -> Result<Tensor>,
) {
    for device in devices() {
        let golden = Golden::open("amp", &device);
        let cases = golden.of(op);
        let case = &cases[0];
        let mut model = model(&device).unwrap();
        model.load_state_dict(&case.state("state")).unwrap();
        let output = model.forward(&case.tensor("input.0").autocast(BF16).unwrap()).unwrap();
        let check = |name: &str, ours: &Tensor, theirs: &Tensor, exact: &Tensor| {
            assert_eq!(ours.dtype(), theirs.dtype(), "{name}");
            let (ours, theirs) = (distance(ours, exact), distance(theirs, exact));
            assert!(ours < 1.5 * theirs + 0.004, "{name}: {ours} from f32, PyTorch {theirs}");
        };
        check("output", &output, &case.tensor("output.0"), &case.tensor("exact_output.0"));
        let loss = criterion(&output.cast(DType::F32).unwrap(), &case.tensor("input.1")).unwrap();
        let (ours, theirs) = (loss.item::<f64>().unwrap(), case.tensor("loss").item::<f64>().unwrap());
        assert!((ours - theirs).abs() < 0.01 * theirs, "loss {ours}, PyTorch {theirs}");
        let gradients = loss.backward().unwrap();
        let (theirs, exact) = (case.state("state_grad"), case.state("exact_grad"));
        model
            .for_each_param(&mut |name, param| {
                let of = |state: &StateDict| state.get(name).unwrap().clone();
                // Batch normalization cancels the gradient of the bias before it: what is left is noise.
                if name != "conv1.bias" {
                    check(name, gradients.get_id(param.id()).unwrap(), &of(&theirs), &of(&exact));
                }
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn a_convolutional_network_is_near_pytorchs_autocast() {
    let build = |device: &Device| -> Result<Box<dyn Module>> {
        Ok(Box::new(
            Sequential::new()
                .then_named("conv1", Conv2d::new(1, 4, 3).padding(1).init(device)?)
                .then_named("bn1", BatchNorm2d::new(4).init(device)?)
                .then(Relu)
                .then(MaxPool2d::new(2))
                .then_named("conv2", Conv2d::new(4, 6, 3).stride(2).padding(1).bias(false).init(device)?)
                .then_named("bn2", BatchNorm2d::new(6).init(device)?)
                .then(Relu)
                .then(Flatten::new())
                .then_named("fc", Linear::new(24, 5).init(device)?),
        ))
    };
    against_pytorch("cnn", &build, loss::cross_entropy);
}

#[test]
fn a_transformer_block_is_near_pytorchs_autocast() {
    let build = |device: &Device| -> Result<Box<dyn Module>> {
        let layer = TransformerEncoderLayer::new(8, 2).feed_forward(12).activation(Activation::Gelu);
        Ok(Box::new(layer.dropout(0.0).norm_first(true).causal(true).init(device)?))
    };
    against_pytorch("transformer_block", &build, loss::mse_loss);
}

fn train(dtype: Option<DType>) -> Result<(f64, f64)> {
    let device = Cpu::device();
    rng::manual_seed(7);
    let mut model = network(&device)?;
    let (x, y) = batch(&device)?;
    let mut optimizer = Adam::new(0.01);
    let mut scaler = GradScaler::new().growth_interval(10);
    let mut losses = Vec::new();
    for _ in 0..40 {
        let input = dtype.map_or(Ok(x.clone()), |dtype| x.autocast(dtype))?;
        let loss = loss::cross_entropy(&model.forward(&input)?, &y)?;
        losses.push(loss.item::<f64>()?);
        if dtype == Some(DType::F16) {
            let gradients = scaler.unscale(scaler.scale(&loss)?.backward()?)?;
            scaler.step(&mut optimizer, &mut model, gradients)?;
        } else {
            optimizer.step(&mut model, &loss.backward()?)?;
        }
    }
    model.for_each_param(&mut |name, param| {
        assert_eq!(param.tensor().dtype(), DType::F32, "{name}");
        assert_eq!(param.tensor().device(), &device, "{name}");
        Ok(())
    })?;
    for (name, tensor) in model.state_dict().iter() {
        assert_eq!(tensor.device(), &device, "{name}");
    }
    Ok((losses[0], losses[39]))
}

#[test]
fn training_gets_where_it_gets_in_f32() -> Result<()> {
    let (first, last) = train(None)?;
    assert!(last < 0.05 * first, "{first} to {last}");
    for dtype in [BF16, DType::F16] {
        let (first, last) = train(Some(dtype))?;
        assert!(last < 0.05 * first, "{dtype}: {first} to {last}");
    }
    Ok(())
}

#[test]
fn gradients_of_gradients_pass_through_the_casts() -> Result<()> {
    rng::manual_seed(5);
    let (x, w) = (randn([3, 4])?.requires_grad()?, randn([4, 4])?);
    let penalty = |x: &Tensor, input: &Tensor| -> Result<Tensor> {
        let y = input.matmul(&w)?.tanh()?.sum_all()?;
        let first = Backward::new().create_graph().run(&y)?;
        let squares = first.get(x).unwrap().square()?.sum_all()?;
        Ok(squares.backward()?.take(x).unwrap())
    };
    let (ours, exact) = (penalty(&x, &x.autocast(BF16)?)?, penalty(&x, &x)?);
    assert_eq!(ours.dtype(), DType::F32);
    assert!(distance(&ours, &exact) < 0.05);
    Ok(())
}

#[test]
fn nothing_is_recorded_under_no_grad_and_what_is_cast_there_has_its_gradient_later() -> Result<()> {
    let model = Linear::new(4, 2).init(&Cpu::device())?;
    let x = randn([3, 4])?.autocast(BF16)?;
    let y = no_grad(|| model.forward(&x))?;
    assert!(!y.is_tracked());
    let gradients = model.forward(&x)?.sum_all()?.backward()?;
    assert_eq!(gradients.len(), 2);
    Ok(())
}

#[test]
fn leaves_that_are_made_there_or_move_there_are_leaves() -> Result<()> {
    let x = randn([2, 2])?.autocast(BF16)?;
    let leaf = x.requires_grad()?;
    assert_eq!(leaf.device(), x.device());
    let y = leaf.matmul(&leaf)?;
    assert_eq!(y.dtype(), BF16);
    assert_eq!(y.sum_all()?.backward()?.get(&leaf).unwrap().dtype(), DType::F32);

    let leaf = randn([2, 2])?.requires_grad()?;
    let moved = leaf.autocast(BF16)?;
    assert_eq!(moved.leaf_id(), leaf.leaf_id());
    assert!(moved.matmul(&leaf)?.sum_all()?.backward()?.get(&leaf).is_some());
    Ok(())
}

#[test]
fn a_tensor_leaves_with_its_graph_or_without() -> Result<()> {
    let device = Cpu::device();
    let x = randn([2, 2])?.requires_grad()?;
    let y = x.autocast(BF16)?.matmul(&x)?;
    for out in [y.without_autocast()?, y.to(&device)?] {
        assert!(out.is_tracked() && out.dtype() == BF16);
        assert_eq!(out.cast(DType::F32)?.matmul(&x)?.dtype(), DType::F32);
    }
    let plain = y.detach()?;
    assert!(!plain.is_tracked());
    assert_eq!(plain.device(), &device);
    // To another device and back.
    let there = Cpu::builder().threads(1).build()?;
    let far = y.to(&Autocast::device(&there, DType::F16)?)?;
    assert_eq!(far.matmul(&far)?.dtype(), DType::F16);
    assert!(far.sum_all()?.backward()?.get(&x).is_some());
    // The innermost autocast counts.
    assert_eq!(y.autocast(DType::F16)?.matmul(&x)?.dtype(), DType::F16);
    assert!(y.autocast(BF16)?.device() == y.device());
    Ok(())
}

#[test]
fn views_and_changes_in_place_work_there() -> Result<()> {
    let mut x = Tensor::zeros([2, 3], DType::F32, &Cpu::device())?.autocast(BF16)?;
    let before = x.clone();
    x.add_assign(1.5)?;
    x.narrow_assign(1, 0, &Tensor::ones([2, 1], DType::F32, &Cpu::device())?)?;
    assert_eq!(x.t()?.to_vec::<f32>()?, [1.0, 1.0, 1.5, 1.5, 1.5, 1.5]);
    assert_eq!(before.to_vec::<f32>()?, [0.0; 6]);
    let leaf = randn([3])?.requires_grad()?;
    let mut sum = Tensor::zeros([3], DType::F32, &Cpu::device())?.autocast(BF16)?;
    sum.add_assign(&leaf)?;
    assert_eq!(sum.sum_all()?.backward()?.get(&leaf).unwrap().to_vec::<f32>()?, [1.0; 3]);
    Ok(())
}

#[derive(Debug)]
struct Double;

impl Function for Double {
    fn name(&self) -> &'static str {
        "double"
    }
    fn forward(&self, x: &[Tensor]) -> Result<Vec<Tensor>> {
        Ok(vec![x[0].matmul(&Tensor::eye(2, DType::F32, &Cpu::device())?)?.mul(2.0)?])
    }
    fn backward(&self, _: &[Tensor], _: &[Tensor], g: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![g[0].as_ref().map(|g| g.mul(2.0)?.cast(DType::F32)).transpose()?])
    }
}

#[test]
fn a_function_of_ones_own_is_computed_in_lower_precision_and_stays_there() -> Result<()> {
    let leaf = randn([2, 2])?.requires_grad()?;
    let y = apply(Double, &[&leaf.autocast(BF16)?])?.remove(0);
    assert_eq!(y.dtype(), BF16);
    assert!(y.is_tracked() && y.device().backend::<Autocast>().is_some());
    assert_eq!(y.sum_all()?.backward()?.get(&leaf).unwrap().to_vec::<f32>()?, [2.0; 4]);
    Ok(())
}

#[test]
fn a_checkpoint_computes_in_the_same_precision_again() -> Result<()> {
    rng::manual_seed(9);
    let (x, w) = (randn([4, 4])?, randn([4, 4])?.requires_grad()?);
    let block = |w: Tensor| {
        move |x: &[Tensor]| {
            let y = x[0].matmul(&w)?;
            assert_eq!(y.dtype(), BF16);
            Ok(vec![y.tanh()?])
        }
    };
    let direct = block(w.clone())(&[x.autocast(BF16)?])?.remove(0).sum_all()?.backward()?;
    let y = checkpoint(block(w.clone()), &[&x.autocast(BF16)?])?.remove(0);
    assert!(y.device().backend::<Autocast>().is_some());
    let again = y.sum_all()?.backward()?;
    assert_eq!(direct.get(&w).unwrap().to_vec::<f32>()?, again.get(&w).unwrap().to_vec::<f32>()?);
    Ok(())
}

#[test]
fn a_block_of_a_convolution_is_evaluated_as_one_op_in_half_precision() -> Result<()> {
    rng::manual_seed(11);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let mut model = network(&device)?;
    let (x, _) = batch(&device)?;
    no_grad(|| model.forward(&x))?;
    model.set_training(false);
    let expected = no_grad(|| model.forward(&x))?;
    for (dtype, tolerance) in [(BF16, 0.02), (DType::F16, 0.003)] {
        counting.take();
        let y = no_grad(|| model.forward(&x.autocast(dtype)?))?;
        let made = counting.take();
        assert_eq!((made.get("conv_block"), made.get("batch_norm")), (Some(&1), None));
        assert_eq!(y.dtype(), dtype);
        assert!(distance(&y, &expected) < tolerance, "{dtype}: {}", distance(&y, &expected));
    }
    Ok(())
}

#[test]
fn a_sum_that_layers_add_to_stays_in_single_precision() -> Result<()> {
    rng::manual_seed(12);
    let counting = Counting::new();
    let device = counting.around(&Cpu::device());
    let layer = Linear::new(64, 64).init(&device)?;
    let (x, stream) = (randn([5, 64])?.to(&device)?, randn([5, 64])?.to(&device)?.requires_grad()?);
    let exact = layer.forward(&x)?.add(&stream)?;
    for (dtype, tolerance) in [(BF16, 0.01), (DType::F16, 0.001)] {
        let add = Add(&stream);
        counting.take();
        let y = chain([("layer", &layer as &dyn Module), ("add", &add)], &x.autocast(dtype)?)?;
        assert_eq!((y.dtype(), counting.of("linear"), counting.of("add")), (DType::F32, 1, 0));
        let error = distance(&y.detach()?, &exact.detach()?);
        assert!(error < tolerance, "{dtype}: {error}");
        // The layer's gradients pass through half precision, that of the sum does not.
        let gradients = y.mul(&exact.detach()?)?.sum_all()?.backward()?;
        assert_eq!(gradients.get(&stream).unwrap().to_vec::<f32>()?, exact.detach()?.to_vec::<f32>()?);
        assert_eq!(gradients.get_id(layer.weight.id()).unwrap().dtype(), DType::F32);

        // What is in half precision already is added in it.
        let half = stream.detach()?.cast(dtype)?;
        let add = Add(&half);
        let y = no_grad(|| chain([("layer", &layer as &dyn Module), ("add", &add)], &x.autocast(dtype)?))?;
        assert_eq!(y.dtype(), dtype);
    }
    // In another half precision than the product: both are in single precision then, as in an addition.
    let half = stream.detach()?.cast(DType::F16)?;
    let add = Add(&half);
    let y = no_grad(|| chain([("layer", &layer as &dyn Module), ("add", &add)], &x.autocast(BF16)?))?;
    assert_eq!(y.dtype(), DType::F32);
    Ok(())
}
