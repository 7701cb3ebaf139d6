//! Samples of losses.

use gradus_tensor_core::Op;
use gradus_tensor_core::op::CrossEntropy;

use super::{Input, Kind, Sample};

pub(super) fn loss() -> Vec<Sample> {
    let mut samples = Vec::new();
    for label_smoothing in [0.0, 0.2] {
        for (ignore_index, labels, classes) in [
            (-100, vec![0, 2, 1, 2], 3),
            (1, vec![3, 1, 0, 1, 4], 5),
            (-100, vec![-100, 0], 2),
            (-100, vec![0], 1),
        ] {
            let loss = CrossEntropy { ignore_index, label_smoothing };
            let n = labels.len();
            let logits = Input::number(&[n, classes]);
            let target = Input::new(&[n], Kind::Labels(labels));
            samples.push(
                Sample::new(Op::CrossEntropy(loss), [logits.clone(), target.clone()]).within(16.0, 4.0),
            );
            let g = Input::new(&[n], Kind::Accumulator);
            let lse = Input::output(Op::CrossEntropy(loss), &[1, 2], 1);
            samples.push(Sample::new(Op::CrossEntropyGrad(loss), [g, logits, target, lse]));
        }
    }
    samples
}
