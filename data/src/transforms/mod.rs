//! Changes to samples: augmentation and preparation.
//!
//! A [`Transform`] takes a value and a random stream and gives a value. Tuples apply in order, and
//! functions `Fn(input, &mut SampleRng) -> Result<output>` are transforms too:
//!
//! ```
//! use gradus_data::{Dataset, ImageDataset};
//! use gradus_data::transforms::{HorizontalFlip, Normalize, RandomCrop, RandomErasing, ToFloat};
//!
//! let images = ImageDataset::new(vec![128; 28 * 28], [1, 28, 28], vec![3])?;
//! let (mean, std) = images.mean_and_std();
//! # let std = vec![1.0];
//! let augmented = images.transform_input((
//!     RandomCrop::new(28, 28).padding(2),
//!     HorizontalFlip::new(0.5),
//!     ToFloat,
//!     Normalize::new(mean, std)?,
//!     RandomErasing::new(0.25),
//! ));
//! assert_eq!(augmented.get(0)?.input.shape(), [1, 28, 28]);
//! # Ok::<(), gradus_data::Error>(())
//! ```
//!
//! Names, defaults and distributions are torchvision's; the random numbers are not.

mod crop;
mod erasing;
mod flip;
mod float;

pub use crop::RandomCrop;
pub use erasing::RandomErasing;
pub use flip::HorizontalFlip;
pub use float::{Normalize, ToFloat};

use crate::{Result, SampleRng};

/// A change to a value, which may draw from the random stream of the sample it belongs to.
pub trait Transform<I>: Send + Sync {
    /// What the value becomes.
    type Output;

    /// The changed value.
    ///
    /// # Errors
    /// When the value is not one that this transform can change.
    fn apply(&self, input: I, rng: &mut SampleRng) -> Result<Self::Output>;
}

impl<I, O, F> Transform<I> for F
where
    F: Fn(I, &mut SampleRng) -> Result<O> + Send + Sync,
{
    type Output = O;

    fn apply(&self, input: I, rng: &mut SampleRng) -> Result<O> {
        self(input, rng)
    }
}

/// Tuples of transforms: each is given what the one before it made.
macro_rules! in_order {
    ($first:ident $(, $next:ident after $before:ident)* => $last:ident) => {
        impl<I, $first, $($next),*> Transform<I> for ($first, $($next,)*)
        where
            $first: Transform<I>,
            $($next: Transform<$before::Output>,)*
        {
            type Output = $last::Output;

            #[allow(non_snake_case)]
            fn apply(&self, input: I, rng: &mut SampleRng) -> Result<Self::Output> {
                let ($first, $($next,)*) = self;
                let value = $first.apply(input, rng)?;
                $(let value = $next.apply(value, rng)?;)*
                Ok(value)
            }
        }
    };
}

in_order!(A => A);
in_order!(A, B after A => B);
in_order!(A, B after A, C after B => C);
in_order!(A, B after A, C after B, D after C => D);
in_order!(A, B after A, C after B, D after C, E after D => E);
in_order!(A, B after A, C after B, D after C, E after D, F after E => F);
in_order!(A, B after A, C after B, D after C, E after D, F after E, G after F => G);
in_order!(A, B after A, C after B, D after C, E after D, F after E, G after F, H after G => H);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuple_applies_its_transforms_in_order() {
        let add = |x: i32, _: &mut SampleRng| Ok(x + 1);
        let print = |x: i32, _: &mut SampleRng| Ok(format!("<{x}>"));
        let count = |x: String, _: &mut SampleRng| Ok(x.len());
        assert_eq!((add, add, print, count).apply(98, &mut SampleRng::new(0, 0, 0)).unwrap(), 5);
    }
}
