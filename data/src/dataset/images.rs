use crate::idx::Idx;
use crate::{Dataset, Error, Result, Sample};

/// One image, `[channels, height, width]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<T> {
    pixels: Vec<T>,
    shape: [usize; 3],
}

impl<T> Image<T> {
    /// An image of these pixels, in shape `[channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the shape does not hold as many pixels as are given.
    pub fn new(pixels: Vec<T>, shape: [usize; 3]) -> Result<Self> {
        if volume(shape) != Some(pixels.len()) {
            let message = format!("{} pixels do not fill shape {shape:?}", pixels.len());
            return Err(Error::argument("image", message));
        }
        Ok(Self { pixels, shape })
    }

    /// `[channels, height, width]`.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The pixels: channel after channel, row after row.
    pub fn pixels(&self) -> &[T] {
        &self.pixels
    }

    /// The pixels, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [T] {
        &mut self.pixels
    }

    /// The pixels, taken out.
    pub fn into_pixels(self) -> Vec<T> {
        self.pixels
    }
}

/// The number of elements of a shape, if memory can address them. An empty axis counts as one element there, so that
/// the product of any of the sizes is a number.
pub(crate) fn volume(shape: [usize; 3]) -> Option<usize> {
    let most = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size.max(1)))?;
    (most <= isize::MAX as usize).then(|| shape.iter().product())
}

/// Labelled images of one size, held in memory as bytes.
///
/// ```
/// use gradus_data::{Dataset, ImageDataset};
///
/// let images = ImageDataset::new(vec![0; 2 * 3 * 4], [1, 3, 4], vec![7, 9])?;
/// let sample = images.get(1)?;
/// assert_eq!((sample.input.shape(), sample.target), ([1, 3, 4], 9));
/// # Ok::<(), gradus_data::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageDataset {
    pixels: Vec<u8>,
    shape: [usize; 3],
    labels: Vec<u8>,
}

impl ImageDataset {
    /// Images one after the other, each of shape `[channels, height, width]`, and a label for each.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many images as labels.
    pub fn new(pixels: Vec<u8>, shape: [usize; 3], labels: Vec<u8>) -> Result<Self> {
        if volume(shape).and_then(|size| size.checked_mul(labels.len())) != Some(pixels.len()) {
            let message = format!(
                "{} bytes are not {} images (one per label) of shape {shape:?}",
                pixels.len(),
                labels.len()
            );
            return Err(Error::argument("image data set", message));
        }
        Ok(Self { pixels, shape, labels })
    }

    /// Grey images `[n, height, width]` and labels `[n]`, as MNIST and its relatives store them.
    ///
    /// # Errors
    /// [`Error::Argument`] if ranks, element types or counts differ from that, or if a label is not
    /// below `classes`.
    pub fn from_idx(images: Idx, labels: Idx, classes: usize) -> Result<Self> {
        let (&[count, height, width], &[labelled]) = (images.shape.as_slice(), labels.shape.as_slice())
        else {
            let message = format!(
                "images have shape {:?}, expected [n, height, width]; labels have shape {:?}, expected [n]",
                images.shape, labels.shape
            );
            return Err(Error::argument("image data set", message));
        };
        if count != labelled {
            return Err(Error::argument("image data set", format!("{count} images but {labelled} labels")));
        }
        let labels = labels.into_u8()?;
        if let Some(at) = labels.iter().position(|&label| usize::from(label) >= classes) {
            let message = format!("label {at} is {}, but there are {classes} classes", labels[at]);
            return Err(Error::argument("image data set", message));
        }
        Self::new(images.into_u8()?, [1, height, width], labels)
    }

    /// `[channels, height, width]` of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// The label of each image.
    pub fn labels(&self) -> &[u8] {
        &self.labels
    }

