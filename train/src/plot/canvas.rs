//! Pixels to draw on. Whatever falls outside is left out.

use super::Picture;

/// Red, green, blue.
pub(super) type Color = [u8; 3];

pub(super) const WHITE: Color = [255, 255, 255];

/// A picture being drawn.
pub(super) struct Canvas {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

impl Canvas {
    pub fn new(width: usize, height: usize, background: Color) -> Self {
        let (width, height) = (width.clamp(1, Picture::MAX_SIDE), height.clamp(1, Picture::MAX_SIDE));
        Self { width, height, rgb: background.repeat(width * height) }
    }

    pub fn finish(self) -> Picture {
        Picture::new(self.width, self.height, self.rgb)
    }

    pub fn set(&mut self, x: usize, y: usize, color: Color) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            self.rgb[at..at + 3].copy_from_slice(&color);
        }
    }

    /// Lays a color over a pixel; `coverage` is how much of the pixel it covers, from 0 to 1.
    pub fn blend(&mut self, x: usize, y: usize, color: Color, coverage: f32) {
        if x < self.width && y < self.height {
            let at = (y * self.width + x) * 3;
            for (under, over) in self.rgb[at..at + 3].iter_mut().zip(color) {
                let mixed = f32::from(*under) + (f32::from(over) - f32::from(*under)) * coverage;
                *under = mixed.round() as u8;
            }
        }
    }

    pub fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, color: Color) {
        for row in y..(y + height).min(self.height) {
            for column in x..(x + width).min(self.width) {
                self.set(column, row, color);
            }
        }
    }
}
