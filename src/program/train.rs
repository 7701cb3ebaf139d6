//! `gradus train`: a classifier of small gray images, from data to pictures.

use std::error::Error;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use gradus::data::fashion_mnist::{self, FashionMnist};
use gradus::data::transforms::{HorizontalFlip, Normalize, RandomCrop, ToFloat};
use gradus::data::{DataLoader, Dataset};
use gradus::nn::Module;
use gradus::optim::{Adam, AdamW, Group, OneCycle, Optimizer, Sgd};
use gradus::prelude::*;
use gradus::rng;
use gradus::train::progress::Progress;
use gradus::train::trainer::{EarlyStopping, EpochTable, Goal, Outcome, Report};
use gradus::train::{Trainer, interrupt};

use super::args::{DeviceName, OptimizerName, Precision, TrainOptions};
use super::options::{Keep, anywhere, resumed};
use super::{models, report};

/// Pixel statistics of Fashion-MNIST's training images, of 0..=1.
const MEAN: f32 = 0.286;
const STD: f32 = 0.353;
/// Images per step of evaluation, where no gradients need memory.
const EVALUATION_BATCH: usize = 250;

pub fn run(mut options: TrainOptions) -> Result<(), Box<dyn Error>> {
    options.data = anywhere(&options.data)?;
    let resume = options.resume.clone();
    if let Some(dir) = &resume {
        options = resumed(dir, &options)?;
    }
    let options = &options;
    let device = match (options.device, options.threads) {
        (DeviceName::Cpu, None) => Cpu::device(),
        (DeviceName::Cpu, Some(threads)) => Cpu::builder().threads(threads).build()?,
    };
    let data = load(&options.data)?;
    let dir = match (&resume, &options.output) {
        (Some(dir), _) | (None, Some(dir)) => dir.clone(),
        (None, None) => new_run(Path::new("runs"), &format!("{:?}", options.model).to_lowercase())?,
    };

    rng::manual_seed(options.seed);
    let model = models::build(options.model, &device)?;
    say!(
        "{:?} with {} parameters on {}; {} training and {} test images",
        options.model,
        model.num_parameters(),
        device.name(),
        data.train.len(),
        data.test.len()
    );
    let mut finished = fit(options, model, data.clone(), &device, &dir, resume.is_some())?;
    summary(&mut finished, &dir, data, &device)
}

/// The images that the option names.
fn load(name: &str) -> Result<FashionMnist, Box<dyn Error>> {
    Ok(match name {
        "embedded" => fashion_mnist::embedded()?,
        "fashion-mnist" => fashion_mnist::load(fashion_mnist::SYSTEM_DIR)?,
        dir => fashion_mnist::load(dir)?,
    })
}

/// A new directory: the first free number under `parent`.
fn new_run(parent: &Path, name: &str) -> Result<PathBuf, Box<dyn Error>> {
    let refused =
        |path: &Path, e| format!("cannot create {}: {e}; name a directory with --output", path.display());
    fs::create_dir_all(parent).map_err(|e| refused(parent, e))?;
    for number in 1.. {
        let dir = parent.join(format!("{name}-{number:03}"));
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(dir),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(refused(&dir, e).into()),
        }
    }
    Err("every name for a run is taken".into())
}

struct Finished {
    trainer: Trainer<Box<dyn Module>>,
    report: Report,
}

