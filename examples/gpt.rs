//! A small GPT that learns to write plays, character by character, from half a megabyte of Shakespeare.
//!
//! `cargo run --release --example gpt [STEPS]`

use gradus::data::DataLoader;
use gradus::data::text::{TextWindows, Vocabulary, shakespeare};
use gradus::nn::zoo::{Gpt, GptConfig};
use gradus::optim::{AdamW, clip_grad_norm};
use gradus::prelude::*;
use gradus::rng;

const CONTEXT: usize = 64;

fn main() -> Result<()> {
    let steps: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(300);
    let device = Cpu::device();
    rng::manual_seed(1);

    let text = shakespeare()?;
    let vocabulary = Vocabulary::chars(&text);
    let tokens = vocabulary.encode(&text)?;
    let windows = TextWindows::new(tokens, CONTEXT)?;
    let loader = DataLoader::builder(windows).batch_size(16).shuffle().seed(1).build()?;

    let config = GptConfig {
        vocabulary: vocabulary.len(),
        context: CONTEXT,
        width: 96,
        heads: 4,
        blocks: 3,
        dropout: 0.0,
    };
    let mut model = Gpt::new(config, &device)?;
    let mut optimizer = AdamW::new(2e-3).weight_decay(0.01);
    println!(
        "{} characters, {} different, {} parameters",
        text.len(),
        vocabulary.len(),
        model.num_parameters()
    );

    for (step, batch) in loader.epoch(0)?.take(steps).enumerate() {
        let (ids, next) = batch?.to(&device)?;
        let logits = model.forward(&ids)?;
        let loss = loss::cross_entropy(&logits.flatten(0, 1)?, &next.flatten(0, 1)?)?;
        let mut gradients = loss.backward()?;
        clip_grad_norm(&mut gradients, 1.0)?;
        optimizer.step(&mut model, &gradients)?;
        if step % 50 == 0 || step + 1 == steps {
            println!("step {step:>4}: loss {:.3}", loss.item::<f32>()?);
        }
    }

    model.set_training(false);
    println!("---\n{}", write(&model, &vocabulary, "HAMLET.\n", 200)?);
    Ok(())
}

/// Continues a text, one character at a time, each drawn from the model's distribution.
fn write(model: &Gpt, vocabulary: &Vocabulary, start: &str, characters: usize) -> Result<String> {
    let mut ids = vocabulary.encode(start)?;
    for _ in 0..characters {
        let window = &ids[ids.len().saturating_sub(model.context())..];
        let x = Tensor::from_slice(window, [1, window.len()], &Cpu::device())?;
        let logits = no_grad(|| model.forward(&x))?;
        // The largest of logits plus Gumbel noise is a draw from their softmax.
        let logits = logits.select(1, window.len() - 1)?.div(0.8)?;
        let noise =
            Tensor::rand(logits.shape(), DType::F32, &Cpu::device())?.clamp(1e-9, 1.0)?.log()?.neg()?;
        ids.push(logits.sub(&noise.log()?)?.argmax(-1)?.item::<i64>()?);
    }
    Ok(vocabulary.decode(&ids)?)
}
