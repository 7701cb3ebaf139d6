//! Samples of attention.

use gradus_tensor_core::Op;
use gradus_tensor_core::op::Attention;

use super::{Input, Sample};

pub(super) fn attention() -> Vec<Sample> {
    let mut samples = Vec::new();
    // Leading axes, T, S, D, E.
    let sizes: [(&[usize], [usize; 4]); 4] =
        [(&[], [3, 3, 4, 4]), (&[2], [4, 3, 2, 3]), (&[2, 2], [3, 5, 4, 2]), (&[1, 2], [1, 4, 3, 3])];
    for (lead, [t, s, d, e]) in sizes {
        for (causal, masked) in [(false, false), (true, false), (false, true), (true, true)] {
            let attention = Attention { scale: 0.6, causal };
            let of = |last: [usize; 2]| Input::number(&[lead, &last].concat());
            let forward = Op::Attention(attention);
            let mut inputs = vec![of([t, d]), of([s, d]), of([s, e])];
            inputs.extend(masked.then(|| of([t, s])));
            samples.push(Sample::new(forward.clone(), inputs).within(32.0, 4.0));

            let mut inputs = vec![of([t, e]), of([t, d]), of([s, d]), of([s, e])];
            let from: Vec<usize> = if masked { vec![1, 2, 3, 6] } else { vec![1, 2, 3] };
            inputs.push(Input::output(forward.clone(), &from, 0));
            inputs.push(Input::output(forward, &from, 1));
            inputs.extend(masked.then(|| of([t, s])));
            samples.push(Sample::new(Op::AttentionGrad(attention), inputs).within(64.0, 16.0));
        }
    }
    samples
}