fn fit(
    options: &TrainOptions,
    model: Box<dyn Module>,
    data: FashionMnist,
    device: &Device,
    dir: &Path,
    resume: bool,
) -> Result<Finished, Box<dyn Error>> {
    let floats = || -> Result<_, Box<dyn Error>> { Ok((ToFloat, Normalize::new([MEAN], [STD])?)) };
    let (float, normalize) = floats()?;
    let augmented = data.train.transform_input((
        RandomCrop::new(28, 28).padding(1),
        HorizontalFlip::new(0.5),
        float,
        normalize,
    ));
    let train = DataLoader::builder(augmented)
        .batch_size(options.batch_size)
        .shuffle()
        .seed(options.seed)
        .workers(options.workers)
        .build()?;
    let test =
        DataLoader::builder(data.test.transform_input(floats()?)).batch_size(EVALUATION_BATCH).build()?;

    let steps_of_epoch = train.batches_per_epoch().div_ceil(options.accumulate) as u64;
    let steps = options.epochs.saturating_mul(steps_of_epoch);
    let lr = options.lr.unwrap_or(match options.optimizer {
        OptimizerName::Sgd => 0.1,
        OptimizerName::Adam | OptimizerName::Adamw => 0.004,
    });
    let mut builder = Trainer::builder(model, loss::cross_entropy)
        .schedule(OneCycle::new(lr, steps))
        .epochs(options.epochs)
        .accumulate(options.accumulate)
        .device(device)
        .seed(options.seed)
        .accuracy()
        .validation_name("test")
        .monitor("test_accuracy", Goal::Max)
        .callback(EpochTable::stdout())
        .progress(Progress::auto())
        .run_dir(dir)
        .resume(resume)
        .stop_flag(&interrupt::install()?);
    builder = match options.optimizer {
        OptimizerName::Sgd => {
            builder.optimizer(decayed(Sgd::new(lr).momentum(0.9).nesterov(true).weight_decay(5e-4)))
        }
        OptimizerName::Adam => builder.optimizer(Adam::new(lr)),
        OptimizerName::Adamw => {
            builder.optimizer(AdamW::new(lr).weight_decay(0.02).group(Group::vectors().weight_decay(0.0)))
        }
    };
    builder = match options.precision {
        Precision::F32 => builder,
        Precision::Bf16 => builder.autocast(DType::BF16),
        Precision::F16 => builder.autocast(DType::F16),
    };
    if !resume {
        builder = builder.callback(Keep(TrainOptions { lr: Some(lr), ..options.clone() }));
    }
    if options.patience > 0 {
        builder = builder.early_stopping(EarlyStopping::patience(options.patience).restore_best());
    }
    let mut trainer = builder.build()?;
    let report = trainer.fit(&train, Some(&test))?;
    Ok(Finished { trainer, report })
}

/// Biases and scales are not decayed.
fn decayed(optimizer: Sgd) -> impl Optimizer + 'static {
    optimizer.group(Group::vectors().weight_decay(0.0))
}

/// Says how it went and where everything is; draws the pictures.
fn summary(
    finished: &mut Finished,
    dir: &Path,
    data: FashionMnist,
    device: &Device,
) -> Result<(), Box<dyn Error>> {
    let Finished { trainer, report } = finished;
    match report.outcome {
        Outcome::Interrupted => {
            say!("stopped after {} steps; to go on: gradus train --resume {}", report.steps, dir.display())
        }
        Outcome::EarlyStopped => say!("stopped early: the test accuracy no longer improves"),
        _ => {}
    }
    if let Some(best) = report.best {
        say!("best test accuracy {:.2} % in epoch {}", 100.0 * best.value, best.epoch);
    }
    let mut files = vec![("metrics", "metrics.csv".to_owned()), ("TensorBoard", "tensorboard/".to_owned())];
    if let Some(checkpoint) = &report.checkpoint {
        files.insert(
            0,
            ("checkpoint", checkpoint.strip_prefix(dir).unwrap_or(checkpoint).display().to_string()),
        );
    }
    if !report.epochs.is_empty() {
        report::curves(&report.epochs)?.save(dir.join("curves.png"))?;
        files.push(("curves", "curves.png".to_owned()));
        let normalized = data.test.clone().transform_input((ToFloat, Normalize::new([MEAN], [STD])?));
        let loader = DataLoader::builder(normalized).batch_size(EVALUATION_BATCH).build()?;
        let (sheet, wrong) = report::mistakes(trainer.model_mut(), &loader, &data.test, device)?;
        sheet.save(dir.join("mistakes.png"))?;
        files.push(("mistakes", format!("mistakes.png (of {wrong} misclassified test images)")));
    }
    say!("the run is in {}:", dir.display());
    for (what, file) in files {
        say!("  {what:<12} {file}");
    }
    Ok(())
}
