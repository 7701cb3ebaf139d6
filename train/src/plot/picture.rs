//! A finished picture.

use std::path::Path;

use gradus_tensor_core::io::atomic;

use super::canvas::{Canvas, WHITE};
use crate::{Error, Result};

/// A picture of 8-bit RGB pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// The largest width and height, in pixels: requests beyond are cut to it.
    pub const MAX_SIDE: usize = 16_384;

    /// `rgb` holds `width * height` pixels of three bytes: the canvas sees to that.
    pub(super) fn new(width: usize, height: usize, rgb: Vec<u8>) -> Self {
        Self { width, height, rgb }
    }

    /// Joins pictures into one row, aligned at the top.
    pub fn side_by_side(pictures: &[Picture]) -> Picture {
        let width = pictures.iter().map(|p| p.width).sum();
        let height = pictures.iter().map(|p| p.height).max().unwrap_or(1);
        let mut canvas = Canvas::new(width, height, WHITE);
        let mut left = 0;
        for picture in pictures {
            for (at, pixel) in picture.rgb.chunks_exact(3).enumerate() {
                canvas.set(left + at % picture.width, at / picture.width, [pixel[0], pixel[1], pixel[2]]);
            }
            left += picture.width;
        }
        canvas.finish()
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The pixels, three bytes each, row by row from the top left.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// The bytes of a PNG file.
    ///
    /// # Errors
    /// [`Error::Argument`] if the encoder refuses the picture.
    pub fn to_png(&self) -> Result<Vec<u8>> {
        let refused = |e: png::EncodingError| Error::argument("Picture::to_png", e.to_string());
        let mut bytes = Vec::new();
        // Sides are at most `MAX_SIDE`, so they fit.
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(refused)?;
        writer.write_image_data(&self.rgb).map_err(refused)?;
        writer.finish().map_err(refused)?;
        Ok(bytes)
    }

    /// Writes a PNG file, atomically.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let png = self.to_png()?;
        Ok(atomic::write(path, |file| file.write_all(&png))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_png_decodes_to_the_pixels_that_were_drawn() {
        let mut canvas = Canvas::new(3, 2, WHITE);
        canvas.set(1, 1, [1, 2, 3]);
        let picture = Picture::side_by_side(&[canvas.finish(), Canvas::new(1, 1, [9, 9, 9]).finish()]);
        let png = picture.to_png().unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (4, 2, png::ColorType::Rgb));
        let expected = [
            255, 255, 255, 255, 255, 255, 255, 255, 255, 9, 9, 9, 255, 255, 255, 1, 2, 3, 255, 255, 255, 255,
            255, 255,
        ];
        assert_eq!(pixels, expected);
    }
}
