//! Averages of an epoch, or of a part of it.

use serde::{Deserialize, Serialize};

use crate::metrics::Average;

/// The running average of the loss and of every metric, in the order in which they first came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Sums {
    pub loss: Average,
    pub metrics: Vec<(String, Average)>,
}

impl Sums {
    pub fn add(&mut self, name: &str, average: &Average) {
        match self.metrics.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => sum.merge(average),
            None => self.metrics.push((name.to_owned(), *average)),
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.loss.merge(&other.loss);
        other.metrics.iter().for_each(|(name, average)| self.add(name, average));
    }

    /// Names and values, the loss first. What no sample was counted for is left out.
    pub fn values(&self) -> Vec<(&str, f64)> {
        let all =
            std::iter::once(("loss", &self.loss)).chain(self.metrics.iter().map(|(n, a)| (n.as_str(), a)));
        all.filter_map(|(name, average)| Some((name, average.value()?))).collect()
    }
}
