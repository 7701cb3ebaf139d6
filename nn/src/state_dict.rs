//! Named tensors, and how they fit a model.

use std::collections::BTreeMap;
use std::fmt;

use gradus_tensor_core::{Error, Result, Shape, Tensor};

/// Tensors under dotted names, in the order of the names: what a model saves and loads.
///
/// Names and layouts are PyTorch's, so a PyTorch state dict that was saved as safetensors loads unchanged.
#[derive(Clone, Default)]
pub struct StateDict(BTreeMap<String, Tensor>);

impl StateDict {
    /// No tensors.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the tensor of a name; returns the one it had.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) -> Option<Tensor> {
        self.0.insert(name.into(), tensor)
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Takes out the tensor of a name.
    pub fn remove(&mut self, name: &str) -> Option<Tensor> {
        self.0.remove(name)
    }

    /// The number of tensors.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no tensors.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The same tensors under other names; those for which `rename` gives nothing are left out.
    pub fn renamed(self, mut rename: impl FnMut(&str) -> Option<String>) -> Self {
        self.0.into_iter().filter_map(|(name, tensor)| Some((rename(&name)?, tensor))).collect()
    }

    /// The tensors whose name starts with `prefix` and a dot, without both: the state of a part.
    pub fn part(&self, prefix: &str) -> Self {
        let of = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_owned());
        self.0.iter().filter_map(|(name, tensor)| Some((of(name)?, tensor.clone()))).collect()
    }

    /// Saves the tensors as safetensors.
    ///
    /// # Errors
    /// The file cannot be written; then no file of that name appears or changes.
    #[cfg(feature = "safetensors")]
    pub fn save(&self, path: impl AsRef<std::path::Path>) -> Result<()> {
        gradus_tensor_core::io::safetensors::save(path, self.iter(), &BTreeMap::new())
    }

    /// Loads tensors that were saved as safetensors, by this crate or by PyTorch.
    ///
    /// # Errors
    /// The file cannot be read, or its content is not what the format promises.
    #[cfg(feature = "safetensors")]
    pub fn load(path: impl AsRef<std::path::Path>, device: &gradus_tensor_core::Device) -> Result<Self> {
        Ok(StateDict(gradus_tensor_core::io::safetensors::load(path, device)?))
    }
}

impl From<BTreeMap<String, Tensor>> for StateDict {
    fn from(tensors: BTreeMap<String, Tensor>) -> Self {
        StateDict(tensors)
    }
}

impl<N: Into<String>> FromIterator<(N, Tensor)> for StateDict {
    fn from_iter<I: IntoIterator<Item = (N, Tensor)>>(tensors: I) -> Self {
        StateDict(tensors.into_iter().map(|(name, tensor)| (name.into(), tensor)).collect())
    }
}

impl IntoIterator for StateDict {
    type Item = (String, Tensor);
    type IntoIter = std::collections::btree_map::IntoIter<String, Tensor>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for StateDict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, tensor)| (name, tensor.meta().to_string()))).finish()
    }
}

/// How a state dict fits a model. Its `Display` lists what does not, with the nearest names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Names that both have.
    pub loaded: Vec<String>,
    /// Names and shapes that only the model has.
    pub missing: Vec<(String, Shape)>,
    /// Names and shapes that only the state dict has.
    pub unexpected: Vec<(String, Shape)>,
    /// Names that both have, with the model's shape and then the state dict's, where these differ.
    pub mismatched: Vec<(String, Shape, Shape)>,
}

impl LoadReport {
    /// Whether names and shapes are exactly the same.
    pub fn is_exact(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty()
    }

    pub(crate) fn check_strict(&self) -> Result<()> {
        if self.is_exact() { Ok(()) } else { Err(self.error()) }
    }

    pub(crate) fn check_shapes(&self) -> Result<()> {
        if self.mismatched.is_empty() { Ok(()) } else { Err(self.error()) }
    }

    fn error(&self) -> Error {
        Error::argument("load_state_dict", self.to_string())
    }

    /// The unexpected name that is nearest to a missing one, if any is near.
    fn nearest(&self, name: &str) -> Option<&(String, Shape)> {
        let (distance, found) =
            self.unexpected.iter().map(|given| (distance(name, &given.0), given)).min_by_key(|(d, _)| *d)?;
        // Further away than half of its letters, a name is another name.
        (2 * distance <= name.chars().count()).then_some(found)
    }
}

/// Entries of each kind that a message lists.
const LISTED: usize = 20;

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} names fit, {} are missing, {} are unexpected, {} have another shape",
            self.loaded.len(),
            self.missing.len(),
            self.unexpected.len(),
            self.mismatched.len()
        )?;
        for (name, own, given) in self.mismatched.iter().take(LISTED) {
            write!(f, "\n  shape of {name}: the model has {own}, the state dict has {given}")?;
        }
        more(f, self.mismatched.len())?;
        for (name, shape) in self.missing.iter().take(LISTED) {
            write!(f, "\n  missing {name} {shape}")?;
            if let Some((near, given)) = self.nearest(name) {
                write!(f, "; the state dict has {near} {given}")?;
            }
        }
        more(f, self.missing.len())?;
        for (name, shape) in self.unexpected.iter().take(LISTED) {
            write!(f, "\n  unexpected {name} {shape}")?;
        }
        more(f, self.unexpected.len())
    }
}

fn more(f: &mut fmt::Formatter<'_>, n: usize) -> fmt::Result {
    if n > LISTED { write!(f, "\n  … and {} more", n - LISTED) } else { Ok(()) }
}

/// The number of letters to insert, delete or replace to make one name from the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_the_nearest_name_and_both_shapes() {
        let shape = |dims: &[usize]| Shape::new(dims).unwrap();
        let report = LoadReport {
            loaded: vec!["a".into()],
            missing: vec![("layer1.conv1.weight".into(), shape(&[4, 1, 3, 3])), ("x".into(), shape(&[]))],
            unexpected: vec![("module.layer1.conv1.weight".into(), shape(&[4, 1, 3, 3]))],
            mismatched: vec![("fc.weight".into(), shape(&[10, 4]), shape(&[1000, 4]))],
        };
        let text = report.to_string();
        assert!(
            text.contains("shape of fc.weight: the model has [10, 4], the state dict has [1000, 4]"),
            "{text}"
        );
        assert!(
            text.contains(
                "missing layer1.conv1.weight [4, 1, 3, 3]; the state dict has module.layer1.conv1.weight [4, 1, 3, 3]"
            ),
            "{text}"
        );
        assert!(text.contains("missing x []\n"), "{text}");
        assert!(text.contains("unexpected module.layer1.conv1.weight"), "{text}");
    }

    #[test]
    fn distances_count_single_letter_edits() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("conv", "conv"), 0);
    }
}
