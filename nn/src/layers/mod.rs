//! The layers, under PyTorch's names, weight layouts and defaults.
//!
//! A layer with parameters is built in two steps: its constructor takes what every one of its kind needs,
//! methods change what has a default, and `init` draws the parameters on a device:
//! `Conv2d::new(3, 64, 3).stride(2).padding(1).init(&device)?`. Layers without parameters are values that are
//! ready at once.

mod activation;
mod affine;
mod attention;
mod batch_norm;
mod conv;
mod conv_transpose;
mod dropout;
mod embedding;
mod linear;
mod norm;
mod pool;
mod recurrent;
mod sequential;
mod shape;
mod spatial;
mod transformer;

pub use activation::{
    Elu, Gelu, Hardsigmoid, Hardswish, LeakyRelu, LogSoftmax, Mish, Relu, Relu6, Sigmoid, Silu, Softmax,
    Softplus, Tanh,
};
pub use attention::{AttendOptions, MultiheadAttention, MultiheadAttentionBuilder};
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d, BatchNormBuilder};
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, ConvBuilder};
pub use conv_transpose::{
    ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, ConvTransposeBuilder,
};
pub use dropout::Dropout;
pub use embedding::{Embedding, EmbeddingBuilder};
pub use linear::{Linear, LinearBuilder};
pub use norm::{GroupNorm, GroupNormBuilder, LayerNorm, LayerNormBuilder, RmsNorm, RmsNormBuilder};
pub use pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AvgPool, AvgPool1d, AvgPool2d,
    AvgPool3d, MaxPool, MaxPool1d, MaxPool2d, MaxPool3d, adaptive_avg_pool,
};
pub use recurrent::{
    Cell, Gru, GruCell, Lstm, LstmCell, Recurrent, RecurrentBuilder, RecurrentWeights, Rnn, RnnCell,
};
pub use sequential::Sequential;
pub use shape::{Flatten, Identity, Unflatten};
pub use spatial::IntoSpatial;
pub use transformer::{Activation, TransformerEncoderLayer, TransformerEncoderLayerBuilder};
