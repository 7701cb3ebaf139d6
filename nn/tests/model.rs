//! Whole models against PyTorch's: state dict, output, gradients.

mod common;

use common::{Golden, close, devices};
use gradus_autograd::Autograd;
use gradus_nn::{
    Activation, BatchNorm2d, Conv2d, Linear, MaxPool2d, Module, Parameters, Relu, TransformerEncoderLayer,
    Within, chain, loss,
};
use gradus_tensor_core::{DType, Device, Result, Tensor};

#[derive(Parameters)]
struct Cnn {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    pool: MaxPool2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    fc: Linear,
}

impl Cnn {
    fn new(dtype: DType, device: &Device) -> Result<Self> {
        Ok(Cnn {
            conv1: Conv2d::new(1, 4, 3).padding(1).dtype(dtype).init(device)?,
            bn1: BatchNorm2d::new(4).dtype(dtype).init(device)?,
            pool: MaxPool2d::new(2),
            conv2: Conv2d::new(4, 6, 3).stride(2).padding(1).bias(false).dtype(dtype).init(device)?,
            bn2: BatchNorm2d::new(6).dtype(dtype).init(device)?,
            fc: Linear::new(24, 5).dtype(dtype).init(device)?,
        })
    }
}

impl Module for Cnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = chain([("conv1", &self.conv1 as &dyn Module), ("bn1", &self.bn1), ("relu", &Relu)], x)?;
        let x = self.pool.forward(&x).within("pool")?;
        let x = chain([("conv2", &self.conv2 as &dyn Module), ("bn2", &self.bn2), ("relu", &Relu)], &x)?;
        self.fc.forward(&x.flatten(1, -1)?).within("fc")
    }
}

type Loss = fn(&Tensor, &Tensor) -> Result<Tensor>;

fn check(name: &str, model: &mut dyn Module, criterion: Loss, device: &Device, tolerance: f64) {
    let golden = Golden::open("model", device);
    let op = if name.starts_with("cnn") { "cnn" } else { "transformer_block" };
    let cases = golden.of(op);
    let case = cases.iter().find(|case| case.name == name).unwrap();
    model.load_state_dict(&case.state("state")).unwrap();
    let x = case.tensor("input.0").requires_grad().unwrap();
    let y = model.forward(&x).unwrap();
    close(name, &y, &case.tensor("output.0"), tolerance);
    let loss = criterion(&y, &case.tensor("input.1")).unwrap();
    let first = case.tensor("losses").to_vec::<f64>().unwrap()[0];
    assert!((loss.item::<f64>().unwrap() - first).abs() <= tolerance);
    let gradients = loss.backward().unwrap();
    close(name, gradients.get(&x).unwrap(), &case.tensor("grad.0"), tolerance);
    let expected = case.state("state_grad");
    model
        .for_each_param(&mut |param_name, param| {
            let ours = gradients.get_id(param.id()).unwrap();
            close(param_name, ours, expected.get(param_name).unwrap(), tolerance);
            Ok(())
        })
        .unwrap();
    model.load_state_dict(&case.state("final")).unwrap();
    model.set_training(false);
    let y = gradus_autograd::no_grad(|| model.forward(&case.tensor("input.0"))).unwrap();
    assert!(!y.is_tracked());
    close(name, &y, &case.tensor("eval_output"), tolerance);
}

#[test]
fn a_convolutional_network_computes_what_pytorchs_does() {
    for device in devices() {
        for (name, dtype, tolerance) in [("cnn_f64", DType::F64, 1e-10), ("cnn_f32", DType::F32, 2e-5)] {
            let mut model = Cnn::new(dtype, &device).unwrap();
            check(name, &mut model, loss::cross_entropy, &device, tolerance);
        }
    }
}

#[test]
fn a_transformer_block_computes_what_pytorchs_does() {
    for device in devices() {
        let mut model = TransformerEncoderLayer::new(8, 2)
            .feed_forward(12)
            .dropout(0.0)
            .activation(Activation::Gelu)
            .norm_first(true)
            .causal(true)
            .dtype(DType::F64)
            .init(&device)
            .unwrap();
        check("transformer_block_f64", &mut model, loss::mse_loss, &device, 1e-10);
    }
}
