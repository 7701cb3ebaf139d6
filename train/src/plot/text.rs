//! Text, from a font that is rasterized in advance: Noto Sans Mono, under the SIL Open Font License.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::canvas::{Canvas, Color};

/// The sizes and weights in use.
#[derive(Clone, Copy, Debug)]
pub(super) enum Font {
    /// Labels and captions.
    Small,
    /// Titles.
    Title,
}

impl Font {
    fn face(self) -> (FontWeight, RasterHeight) {
        match self {
            Self::Small => (FontWeight::Regular, RasterHeight::Size16),
            Self::Title => (FontWeight::Bold, RasterHeight::Size20),
        }
    }

    /// The height of a line, in pixels.
    pub fn height(self) -> usize {
        self.face().1.val()
    }

    /// The width of a text, in pixels: each character is equally wide.
    pub fn width(self, text: &str) -> usize {
        let (weight, size) = self.face();
        get_raster_width(weight, size) * text.chars().count()
    }
}

impl Canvas {
    /// Draws one line of text whose top left corner is at (`x`, `y`). What is not ASCII shows as `?`.
    pub fn text(&mut self, font: Font, x: usize, y: usize, text: &str, color: Color) {
        let (weight, size) = font.face();
        let mut left = x;
        for character in text.chars() {
            let raster = get_raster(character, weight, size).or_else(|| get_raster('?', weight, size));
            let Some(raster) = raster else { continue };
            for (dy, row) in raster.rows().enumerate() {
                for (dx, intensity) in row.iter().enumerate() {
                    self.blend(left + dx, y + dy, color, f32::from(*intensity) / 255.0);
                }
            }
            left += raster.width();
        }
    }
}
