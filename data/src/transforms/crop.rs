use super::Transform;
use crate::dataset::volume;
use crate::{Error, Image, Result, SampleRng};

/// Cuts a window of fixed size from a random place of an image, padded with zeros first.
#[derive(Clone, Copy, Debug)]
pub struct RandomCrop {
    height: usize,
    width: usize,
    padding: usize,
}

impl RandomCrop {
    /// A window of this size, in pixels.
    pub fn new(height: usize, width: usize) -> Self {
        Self { height, width, padding: 0 }
    }

    /// Pads each side with this many zeros before cutting.
    #[must_use]
    pub fn padding(mut self, pixels: usize) -> Self {
        self.padding = pixels;
        self
    }

    /// The number of places for a window of `wanted` pixels on an axis of `size` pixels.
    fn places(&self, size: usize, wanted: usize) -> Option<usize> {
        Some(size.checked_add(self.padding.checked_mul(2)?)?.checked_sub(wanted)?.saturating_add(1))
    }
}

impl<T: Copy + Default> Transform<Image<T>> for RandomCrop {
    type Output = Image<T>;

    fn apply(&self, image: Image<T>, rng: &mut SampleRng) -> Result<Image<T>> {
        let [channels, height, width] = image.shape();
        let places = (self.places(height, self.height), self.places(width, self.width));
        let (Some(rows), Some(columns)) = places else {
            let message = format!(
                "cannot cut {}x{} from an image of {height}x{width} padded by {}",
                self.height, self.width, self.padding
            );
            return Err(Error::argument("random crop", message));
        };
        let (top, left) = (rng.below(rows), rng.below(columns));

        let size = volume([channels, self.height, self.width]);
        let mut pixels = Vec::new();
        let Some(size) = size.filter(|&size| pixels.try_reserve_exact(size).is_ok()) else {
            let message = format!("memory has no room for {}x{} pixels", self.height, self.width);
            return Err(Error::argument("random crop", message));
        };
        pixels.resize(size, T::default());
        // The columns of the window that lie on the image.
        let from = self.padding.saturating_sub(left).min(self.width);
        let to = (self.padding + width).saturating_sub(left).clamp(from, self.width);
        for channel in 0..channels {
            for row in 0..self.height {
                let Some(source) = (top + row).checked_sub(self.padding).filter(|&row| row < height) else {
                    continue;
                };
                if from == to {
                    continue;
                }
                let source = (channel * height + source) * width + left + from - self.padding;
                let target = (channel * self.height + row) * self.width;
                pixels[target + from..target + to]
                    .copy_from_slice(&image.pixels()[source..source + to - from]);
            }
        }
        Image::new(pixels, [channels, self.height, self.width])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every window that cutting by definition can give: pad, then take.
    fn windows(image: &Image<u8>, crop: RandomCrop) -> Vec<Vec<u8>> {
        let [channels, height, width] = image.shape();
        let pad = crop.padding;
        let at = |c: usize, y: usize, x: usize| match (y.checked_sub(pad), x.checked_sub(pad)) {
            (Some(y), Some(x)) if y < height && x < width => image.pixels()[(c * height + y) * width + x],
            _ => 0,
        };
        let mut all = Vec::new();
        for top in 0..=height + 2 * pad - crop.height {
            for left in 0..=width + 2 * pad - crop.width {
                let mut window = Vec::new();
                for c in 0..channels {
                    for y in 0..crop.height {
                        window.extend((0..crop.width).map(|x| at(c, top + y, left + x)));
                    }
                }
                all.push(window);
            }
        }
        all
    }

    proptest! {
        #[test]
        fn a_crop_is_one_of_the_windows_of_the_padded_image(
            channels in 0_usize..3, height in 0_usize..6, width in 0_usize..6, pad in 0_usize..4,
            cut in (0.0..=1.0, 0.0..=1.0), key: u64,
        ) {
            let of = |size: usize, part: f64| ((size + 2 * pad) as f64 * part) as usize;
            let crop = RandomCrop::new(of(height, cut.0), of(width, cut.1)).padding(pad);
            let pixels = (1..=(channels * height * width) as u8).collect();
            let image = Image::new(pixels, [channels, height, width]).unwrap();
            let found = crop.apply(image.clone(), &mut SampleRng::new(0, 0, key)).unwrap();
            prop_assert_eq!(found.shape(), [channels, crop.height, crop.width]);
            prop_assert!(windows(&image, crop).iter().any(|window| window == found.pixels()));
        }
    }

    #[test]
    fn every_place_is_equally_likely() {
        let image = Image::new((1..=4_u8).collect(), [1, 2, 2]).unwrap();
        let crop = RandomCrop::new(2, 2).padding(1);
        let windows = windows(&image, crop);
        let mut counts = [0; 9];
        for key in 0..9_000 {
            let found = crop.apply(image.clone(), &mut SampleRng::new(0, 0, key)).unwrap();
            counts[windows.iter().position(|window| window == found.pixels()).unwrap()] += 1;
        }
        assert!(counts.iter().all(|n| (850..1_150).contains(n)), "{counts:?}");
    }

    #[test]
    fn a_window_larger_than_the_padded_image_is_refused() {
        let image = Image::new(vec![0_u8; 4], [1, 2, 2]).unwrap();
        let error = RandomCrop::new(5, 2).padding(1).apply(image, &mut SampleRng::new(0, 0, 0)).unwrap_err();
        assert_eq!(error.to_string(), "random crop: cannot cut 5x2 from an image of 2x2 padded by 1");
    }

    #[test]
    fn a_window_larger_than_memory_is_refused() {
        for side in [1 << 40, 1 << 31, 1 << 62] {
            let image = Image::new(vec![0_u8; 4], [1, 2, 2]).unwrap();
            let crop = RandomCrop::new(side, side).padding(side);
            let error = crop.apply(image, &mut SampleRng::new(0, 0, 0)).unwrap_err().to_string();
            assert!(error.starts_with("random crop: memory has no room for"), "{error}");
        }
    }
}
