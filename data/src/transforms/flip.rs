use super::Transform;
use crate::{Image, Result, SampleRng};

/// Mirrors an image left to right, with a probability.
#[derive(Clone, Copy, Debug)]
pub struct HorizontalFlip {
    probability: f32,
}

impl HorizontalFlip {
    /// Mirrors with this probability: never if it is 0 or less (or NaN), always if it is 1 or more.
    pub fn new(probability: f32) -> Self {
        Self { probability }
    }
}

impl<T: Send> Transform<Image<T>> for HorizontalFlip {
    type Output = Image<T>;

    fn apply(&self, mut image: Image<T>, rng: &mut SampleRng) -> Result<Image<T>> {
        let [_, _, width] = image.shape();
        if rng.chance(self.probability) && width > 0 {
            image.pixels_mut().chunks_exact_mut(width).for_each(<[T]>::reverse);
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flipping_mirrors_each_row_of_each_channel() {
        let image = Image::new((1..=8).collect(), [2, 2, 2]).unwrap();
        let flipped = HorizontalFlip::new(1.0).apply(image, &mut SampleRng::new(0, 0, 0)).unwrap();
        assert_eq!(flipped.pixels(), [2, 1, 4, 3, 6, 5, 8, 7]);
    }

    #[test]
    fn half_of_the_images_are_flipped_at_one_half() {
        let flip = |key| {
            let image = Image::new(vec![0, 1], [1, 1, 2]).unwrap();
            HorizontalFlip::new(0.5).apply(image, &mut SampleRng::new(0, 0, key)).unwrap().pixels()[0]
        };
        let flipped: i32 = (0..10_000).map(flip).sum();
        assert!((4_800..5_200).contains(&flipped), "{flipped}");
    }

    #[test]
    fn an_image_without_columns_stays_as_it_is() {
        let image = Image::new(Vec::<u8>::new(), [1, 3, 0]).unwrap();
        assert_eq!(
            HorizontalFlip::new(1.0).apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap(),
            image
        );
    }
}
