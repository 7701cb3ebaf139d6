//! Small models for small images.

use gradus_tensor_core::{Device, Result};

use crate::{Conv2d, Flatten, Linear, MaxPool2d, Relu, Sequential};

/// A perceptron: linear layers of these sizes with ReLU between them.
///
/// ```
/// # use gradus_nn::zoo;
/// # fn build(device: &gradus_tensor_core::Device) -> gradus_tensor_core::Result<()> {
/// let model = zoo::mlp(&[784, 512, 256, 10], device)?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Memory runs out.
pub fn mlp(sizes: &[usize], device: &Device) -> Result<Sequential> {
    let mut model = Sequential::new();
    for pair in sizes.windows(2) {
        if !model.is_empty() {
            model.push(Relu);
        }
        model.push(Linear::new(pair[0], pair[1]).init(device)?);
    }
    Ok(model)
}

/// Two convolutions with pooling and two linear layers, for `[N, channels, 28, 28]`.
///
/// # Errors
/// Memory runs out.
pub fn cnn(channels: usize, classes: usize, device: &Device) -> Result<Sequential> {
    Ok(Sequential::new()
        .then(Conv2d::new(channels, 32, 3).padding(1).init(device)?)
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(Conv2d::new(32, 64, 3).padding(1).init(device)?)
        .then(Relu)
        .then(MaxPool2d::new(2))
        .then(Flatten::new())
        .then(Linear::new(64 * 7 * 7, 128).init(device)?)
        .then(Relu)
        .then(Linear::new(128, classes).init(device)?))
}
