//! Small cases of which instructions are counted, not time: see `.ci/instructions`.
//!
//! Each is a fraction of a millisecond, so that a simulator takes seconds for it, and there is one for each path
//! that should not become longer unnoticed.

use gradus_autograd::{Autograd, Backward};
use gradus_nn::zoo::{self, Gpt, GptConfig};
use gradus_nn::{Conv2d, Lstm, Module};
use gradus_optim::{Adam, AdamW, Sgd};
use gradus_tensor_core::{Device, Result};

use crate::cases::{Case, Step, labels, randn, tensor, thousand_adds};
use crate::training::training;

macro_rules! cases {
    ($($name:ident: $make:expr;)*) => {
        /// Every small case.
        pub const ALL: &[Case] = &[$(Case { name: stringify!($name), make: $make },)*];
    };
}

cases! {
    adds_tracked: |d| thousand_adds(randn([8], d)?.requires_grad()?, randn([8], d)?);
    adds_untracked: |d| thousand_adds(randn([8], d)?, randn([8], d)?);
    matmul: |d| {
        let (a, b) = (randn([200, 300], d)?, randn([300, 130], d)?);
        tensor(move || a.matmul(&b))
    };
    add: |d| {
        let (a, b) = (randn([100_000], d)?, randn([100_000], d)?);
        tensor(move || a.add(&b))
    };
    add_broadcast: |d| {
        let (a, b) = (randn([300, 333], d)?, randn([333], d)?);
        tensor(move || a.add(&b))
    };
    gelu: |d| {
        let x = randn([100_000], d)?;
        tensor(move || x.gelu())
    };
    softmax: |d| {
        let x = randn([100, 1000], d)?;
        tensor(move || x.softmax(-1))
    };
    layer_norm: |d| {
        let x = randn([100, 1000], d)?;
        tensor(move || x.layer_norm(1, None, None, 1e-5))
    };
    sum_rows: |d| {
        let x = randn([300, 333], d)?;
        tensor(move || x.sum(1))
    };
    sum_columns: |d| {
        let x = randn([300, 333], d)?;
        tensor(move || x.sum(0))
    };
    transpose: |d| {
        let x = randn([300, 333], d)?;
        tensor(move || x.t()?.contiguous())
    };
    conv_3x3: |d| conv(Conv2d::new(16, 16, 3).padding(1).init(d)?, d);
    conv_depthwise: |d| conv(Conv2d::new(16, 16, 3).padding(1).groups(16).init(d)?, d);
    lstm: |d| {
        let lstm = Lstm::new(24, 40).init(d)?;
        let x = randn([10, 4, 24], d)?;
        tensor(move || lstm.forward(&x))
    };
    mlp_train: |d| training(zoo::mlp(&[64, 48, 10], d)?, Adam::new(1e-3), randn([16, 64], d)?, labels(&[16], 10, d)?);
    cnn_train: |d| training(zoo::cnn(1, 10, d)?, Sgd::new(0.01), randn([1, 1, 28, 28], d)?, labels(&[1], 10, d)?);
    gpt_train: |d| {
        let config = GptConfig { vocabulary: 65, context: 16, width: 32, heads: 2, blocks: 2, ..GptConfig::default() };
        training(Gpt::new(config, d)?, AdamW::new(3e-4), labels(&[2, 16], 65, d)?, labels(&[2, 16], 65, d)?)
    };
}

/// Forward and backward pass of a convolution of 16 channels.
fn conv(conv: Conv2d, device: &Device) -> Result<Step> {
    let (x, g) = (randn([2, 16, 20, 20], device)?.requires_grad()?, randn([2, 16, 20, 20], device)?);
    Ok(Box::new(move || Backward::new().gradient(g.clone()).run(&conv.forward(&x)?).map(drop)))
}
