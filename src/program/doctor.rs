//! `gradus doctor`: what this machine offers, what is compiled in, and whether it works.

use std::error::Error;
use std::time::Instant;

use gradus::optim::Policy;
use gradus::prelude::*;
use gradus::{Shape, rng};

pub fn run() -> Result<(), Box<dyn Error>> {
    say!("gradus {} on {} {}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS);
    let device = Cpu::device();
    say!("devices     {}", device.name());
    say!("cpu         {}", Cpu::features());
    if let Ok(cap) = std::env::var("GRADUS_CPU_LEVEL") {
        say!("            capped by GRADUS_CPU_LEVEL={cap}");
    }
    say!("build       {}", if cfg!(debug_assertions) { "debug: slow; use --release" } else { "release" });
    let compiled = [
        ("cpu", cfg!(feature = "cpu")),
        ("data", cfg!(feature = "data")),
        ("train", cfg!(feature = "train")),
        ("safetensors", cfg!(feature = "safetensors")),
        ("npy", cfg!(feature = "npy")),
    ];
    let names: Vec<&str> = compiled.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    say!("features    {}", names.join(", "));
    match gradus::data::fashion_mnist::load(gradus::data::fashion_mnist::SYSTEM_DIR) {
        Ok(data) => say!("data        embedded Fashion-MNIST; all {} images installed", images(&data)),
        Err(gradus::data::Error::Missing { .. }) => say!(
            "data        embedded Fashion-MNIST; the full set is not installed (apt-get install dataset-fashion-mnist)"
        ),
        Err(damaged) => {
            say!("data        embedded Fashion-MNIST; the installed set cannot be read: {damaged}")
        }
    }
    say!("self-test   {}", self_test(&device)?);
    say!("autocast    {}", half_precision(&device)?);
    say!("            what it reads operands in (`lower` is its dtype):");
    Policy::default().to_string().lines().for_each(|line| say!("            {line}"));
    Ok(())
}

/// Measures whether matrix products gain from half precision.
fn half_precision(device: &Device) -> Result<String, Box<dyn Error>> {
    const SIZE: usize = 384;
    const REPEATS: usize = 5;
    let fastest = |dtype: DType| -> Result<f64, Box<dyn Error>> {
        let x = Tensor::randn([SIZE, SIZE], DType::F32, device)?.cast(dtype)?;
        x.matmul(&x)?;
        let mut best = f64::INFINITY;
        for _ in 0..REPEATS {
            let begun = Instant::now();
            x.matmul(&x)?;
            device.synchronize()?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let full = fastest(DType::F32)?;
    let mut found = Vec::new();
    for dtype in [DType::BF16, DType::F16] {
        let speed = full / fastest(dtype)?;
        let verdict = if speed >= 1.0 { "saves time and memory" } else { "saves memory, not time" };
        found.push(format!("{dtype} products run at {speed:.1} times the speed of f32: {verdict}"));
    }
    Ok(found.join("\n            "))
}

fn images(data: &gradus::data::fashion_mnist::FashionMnist) -> usize {
    use gradus::data::Dataset;
    data.train.len() + data.test.len()
}

/// Fits a plane through points on it: forward, backward and update must all be right to get there.
fn self_test(device: &Device) -> Result<String, Box<dyn Error>> {
    rng::manual_seed(0);
    let x = Tensor::randn([64, 3], DType::F32, device)?;
    let truth = Tensor::from_vec(vec![1.0f32, -2.0, 0.5], [3, 1], device)?;
    let y = x.matmul(&truth)?;
    let mut w = Tensor::zeros(Shape::new(&[3, 1])?, DType::F32, device)?;
    for _ in 0..200 {
        let leaf = w.requires_grad()?;
        let gradients = loss::mse_loss(&x.matmul(&leaf)?, &y)?.backward()?;
        let gradient = gradients.get(&leaf).ok_or("no gradient reached the weights")?;
        w = w.sub(&gradient.mul(0.2)?)?;
    }
    let error: f32 = w.sub(&truth)?.abs()?.amax_all()?.item()?;
    if error < 1e-4 {
        Ok(format!("ok: fitted a plane to within {error:.0e}"))
    } else {
        Err(format!("self-test: a fitted plane is off by {error:e}").into())
    }
}
