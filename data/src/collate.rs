//! Samples into batches.

use gradus_tensor_core::{Device, HostArray, HostElement, Shape, Tensor};

use crate::{Error, Image, Result, Sample};

/// Makes one batch of many samples. Runs in the worker that made them.
///
/// Functions `Fn(Vec<S>) -> Result<B>` collate too.
pub trait Collate<S>: Send + Sync {
    /// A batch.
    type Batch: Send + 'static;

    /// The batch of these samples, of which there is at least one.
    ///
    /// # Errors
    /// If the samples do not go together.
    fn collate(&self, samples: Vec<S>) -> Result<Self::Batch>;
}

impl<S, B: Send + 'static, F: Fn(Vec<S>) -> Result<B> + Send + Sync> Collate<S> for F {
    type Batch = B;

    fn collate(&self, samples: Vec<S>) -> Result<B> {
        self(samples)
    }
}

/// What a model is given, and what it should answer, for many samples at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The inputs; their first dimension counts the samples.
    pub inputs: HostArray,
    /// The answers; their first dimension counts the samples.
    pub targets: HostArray,
}

impl Batch {
    /// Inputs and targets as tensors on a device.
    ///
    /// # Errors
    /// [`Error::Tensor`] if the device's memory runs out.
    pub fn to(&self, device: &Device) -> Result<(Tensor, Tensor)> {
        Ok((device.upload(&self.inputs)?, device.upload(&self.targets)?))
    }
}

/// The default [`Collate`]: stacks inputs, and targets, along a new first dimension.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stack;

impl<I: Stackable, T: Stackable> Collate<Sample<I, T>> for Stack {
    type Batch = Batch;

    fn collate(&self, samples: Vec<Sample<I, T>>) -> Result<Batch> {
        let (inputs, targets) = samples.into_iter().map(|sample| (sample.input, sample.target)).unzip();
        Ok(Batch { inputs: I::stack(inputs)?, targets: T::stack(targets)? })
    }
}

/// Values that can be stacked into one array.
pub trait Stackable: Sized {
    /// The array of these values, along a new first dimension.
    ///
    /// # Errors
    /// If their shapes differ.
    fn stack(values: Vec<Self>) -> Result<HostArray>;
}

fn from_vec<T: HostElement>(data: Vec<T>, shape: &[usize]) -> Result<HostArray> {
    Ok(HostArray::new(data, Shape::new(shape)?)?)
}

/// Images `[c, h, w]` become `[n, c, h, w]`, class labels `[n]`, rows of numbers `[n, len]`.
macro_rules! stackable {
    ($($element:ty),*) => {$(
        impl Stackable for $element {
            fn stack(values: Vec<Self>) -> Result<HostArray> {
                let shape = [values.len()];
                from_vec(values, &shape)
            }
        }

        impl Stackable for Vec<$element> {
            fn stack(values: Vec<Self>) -> Result<HostArray> {
                let len = same("row", values.iter().map(Vec::len))?;
                let shape = [values.len(), len];
                from_vec(values.concat(), &shape)
            }
        }

        impl Stackable for Image<$element> {
            fn stack(values: Vec<Self>) -> Result<HostArray> {
                let [channels, height, width] = same("image", values.iter().map(Image::shape))?;
                let mut pixels = Vec::with_capacity(values.len() * channels * height * width);
                values.iter().for_each(|image| pixels.extend_from_slice(image.pixels()));
                from_vec(pixels, &[values.len(), channels, height, width])
            }
        }
    )*};
}

stackable!(u8, i64, f32);

/// The shape that all values have.
fn same<T: PartialEq + Copy + Default + std::fmt::Debug>(
    what: &str,
    mut shapes: impl Iterator<Item = T>,
) -> Result<T> {
    let first = shapes.next().unwrap_or_default();
    match shapes.enumerate().find(|&(_, shape)| shape != first) {
        None => Ok(first),
        Some((at, shape)) => {
            let message =
                format!("{what} {} of the batch has shape {shape:?}, the first has {first:?}", at + 1);
            Err(Error::argument("stack", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_and_labels_stack_along_a_new_first_dimension() {
        let sample = |start: u8, target: i64| Sample {
            input: Image::new((start..start + 6).collect(), [1, 2, 3]).unwrap(),
            target,
        };
        let Batch { inputs, targets } = Stack.collate(vec![sample(0, 7), sample(6, 8)]).unwrap();
        assert_eq!(inputs.shape().dims(), [2, 1, 2, 3]);
        assert_eq!(inputs.as_slice::<u8>().unwrap(), (0..12).collect::<Vec<u8>>());
        assert_eq!((targets.shape().dims(), targets.as_slice::<i64>()), (&[2][..], Some(&[7, 8][..])));
    }

    #[test]
    fn windows_of_text_stack_into_rows() {
        let sample =
            |first: i64| Sample { input: vec![first, first + 1], target: vec![first + 1, first + 2] };
        let Batch { inputs, targets } = Stack.collate(vec![sample(1), sample(4), sample(9)]).unwrap();
        assert_eq!(inputs.shape().dims(), [3, 2]);
        assert_eq!(inputs.as_slice::<i64>(), Some(&[1, 2, 4, 5, 9, 10][..]));
        assert_eq!(targets.as_slice::<i64>(), Some(&[2, 3, 5, 6, 10, 11][..]));
    }

    #[test]
    fn rows_of_two_lengths_do_not_stack() {
        let error = <Vec<f32>>::stack(vec![vec![1.0], vec![1.0, 2.0]]).unwrap_err();
        assert_eq!(error.to_string(), "stack: row 1 of the batch has shape 2, the first has 1");
    }

    #[test]
    fn an_error_passes_through_tensor_core_and_keeps_its_text() {
        let error = gradus_tensor_core::Error::from(Error::Index { index: 3, len: 2 });
        assert_eq!(error.to_string(), "index 3 is out of range for a data set of 2 samples");
    }
}
