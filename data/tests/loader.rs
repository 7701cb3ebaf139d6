//! The loader's promise: a batch is a pure function of (seed, epoch, number).

use std::time::Duration;

use gradus_data::sampler::{Distributed, Remainder, Shuffled, Weighted};
use gradus_data::{DataLoader, DataLoaderBuilder, Dataset, Error, InMemory, LoaderState, Result, SampleRng};
use proptest::prelude::*;

/// A sample: its index, and a number from its random stream.
type Drawn = (usize, u64);

struct Numbers {
    len: usize,
    /// How long each sample takes, in microseconds: enough to make batches arrive out of order.
    micros: fn(usize) -> u64,
}

impl Dataset for Numbers {
    type Item = Drawn;

    fn len(&self) -> usize {
        self.len
    }

    fn get(&self, index: usize) -> Result<Drawn> {
        self.draw(index, &mut SampleRng::new(0, 0, 0))
    }

    fn draw(&self, index: usize, rng: &mut SampleRng) -> Result<Drawn> {
        std::thread::sleep(Duration::from_micros((self.micros)(index)));
        Ok((index, rng.next_u64()))
    }
}

fn as_is(samples: Vec<Drawn>) -> Result<Vec<Drawn>> {
    Ok(samples)
}

fn numbers(len: usize) -> DataLoaderBuilder<Numbers> {
    DataLoader::builder(Numbers { len, micros: |_| 0 })
}

fn uneven(len: usize) -> DataLoaderBuilder<Numbers> {
    DataLoader::builder(Numbers { len, micros: |index| (index * 7919 % 13) as u64 * 20 })
}

fn batches(builder: DataLoaderBuilder<Numbers>, epoch: u64) -> Vec<Vec<Drawn>> {
    let loader = builder.collate(as_is).build().unwrap();
    loader.epoch(epoch).unwrap().collect::<Result<_>>().unwrap()
}

#[test]
fn order_and_augmentation_do_not_depend_on_the_workers() {
    let with = |workers, prefetch| {
        batches(uneven(200).batch_size(7).shuffle().seed(5).workers(workers).prefetch(prefetch), 3)
    };
    let alone = with(0, 1);
    assert_eq!(alone.len(), 29);
    for (workers, prefetch) in [(1, 1), (1, 5), (2, 1), (2, 4), (4, 8), (4, 100)] {
        assert_eq!(with(workers, prefetch), alone, "{workers} workers, {prefetch} batches ahead");
    }
}

#[test]
fn an_epoch_holds_every_sample_once() {
    let mut drawn: Vec<_> = batches(numbers(100).shuffle().batch_size(8).workers(2), 0).concat();
    drawn.sort_unstable();
    assert!(drawn.into_iter().map(|(index, _)| index).eq(0..100));
}

/// Workers do not have parts of the data set of their own: its first and its last samples meet in a batch.
#[test]
fn each_epoch_mixes_samples_of_the_whole_data_set() {
    let quarters = |epoch| -> Vec<Vec<usize>> {
        let all = batches(numbers(400).batch_size(100).shuffle().seed(5).workers(4), epoch);
        all.into_iter().map(|batch| batch.into_iter().map(|(index, _)| index).collect()).collect()
    };
    let mut before = quarters(0);
    for epoch in 1..4 {
        let now = quarters(epoch);
        for (now, before) in now.iter().zip(&before) {
            for part in 0..4 {
                let from_part = now.iter().filter(|&&index| index / 100 == part).count();
                assert!((10..40).contains(&from_part), "{from_part} of 100 come from part {part}");
            }
            let again = now.iter().filter(|index| before.contains(index)).count();
            assert!((10..40).contains(&again), "{again} of 100 were in this batch before");
        }
        before = now;
    }
}

#[test]
fn augmentation_changes_with_epoch_and_seed_but_not_with_batch_size_or_order() {
    let sorted = |builder: DataLoaderBuilder<Numbers>, epoch| {
        let mut drawn = batches(builder, epoch).concat();
        drawn.sort_unstable();
        drawn
    };
    let first = sorted(numbers(50).seed(1), 0);
    assert_eq!(first, sorted(numbers(50).seed(1).batch_size(9).shuffle().workers(2), 0));
    assert_ne!(first, sorted(numbers(50).seed(1), 1));
    assert_ne!(first, sorted(numbers(50).seed(2), 0));
    let mut streams: Vec<u64> = first.iter().map(|&(_, bits)| bits).collect();
    streams.sort_unstable();
    streams.dedup();
    assert_eq!(streams.len(), 50);
}

