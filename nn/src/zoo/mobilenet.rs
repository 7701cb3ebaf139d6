//! MobileNetV2 (Sandler et al., arXiv:1801.04381).

use gradus_tensor_core::{Device, Result, Tensor};

use crate::{
    Add, BatchNorm2d, Conv2d, Dropout, Linear, Module, Parameters, Relu6, Sequential, Within, chain,
};

/// Convolution, batch normalization and ReLU6.
fn conv_bn_relu(
    inputs: usize,
    outputs: usize,
    kernel: usize,
    stride: usize,
    groups: usize,
    device: &Device,
) -> Result<Sequential> {
    let conv = Conv2d::new(inputs, outputs, kernel).stride(stride).padding(kernel / 2).groups(groups);
    Ok(Sequential::new()
        .then(conv.bias(false).init(device)?)
        .then(BatchNorm2d::new(outputs).init(device)?)
        .then(Relu6))
}

/// A wide depthwise convolution between two narrow ends, with a shortcut where their shapes agree.
#[derive(Debug, Parameters)]
pub struct InvertedResidual {
    conv: Sequential,
    shortcut: bool,
}

impl InvertedResidual {
    /// A block from `inputs` to `outputs` channels that is `expansion` times as wide inside.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn new(
        inputs: usize,
        outputs: usize,
        stride: usize,
        expansion: usize,
        device: &Device,
    ) -> Result<Self> {
        let wide = inputs.saturating_mul(expansion);
        let mut conv = Sequential::new();
        if expansion != 1 {
            conv.push(conv_bn_relu(inputs, wide, 1, 1, 1, device)?);
        }
        conv.push(conv_bn_relu(wide, wide, 3, stride, wide, device)?);
        conv.push(Conv2d::new(wide, outputs, 1).bias(false).init(device)?);
        conv.push(BatchNorm2d::new(outputs).init(device)?);
        Ok(InvertedResidual { conv, shortcut: stride == 1 && inputs == outputs })
    }
}

impl Module for InvertedResidual {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let add = Add(x);
        let shortcut = self.shortcut.then_some(("shortcut", &add as &dyn Module));
        chain(self.conv.iter().chain(shortcut), x).within("conv")
    }
}

/// Expansion, channels, blocks and first stride of each stage.
const STAGES: [(usize, usize, usize, usize); 7] = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
];

/// MobileNetV2 for `[N, channels, height, width]`; torchvision's parameter names.
#[derive(Debug, Parameters)]
pub struct MobileNetV2 {
    features: Sequential,
    classifier: Sequential,
}

impl MobileNetV2 {
    /// A network of width 1, with dropout before the classifier (0.2 in the paper's training).
    ///
    /// # Errors
    /// `dropout` is not in `0..=1`, or memory runs out.
    pub fn new(channels: usize, classes: usize, dropout: f64, device: &Device) -> Result<Self> {
        let mut features = Sequential::new().then(conv_bn_relu(channels, 32, 3, 2, 1, device)?);
        let mut inputs = 32;
        for (expansion, outputs, blocks, first) in STAGES {
            for i in 0..blocks {
                let stride = if i == 0 { first } else { 1 };
                features.push(InvertedResidual::new(inputs, outputs, stride, expansion, device)?);
                inputs = outputs;
            }
        }
        features.push(conv_bn_relu(inputs, 1280, 1, 1, 1, device)?);
        let classifier =
            Sequential::new().then(Dropout::new(dropout)?).then(Linear::new(1280, classes).init(device)?);
        Ok(MobileNetV2 { features, classifier })
    }
}

impl Module for MobileNetV2 {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.features.forward(x).within("features")?;
        self.classifier.forward(&x.mean([2, 3])?).within("classifier")
    }
}
