//! What a run keeps: nothing but its state. These count what is alive in the whole process.

use gradus_autograd::graph_stats;
use gradus_backend_cpu::Cpu;
use gradus_data::{DataLoader, InMemory, Sample};
use gradus_nn::{BatchNorm1d, Linear, Relu, Sequential, loss};
use gradus_optim::Adam;
use gradus_tensor_core::{DType, Error};
use gradus_train::Trainer;
use gradus_train::metrics::Average;

#[test]
fn memory_is_the_same_after_every_step_and_no_graph_outlives_a_run_or_its_error() {
    let device = Cpu::builder().threads(1).build().unwrap();
    let sample = |i: i64| Sample { input: vec![(i % 7) as f32, (i % 5) as f32], target: i % 2 };
    let samples: Vec<Sample<Vec<f32>, i64>> = (0..64).map(sample).collect();
    let loader = DataLoader::builder(InMemory::new(samples)).batch_size(4).build().unwrap();
    let graphs = graph_stats();
    {
        let model = Sequential::new()
            .then(Linear::new(2, 8).init(&device).unwrap())
            .then(BatchNorm1d::new(8).init(&device).unwrap())
            .then(Relu)
            .then(Linear::new(8, 2).init(&device).unwrap());
        let (seen, inside) = (device.clone(), graphs);
        let mut steady = None;
        let mut trainer = Trainer::builder(model, loss::cross_entropy)
            .optimizer(Adam::new(0.01))
            .epochs(20)
            // A metric that is computed from tracked predictions.
            .metric("largest", |y, _| Ok(Average::of(y.amax_all()?.item()?, y.dims()[0])))
            .after_step(move |run| {
                assert_eq!(graph_stats(), inside, "a graph outlives step {}", run.step);
                if run.step > 1 {
                    let memory = seen.memory();
                    let now = (memory.allocated, memory.buffers);
                    assert_eq!(*steady.get_or_insert(now), now, "memory grows at step {}", run.step);
                }
                Ok(gradus_train::trainer::Flow::Continue)
            })
            .build()
            .unwrap();
        trainer.fit(&loader, Some(&loader)).unwrap();
        assert_eq!(graph_stats().saved_bytes, graphs.saved_bytes);
        drop(trainer);
        assert_eq!(graph_stats(), graphs);

        // A step that fails after its forward pass.
        let model = Linear::new(2, 2).init(&device).unwrap();
        let failing = |y: &gradus_tensor_core::Tensor, _: &gradus_tensor_core::Tensor| {
            let loss = y.square()?.sum_all()?;
            if loss.dtype() == DType::F32 {
                Err(Error::argument("loss", "expected by this test"))
            } else {
                Ok(loss)
            }
        };
        let mut trainer = Trainer::builder(model, failing).optimizer(Adam::new(0.01)).build().unwrap();
        assert!(trainer.fit(&loader, None).unwrap_err().to_string().contains("expected by this test"));
        assert_eq!(graph_stats().saved_bytes, graphs.saved_bytes);
        drop(trainer);
        assert_eq!(graph_stats(), graphs);
    }
    assert_eq!(device.memory().buffers, 0);
}
