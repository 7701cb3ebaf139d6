//! What a run measures, and the file it is kept in.
//!
//! Averages are weighted by the number of samples, since the last batch of an epoch is often smaller than the
//! others, and they count before they divide, so that averages of parts can be [merged](Average::merge).
//!
//! ```
//! use gradus_train::metrics::{Accuracy, Average};
//! let (mut loss, mut accuracy) = (Average::default(), Accuracy::default());
//! loss.add(0.50, 128); // the mean over a batch of 128 samples
//! loss.add(0.20, 32); // and over the last, smaller one
//! accuracy.update(&[3, 1, 1, 0], &[3, 1, 2, 0])?;
//! assert_eq!(loss.value(), Some((0.50 * 128.0 + 0.20 * 32.0) / 160.0));
//! assert_eq!(accuracy.value(), Some(0.75));
//! # Ok::<(), gradus_train::Error>(())
//! ```

mod average;
mod confusion;
mod log;

pub use average::{Accuracy, Average};
pub use confusion::{ConfusionMatrix, Mistake};
pub use log::MetricsLog;
