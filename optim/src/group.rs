//! Parameters that are treated differently.

use gradus_nn::matches_name;
use gradus_tensor_core::{Error, Result};

/// Some of a model's parameters, and what is different for them.
///
/// ```
/// use gradus_optim::{AdamW, Group};
/// let optimizer = AdamW::new(1e-3)
///     .group(Group::vectors().weight_decay(0.0)) // biases and normalizations
///     .group(Group::named("backbone.*").lr_scale(0.1));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "give it to an optimizer"]
pub struct Group {
    members: Members,
    lr_scale: Option<f64>,
    weight_decay: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
enum Members {
    Named(String),
    Vectors,
}

impl Group {
    /// The parameters whose dotted names match a pattern, in which `*` stands for any characters (dots too) and
    /// `?` for one.
    pub fn named(pattern: impl Into<String>) -> Self {
        Group { members: Members::Named(pattern.into()), lr_scale: None, weight_decay: None }
    }

    /// The parameters of at most one axis: biases, and weights of normalizations, which by custom do not decay.
    pub fn vectors() -> Self {
        Group { members: Members::Vectors, lr_scale: None, weight_decay: None }
    }

    /// What the learning rate is multiplied with.
    pub fn lr_scale(mut self, scale: f64) -> Self {
        self.lr_scale = Some(scale);
        self
    }

    /// The weight decay.
    pub fn weight_decay(mut self, decay: f64) -> Self {
        self.weight_decay = Some(decay);
        self
    }

    fn holds(&self, name: &str, rank: usize) -> bool {
        match &self.members {
            Members::Named(pattern) => matches_name(pattern, name),
            Members::Vectors => rank <= 1,
        }
    }
}

/// What differs between groups.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rates {
    pub(crate) lr: f64,
    pub(crate) weight_decay: f64,
}

impl Rates {
    pub(crate) fn check(self, op: &'static str) -> Result<()> {
        not_negative(op, "learning rate", self.lr)?;
        not_negative(op, "weight decay", self.weight_decay)
    }
}

pub(crate) fn not_negative(op: &'static str, what: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        return Ok(());
    }
    Err(Error::argument(op, format!("{what} {value} must be finite and not negative")))
}

/// The groups of an optimizer. A parameter takes each rate from the first of its groups that gives one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    all: Vec<Group>,
    /// Which groups have held a parameter.
    seen: Vec<bool>,
    /// Whether the names of the model's parameters were found to differ: looked at once.
    pub(crate) checked: bool,
    pub(crate) allow_missing: bool,
}

impl Groups {
    pub(crate) fn push(&mut self, group: Group) {
        self.all.push(group);
        self.seen.push(false);
    }

    pub(crate) fn rates(&self, name: &str, rank: usize, base: Rates) -> Rates {
        let mine = || self.all.iter().filter(|group| group.holds(name, rank));
        Rates {
            lr: base.lr * mine().find_map(|group| group.lr_scale).unwrap_or(1.0),
            weight_decay: mine().find_map(|group| group.weight_decay).unwrap_or(base.weight_decay),
        }
    }

    pub(crate) fn see(&mut self, name: &str, rank: usize) {
        for (group, seen) in self.all.iter().zip(&mut self.seen) {
            *seen = *seen || group.holds(name, rank);
        }
    }

    /// A pattern that matches nothing is a mistake that trains.
    pub(crate) fn check_seen(&self) -> Result<()> {
        for (group, seen) in self.all.iter().zip(&self.seen) {
            for (what, value) in [("scale", group.lr_scale), ("weight decay", group.weight_decay)] {
                value.map_or(Ok(()), |value| not_negative("optimizer", what, value))?;
            }
            if let (Members::Named(pattern), false) = (&group.members, seen) {
                let message = format!("no parameter matches the group `{pattern}`");
                return Err(Error::argument("optimizer", message));
            }
        }
        Ok(())
    }
}

/// The builder methods that all optimizers have.
macro_rules! group_methods {
    () => {
        /// Treats some parameters differently. A parameter takes each rate from the first of its groups that
        /// gives one.
        pub fn group(mut self, group: crate::Group) -> Self {
            self.groups.push(group);
            self
        }

        /// Whether trained parameters without a gradient are left as they are, instead of being an error.
        pub fn allow_missing(mut self, allow: bool) -> Self {
            self.groups.allow_missing = allow;
            self
        }

        /// What is added to the gradient (AdamW: taken from the parameter) in proportion to the parameter.
        pub fn weight_decay(mut self, decay: f64) -> Self {
            self.base.weight_decay = decay;
            self
        }
    };
}
pub(crate) use group_methods;