    /// The mean and the standard deviation of each channel, of pixels scaled to `[0, 1]`: what
    /// [`Normalize`](crate::transforms::Normalize) wants. Without any pixels there are none.
    pub fn mean_and_std(&self) -> (Vec<f32>, Vec<f32>) {
        let [channels, height, width] = self.shape;
        if self.pixels.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let mut histograms = vec![[0_u64; 256]; channels];
        for (plane, pixels) in self.pixels.chunks_exact(height * width).enumerate() {
            let histogram = &mut histograms[plane % channels];
            pixels.iter().for_each(|&pixel| histogram[usize::from(pixel)] += 1);
        }
        histograms.iter().map(mean_and_std_of).unzip()
    }
}

fn mean_and_std_of(histogram: &[u64; 256]) -> (f32, f32) {
    let count = histogram.iter().sum::<u64>().max(1) as f64;
    let moment = |f: &dyn Fn(f64) -> f64| {
        histogram.iter().enumerate().map(|(value, &n)| n as f64 * f(value as f64 / 255.0)).sum::<f64>()
            / count
    };
    let mean = moment(&|x| x);
    (mean as f32, moment(&|x| (x - mean).powi(2)).sqrt() as f32)
}

impl Dataset for ImageDataset {
    type Item = Sample<Image<u8>, i64>;

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn get(&self, index: usize) -> Result<Self::Item> {
        let &label = self.labels.get(index).ok_or(Error::Index { index, len: self.labels.len() })?;
        let size = self.shape.iter().product::<usize>();
        let pixels = self.pixels[index * size..][..size].to_vec();
        Ok(Sample { input: Image { pixels, shape: self.shape }, target: i64::from(label) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idx::IdxData;

    fn idx(shape: &[usize], data: Vec<u8>) -> Idx {
        Idx { shape: shape.to_vec(), data: IdxData::U8(data) }
    }

    #[test]
    fn each_image_keeps_its_own_pixels_and_label() {
        let images =
            ImageDataset::from_idx(idx(&[2, 1, 2], vec![1, 2, 3, 4]), idx(&[2], vec![5, 6]), 10).unwrap();
        let Sample { input, target } = images.get(1).unwrap();
        assert_eq!((input.pixels(), input.shape(), target), (&[3, 4][..], [1, 1, 2], 6));
        assert!(matches!(images.get(2), Err(Error::Index { index: 2, len: 2 })));
    }

    #[test]
    fn counts_ranks_and_labels_that_do_not_fit_are_refused() {
        let build =
            |images: Idx, labels: Idx| ImageDataset::from_idx(images, labels, 10).unwrap_err().to_string();
        let two = || idx(&[2, 1, 1], vec![0, 0]);
        assert_eq!(build(two(), idx(&[3], vec![0; 3])), "image data set: 2 images but 3 labels");
        assert!(build(two(), idx(&[2, 1], vec![0; 2])).contains("labels have shape [2, 1], expected [n]"));
        assert!(build(two(), idx(&[2], vec![0, 10])).contains("label 1 is 10, but there are 10 classes"));
        assert!(ImageDataset::new(vec![], [usize::MAX, 2, 2], vec![]).is_err());
        assert!(ImageDataset::new(vec![], [0, usize::MAX, usize::MAX], vec![]).is_err());
        assert!(Image::<u8>::new(vec![], [1 << 40, 0, 1 << 40]).is_err());
    }

    #[test]
    fn images_without_pixels_have_no_statistics() {
        let none = |shape, labels| ImageDataset::new(vec![], shape, labels).unwrap().mean_and_std();
        assert_eq!(none([1 << 62, 0, 1], vec![]), (vec![], vec![]));
        assert_eq!(none([2, 3, 0], vec![1, 1]), (vec![], vec![]));
    }

    #[test]
    fn mean_and_std_are_per_channel() {
        let images = ImageDataset::new(vec![0, 255, 51, 51, 255, 0, 51, 51], [2, 1, 2], vec![0, 0]).unwrap();
        let (mean, std) = images.mean_and_std();
        assert_eq!((mean, std), (vec![0.5, 0.2], vec![0.5, 0.0]));
    }
}
