//! Models, with the parameter names of their PyTorch originals.
//!
//! Each is an ordinary module built of the layers of this crate, and short enough to copy and change.

mod gpt;
mod mobilenet;
mod resnet;
mod simple;

pub use gpt::{Gpt, GptBlock, GptConfig};
pub use mobilenet::{InvertedResidual, MobileNetV2};
pub use resnet::{BasicBlock, ResNet, Stem};
pub use simple::{cnn, mlp};
