//! Anti-aliased polylines.

use super::canvas::{Canvas, Color};

/// A place on the canvas, in pixels; the center of the top left pixel is (0.5, 0.5).
pub(super) type Point = (f32, f32);

impl Canvas {
    /// Draws a line of `width` pixels through `points`, with round joints and ends. One point makes a dot.
    pub fn polyline(&mut self, points: &[Point], width: f32, color: Color) {
        // The most that any segment covers of a pixel, so that joints are not drawn twice.
        let mut coverage = vec![0.0_f32; self.width * self.height];
        let last = points.len().saturating_sub(1);
        for (i, &from) in points.iter().enumerate().take(last.max(1)) {
            self.cover(&mut coverage, from, points[(i + 1).min(last)], width / 2.0);
        }
        for (at, covered) in coverage.into_iter().enumerate().filter(|(_, c)| *c > 0.0) {
            self.blend(at % self.width, at / self.width, color, covered);
        }
    }

    /// Draws a filled circle.
    pub fn dot(&mut self, center: Point, diameter: f32, color: Color) {
        self.polyline(&[center], diameter, color);
    }

    fn cover(&self, coverage: &mut [f32], a: Point, b: Point, radius: f32) {
        let reach = radius + 1.0;
        // Casts saturate: what lies left of or above the canvas begins at 0.
        let range = |p: f32, q: f32, size: usize| {
            let first = (p.min(q) - reach).floor() as usize;
            let last = (p.max(q) + reach).ceil() as usize;
            first..last.min(size)
        };
        for y in range(a.1, b.1, self.height) {
            for x in range(a.0, b.0, self.width) {
                let distance = distance((x as f32 + 0.5, y as f32 + 0.5), a, b);
                let covered = (radius + 0.5 - distance).clamp(0.0, 1.0);
                let most = &mut coverage[y * self.width + x];
                *most = most.max(covered);
            }
        }
    }
}

/// The distance of `p` from the segment between `a` and `b`.
fn distance(p: Point, a: Point, b: Point) -> f32 {
    let (dx, dy) = (b.0 - a.0, b.1 - a.1);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { ((p.0 - a.0) * dx + (p.1 - a.1) * dy) / length } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (p.0 - a.0 - along * dx).hypot(p.1 - a.1 - along * dy)
}

#[cfg(test)]
mod tests {
    use super::super::canvas::WHITE;
    use super::*;

    #[test]
    fn a_level_line_of_two_pixels_covers_two_rows_and_no_more() {
        let mut canvas = Canvas::new(9, 6, WHITE);
        canvas.polyline(&[(-5.0, 3.0), (4.0, 3.0), (20.0, 3.0)], 2.0, [0, 0, 0]);
        let picture = canvas.finish();
        for (at, pixel) in picture.rgb().chunks_exact(3).enumerate() {
            let expected = if (2..4).contains(&(at / 9)) { 0 } else { 255 };
            assert_eq!(pixel[0], expected, "at row {} column {}", at / 9, at % 9);
        }
    }

    #[test]
    fn a_dot_covers_the_area_of_a_circle() {
        let mut canvas = Canvas::new(20, 20, WHITE);
        canvas.dot((10.0, 10.0), 12.0, [0, 0, 0]);
        let dark: f32 = canvas.finish().rgb().chunks_exact(3).map(|p| 1.0 - f32::from(p[0]) / 255.0).sum();
        assert!((dark - std::f32::consts::PI * 36.0).abs() < 1.5, "{dark}");
    }
}
