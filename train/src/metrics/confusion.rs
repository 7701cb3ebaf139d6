//! Which classes are taken for which.

use std::fmt;

use super::average::same_length;
use crate::table::Table;
use crate::{Error, Result};

/// Counts of predictions by label. Its `Display` is a table of shares per class.
///
/// ```
/// use gradus_train::metrics::ConfusionMatrix;
/// let mut confusion = ConfusionMatrix::new(["cat", "dog"])?;
/// confusion.update(&[0, 1, 1, 1], &[0, 0, 1, 1])?;
/// assert_eq!(confusion.count(0, 1), 1); // one cat was taken for a dog
/// assert_eq!(confusion.recall(0), Some(0.5));
/// assert_eq!(confusion.precision(1), Some(2.0 / 3.0));
/// # Ok::<(), gradus_train::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfusionMatrix {
    classes: Vec<String>,
    /// One row per label, one column per prediction.
    counts: Vec<u64>,
}

/// A pair of classes that were confused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The right class.
    pub label: usize,
    /// The class it was taken for.
    pub prediction: usize,
    /// How often.
    pub count: u64,
}

impl ConfusionMatrix {
    /// The most classes: their matrix takes 128 MB.
    pub const MAX_CLASSES: usize = 4096;

    /// A matrix without counts for the classes of these names, numbered from 0.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are no classes or more than [`MAX_CLASSES`](Self::MAX_CLASSES).
    pub fn new(classes: impl IntoIterator<Item = impl Into<String>>) -> Result<Self> {
        let classes: Vec<String> = classes.into_iter().map(Into::into).take(Self::MAX_CLASSES + 1).collect();
        if !(1..=Self::MAX_CLASSES).contains(&classes.len()) {
            let message = format!("the number of classes must be from 1 to {}", Self::MAX_CLASSES);
            return Err(Error::argument("ConfusionMatrix::new", message));
        }
        let counts = vec![0; classes.len() * classes.len()];
        Ok(Self { classes, counts })
    }

    /// Counts predicted classes against labels, one of each per sample.
    ///
    /// # Errors
    /// [`Error::Argument`] if there are not as many of the one as of the other, or one is not a class. Nothing
    /// is counted then.
    pub fn update(&mut self, predictions: &[i64], labels: &[i64]) -> Result<()> {
        same_length("ConfusionMatrix::update", predictions, labels)?;
        let classes = self.classes.len();
        let class = |value: i64| usize::try_from(value).ok().filter(|&c| c < classes);
        if let Some(value) = predictions.iter().chain(labels).find(|v| class(**v).is_none()) {
            let message = format!("class {value} is out of range for {classes} classes");
            return Err(Error::argument("ConfusionMatrix::update", message));
        }
        for (&prediction, &label) in predictions.iter().zip(labels) {
            self.counts[label as usize * classes + prediction as usize] += 1;
        }
        Ok(())
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// How often `label` was taken for `prediction`; 0 for what is not a class.
    pub fn count(&self, label: usize, prediction: usize) -> u64 {
        let classes = self.classes.len();
        if label < classes && prediction < classes { self.counts[label * classes + prediction] } else { 0 }
    }

    /// The share of all samples that are right; `None` before the first.
    pub fn accuracy(&self) -> Option<f64> {
        let right = (0..self.classes.len()).map(|c| self.count(c, c)).sum();
        share(right, self.counts.iter().sum())
    }

    /// The share of the samples of a class that were recognized; `None` if there were none.
    pub fn recall(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), (0..self.classes.len()).map(|p| self.count(class, p)).sum())
    }

    /// The share of the predictions of a class that were right; `None` if there were none.
    pub fn precision(&self, class: usize) -> Option<f64> {
        share(self.count(class, class), (0..self.classes.len()).map(|l| self.count(l, class)).sum())
    }

    /// The harmonic mean of precision and recall; `None` if the class was neither seen nor predicted.
    pub fn f1(&self, class: usize) -> Option<f64> {
        let classes = 0..self.classes.len();
        let involved = classes.map(|other| self.count(class, other) + self.count(other, class)).sum();
        share(2 * self.count(class, class), involved)
    }

    /// The most frequent mistakes, the most frequent first, at most `limit`.
    pub fn mistakes(&self, limit: usize) -> Vec<Mistake> {
        let classes = self.classes.len();
        let mut mistakes: Vec<_> = self
            .counts
            .iter()
            .enumerate()
            .map(|(at, &count)| Mistake { label: at / classes, prediction: at % classes, count })
            .filter(|m| m.label != m.prediction && m.count > 0)
            .collect();
        mistakes.sort_by_key(|m| std::cmp::Reverse(m.count));
        mistakes.truncate(limit);
        mistakes
    }
}

