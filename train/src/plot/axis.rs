//! An axis: its range, its ticks and their labels.

/// A range of values laid out along an axis, with ticks at round numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    pub low: f64,
    pub high: f64,
    /// The distance between ticks: 1, 2 or 5 times a power of ten.
    step: f64,
}

impl Axis {
    /// An axis that shows `low` to `high` exactly, with about `ticks` ticks, at whole numbers if `whole`.
    pub fn exact(low: f64, high: f64, ticks: usize, whole: bool) -> Self {
        let (low, high) = widened(low, high);
        let step = round_step((high - low) / ticks.max(1) as f64);
        Self { low, high, step: if whole { step.max(1.0) } else { step } }
    }

    /// An axis that begins and ends at a tick and shows at least `low` to `high`.
    pub fn rounded(low: f64, high: f64, ticks: usize) -> Self {
        let Self { low, high, step } = Self::exact(low, high, ticks, false);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// Where a value lies: 0 at the low end, 1 at the high end.
    pub fn position(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// The ticks' values and labels, from low to high.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-9).ceil() as i64;
        let last = (self.high / self.step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * self.step).map(|value| (value, self.label(value))).collect()
    }

    fn label(&self, value: f64) -> String {
        let size = self.low.abs().max(self.high.abs());
        if !(1e-4..1e6).contains(&size) {
            return format!("{:.1e}", value);
        }
        let decimals = (-self.step.log10().floor()).clamp(0.0, 9.0) as usize;
        format!("{value:.decimals$}")
    }
}

/// The least extent of an axis: the distance between its ticks must not be 0.
const SMALLEST: f64 = 1e-300;

/// A range that has an extent, is finite, and is not so narrow that its ticks would be equal.
fn widened(low: f64, high: f64) -> (f64, f64) {
    let bound = |v: f64| if v.is_finite() { v.clamp(-1e300, 1e300) } else { 0.0 };
    let (low, high) = (bound(low.min(high)), bound(low.max(high)));
    let size = low.abs().max(high.abs());
    if high - low > (size * 1e-6).max(SMALLEST) {
        return (low, high);
    }
    let margin = if size > SMALLEST { size * 0.1 } else { 0.5 };
    (low - margin, high + margin)
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|m| m * power).into_iter().find(|s| *s >= least * 0.999).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, label)| label).collect()
    }

    #[test]
    fn ticks_are_round_numbers_with_no_more_digits_than_needed() {
        assert_eq!(labels(&Axis::rounded(0.33, 0.78, 5)), ["0.3", "0.4", "0.5", "0.6", "0.7", "0.8"]);
        assert_eq!(labels(&Axis::exact(1.0, 10.0, 10, true)).len(), 10);
        assert_eq!(labels(&Axis::exact(1.0, 3.0, 10, true)), ["1", "2", "3"]);
        assert_eq!(labels(&Axis::rounded(-40.0, 130.0, 4)), ["-50", "0", "50", "100", "150"]);
        assert_eq!(labels(&Axis::rounded(0.0, 3e-7, 3)), ["0.0e0", "1.0e-7", "2.0e-7", "3.0e-7"]);
    }

    #[test]
    fn a_range_without_extent_gets_one() {
        let axis = Axis::rounded(2.0, 2.0, 4);
        assert!(axis.low < 2.0 && axis.high > 2.0);
        assert_eq!(Axis::rounded(0.0, 0.0, 4).position(0.0), 0.5);
        // Ticks of a step of 0 would be without end.
        assert!(Axis::exact(0.0, 5e-324, 4, false).ticks().len() < 10);
    }

    proptest! {
        #[test]
        fn any_range_is_covered_by_few_ticks(a: f64, b: f64, ticks in 1_usize..12) {
            let axis = Axis::rounded(a, b, ticks);
            prop_assert!(axis.low < axis.high && axis.low.is_finite() && axis.high.is_finite());
            prop_assert!((2..=ticks + 3).contains(&axis.ticks().len()), "{:?}", axis);
        }
    }
}
