//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

/// Trains neural networks.
///
/// Without a command: trains a convolutional network on the images of Fashion-MNIST that are compiled in, and
/// says where it put checkpoints, metrics and pictures.
#[derive(Debug, Parser)]
#[command(name = "gradus", version)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
}

impl Arguments {
    /// Reads a command line, whose first word is the program's name.
    pub fn read<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Self, clap::Error> {
        let matches = Self::command().try_get_matches_from(words)?;
        let mut arguments = Self::from_arg_matches(&matches)?;
        if let (Some(Command::Train(options)), Some(given)) =
            (&mut arguments.command, matches.subcommand_matches("train"))
        {
            let is_given = |id: &&clap::Id| given.value_source(id.as_str()) == Some(ValueSource::CommandLine);
            options.explicit = given.ids().filter(is_given).map(|id| id.to_string()).collect();
        }
        Ok(arguments)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a model on images.
    Train(TrainOptions),
    /// Show devices, CPU features, threads and what is compiled in, and test them.
    Doctor,
}

/// The names of its fields are those of the options, in the run's directory too.
#[derive(Clone, Debug, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// Which network.
    #[arg(long, value_enum, default_value_t = Model::Cnn)]
    pub model: Model,
    /// `embedded`; `fashion-mnist` (all 70,000 images as Debian's package dataset-fashion-mnist installs them);
    /// or a folder with the four IDX files.
    #[arg(long, default_value = "embedded")]
    pub data: String,
    /// Passes over the training images.
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..))]
    pub epochs: u64,
    /// Images per step.
    #[arg(long, default_value_t = 64, value_parser = positive)]
    pub batch_size: usize,
    /// Batches whose gradients are averaged before each update.
    #[arg(long, default_value_t = 1, value_parser = positive)]
    pub accumulate: usize,
    /// Which update rule.
    #[arg(long, value_enum, default_value_t = OptimizerName::Adamw)]
    pub optimizer: OptimizerName,
    /// The highest learning rate of the one-cycle schedule [default: 0.004, or 0.1 for sgd].
    #[arg(long, value_parser = learning_rate)]
    pub lr: Option<f64>,
    /// In what to compute matrix products and convolutions; parameters are f32 in any case.
    #[arg(long, value_enum, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Where to compute.
    #[arg(long, value_enum, default_value_t = DeviceName::Cpu)]
    pub device: DeviceName,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Threads that compute [default: one per core].
    #[arg(long, value_parser = positive)]
    pub threads: Option<usize>,
    /// Threads that load and augment images.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
    /// Epochs without a better accuracy after which to stop; 0 never stops early.
    #[arg(long, default_value_t = 0)]
    pub patience: u64,
    /// Go on with the run in this directory, with its options and from its newest checkpoint.
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    #[serde(skip)]
    pub resume: Option<PathBuf>,
    /// Where to put the run's directory's contents [default: a new directory under runs/].
    #[arg(long, value_name = "DIR")]
    #[serde(skip)]
    pub output: Option<PathBuf>,
    /// The names of the options that were given, and not taken from the defaults.
    #[arg(skip)]
    #[serde(skip)]
    pub explicit: Vec<String>,
}

impl Default for TrainOptions {
    /// What the command line gives without arguments.
    fn default() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            options: TrainOptions,
        }
        Alone::parse_from(["gradus"]).options
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Three convolutions with batch normalization.
    Cnn,
    /// Three linear layers.
    Mlp,
    /// A residual network of 18 layers.
    Resnet18,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with Nesterov momentum 0.9.
    Sgd,
    /// Adam.
    Adam,
    /// Adam with decoupled weight decay.
    Adamw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision.
    F32,
    /// Mixed precision with brain floats.
    Bf16,
    /// Mixed precision with half floats, and a scaled loss.
    F16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceName {
    /// The CPU.
    Cpu,
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

fn learning_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok(x),
        Ok(x) => Err(format!("{x} is not a positive number")),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_arguments_mean_the_defaults_of_train() {
        let Some(Command::Train(options)) = Arguments::read(["gradus", "train"]).unwrap().command else {
            panic!("train is a command");
        };
        assert_eq!(format!("{options:?}"), format!("{:?}", TrainOptions::default()));
    }
}
