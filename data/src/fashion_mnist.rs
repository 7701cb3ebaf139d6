//! Fashion-MNIST: 28x28 grey pictures of clothes, ten classes, 60,000 to train and 10,000 to test.
//!
//! Han Xiao, Kashif Rasul, Roland Vollgraf: *Fashion-MNIST: a Novel Image Dataset for Benchmarking
//! Machine Learning Algorithms*, 2017. Copyright 2017 Zalando SE, MIT licence
//! (`assets/LICENSE-fashion-mnist`).

use std::path::Path;

use crate::idx::{self, Idx};
use crate::{Error, ImageDataset, Result};

/// The names of the classes, by label.
pub const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// Where Debian's package `dataset-fashion-mnist` puts the files.
pub const SYSTEM_DIR: &str = "/usr/share/datasets/fashion-mnist";

const TRAIN: [&str; 2] = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"];
const TEST: [&str; 2] = ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"];

/// The two parts of the data set.
#[derive(Clone, Debug)]
pub struct FashionMnist {
    /// Images to learn from.
    pub train: ImageDataset,
    /// Images to be judged by.
    pub test: ImageDataset,
}

/// The first 6,000 training images and the first 1,000 test images, which are part of the program.
///
/// # Errors
/// None in practice: a test reads them.
#[cfg(feature = "embedded-fashion-mnist")]
pub fn embedded() -> Result<FashionMnist> {
    macro_rules! asset {
        ($name:literal) => {
            idx::from_bytes(
                include_bytes!(concat!("../assets/fashion-mnist-", $name)),
                concat!("(embedded) ", $name),
            )?
        };
    }
    Ok(FashionMnist {
        train: dataset(asset!("train-images-idx3-ubyte.gz"), asset!("train-labels-idx1-ubyte.gz"))?,
        test: dataset(asset!("t10k-images-idx3-ubyte.gz"), asset!("t10k-labels-idx1-ubyte.gz"))?,
    })
}

/// All 70,000 images, from a folder with the four IDX files under their usual names, gzipped or not.
///
/// `load(SYSTEM_DIR)` finds them where Debian's package puts them.
///
/// ```
/// let error = gradus_data::fashion_mnist::load("/nowhere").unwrap_err();
/// assert!(error.to_string().contains("apt-get install dataset-fashion-mnist"));
/// ```
///
/// # Errors
/// [`Error::Missing`], which says how to get the files, if one is not there; [`Error::Idx`] and
/// [`Error::Argument`] if one is not what it should be.
pub fn load(dir: impl AsRef<Path>) -> Result<FashionMnist> {
    let dir = dir.as_ref();
    Ok(FashionMnist { train: load_part(dir, TRAIN)?, test: load_part(dir, TEST)? })
}

fn load_part(dir: &Path, [images, labels]: [&str; 2]) -> Result<ImageDataset> {
    dataset(load_file(dir, images)?, load_file(dir, labels)?)
}

fn load_file(dir: &Path, name: &str) -> Result<Idx> {
    let candidates = [format!("{name}.gz"), name.to_owned()];
    match candidates.iter().map(|file| dir.join(file)).find(|path| path.exists()) {
        Some(path) => idx::read(path),
        None => Err(Error::Missing {
            data: "Fashion-MNIST",
            dir: dir.to_owned(),
            missing: candidates[0].clone(),
            help: format!(
                "`apt-get install dataset-fashion-mnist` puts it under {SYSTEM_DIR}, \
                 or give the folder that has the four IDX files"
            ),
        }),
    }
}

fn dataset(images: Idx, labels: Idx) -> Result<ImageDataset> {
    ImageDataset::from_idx(images, labels, CLASSES.len())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Dataset;

    /// An IDX file of two images, or of two labels.
    fn file(rank: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
        let dims = dims.iter().flat_map(|dim| dim.to_be_bytes());
        [0, 0, 8, rank].into_iter().chain(dims).chain(data.iter().copied()).collect()
    }

    #[test]
    fn a_given_folder_is_read_gzipped_or_not() {
        let dir = tempfile::tempdir().unwrap();
        for [images, labels] in [TRAIN, TEST] {
            fs::write(dir.path().join(images), file(3, &[2, 1, 2], &[1, 2, 3, 4])).unwrap();
            let gzipped = fs::File::create(dir.path().join(format!("{labels}.gz"))).unwrap();
            let mut gzipped = flate2::write::GzEncoder::new(gzipped, flate2::Compression::fast());
            std::io::Write::write_all(&mut gzipped, &file(1, &[2], &[9, 0])).unwrap();
            gzipped.finish().unwrap();
        }
        let FashionMnist { train, test } = load(dir.path()).unwrap();
        assert_eq!((train.len(), test.labels()), (2, &[9, 0][..]));
        assert_eq!(train.get(1).unwrap().input.pixels(), [3, 4]);

        fs::remove_file(dir.path().join(TEST[0])).unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(
            matches!(&error, Error::Missing { missing, .. } if missing == "t10k-images-idx3-ubyte.gz"),
            "{error}"
        );
    }

    #[cfg(feature = "embedded-fashion-mnist")]
    #[test]
    fn the_embedded_images_are_the_first_of_each_part() {
        let FashionMnist { train, test } = embedded().unwrap();
        assert_eq!((train.len(), test.len(), train.shape()), (6_000, 1_000, [1, 28, 28]));
        assert_eq!(train.labels()[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
        assert_eq!(test.labels()[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
        let (mean, std) = train.mean_and_std();
        // Of all 60,000: 0.2860 and 0.3530.
        assert!((mean[0] - 0.286).abs() < 0.005 && (std[0] - 0.353).abs() < 0.005, "{mean:?} {std:?}");
    }
}
