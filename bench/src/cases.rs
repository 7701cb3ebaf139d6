//! The cases: their names, and how to set each up.

use gradus_autograd::{Autograd, Backward, no_grad};
use gradus_nn::zoo::{self, Gpt, GptConfig, MobileNetV2, ResNet, Stem};
use gradus_nn::{Conv2d, Linear, Lstm, Module, Parameters};
use gradus_optim::{Adam, AdamW, Autocast, Sgd};
use gradus_quant::QuantizedLinear;
use gradus_tensor_core::{DType, Device, Result, Tensor};

use crate::training::{training, training_with};

/// One step of a case.
pub type Step = Box<dyn FnMut() -> Result<()>>;

/// A case by name.
pub struct Case {
    /// The name that all peers use.
    pub name: &'static str,
    /// Sets the case up.
    pub make: fn(&Device) -> Result<Step>,
}

macro_rules! cases {
    ($($name:ident: $make:expr;)*) => {
        /// Every case of the benchmark, in the peers' order.
        pub const ALL: &[Case] = &[$(Case { name: stringify!($name), make: $make },)*];
    };
}

cases! {
    matmul_1024: |d| matmul(1024, DType::F32, d);
    matmul_2048: |d| matmul(2048, DType::F32, d);
    matmul_bf16_2048: |d| matmul(2048, DType::BF16, d);
    add_16m: |d| {
        let (a, b) = (randn([1 << 24], d)?, randn([1 << 24], d)?);
        tensor(move || a.add(&b))
    };
    gelu_16m: |d| {
        let x = randn([1 << 24], d)?;
        tensor(move || x.gelu())
    };
    softmax_4096: |d| {
        let x = randn([4096, 4096], d)?;
        tensor(move || x.softmax(-1))
    };
    layernorm_4096: |d| {
        let x = randn([4096, 4096], d)?;
        tensor(move || x.layer_norm(1, None, None, 1e-5))
    };
    sum_axis0_4096: |d| {
        let x = randn([4096, 4096], d)?;
        tensor(move || x.sum(0))
    };
    permute_copy_4096: |d| {
        let x = randn([4096, 4096], d)?;
        tensor(move || x.t()?.contiguous())
    };
    op_overhead: |d| {
        let (a, b) = (randn([8], d)?.requires_grad()?, randn([8], d)?);
        thousand_adds(a, b)
    };
    op_overhead_untracked: |d| thousand_adds(randn([8], d)?, randn([8], d)?);
    conv_3x3_fwdbwd: convolution;
    mlp_train: |d| training(zoo::mlp(&[784, 512, 256, 10], d)?, Adam::new(1e-3), randn([128, 784], d)?, labels(&[128], 10, d)?);
    cnn_train: |d| training(zoo::cnn(1, 10, d)?, momentum(), randn([128, 1, 28, 28], d)?, labels(&[128], 10, d)?);
    resnet18_train: |d| training(ResNet::resnet18(3, 10, Stem::Small, d)?, momentum(), randn([32, 3, 32, 32], d)?, labels(&[32], 10, d)?);
    mobilenetv2_train: |d| training(MobileNetV2::new(3, 10, 0.0, d)?, momentum(), randn([16, 3, 64, 64], d)?, labels(&[16], 10, d)?);
    gpt_train: |d| training(Gpt::new(GptConfig::default(), d)?, AdamW::new(3e-4), labels(&[16, 128], 256, d)?, labels(&[16, 128], 256, d)?);
    lstm_train: |d| training(SequenceClassifier::new(d)?, Adam::new(1e-3), randn([32, 64, 64], d)?, labels(&[32], 10, d)?);
    resnet18_train_bf16: |d| training_with(BF16, ResNet::resnet18(3, 10, Stem::Small, d)?, momentum(), randn([32, 3, 32, 32], d)?, labels(&[32], 10, d)?);
    gpt_train_bf16: |d| training_with(BF16, Gpt::new(GptConfig::default(), d)?, AdamW::new(3e-4), labels(&[16, 128], 256, d)?, labels(&[16, 128], 256, d)?);
    resnet18_infer: |d| inference(ResNet::resnet18(3, 10, Stem::Small, d)?, randn([32, 3, 32, 32], d)?);
    mobilenetv2_infer: |d| inference(MobileNetV2::new(3, 10, 0.0, d)?, randn([16, 3, 64, 64], d)?);
    gpt_infer: |d| inference(Gpt::new(GptConfig::default(), d)?, labels(&[16, 128], 256, d)?);
    gpt_infer_bf16: |d| inference(Gpt::new(GptConfig::default(), d)?, labels(&[16, 128], 256, d)?.to(&Autocast::device(d, DType::BF16)?)?);
    int8_linear_1024: |d| inference(QuantizedLinear::from_linear(&Linear::new(1024, 1024).init(d)?)?, randn([128, 1024], d)?);
}

/// Mixed precision, as `torch.autocast("cpu", torch.bfloat16)` around the forward pass.
const BF16: Option<DType> = Some(DType::BF16);

/// An LSTM whose last output is classified.
#[derive(Parameters)]
struct SequenceClassifier {
    lstm: Lstm,
    head: Linear,
}

impl SequenceClassifier {
    fn new(device: &Device) -> Result<Self> {
        let lstm = Lstm::new(64, 256).batch_first(true).init(device)?;
        Ok(SequenceClassifier { lstm, head: Linear::new(256, 10).init(device)? })
    }
}

impl Module for SequenceClassifier {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.lstm.forward(x)?;
        self.head.forward(&y.select(1, y.dim(1)? - 1)?)
    }
}

pub fn randn<const N: usize>(shape: [usize; N], device: &Device) -> Result<Tensor> {
    Tensor::randn(shape, DType::F32, device)
}

pub fn labels(shape: &[usize], classes: i64, device: &Device) -> Result<Tensor> {
    Tensor::randint(0, classes, shape, DType::I64, device)
}

fn momentum() -> Sgd {
    Sgd::new(0.01).momentum(0.9)
}

pub fn tensor(mut f: impl FnMut() -> Result<Tensor> + 'static) -> Result<Step> {
    Ok(Box::new(move || f().map(drop)))
}

fn matmul(n: usize, dtype: DType, device: &Device) -> Result<Step> {
    let (a, b) = (randn([n, n], device)?.cast(dtype)?, randn([n, n], device)?.cast(dtype)?);
    tensor(move || a.matmul(&b))
}

pub fn thousand_adds(a: Tensor, b: Tensor) -> Result<Step> {
    tensor(move || {
        let mut x = a.clone();
        for _ in 0..1000 {
            x = x.add(&b)?;
        }
        Ok(x)
    })
}

fn convolution(device: &Device) -> Result<Step> {
    let conv = Conv2d::new(64, 64, 3).padding(1).init(device)?;
    let x = randn([32, 64, 32, 32], device)?.requires_grad()?;
    let g = randn([32, 64, 32, 32], device)?;
    Ok(Box::new(move || Backward::new().gradient(g.clone()).run(&conv.forward(&x)?).map(drop)))
}

fn inference(mut model: impl Module + 'static, x: Tensor) -> Result<Step> {
    model.set_training(false);
    tensor(move || no_grad(|| model.forward(&x)))
}
