//! Pictures of a run: its curves, and what it still gets wrong.

use std::error::Error;

use gradus::data::fashion_mnist::CLASSES;
use gradus::data::{Batch, Collate, DataLoader, Dataset, ImageDataset};
use gradus::nn::Module;
use gradus::prelude::*;
use gradus::train::plot::{Chart, ImageSheet, Picture, Thumbnail};
use gradus::train::trainer::EpochReport;

/// How many misclassified images are shown.
const SHOWN: usize = 40;

/// Loss and accuracy by epoch.
pub fn curves(epochs: &[EpochReport]) -> Result<Picture, Box<dyn Error>> {
    let chart = |title: &str, what: &str, scale: f64| {
        let series = |set: &str| -> Vec<(f64, f64)> {
            let value = |e: &EpochReport| Some((e.epoch as f64, scale * e.value(&format!("{set}_{what}"))?));
            epochs.iter().filter_map(value).collect()
        };
        Chart::new(title)
            .x_label("epoch")
            .series("training", series("train"))
            .series("test", series("test"))
            .draw(560, 400)
    };
    Ok(Picture::side_by_side(&[chart("Loss", "loss", 1.0), chart("Accuracy (%)", "accuracy", 100.0)]))
}

/// A sheet of the test images that the model is most wrongly sure of, and the number of all it gets wrong. Leaves the model in
/// evaluation mode.
pub fn mistakes<D, C>(
    model: &mut impl Module,
    loader: &DataLoader<D, C>,
    images: &ImageDataset,
    device: &Device,
) -> Result<(Picture, usize), Box<dyn Error>>
where
    D: Dataset + 'static,
    C: Collate<D::Item, Batch = Batch> + 'static,
{
    let mut wrong: Vec<(f32, usize, usize, usize)> = Vec::new(); // confidence, image, label, prediction
    let mut first = 0;
    model.set_training(false);
    for batch in loader.epoch(0)? {
        let (x, labels) = batch?.to(device)?;
        let probabilities = no_grad(|| model.forward(&x)?.softmax(-1))?;
        let (top, class) = (probabilities.amax(-1)?, probabilities.argmax(-1)?);
        let (top, class, labels) = (top.to_vec::<f32>()?, class.to_vec::<i64>()?, labels.to_vec::<i64>()?);
        for (i, (&predicted, &label)) in class.iter().zip(&labels).enumerate() {
            if predicted != label {
                wrong.push((top[i], first + i, label as usize, predicted as usize));
            }
        }
        first += labels.len();
    }
    let count = wrong.len();
    wrong.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut sheet =
        ImageSheet::new(format!("Misclassified: label, then prediction ({count} of {first})")).columns(8);
    for (confidence, image, label, predicted) in wrong.into_iter().take(SHOWN) {
        let sample = images.get(image)?;
        let [_, height, width] = sample.input.shape();
        let name = |class: usize| CLASSES.get(class).copied().unwrap_or("?");
        let caption = format!("{}\n{} {:.0} %", name(label), name(predicted), 100.0 * confidence);
        sheet.push(Thumbnail::gray(width, height, sample.input.pixels())?, caption);
    }
    Ok((sheet.draw(), count))
}
