//! A chart of curves.

use super::Picture;
use super::axis::Axis;
use super::canvas::{Canvas, Color, WHITE};
use super::line::Point;
use super::text::Font;

const INK: Color = [40, 44, 52];
const FAINT_INK: Color = [105, 111, 122];
const GRID: Color = [232, 234, 238];
const FRAME: Color = [160, 165, 174];

/// Told apart by people with any kind of color vision (after Okabe and Ito).
const CURVES: [Color; 6] =
    [[0, 114, 178], [230, 120, 20], [0, 158, 115], [204, 90, 160], [86, 160, 220], [120, 94, 60]];

const CURVE_WIDTH: f32 = 2.2;
const DOT: f32 = 6.0;
/// Curves of more points than this are drawn without dots.
const DOTTED_UP_TO: usize = 25;
/// Pixels between ticks, about.
const TICK_DISTANCE: usize = 55;
const MARGIN: usize = 16;

/// Curves over a common axis, with a title, ticks and a legend.
#[derive(Clone, Debug)]
pub struct Chart {
    title: String,
    x_label: String,
    series: Vec<(String, Vec<(f64, f64)>)>,
}

/// The rectangle of the canvas that the axes frame, in pixels.
struct Area {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Chart {
    /// A chart without curves. The title says what the vertical axis shows.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), x_label: String::new(), series: Vec::new() }
    }

    /// Says what the horizontal axis shows.
    #[must_use]
    pub fn x_label(mut self, label: impl Into<String>) -> Self {
        self.x_label = label.into();
        self
    }

    /// Adds a curve through (x, y) points, in the order of x. At points that are not finite it is interrupted.
    #[must_use]
    pub fn series(mut self, name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        self.series.push((name.into(), points.into_iter().collect()));
        self
    }

    /// Draws the chart as a picture of that size in pixels; 480 by 320 shows it well.
    pub fn draw(&self, width: usize, height: usize) -> Picture {
        let mut canvas = Canvas::new(width, height, WHITE);
        let (width, height) = (canvas.width, canvas.height);
        let top = MARGIN + Font::Title.height() + 10;
        let below =
            6 + Font::Small.height() + if self.x_label.is_empty() { 0 } else { Font::Small.height() + 2 };
        let inner = height.saturating_sub(top + below + MARGIN / 2).max(1);

        let [x_range, y_range] = self.ranges();
        let y = Axis::rounded(y_range.0, y_range.1, (inner / TICK_DISTANCE).clamp(1, 10));
        let widest = y.ticks().iter().map(|(_, label)| Font::Small.width(label)).max().unwrap_or(0);
        let left = MARGIN + widest + 8;
        let across = width.saturating_sub(left + MARGIN + 4).max(1);
        let whole = self.points().all(|(x, _)| x.fract() == 0.0);
        let x = Axis::exact(x_range.0, x_range.1, (across / TICK_DISTANCE).clamp(1, 10), whole);

        let area = Area { left, top, width: across, height: inner };
        self.axes(&mut canvas, &area, &x, &y);
        self.curves(&mut canvas, &area, &x, &y);
        self.legend(&mut canvas);
        canvas.finish()
    }

