//! Residual networks (He et al., arXiv:1512.03385).

use gradus_tensor_core::{Device, Result, Tensor};

use crate::{Add, BatchNorm2d, Conv2d, Linear, Module, Parameters, Relu, Sequential, Within, chain};

/// Two 3x3 convolutions beside a shortcut.
#[derive(Debug, Parameters)]
pub struct BasicBlock {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    conv2: Conv2d,
    bn2: BatchNorm2d,
    /// A strided 1x1 convolution where the shapes of both ends differ.
    downsample: Option<Sequential>,
}

impl BasicBlock {
    /// A block from `inputs` to `outputs` channels.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Result<Self> {
        let conv3 = |i, stride| Conv2d::new(i, outputs, 3).stride(stride).padding(1).bias(false).init(device);
        let downsample = (stride != 1 || inputs != outputs)
            .then(|| -> Result<_> {
                Ok(Sequential::new()
                    .then(Conv2d::new(inputs, outputs, 1).stride(stride).bias(false).init(device)?)
                    .then(BatchNorm2d::new(outputs).init(device)?))
            })
            .transpose()?;
        Ok(BasicBlock {
            conv1: conv3(inputs, stride)?,
            bn1: BatchNorm2d::new(outputs).init(device)?,
            conv2: conv3(outputs, 1)?,
            bn2: BatchNorm2d::new(outputs).init(device)?,
            downsample,
        })
    }
}

impl Module for BasicBlock {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = chain([("conv1", &self.conv1 as &dyn Module), ("bn1", &self.bn1), ("relu", &Relu)], x)?;
        let shortcut = self.downsample.forward(x).within("downsample")?;
        let add = Add(&shortcut);
        chain([("conv2", &self.conv2 as &dyn Module), ("bn2", &self.bn2), ("add", &add), ("relu", &Relu)], &y)
    }
}

/// How a [`ResNet`] begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stem {
    /// A 7x7 convolution with stride 2 and a pooling, for images of about 224 pixels.
    #[default]
    Large,
    /// A 3x3 convolution, for images of about 32 pixels.
    Small,
}

/// A residual network of [`BasicBlock`]s for `[N, channels, height, width]`; torchvision's parameter names.
#[derive(Debug, Parameters)]
pub struct ResNet {
    conv1: Conv2d,
    bn1: BatchNorm2d,
    #[parameters(skip)]
    stem: Stem,
    layer1: Vec<BasicBlock>,
    layer2: Vec<BasicBlock>,
    layer3: Vec<BasicBlock>,
    layer4: Vec<BasicBlock>,
    fc: Linear,
}

impl ResNet {
    /// The 18-layer network: two blocks in each of four stages of 64 to 512 channels.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn resnet18(channels: usize, classes: usize, stem: Stem, device: &Device) -> Result<Self> {
        Self::new(channels, classes, stem, [2, 2, 2, 2], device)
    }

    /// The 34-layer network.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn resnet34(channels: usize, classes: usize, stem: Stem, device: &Device) -> Result<Self> {
        Self::new(channels, classes, stem, [3, 4, 6, 3], device)
    }

    /// A network with that many blocks in each stage.
    ///
    /// # Errors
    /// Memory runs out.
    pub fn new(
        channels: usize,
        classes: usize,
        stem: Stem,
        blocks: [usize; 4],
        device: &Device,
    ) -> Result<Self> {
        let stage = |inputs: usize, outputs: usize, stride: usize, n: usize| -> Result<Vec<BasicBlock>> {
            (0..n)
                .map(|i| {
                    let (inputs, stride) = if i == 0 { (inputs, stride) } else { (outputs, 1) };
                    BasicBlock::new(inputs, outputs, stride, device)
                })
                .collect()
        };
        let conv1 = match stem {
            Stem::Large => Conv2d::new(channels, 64, 7).stride(2).padding(3),
            Stem::Small => Conv2d::new(channels, 64, 3).padding(1),
        };
        Ok(ResNet {
            conv1: conv1.bias(false).init(device)?,
            bn1: BatchNorm2d::new(64).init(device)?,
            stem,
            layer1: stage(64, 64, 1, blocks[0])?,
            layer2: stage(64, 128, 2, blocks[1])?,
            layer3: stage(128, 256, 2, blocks[2])?,
            layer4: stage(256, 512, 2, blocks[3])?,
            fc: Linear::new(512, classes).init(device)?,
        })
    }
}

impl Module for ResNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = chain([("conv1", &self.conv1 as &dyn Module), ("bn1", &self.bn1), ("relu", &Relu)], x)?;
        if self.stem == Stem::Large {
            x = x.max_pool(gradus_tensor_core::PoolOptions::new(3).stride(2).padding(1))?;
        }
        x = self.layer1.forward(&x).within("layer1")?;
        x = self.layer2.forward(&x).within("layer2")?;
        x = self.layer3.forward(&x).within("layer3")?;
        x = self.layer4.forward(&x).within("layer4")?;
        self.fc.forward(&x.mean([2, 3])?).within("fc")
    }
}
