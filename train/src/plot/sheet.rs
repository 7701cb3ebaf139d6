//! A sheet of small images with captions.

use super::Picture;
use super::canvas::{Canvas, Color, WHITE};
use super::text::Font;
use crate::{Error, Result};

const INK: Color = [40, 44, 52];
const FRAME: Color = [205, 209, 216];
/// Thumbnails are scaled up, by a whole factor, to at least this many pixels.
const LEAST_SIDE: usize = 96;
const MARGIN: usize = 16;

/// A small image to show, 8 bits per channel.
#[derive(Clone, Debug)]
pub struct Thumbnail {
    width: usize,
    height: usize,
    pixels: Vec<Color>,
}

impl Thumbnail {
    /// A grayscale image: one byte per pixel, 0 black and 255 white, row by row.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `width * height` bytes, at least one, or a side exceeds 4096.
    pub fn gray(width: usize, height: usize, pixels: &[u8]) -> Result<Self> {
        check("Thumbnail::gray", width, height, pixels.len(), 1)?;
        Ok(Self { width, height, pixels: pixels.iter().map(|&v| [v; 3]).collect() })
    }

    /// A color image: three bytes per pixel, red, green, blue, row by row.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not `width * height * 3` bytes, at least one pixel, or a side exceeds 4096.
    pub fn rgb(width: usize, height: usize, pixels: &[u8]) -> Result<Self> {
        check("Thumbnail::rgb", width, height, pixels.len(), 3)?;
        Ok(Self { width, height, pixels: pixels.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect() })
    }
}

fn check(call: &'static str, width: usize, height: usize, found: usize, channels: usize) -> Result<()> {
    const MAX_SIDE: usize = 4096;
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        let message = format!("{width} x {height} pixels; each side must be from 1 to {MAX_SIDE}");
        return Err(Error::argument(call, message));
    }
    let expected = width * height * channels;
    if found != expected {
        let message =
            format!("{width} x {height} pixels of {channels} bytes are {expected} bytes, found {found}");
        return Err(Error::argument(call, message));
    }
    Ok(())
}

/// A grid of images, each enlarged without smoothing and with a caption below it.
#[derive(Clone, Debug)]
pub struct ImageSheet {
    title: String,
    columns: usize,
    cells: Vec<(Thumbnail, String)>,
}

impl ImageSheet {
    /// A sheet without images, in rows of 6.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), columns: 6, cells: Vec::new() }
    }

    /// Sets the number of images in a row, at least 1.
    #[must_use]
    pub fn columns(mut self, columns: usize) -> Self {
        self.columns = columns.max(1);
        self
    }

    /// Adds an image. The caption may have several lines.
    pub fn push(&mut self, image: Thumbnail, caption: impl Into<String>) {
        self.cells.push((image, caption.into()));
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Draws the sheet.
    pub fn draw(&self) -> Picture {
        let side = self.cells.iter().map(|(image, _)| image.width.max(image.height)).max().unwrap_or(1);
        let scale = LEAST_SIDE.div_ceil(side);
        let lines = self.cells.iter().map(|(_, caption)| caption.lines().count()).max().unwrap_or(0);
        let text =
            self.cells.iter().flat_map(|(_, caption)| caption.lines()).map(|l| Font::Small.width(l)).max();
        let image_width = self.cells.iter().map(|(image, _)| image.width * scale).max().unwrap_or(0);
        let image_height = self.cells.iter().map(|(image, _)| image.height * scale).max().unwrap_or(0);
        let cell_width = image_width.max(text.unwrap_or(0)) + MARGIN;
        let cell_height = image_height + 4 + lines * Font::Small.height() + MARGIN;

        let columns = self.columns.min(self.cells.len()).max(1);
        let rows = self.cells.len().div_ceil(columns);
        let top = MARGIN + Font::Title.height() + 8;
        let width = (columns * cell_width + MARGIN).max(Font::Title.width(&self.title) + 2 * MARGIN);
        let mut canvas = Canvas::new(width, top + rows * cell_height, WHITE);
        canvas.text(Font::Title, MARGIN, MARGIN - 4, &self.title, INK);
        for (i, (image, caption)) in self.cells.iter().enumerate() {
            // The middle of the cell, so that narrow images stand above the middle of their captions.
            let middle = MARGIN / 2 + (i % columns) * cell_width + cell_width / 2;
            let y = top + (i / columns) * cell_height;
            draw_image(&mut canvas, image, scale, middle - image.width * scale / 2, y);
            for (line, text) in caption.lines().enumerate() {
                let x = middle - Font::Small.width(text) / 2;
                canvas.text(Font::Small, x, y + image_height + 4 + line * Font::Small.height(), text, INK);
            }
        }
        canvas.finish()
    }
}

/// Draws an image enlarged, in a thin frame.
fn draw_image(canvas: &mut Canvas, image: &Thumbnail, scale: usize, x: usize, y: usize) {
    canvas.fill(
        x.saturating_sub(1),
        y.saturating_sub(1),
        image.width * scale + 2,
        image.height * scale + 2,
        FRAME,
    );
    for (at, color) in image.pixels.iter().enumerate() {
        canvas.fill(x + at % image.width * scale, y + at / image.width * scale, scale, scale, *color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_enlarged_without_smoothing() {
        let mut sheet = ImageSheet::new("");
        sheet.push(Thumbnail::rgb(2, 1, &[200, 0, 0, 0, 0, 200]).unwrap(), "");
        let picture = sheet.draw();
        let count = |color: [u8; 3]| picture.rgb().chunks_exact(3).filter(|p| *p == color).count();
        assert_eq!(count([200, 0, 0]), 48 * 48);
        assert_eq!(count([0, 0, 200]), 48 * 48);
    }

    #[test]
    fn a_wrong_number_of_bytes_or_an_absurd_size_is_an_error_with_the_numbers() {
        let error = Thumbnail::gray(28, 28, &[0; 783]).unwrap_err().to_string();
        assert_eq!(error, "Thumbnail::gray: 28 x 28 pixels of 1 bytes are 784 bytes, found 783");
        assert!(Thumbnail::rgb(0, 5, &[]).is_err());
        assert!(Thumbnail::rgb(usize::MAX, usize::MAX, &[]).is_err());
    }

    #[test]
    fn sheets_of_no_one_or_mixed_images_can_be_drawn() {
        let mut sheet = ImageSheet::new("a title that is wider than the images below it").columns(0);
        assert!(sheet.is_empty());
        sheet.draw();
        sheet.push(Thumbnail::gray(1, 1, &[7]).unwrap(), "a caption\nof two lines");
        sheet.push(Thumbnail::gray(5, 300, &[9; 1500]).unwrap(), "größer");
        assert_eq!(sheet.len(), 2);
        let picture = sheet.columns(7).draw();
        assert!(picture.height() > 300 && picture.width() > 300);
    }
}
