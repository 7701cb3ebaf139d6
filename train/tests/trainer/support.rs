//! Small data, small models, and what the tests compare.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use gradus_backend_cpu::Cpu;
use gradus_data::{Batch, DataLoader, Dataset, InMemory, Sample, SampleRng};
use gradus_nn::{BatchNorm1d, Dropout, Linear, Parameters, Relu, Sequential, loss};
use gradus_optim::{AdamW, OneCycle};
use gradus_tensor_core::io::safetensors;
use gradus_tensor_core::{DType, Device, rng};
use gradus_train::checkpoint::Checkpoint;
use gradus_train::trainer::{Flow, Loader, Outcome, Report, TrainerBuilder};
use gradus_train::{Result, Trainer};

pub type Points = Sample<Vec<f32>, i64>;

pub fn device() -> Device {
    Cpu::device()
}

/// Points around three centres, and whose they are.
pub fn points(n: usize) -> Vec<Points> {
    let mut noise = SampleRng::new(3, 1, 4);
    let mut uniform = || (noise.next_u64() >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
    (0..n)
        .map(|i| {
            let target = (i * 7 % 3) as i64;
            let centre = |axis: usize| if axis as i64 % 3 == target { 0.8 } else { -0.3 };
            Sample { input: (0..6).map(|axis| centre(axis) + uniform()).collect(), target }
        })
        .collect()
}

/// Shuffled batches of 8 out of 45 points, each moved a bit at random: six a epoch, the last of five.
pub fn train_data(workers: usize) -> impl Loader<Batch = Batch> {
    let jitter = |mut point: Vec<f32>, rng: &mut SampleRng| {
        point.iter_mut().for_each(|x| *x += (rng.next_u64() >> 40) as f32 / (1u64 << 28) as f32);
        Ok(point)
    };
    let data = InMemory::new(points(45)).transform_input(jitter);
    DataLoader::builder(data).batch_size(8).shuffle().seed(5).workers(workers).build().unwrap()
}

pub fn valid_data() -> impl Loader<Batch = Batch> {
    DataLoader::builder(InMemory::new(points(20))).batch_size(6).build().unwrap()
}

/// With dropout, which draws from the ambient generator, and buffers, which change with each batch.
pub fn model(seed: u64) -> Sequential {
    rng::manual_seed(seed);
    Sequential::new()
        .then(Linear::new(6, 8).init(&device()).unwrap())
        .then(BatchNorm1d::new(8).init(&device()).unwrap())
        .then(Relu)
        .then(Dropout::new(0.25).unwrap())
        .then(Linear::new(8, 3).init(&device()).unwrap())
}

/// Plain layers in f64.
pub fn exact_model(seed: u64) -> Sequential {
    rng::manual_seed(seed);
    Sequential::new()
        .then(Linear::new(6, 8).dtype(DType::F64).init(&device()).unwrap())
        .then(Relu)
        .then(Linear::new(8, 3).dtype(DType::F64).init(&device()).unwrap())
}

pub const EPOCHS: u64 = 3;
pub const STEPS_PER_EPOCH: u64 = 6;

/// A run with everything that a checkpoint has to hold.
pub fn builder(model: Sequential) -> TrainerBuilder<Sequential> {
    Trainer::builder(model, loss::cross_entropy)
        .optimizer(AdamW::new(0.01))
        .schedule(OneCycle::new(0.05, EPOCHS * STEPS_PER_EPOCH))
        .clip_grad_norm(1.0)
        .epochs(EPOCHS)
        .seed(11)
        .accuracy()
}

/// All parameters and buffers, to the bit.
pub fn bits(model: &impl Parameters) -> Vec<u8> {
    safetensors::to_bytes(model.state_dict().iter(), &Default::default()).unwrap()
}

/// What a run leaves behind that must not depend on where it was stopped.
#[derive(Debug, PartialEq)]
pub struct Trace {
    model: Vec<u8>,
    optimizer: Vec<u8>,
    metrics: String,
    best: Option<(u64, u64)>,
    values: Vec<(String, u64)>,
}

pub fn trace(model: &impl Parameters, report: &Report) -> Trace {
    let mut last = Checkpoint::open(report.checkpoint.as_ref().unwrap()).unwrap();
    assert_eq!(last.section("model").unwrap(), bits(model), "the last checkpoint is the final model");
    let values = report.epochs.iter().flat_map(|epoch| epoch.values());
    Trace {
        model: bits(model),
        optimizer: last.section("optimizer").unwrap(),
        metrics: std::fs::read_to_string(report.dir.as_ref().unwrap().join("metrics.csv")).unwrap(),
        best: report.best.map(|best| (best.epoch, best.value.to_bits())),
        values: values.map(|(name, value)| (name.to_owned(), value.to_bits())).collect(),
    }
}

/// A builder changed by a test.
pub type Change = fn(TrainerBuilder<Sequential>) -> TrainerBuilder<Sequential>;

/// A run that is never stopped.
pub fn whole(workers: usize, change: Change) -> Trace {
    let dir = tempfile::tempdir().unwrap();
    let mut trainer = change(builder(model(1))).run_dir(dir.path().join("run")).build().unwrap();
    let report = trainer.fit(&train_data(workers), Some(&valid_data())).unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    trace(trainer.model(), &report)
}

/// Stops a run after these steps, each time in a trainer of its own, and then lets it end.
pub fn in_parts(dir: &Path, workers: usize, stops: &[u64], change: Change) -> Trace {
    for (i, &stop) in stops.iter().enumerate() {
        let mut trainer = change(builder(model(if i == 0 { 1 } else { 100 })))
            .run_dir(dir)
            .resume(i > 0)
            .after_step(move |run| Ok(if run.step == stop { Flow::Stop } else { Flow::Continue }))
            .build()
            .unwrap();
        let report = trainer.fit(&train_data(workers), Some(&valid_data())).unwrap();
        assert_eq!((report.outcome, report.steps), (Outcome::Stopped, stop));
    }
    let (trainer, report) = resume(dir, workers, change).unwrap();
    assert_eq!(report.outcome, Outcome::Completed);
    trace(trainer.model(), &report)
}

/// Resumes a run in a model of other weights, or begins it, and lets it end.
pub fn resume(dir: &Path, workers: usize, change: Change) -> Result<(Trainer<Sequential>, Report)> {
    let begun = dir.join("checkpoints").exists();
    let mut trainer =
        change(builder(model(if begun { 100 } else { 1 }))).run_dir(dir).resume(true).build()?;
    // Other code of the program may draw meanwhile.
    rng::manual_seed(999);
    let report = trainer.fit(&train_data(workers), Some(&valid_data()))?;
    Ok((trainer, report))
}

/// The names of the checkpoints in a run's directory.
pub fn checkpoints(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("checkpoints")).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What closures see.
pub type Log<T> = Rc<RefCell<Vec<T>>>;

/// A log, to be moved into a closure, and the same log, to be read.
pub fn log<T>() -> (Log<T>, Log<T>) {
    let log = Rc::new(RefCell::new(Vec::new()));
    (log.clone(), log)
}
