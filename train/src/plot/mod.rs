//! Small pictures as PNG: the curves of a run, and sheets of labelled images.
//!
//! Everything is drawn here, into RGB bytes, with a pre-rasterized font: no system library, no font files,
//! and the same bytes on every machine.
//!
//! ```
//! use gradus_train::plot::{Chart, ImageSheet, Picture, Thumbnail};
//! # let run = tempfile::tempdir().unwrap();
//! let loss = Chart::new("Loss")
//!     .x_label("epoch")
//!     .series("train", [(1.0, 0.61), (2.0, 0.40), (3.0, 0.33)])
//!     .series("validation", [(1.0, 0.55), (2.0, 0.45), (3.0, 0.44)]);
//! let accuracy = Chart::new("Accuracy").x_label("epoch").series("train", [(1.0, 0.81), (2.0, 0.88), (3.0, 0.90)]);
//! Picture::side_by_side(&[loss.draw(480, 320), accuracy.draw(480, 320)]).save(run.path().join("curves.png"))?;
//!
//! let pixels: Vec<u8> = (0..28 * 28).map(|i| (i % 256) as u8).collect();
//! let mut sheet = ImageSheet::new("Misclassified");
//! sheet.push(Thumbnail::gray(28, 28, &pixels)?, "Shirt -> Coat");
//! sheet.draw().save(run.path().join("misclassified.png"))?;
//! # Ok::<(), gradus_train::Error>(())
//! ```

mod axis;
mod canvas;
mod chart;
mod line;
mod picture;
mod sheet;
mod text;

pub use chart::Chart;
pub use picture::Picture;
pub use sheet::{ImageSheet, Thumbnail};
