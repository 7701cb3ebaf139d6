use super::Transform;
use crate::{Image, Result, SampleRng};

/// The part of the image's area that is erased, from and to.
const AREA: (f32, f32) = (0.02, 0.33);
/// The height of what is erased, divided by its width, from and to.
const ASPECT: (f32, f32) = (0.3, 3.3);
/// Rectangles drawn before giving up on one that fits.
const ATTEMPTS: usize = 10;

/// Sets a random rectangle of an image to zero, with a probability: 2 to 33 percent of its area,
/// between 10:3 wide and 10:33 high.
///
/// Put it after [`Normalize`](super::Normalize), so that zero is the mean.
#[derive(Clone, Copy, Debug)]
pub struct RandomErasing {
    probability: f32,
}

impl RandomErasing {
    /// Erases with this probability: never if it is 0 or less (or NaN), always if it is 1 or more.
    pub fn new(probability: f32) -> Self {
        Self { probability }
    }
}

fn between((from, to): (f32, f32), rng: &mut SampleRng) -> f32 {
    from + (to - from) * rng.uniform()
}

impl<T: Copy + Default> Transform<Image<T>> for RandomErasing {
    type Output = Image<T>;

    fn apply(&self, mut image: Image<T>, rng: &mut SampleRng) -> Result<Image<T>> {
        let [channels, height, width] = image.shape();
        if !rng.chance(self.probability) {
            return Ok(image);
        }
        for _ in 0..ATTEMPTS {
            let area = between(AREA, rng) * (height * width) as f32;
            let aspect = between((ASPECT.0.ln(), ASPECT.1.ln()), rng).exp();
            let (rows, columns) =
                ((area * aspect).sqrt().round() as usize, (area / aspect).sqrt().round() as usize);
            if rows >= height || columns >= width {
                continue;
            }
            let (top, left) = (rng.below(height - rows + 1), rng.below(width - columns + 1));
            for row in
                (0..channels).flat_map(|channel| (0..rows).map(move |row| channel * height + top + row))
            {
                image.pixels_mut()[row * width + left..][..columns].fill(T::default());
            }
            break;
        }
        Ok(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn erased(key: u64) -> Image<f32> {
        let image = Image::new(vec![1.0; 2 * 28 * 28], [2, 28, 28]).unwrap();
        RandomErasing::new(1.0).apply(image, &mut SampleRng::new(0, 0, key)).unwrap()
    }

    #[test]
    fn what_is_erased_is_one_rectangle_the_same_in_every_channel() {
        for key in 0..500 {
            let image = erased(key);
            let (first, second) = image.pixels().split_at(28 * 28);
            assert_eq!(first, second);
            let zeros: Vec<_> = (0..28 * 28).filter(|&i| first[i] == 0.0).map(|i| (i / 28, i % 28)).collect();
            let extent = |of: fn(&(usize, usize)) -> usize| {
                let (low, high) = (zeros.iter().map(of).min().unwrap(), zeros.iter().map(of).max().unwrap());
                high - low + 1
            };
            assert_eq!(extent(|z| z.0) * extent(|z| z.1), zeros.len(), "a hole or a second rectangle");
        }
    }

    #[test]
    fn the_erased_area_is_spread_over_its_range() {
        let areas: Vec<f32> = (0..2_000)
            .map(|key| {
                erased(key).pixels().iter().filter(|&&x| x == 0.0).count() as f32 / (2.0 * 28.0 * 28.0)
            })
            .collect();
        let mean = areas.iter().sum::<f32>() / areas.len() as f32;
        assert!(areas.iter().all(|a| (0.01..0.36).contains(a)));
        assert!((mean - 0.175).abs() < 0.01, "{mean}");
    }

    #[test]
    fn an_image_too_small_to_erase_stays_as_it_is() {
        let image = Image::new(vec![1_u8; 1], [1, 1, 1]).unwrap();
        let found = RandomErasing::new(1.0).apply(image.clone(), &mut SampleRng::new(0, 0, 0)).unwrap();
        assert_eq!(found.shape(), image.shape());
    }
}
