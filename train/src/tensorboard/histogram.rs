//! Counting values into the buckets of a histogram.

use super::proto::Histogram;

/// Enough for TensorBoard, which shows 30 of its own making.
const BUCKETS: usize = 64;

impl Histogram {
    /// Counts values into equally wide buckets from the smallest to the largest. Values that are not
    /// finite have no place on the axis and are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        let Some(min) = values.iter().copied().reduce(f64::min) else { return Self::default() };
        let max = values.iter().copied().fold(min, f64::max);
        // Halves first: the difference of two finite numbers need not be finite.
        let width = (max / 2.0 - min / 2.0) / (BUCKETS as f64 / 2.0);
        let mut bucket = vec![0.0; BUCKETS];
        for value in &values {
            let at = if width > 0.0 { (value / width - min / width) as usize } else { 0 };
            bucket[at.min(BUCKETS - 1)] += 1.0;
        }
        let mut bucket_limit: Vec<f64> = (1..BUCKETS).map(|i| min + width * i as f64).collect();
        bucket_limit.push(max);
        Self {
            min,
            max,
            num: values.len() as f64,
            sum: values.iter().sum(),
            sum_squares: values.iter().map(|v| v * v).sum(),
            bucket_limit,
            bucket,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_is_counted_in_a_bucket_that_holds_it() {
        let values = [-1.0, -0.5, 0.0, 0.3, 0.3, 2.0, f64::NAN, f64::INFINITY];
        let histogram = Histogram::of(values);
        assert_eq!((histogram.num, histogram.min, histogram.max), (6.0, -1.0, 2.0));
        assert!((histogram.sum - 1.1).abs() < 1e-12);
        assert!((histogram.sum_squares - 5.43).abs() < 1e-12);
        for limit in [-0.9, 0.1, 0.4, 2.0] {
            let below = values.iter().filter(|v| **v <= limit).count() as f64;
            let counted: f64 = (0..BUCKETS)
                .filter(|&i| histogram.bucket_limit[i] <= limit + 0.05)
                .map(|i| histogram.bucket[i])
                .sum();
            assert_eq!(counted, below, "up to {limit}");
        }
    }

    #[test]
    fn equal_extreme_or_no_values_make_a_histogram_too() {
        let equal = Histogram::of([3.0; 5]);
        assert_eq!(equal.bucket.iter().sum::<f64>(), 5.0);
        assert_eq!(Histogram::of([f64::NAN]).num, 0.0);
        let extreme = Histogram::of([-f64::MAX, f64::MAX]);
        assert_eq!((extreme.bucket[0], extreme.bucket[BUCKETS - 1]), (1.0, 1.0));
    }
}
