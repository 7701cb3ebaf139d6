//! Data for training: data sets, samplers, transforms, and a loader that makes the same batches with
//! any number of threads.
//!
//! # The one idea
//!
//! **A batch is a pure function of *(seed, epoch, number)*.** Every part of the way from a file to a
//! batch is made so that this holds, and everything one wants of a loader follows from it:
//!
//! | part | is a function of | therefore |
//! | --- | --- | --- |
//! | [`Dataset`] | index → sample | any thread may ask for any sample |
//! | [`Sampler`] | (seed, epoch, position) → index | an epoch starts in its middle as fast as at its start |
//! | [`SampleRng`] | (seed, epoch, index) → random numbers | augmentation does not know who computes it |
//! | [`Collate`] | samples → batch | |
//! | [`DataLoader`] | who computes which batch, when | order and content do not change with it |
//!
//! So the state of a loader is a position, [`LoaderState`], of a few numbers: there is no generator to
//! save and no epoch to replay. Shuffling needs the least obvious trick, a [`Permutation`] that can
//! be asked for its millionth element without the others.
//!
//! # From images to batches
//!
//! ```
//! use gradus_data::transforms::{HorizontalFlip, Normalize, RandomCrop, ToFloat};
//! use gradus_data::{DataLoader, Dataset, ImageDataset};
//!
//! // Or: gradus_data::fashion_mnist::embedded()?.train
//! let images = ImageDataset::new(vec![7; 100 * 28 * 28], [1, 28, 28], vec![0; 100])?;
//! let augmented = images.transform_input((
//!     RandomCrop::new(28, 28).padding(2),
//!     HorizontalFlip::new(0.5),
//!     ToFloat,
//!     Normalize::new([0.286], [0.353])?,
//! ));
//! let loader = DataLoader::builder(augmented).batch_size(64).shuffle().seed(1).workers(2).build()?;
//!
//! let mut batches = loader.epoch(0)?;
//! let first = batches.next().expect("two batches")?;
//! assert_eq!(first.inputs.shape()[..], [64, 1, 28, 28]);
//! let state = batches.state();
//!
//! // Later, or in another process:
//! let rest = loader.resume(&state)?;
//! assert_eq!(rest.len(), 1);
//! # Ok::<(), gradus_data::Error>(())
//! ```
//!
//! # When something fails
//!
//! A sample that cannot be read, a panic in a transform, images of two sizes in a batch: the batch is
//! an `Err` with the sample's index and the cause, the loader neither hangs nor ends early, and the
//! batches after it still come. Files are not believed: see [`idx`].
//!
//! # What is included
//!
//! With feature `embedded-fashion-mnist` the library contains 7,000 images (3 MB), with
//! `embedded-text` half a megabyte of Shakespeare. Both are off by default.

#![forbid(unsafe_code)]

mod collate;
mod dataset;
mod error;
pub mod fashion_mnist;
pub mod idx;
mod loader;
mod permutation;
mod rng;
pub mod sampler;
pub mod text;
pub mod transforms;

pub use collate::{Batch, Collate, Stack, Stackable};
pub use dataset::{
    Concat, Dataset, Image, ImageDataset, InMemory, Map, Sample, Subset, TransformInput, Transformed,
};
pub use error::{Error, Result};
pub use loader::{Batches, DataLoader, DataLoaderBuilder, LoaderState, LoaderStats};
pub use permutation::Permutation;
pub use rng::SampleRng;
pub use sampler::Sampler;
pub use transforms::Transform;
