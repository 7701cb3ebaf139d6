//! The networks that the program trains.

use gradus::nn::zoo::{self, ResNet, Stem};
use gradus::nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, Relu, Sequential,
};
use gradus::prelude::*;

use super::args::Model;

/// Builds a network for gray images of 28x28 pixels and ten classes.
pub fn build(model: Model, device: &Device) -> Result<Box<dyn Module>> {
    Ok(match model {
        Model::Cnn => Box::new(cnn(device)?),
        Model::Mlp => Box::new(perceptron(device)?),
        Model::Resnet18 => Box::new(ResNet::resnet18(1, 10, Stem::Small, device)?),
    })
}

fn cnn(device: &Device) -> Result<Sequential> {
    let block = |model: Sequential, inputs, outputs| -> Result<Sequential> {
        Ok(model
            .then(Conv2d::new(inputs, outputs, 3).padding(1).bias(false).init(device)?)
            .then(BatchNorm2d::new(outputs).init(device)?)
            .then(Relu))
    };
    let model = block(Sequential::new(), 1, 32)?.then(MaxPool2d::new(2));
    let model = block(model, 32, 64)?.then(MaxPool2d::new(2));
    let model = block(model, 64, 128)?;
    Ok(model
        .then(AdaptiveAvgPool2d::new(1))
        .then(Flatten::new())
        .then(Dropout::new(0.1)?)
        .then(Linear::new(128, 10).init(device)?))
}

fn perceptron(device: &Device) -> Result<Sequential> {
    let layers = zoo::mlp(&[784, 512, 256, 10], device)?;
    Ok(Sequential::new().then_named("flatten", Flatten::new()).then_named("layers", layers))
}