#[test]
fn the_last_batch_is_smaller_or_left_out() {
    let sizes = |builder| batches(builder, 0).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(numbers(10).batch_size(4)), [4, 4, 2]);
    assert_eq!(sizes(numbers(10).batch_size(4).drop_last().workers(2)), [4, 4]);
    assert_eq!(sizes(numbers(3).batch_size(4).drop_last()), [0; 0]);
    assert_eq!(sizes(numbers(0).workers(2)), [0; 0]);
    assert_eq!(sizes(numbers(2).batch_size(usize::MAX).workers(1)), [2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_resumed_epoch_equals_an_uninterrupted_one(
        len in 0_usize..60, batch_size in 1_usize..10, workers in 0_usize..4, then in 0_usize..4,
        stop: prop::sample::Index, seed: u64, epoch: u64,
    ) {
        let build = |workers| {
            numbers(len).batch_size(batch_size).shuffle().seed(seed).workers(workers).collate(as_is).build().unwrap()
        };
        let whole: Vec<_> = build(0).epoch(epoch).unwrap().collect::<Result<_>>().unwrap();
        let stop = stop.index(whole.len() + 1);

        let mut before = build(workers).epoch(epoch).unwrap();
        let mut joined: Vec<_> = before.by_ref().take(stop).collect::<Result<_>>().unwrap();
        let state = before.state();
        prop_assert_eq!(state.next_batch, stop);
        drop(before);
        let rest = build(then).resume(&state).unwrap();
        prop_assert_eq!(rest.len(), whole.len() - stop);
        joined.extend(rest.collect::<Result<Vec<_>>>().unwrap());
        prop_assert_eq!(joined, whole);
    }
}

#[test]
fn resuming_the_last_batch_of_a_huge_epoch_takes_no_replay() {
    let len = 1 << 40;
    let loader = numbers(len).batch_size(16).shuffle().workers(2).collate(as_is).build().unwrap();
    let state = loader.state(9, loader.batches_per_epoch() - 1);
    let last: Vec<_> = loader.resume(&state).unwrap().collect::<Result<_>>().unwrap();
    assert_eq!((last.len(), last[0].len()), (1, 16));
}

#[test]
fn a_state_of_another_run_is_refused() {
    let loader = numbers(100).batch_size(10).seed(1).collate(as_is).build().unwrap();
    let good = loader.state(2, 10);
    assert_eq!(loader.resume(&good).unwrap().count(), 0);
    let refused = |state: LoaderState| loader.resume(&state).unwrap_err().to_string();
    assert_eq!(
        refused(LoaderState { seed: 7, ..good }),
        "cannot resume: the saved position has seed 7, this loader has 1"
    );
    assert!(refused(LoaderState { batch_size: 20, ..good }).contains("batch size 20, this loader has 10"));
    assert!(
        refused(LoaderState { samples: 99, ..good }).contains("samples per epoch 99, this loader has 100")
    );
    assert!(refused(LoaderState { next_batch: 11, ..good }).contains("next batch (past the last) 11"));
}

#[test]
fn ranks_together_see_what_one_process_sees() {
    let rank = |rank| {
        let share = Distributed::new(Shuffled::new(64), rank, 4, Remainder::Drop).unwrap();
        batches(numbers(64).sampler(share).seed(3).batch_size(4).workers(2), 1)
    };
    let ranks: Vec<_> = (0..4).map(rank).collect();
    let alone = batches(numbers(64).shuffle().seed(3).batch_size(16), 1);
    for (number, mut expected) in alone.into_iter().enumerate() {
        let mut together: Vec<_> = ranks.iter().flat_map(|rank| rank[number].clone()).collect();
        together.sort_unstable();
        expected.sort_unstable();
        assert_eq!(together, expected);
    }
}

#[test]
fn a_sample_drawn_twice_in_an_epoch_is_augmented_twice() {
    let sampler = Weighted::new(&[1.0], 4).unwrap();
    let mut drawn = batches(numbers(1).sampler(sampler), 0).concat();
    drawn.dedup();
    assert_eq!(drawn.len(), 4);
}

#[test]
fn a_builder_refuses_what_cannot_work() {
    assert!(matches!(numbers(1).batch_size(0).build(), Err(Error::Argument { .. })));
    assert!(matches!(numbers(1).workers(1).prefetch(0).build(), Err(Error::Argument { .. })));
}

#[test]
fn statistics_tell_where_the_time_went() {
    for workers in [0, 2] {
        let dataset = Numbers { len: 20, micros: |_| 500 };
        let slow = |samples: Vec<Drawn>| {
            std::thread::sleep(Duration::from_millis(2));
            Ok(samples)
        };
        let loader =
            DataLoader::builder(dataset).batch_size(5).workers(workers).collate(slow).build().unwrap();
        let mut batches = loader.epoch(0).unwrap();
        assert_eq!(batches.by_ref().filter_map(Result::ok).count(), 4);
        let stats = batches.stats();
        assert_eq!((stats.samples, stats.batches), (20, 4));
        assert!(stats.decode >= Duration::from_micros(20 * 500), "{stats:?}");
        assert!(stats.collate >= Duration::from_millis(4 * 2), "{stats:?}");
        if workers == 0 {
            assert!(stats.wait >= stats.decode + stats.collate, "{stats:?}");
        }
        assert!(stats.wait > Duration::ZERO);
    }
}

#[test]
fn the_data_set_is_shared_and_never_copied() {
    let data = std::sync::Arc::new(InMemory::new([1_u8; 10]));
    let loader = DataLoader::builder(std::sync::Arc::clone(&data)).workers(2).collate(Ok).build().unwrap();
    assert_eq!(loader.epoch(0).unwrap().count(), 1);
    drop(loader);
    assert_eq!(std::sync::Arc::strong_count(&data), 1, "workers have ended and let go");
}
