//! A failing sample is loud, and nothing hangs.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use gradus_data::sampler::{Epoch, Sampler};
use gradus_data::{DataLoader, Dataset, Error, Image, InMemory, Result, Sample};

/// Runs a test that must not hang.
fn within_seconds(seconds: u64, test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        done.send(()).unwrap();
    });
    match ended.recv_timeout(Duration::from_secs(seconds)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("still running after {seconds} s"),
        _ => thread.join().unwrap(),
    }
}

/// The number at an index, unless a function of it fails.
struct Failing<F>(usize, F);

impl<F: Fn(usize) -> Result<usize> + Send + Sync> Dataset for Failing<F> {
    type Item = usize;

    fn len(&self) -> usize {
        self.0
    }

    fn get(&self, index: usize) -> Result<usize> {
        (self.1)(index)
    }
}

/// All batches of two, as text: the samples, or the error.
fn outcomes<F>(workers: usize, function: F) -> Vec<String>
where
    F: Fn(usize) -> Result<usize> + Send + Sync + 'static,
{
    let loader =
        DataLoader::builder(Failing(8, function)).batch_size(2).workers(workers).collate(Ok).build().unwrap();
    let text = |batch: Result<Vec<usize>>| match batch {
        Ok(samples) => format!("{samples:?}"),
        Err(error) => error.to_string(),
    };
    loader.epoch(4).unwrap().map(text).collect()
}

#[test]
fn an_error_names_the_sample_and_the_batches_after_it_still_come() {
    for workers in [0, 1, 2, 4] {
        within_seconds(20, move || {
            let found = outcomes(workers, |index| match index {
                3 => Err(Error::other("the picture is torn")),
                _ => Ok(index),
            });
            assert_eq!(
                found,
                ["[0, 1]", "sample 3 (batch 1 of epoch 4): the picture is torn", "[4, 5]", "[6, 7]"]
            );
        });
    }
}

#[test]
fn a_panic_names_the_sample_and_the_batches_after_it_still_come() {
    for workers in [0, 1, 2, 4] {
        within_seconds(20, move || {
            let found = outcomes(workers, |index| match index {
                2 => panic!("no sample today"),
                5 => panic!("index {index} is cursed"),
                _ => Ok(index),
            });
            assert_eq!(
                found,
                [
                    "[0, 1]",
                    "sample 2 (batch 1 of epoch 4): dataset panicked: no sample today",
                    "sample 5 (batch 2 of epoch 4): dataset panicked: index 5 is cursed",
                    "[6, 7]"
                ]
            );
        });
    }
}

#[test]
fn every_sample_may_fail_and_the_epoch_still_ends() {
    for workers in [0, 1, 4] {
        within_seconds(20, move || {
            let found = outcomes(workers, |_| std::panic::panic_any(7_u8));
            assert_eq!(found.len(), 4);
            assert!(found.iter().all(|text| text.contains("(a panic without a message)")), "{found:?}");
        });
    }
}

#[test]
fn the_error_can_be_matched_on() {
    let loader = DataLoader::builder(Failing(3, |_| Err(Error::other("no")))).collate(Ok).build().unwrap();
    let error = loader.epoch(1).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, Error::Sample { index: 0, batch: 0, epoch: 1, .. }), "{error:?}");
}

#[test]
fn a_panic_in_the_collate_function_names_the_batch() {
    within_seconds(20, || {
        let collate = |samples: Vec<u8>| if samples[0] == 1 { panic!("cannot") } else { Ok(samples) };
        let loader = DataLoader::builder(InMemory::new([0, 1]))
            .batch_size(1)
            .workers(1)
            .collate(collate)
            .build()
            .unwrap();
        let found: Vec<_> = loader.epoch(0).unwrap().collect();
        assert!(found[0].is_ok());
        let error = found[1].as_ref().unwrap_err().to_string();
        assert_eq!(error, "batch 1 of epoch 0: collate panicked: cannot");
    });
}

#[derive(Debug)]
struct BadSampler;

impl Sampler for BadSampler {
    fn len(&self) -> usize {
        3
    }

    fn index(&self, _: Epoch, position: usize) -> usize {
        [0, 99][position]
    }
}

