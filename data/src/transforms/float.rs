use super::Transform;
use crate::{Error, Image, Result, SampleRng};

/// Turns bytes into numbers between 0 and 1 by dividing by 255.
#[derive(Clone, Copy, Debug)]
pub struct ToFloat;

impl Transform<Image<u8>> for ToFloat {
    type Output = Image<f32>;

    fn apply(&self, image: Image<u8>, _: &mut SampleRng) -> Result<Image<f32>> {
        let pixels = image.pixels().iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
        Image::new(pixels, image.shape())
    }
}

/// Subtracts a mean and divides by a standard deviation, each one number per channel.
#[derive(Clone, Debug)]
pub struct Normalize {
    mean: Vec<f32>,
    std: Vec<f32>,
}

impl Normalize {
    /// Normalizes by these means and standard deviations, one per channel.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many of one as of the other, if a number is not
    /// finite, or if a standard deviation is not above zero.
    pub fn new(mean: impl Into<Vec<f32>>, std: impl Into<Vec<f32>>) -> Result<Self> {
        let (mean, std) = (mean.into(), std.into());
        if mean.len() != std.len() {
            let message = format!("{} means but {} standard deviations", mean.len(), std.len());
            return Err(Error::argument("normalize", message));
        }
        if !mean.iter().all(|x| x.is_finite()) || !std.iter().all(|&x| x.is_finite() && x > 0.0) {
            let message =
                format!("means {mean:?} must be finite, standard deviations {std:?} finite and above zero");
            return Err(Error::argument("normalize", message));
        }
        Ok(Self { mean, std })
    }
}

impl Transform<Image<f32>> for Normalize {
    type Output = Image<f32>;

    fn apply(&self, mut image: Image<f32>, _: &mut SampleRng) -> Result<Image<f32>> {
        let [channels, height, width] = image.shape();
        if channels != self.mean.len() {
            let message = format!("the image has {channels} channels, there are {} means", self.mean.len());
            return Err(Error::argument("normalize", message));
        }
        if height * width > 0 {
            let planes = image.pixels_mut().chunks_exact_mut(height * width);
            for (plane, (mean, std)) in planes.zip(self.mean.iter().zip(&self.std)) {
                plane.iter_mut().for_each(|pixel| *pixel = (*pixel - mean) / std);
            }
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_scaled_then_normalized_per_channel() {
        let image = Image::new(vec![0, 255, 51, 102], [2, 1, 2]).unwrap();
        let prepare = (ToFloat, Normalize::new([0.5, 0.2], [0.5, 0.1]).unwrap());
        let found = prepare.apply(image, &mut SampleRng::new(0, 0, 0)).unwrap();
        let expected = [-1.0, 1.0, 0.0, 2.0];
        assert!(found.pixels().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn impossible_statistics_are_refused() {
        assert!(Normalize::new([0.0], [1.0, 1.0]).is_err());
        assert!(Normalize::new([0.0], [0.0]).is_err());
        assert!(Normalize::new([f32::NAN], [1.0]).is_err());
        let three = Image::new(vec![0.0; 3], [3, 1, 1]).unwrap();
        let error =
            Normalize::new([0.0], [1.0]).unwrap().apply(three, &mut SampleRng::new(0, 0, 0)).unwrap_err();
        assert_eq!(error.to_string(), "normalize: the image has 3 channels, there are 1 means");
    }
}
