//! Samples of recurrences.

use gradus_tensor_core::Op;

use super::{Input, Kind, Sample};

/// Steps, samples and features.
const SIZES: [[usize; 3]; 4] = [[1, 1, 1], [3, 2, 2], [2, 3, 4], [4, 1, 3]];

/// Weights that do not let gradients grow from step to step.
fn weight(gates: usize, hidden: usize) -> Input {
    Input::new(&[gates * hidden, hidden], Kind::Number { low: -1.0, high: 1.0 })
}

/// Activations of gates.
fn active([time, batch, hidden]: [usize; 3]) -> Input {
    Input::new(&[time, batch, 4 * hidden], Kind::Number { low: 0.05, high: 0.95 })
}

pub(super) fn recurrent() -> Vec<Sample> {
    let mut samples = Vec::new();
    for [time, batch, hidden] in SIZES {
        let steps = |parts: usize| Input::number(&[time, batch, parts * hidden]);
        let (active, weight) = (|| active([time, batch, hidden]), |gates| weight(gates, hidden));
        let state = || Input::number(&[batch, hidden]);

        let forward = Sample::new(Op::Lstm, [steps(4), weight(4), state(), state()]);
        samples.push(forward.within(64.0, 8.0));
        for more in 0..3 {
            let mut inputs = vec![active(), steps(1), weight(4), state(), steps(1)];
            inputs.extend([steps(1), steps(4)].into_iter().take(more));
            samples.push(Sample::new(Op::LstmGrad, inputs).within(64.0, 16.0));
        }

        samples.push(Sample::new(Op::Gru, [steps(3), weight(3), state()]).within(64.0, 8.0));
        let bias = Input::number(&[3 * hidden]);
        samples.push(Sample::new(Op::Gru, [steps(3), weight(3), state(), bias]).within(64.0, 8.0));
        for more in 0..2 {
            let mut inputs = vec![active(), steps(1), weight(3), state(), steps(1)];
            inputs.extend([steps(4)].into_iter().take(more));
            samples.push(Sample::new(Op::GruGrad, inputs).within(64.0, 16.0));
        }
    }
    samples
}