impl fmt::Display for ConfusionMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table =
            Table::new(["class", "samples", "precision", "recall", "f1", "most taken for"]).left(&[0, 5]);
        let all = self.mistakes(usize::MAX);
        for (class, name) in self.classes.iter().enumerate() {
            let samples: u64 = (0..self.classes.len()).map(|p| self.count(class, p)).sum();
            let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.1} %", v * 100.0));
            let worst = all.iter().find(|m| m.label == class);
            let worst =
                worst.map_or(String::new(), |m| format!("{} ({})", self.classes[m.prediction], m.count));
            let [precision, recall, f1] =
                [self.precision(class), self.recall(class), self.f1(class)].map(percent);
            table.push([name.clone(), samples.to_string(), precision, recall, f1, worst]);
        }
        table.fmt(f)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of scikit-learn's documentation of `confusion_matrix`, whose numbers it prints.
    fn example() -> ConfusionMatrix {
        let mut confusion = ConfusionMatrix::new(["ant", "bird", "cat"]).unwrap();
        confusion.update(&[0, 0, 2, 2, 0, 2], &[2, 0, 2, 2, 0, 1]).unwrap();
        confusion
    }

    #[test]
    fn counts_precision_recall_and_f1_are_scikit_learns() {
        let confusion = example();
        assert_eq!(confusion.counts, [2, 0, 0, 0, 0, 1, 1, 0, 2]);
        assert_eq!(confusion.accuracy(), Some(4.0 / 6.0));
        assert_eq!(
            (0..3).map(|c| confusion.recall(c)).collect::<Vec<_>>(),
            [Some(1.0), Some(0.0), Some(2.0 / 3.0)]
        );
        assert_eq!(
            (0..3).map(|c| confusion.precision(c)).collect::<Vec<_>>(),
            [Some(2.0 / 3.0), None, Some(2.0 / 3.0)]
        );
        assert_eq!(
            (0..3).map(|c| confusion.f1(c)).collect::<Vec<_>>(),
            [Some(0.8), Some(0.0), Some(2.0 / 3.0)]
        );
    }

    #[test]
    fn mistakes_come_most_frequent_first() {
        let mut confusion = example();
        confusion.update(&[2, 2], &[1, 1]).unwrap();
        let expected =
            [Mistake { label: 1, prediction: 2, count: 3 }, Mistake { label: 2, prediction: 0, count: 1 }];
        assert_eq!(confusion.mistakes(9), expected);
        assert_eq!(confusion.mistakes(1), expected[..1]);
    }

    #[test]
    fn the_printed_table_names_classes_and_their_worst_mistake() {
        let printed = example().to_string();
        assert!(
            printed.lines().any(|l| l.starts_with("bird") && l.contains("0.0 %") && l.ends_with("cat (1)")),
            "{printed}"
        );
    }

    #[test]
    fn a_class_out_of_range_is_an_error_and_counts_nothing() {
        let mut confusion = example();
        for bad in [3, -1, i64::MAX] {
            let error = confusion.update(&[0, bad], &[0, 0]).unwrap_err().to_string();
            assert!(error.contains(&format!("class {bad} is out of range for 3 classes")), "{error}");
            assert!(confusion.update(&[0, 0], &[0, bad]).is_err());
        }
        assert_eq!(confusion, example());
        assert!(ConfusionMatrix::new(Vec::<String>::new()).is_err());
        assert_eq!((confusion.count(9, 9), confusion.recall(9)), (0, None));
    }
}