#[test]
fn a_sampler_that_leaves_the_data_set_or_panics_is_an_error() {
    within_seconds(20, || {
        let loader = DataLoader::builder(InMemory::new([5_u8]))
            .sampler(BadSampler)
            .batch_size(1)
            .workers(2)
            .collate(Ok)
            .build()
            .unwrap();
        let found: Vec<_> = loader.epoch(0).unwrap().map(|batch| batch.map_err(|e| e.to_string())).collect();
        assert_eq!(found[0], Ok(vec![5]));
        assert!(
            found[1].as_ref().unwrap_err().contains("index 99 is out of range for a data set of 1 samples")
        );
        assert!(
            found[2].as_ref().unwrap_err().starts_with("batch 2 of epoch 0: sampler panicked: index out of")
        );
    });
}

#[test]
fn images_of_two_sizes_do_not_stack() {
    let image = |side: usize| Sample {
        input: Image::new(vec![0_u8; side * side], [1, side, side]).unwrap(),
        target: 0_i64,
    };
    let loader = DataLoader::builder(InMemory::new([image(2), image(2), image(3)])).build().unwrap();
    let error = loader.epoch(0).unwrap().next().unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        "batch 0 of epoch 0: stack: image 2 of the batch has shape [1, 3, 3], the first has [1, 2, 2]"
    );
}

/// A value whose drop panics once.
struct Bomb(Arc<AtomicUsize>);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0.fetch_add(1, SeqCst) == 0 && !thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_sample_that_panics_when_dropped_does_not_end_the_epoch() {
    within_seconds(20, || {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let dataset = Failing(4, Ok).map(move |i| match i {
            1 => Err(Error::other("so the sample before it is dropped")),
            _ => Ok(Bomb(Arc::clone(&count))),
        });
        let loader = DataLoader::builder(dataset)
            .batch_size(2)
            .workers(1)
            .collate(|samples: Vec<Bomb>| Ok(samples.len()))
            .build()
            .unwrap();
        let found: Vec<_> = loader.epoch(0).unwrap().collect();
        assert_eq!(found.len(), 2);
        assert!(found[0].is_err());
        assert_eq!(*found[1].as_ref().unwrap(), 2);
    });
}

#[test]
fn dropping_mid_epoch_stops_and_joins_the_workers() {
    for (taken, prefetch) in [(0, 1), (1, 1), (3, 8), (0, 50)] {
        within_seconds(20, move || {
            let made = Arc::new(AtomicUsize::new(0));
            let (count, data) = (Arc::clone(&made), Arc::new(()));
            let alive = Arc::clone(&data);
            let dataset = Failing(100_000, move |index| {
                let _alive = &alive;
                count.fetch_add(1, SeqCst);
                thread::sleep(Duration::from_millis(2));
                Ok(index)
            });
            let loader = DataLoader::builder(dataset).batch_size(1_000).workers(3).prefetch(prefetch);
            let loader = loader.collate(|samples: Vec<usize>| Ok(samples.len())).build().unwrap();
            let mut batches = loader.epoch(0).unwrap();
            for batch in batches.by_ref().take(taken.min(1)) {
                assert_eq!(batch.unwrap(), 1_000);
            }
            thread::sleep(Duration::from_millis(5));
            let start = Instant::now();
            drop(batches);
            assert!(
                start.elapsed() < Duration::from_millis(700),
                "{:?} for a batch takes a second",
                start.elapsed()
            );
            drop(loader);
            assert_eq!(Arc::strong_count(&data), 1, "a worker is still alive");
            let after = made.load(SeqCst);
            thread::sleep(Duration::from_millis(10));
            assert_eq!(made.load(SeqCst), after);
        });
    }
}

#[test]
fn workers_do_not_run_further_ahead_than_prefetch() {
    within_seconds(20, || {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let dataset = Failing(1_000, move |index| {
            count.fetch_add(1, SeqCst);
            Ok(index)
        });
        let loader =
            DataLoader::builder(dataset).batch_size(10).workers(4).prefetch(3).collate(Ok).build().unwrap();
        let mut batches = loader.epoch(0).unwrap();
        for taken in 0..5 {
            while made.load(SeqCst) < (taken + 3) * 10 {
                thread::yield_now();
            }
            thread::sleep(Duration::from_millis(20));
            assert_eq!(made.load(SeqCst), (taken + 3) * 10, "after {taken} batches");
            batches.next().unwrap().unwrap();
        }
    });
}
