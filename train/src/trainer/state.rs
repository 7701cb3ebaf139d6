//! Where a run is: everything but tensors.

use gradus_tensor_core::rng::{self, Rng};
use serde::{Deserialize, Serialize};

use super::monitor::Scores;
use super::sums::Sums;
use super::{EpochReport, Loader};

/// Where a run is, always between two optimizer steps.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Epochs done. If `next_batch` is the number of batches, what remains of this one is its evaluation.
    pub epoch: u64,
    pub next_batch: usize,
    /// Optimizer steps done.
    pub step: u64,
    /// Sums of the epoch's batches so far.
    pub sums: Sums,
    pub scores: Scores,
    pub history: Vec<EpochReport>,
    /// The ambient generator, as seed and next stream; `None` before the run has begun.
    pub rng: Option<(u64, u64)>,
}

impl State {
    /// Keeps the state of the calling thread's generator.
    pub fn keep_rng(&mut self) {
        let Rng { seed, next } = rng::state();
        self.rng = Some((seed, next));
    }

    /// Puts the calling thread's generator where it was.
    pub fn restore_rng(&self) {
        if let Some((seed, next)) = self.rng {
            rng::set_state(Rng { seed, next });
        }
    }
}

/// What a run must have in common with the one it goes on with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Identity {
    seed: Option<u64>,
    accumulate: usize,
    loader_seed: u64,
    batch_size: usize,
    samples: usize,
    batches: usize,
}

impl Identity {
    pub fn new<B>(seed: Option<u64>, accumulate: usize, loader: &dyn Loader<Batch = B>) -> Self {
        Self {
            seed,
            accumulate,
            loader_seed: loader.seed(),
            batch_size: loader.batch_size(),
            samples: loader.samples_per_epoch(),
            batches: loader.batches_per_epoch(),
        }
    }

    /// What this run has differently from the saved one; `None` if nothing.
    pub fn difference(&self, saved: &Self) -> Option<String> {
        let number = |n: usize| n.to_string();
        let seed = |seed: Option<u64>| seed.map_or("none".to_owned(), |s| s.to_string());
        let fields = [
            ("samples per epoch", number(saved.samples), number(self.samples)),
            ("batch size", number(saved.batch_size), number(self.batch_size)),
            ("batches per epoch", number(saved.batches), number(self.batches)),
            ("the loader's seed", saved.loader_seed.to_string(), self.loader_seed.to_string()),
            ("the trainer's seed", seed(saved.seed), seed(self.seed)),
            ("batches per optimizer step", number(saved.accumulate), number(self.accumulate)),
        ];
        let differing: Vec<String> = fields
            .into_iter()
            .filter(|(_, saved, found)| saved != found)
            .map(|(field, saved, found)| format!("{field}: {saved} then, {found} now"))
            .collect();
        let advice = "resume with the same data and settings, or begin a new run in another directory";
        (!differing.is_empty()).then(|| format!("{}; {advice}", differing.join(", ")))
    }
}
