//! Threads: results do not depend on their number, and graphs may be used from any of them.

use gradus_autograd::{Autograd, Backward};
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::op::CrossEntropy;
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{ConvOptions, DType, Device, PoolOptions, Result, Tensor};

fn random(dims: &[usize], stream: u64, device: &Device) -> Result<Tensor> {
    let key = Key { seed: 21, stream };
    let n = dims.iter().product::<usize>() as u64;
    Tensor::from_vec((0..n).map(|i| key.normal32(i) as f32).collect(), dims, device)
}

fn bits(x: &Tensor) -> Result<Vec<u32>> {
    Ok(x.to_vec::<f32>()?.into_iter().map(f32::to_bits).collect())
}

/// A forward and backward pass over ops that are large enough to be split among threads.
fn training_step(device: &Device) -> Result<Vec<Vec<u32>>> {
    let x = random(&[8, 3, 24, 24], 0, device)?;
    let w1 = random(&[16, 3, 3, 3], 1, device)?.mul(0.2)?.requires_grad()?;
    let b1 = random(&[16], 2, device)?.requires_grad()?;
    let w2 = random(&[200, 16 * 12 * 12], 3, device)?.mul(0.02)?.requires_grad()?;
    let w3 = random(&[10, 200], 4, device)?.mul(0.1)?.requires_grad()?;
    let h = x.conv(&w1, Some(&b1), ConvOptions::default().padding(1))?;
    let (h, mean, _) = h.batch_norm_train(None, None, 1e-5)?;
    let h = h.gelu()?.max_pool(PoolOptions::new(2))?.flatten(1, -1)?;
    let h = h.linear(&w2, None)?.layer_norm(1, None, None, 1e-5)?.dropout(0.2, Key { seed: 1, stream: 1 })?;
    let logits = h.linear(&w3, None)?;
    let target = Tensor::from_vec((0..8i64).collect(), [8], device)?;
    let loss = logits.cross_entropy(&target, CrossEntropy::default())?.mean_all()?;
    let gradients = loss.backward()?;
    let mut all = vec![bits(&loss)?, bits(&mean)?];
    for leaf in [&w1, &b1, &w2, &w3] {
        all.push(bits(gradients.get(leaf).expect("every leaf takes part"))?);
    }
    Ok(all)
}

#[test]
fn a_training_step_has_the_same_bits_for_any_number_of_threads() -> Result<()> {
    let one = training_step(&Cpu::builder().threads(1).build()?)?;
    for threads in [2, 3, 4] {
        let device = Cpu::builder().threads(threads).build()?;
        assert_eq!(training_step(&device)?, one, "with {threads} threads");
        assert_eq!(training_step(&device)?, one, "with {threads} threads, again");
    }
    Ok(())
}

#[test]
fn long_reductions_and_scatters_have_the_same_bits_for_any_number_of_threads() -> Result<()> {
    let run = |threads: usize| -> Result<Vec<Vec<u32>>> {
        let device = Cpu::builder().threads(threads).build()?;
        let x = random(&[700_001], 0, &device)?;
        let m = x.narrow(0, 0, 700_000)?.reshape([700, 1000])?;
        let index = Tensor::from_vec((0..700_000i64).map(|i| i * 7919 % 97).collect(), [700_000], &device)?;
        let zeros = Tensor::zeros([97], DType::F32, &device)?;
        [
            x.sum_all()?,
            m.sum(0)?,
            m.sum(1)?,
            m.var(.., 1)?,
            m.cumsum(0)?.narrow(0, 699, 1)?,
            m.softmax(1)?,
            m.logsumexp(0)?,
            zeros.scatter_add(0, &index, &m.reshape([700_000])?)?,
            m.narrow(1, 0, 300)?.t()?.matmul(&m.narrow(1, 0, 300)?)?,
        ]
        .iter()
        .map(bits)
        .collect()
    };
    let one = run(1)?;
    assert_eq!(run(2)?, one);
    assert_eq!(run(5)?, one);
    Ok(())
}

#[test]
fn backward_passes_run_side_by_side() -> Result<()> {
    let device = Cpu::device();
    let shared = random(&[16, 16], 9, &device)?.requires_grad()?;
    let work = |seed: u64| -> Result<Vec<u32>> {
        let mut y = shared.clone();
        for i in 0..20 {
            y = y.matmul(&shared)?.tanh()?.add(&random(&[16, 16], seed * 100 + i, &device)?)?;
        }
        let gradients = y.sum_all()?.backward()?;
        bits(gradients.get(&shared).expect("the leaf takes part"))
    };
    let alone: Vec<_> = (0..4).map(work).collect::<Result<_>>()?;
    let together = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|seed| scope.spawn(move || work(seed))).collect();
        workers.into_iter().map(|w| w.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    assert_eq!(together, alone);
    Ok(())
}

#[test]
fn one_graph_may_be_differentiated_by_several_threads_at_once() -> Result<()> {
    let device = Cpu::device();
    let x = random(&[32, 32], 5, &device)?.requires_grad()?;
    let y = x.matmul(&x)?.sin()?.softmax(1)?.square()?.sum_all()?;
    let pass = || -> Result<Vec<u32>> {
        let gradients = Backward::new().retain_graph().run(&y)?;
        bits(gradients.get(&x).expect("x takes part"))
    };
    let expected = pass()?;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|_| scope.spawn(pass)).collect();
        for worker in workers {
            assert_eq!(worker.join().expect("no panic").expect("no error"), expected);
        }
    });
    // A graph made here may be used and dropped elsewhere.
    std::thread::spawn(move || y.backward().map(drop)).join().expect("no panic")?;
    Ok(())
}