    /// The points that can be drawn.
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.series.iter().flat_map(|(_, points)| points).copied().filter(is_finite)
    }

    fn ranges(&self) -> [(f64, f64); 2] {
        let range = |values: &mut dyn Iterator<Item = f64>| {
            values
                .map(|v| (v, v))
                .reduce(|(low, high), (v, _)| (low.min(v), high.max(v)))
                .unwrap_or((0.0, 1.0))
        };
        [range(&mut self.points().map(|p| p.0)), range(&mut self.points().map(|p| p.1))]
    }

    fn axes(&self, canvas: &mut Canvas, area: &Area, x: &Axis, y: &Axis) {
        let (bottom, right) = (area.top + area.height, area.left + area.width);
        for (value, label) in y.ticks() {
            let at = area.y(y, value).round() as usize;
            canvas.fill(area.left, at, area.width, 1, GRID);
            let beside = area.left.saturating_sub(8 + Font::Small.width(&label));
            canvas.text(Font::Small, beside, at.saturating_sub(Font::Small.height() / 2), &label, FAINT_INK);
        }
        for (value, label) in x.ticks() {
            let at = area.x(x, value).round() as usize;
            canvas.fill(at, bottom, 1, 5, FRAME);
            let half = Font::Small.width(&label) / 2;
            canvas.text(Font::Small, at.saturating_sub(half), bottom + 7, &label, FAINT_INK);
        }
        canvas.fill(area.left, area.top, 1, area.height, FRAME);
        canvas.fill(area.left, bottom, area.width + 1, 1, FRAME);
        let center = (area.left + right).saturating_sub(Font::Small.width(&self.x_label)) / 2;
        canvas.text(Font::Small, center, bottom + 8 + Font::Small.height(), &self.x_label, FAINT_INK);
        if self.points().next().is_none() {
            let note = "no data";
            let center = (area.left + right).saturating_sub(Font::Small.width(note)) / 2;
            canvas.text(Font::Small, center, area.top + area.height / 2, note, FAINT_INK);
        }
    }

    fn curves(&self, canvas: &mut Canvas, area: &Area, x: &Axis, y: &Axis) {
        for ((_, points), color) in self.series.iter().zip(CURVES.into_iter().cycle()) {
            for part in points.split(|p| !is_finite(p)).filter(|part| !part.is_empty()) {
                let placed: Vec<Point> = part.iter().map(|p| (area.x(x, p.0), area.y(y, p.1))).collect();
                canvas.polyline(&placed, CURVE_WIDTH, color);
                if points.len() <= DOTTED_UP_TO {
                    placed.iter().for_each(|&center| canvas.dot(center, DOT, color));
                }
            }
        }
    }

    /// The title at the left, the names of the curves at the right of the same line.
    fn legend(&self, canvas: &mut Canvas) {
        canvas.text(Font::Title, MARGIN, MARGIN - 4, &self.title, INK);
        let (stroke, gap) = (18, 7);
        let widths = self.series.iter().map(|(name, _)| stroke + gap + Font::Small.width(name) + MARGIN);
        let mut at = canvas.width.saturating_sub(widths.sum::<usize>() + 4);
        let middle = MARGIN + 6;
        for ((name, _), color) in self.series.iter().zip(CURVES.into_iter().cycle()) {
            let y = middle as f32;
            canvas.polyline(&[(at as f32, y), ((at + stroke) as f32, y)], CURVE_WIDTH, color);
            canvas.text(Font::Small, at + stroke + gap, middle - Font::Small.height() / 2, name, INK);
            at += stroke + gap + Font::Small.width(name) + MARGIN;
        }
    }
}

impl Area {
    fn x(&self, axis: &Axis, value: f64) -> f32 {
        (self.left as f64 + axis.position(value) * self.width as f64) as f32
    }

    fn y(&self, axis: &Axis, value: f64) -> f32 {
        ((self.top + self.height) as f64 - axis.position(value) * self.height as f64) as f32
    }
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(picture: &Picture, color: Color) -> usize {
        picture.rgb().chunks_exact(3).filter(|p| *p == color).count()
    }

    #[test]
    fn each_curve_is_drawn_in_a_color_of_its_own() {
        let chart =
            Chart::new("Loss").series("a", [(0.0, 1.0), (9.0, 0.0)]).series("b", [(0.0, 0.0), (9.0, 1.0)]);
        let picture = chart.draw(300, 200);
        assert_eq!((picture.width(), picture.height()), (300, 200));
        assert!(count(&picture, CURVES[0]) > 250);
        assert!(count(&picture, CURVES[1]) > 250);
        assert_eq!(count(&picture, CURVES[2]), 0);
    }

    #[test]
    fn a_falling_curve_falls_on_the_picture() {
        let picture = Chart::new("").series("", [(0.0, 10.0), (1.0, -3.0)]).draw(300, 300);
        let row_of_first = |columns: std::ops::Range<usize>| {
            (60..300)
                .find(|y| columns.clone().any(|x| picture.rgb()[(y * 300 + x) * 3..][..3] == CURVES[0]))
                .unwrap()
        };
        assert!(row_of_first(60..100) + 100 < row_of_first(240..280));
    }

    #[test]
    fn gaps_single_points_extremes_and_no_data_can_be_drawn_at_any_size() {
        let nan = f64::NAN;
        let charts = [
            Chart::new("empty"),
            Chart::new("nothing finite").series("a", [(1.0, nan), (2.0, f64::INFINITY)]),
            Chart::new("one point").x_label("epoch").series("a", [(1.0, 0.5)]),
            Chart::new("gap").series("a", [(1.0, 0.5), (2.0, nan), (3.0, 0.2), (4.0, 0.1)]),
            Chart::new("extreme").series("größer", [(-f64::MAX, -f64::MAX), (f64::MAX, f64::MAX)]),
            Chart::new("tiny").series("a", [(0.0, 0.0), (5e-324, 5e-324), (1e-310, 0.0)]),
            Chart::new("constant").series("a", (0..100).map(|x| (f64::from(x), 3.0))),
        ];
        for chart in charts {
            for (width, height) in [(0, 0), (1, 1), (40, 30), (480, 320)] {
                let picture = chart.draw(width, height);
                assert_eq!(picture.rgb().len(), picture.width() * picture.height() * 3);
            }
        }
    }
}
