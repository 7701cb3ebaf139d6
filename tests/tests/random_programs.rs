//! The gradient of a random program equals finite differences: any graph, with sharing, views and changes in
//! place, not only those that somebody thought of.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{DType, Device, Result, Tensor};
use gradus_testkit::{Options, gradcheck, gradgradcheck, strategies};
use proptest::prelude::*;

/// One instruction of a program over a list of 3x3 matrices: it reads earlier ones and appends one.
#[derive(Clone, Debug)]
enum Step {
    Tanh(usize),
    Sin(usize),
    Softplus(usize),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    /// The quotient by something that is at least one.
    Div(usize, usize),
    MatMul(usize, usize),
    Transpose(usize),
    Flip(usize),
    Diagonal(usize),
    Softmax(usize),
    /// The means of the rows, broadcast back.
    RowMeans(usize),
    /// Two halves joined the other way round.
    Swap(usize),
    /// A clone changed in place.
    AddAssign(usize, usize),
    /// A row overwritten in place.
    SetRow(usize, usize),
    Gather(usize),
    Norm(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let i = || 0..64usize;
    prop_oneof![
        i().prop_map(Step::Tanh),
        i().prop_map(Step::Sin),
        i().prop_map(Step::Softplus),
        (i(), i()).prop_map(|(a, b)| Step::Add(a, b)),
        (i(), i()).prop_map(|(a, b)| Step::Sub(a, b)),
        (i(), i()).prop_map(|(a, b)| Step::Mul(a, b)),
        (i(), i()).prop_map(|(a, b)| Step::Div(a, b)),
        (i(), i()).prop_map(|(a, b)| Step::MatMul(a, b)),
        i().prop_map(Step::Transpose),
        i().prop_map(Step::Flip),
        i().prop_map(Step::Diagonal),
        i().prop_map(Step::Softmax),
        i().prop_map(Step::RowMeans),
        i().prop_map(Step::Swap),
        (i(), i()).prop_map(|(a, b)| Step::AddAssign(a, b)),
        (i(), i()).prop_map(|(a, b)| Step::SetRow(a, b)),
        i().prop_map(Step::Gather),
        i().prop_map(Step::Norm),
    ]
}

/// Runs a program; its result depends on its last three matrices.
fn run(program: &[Step], inputs: &[Tensor]) -> Result<Tensor> {
    let mut all = inputs.to_vec();
    for step in program {
        let n = all.len();
        let at = |i: &usize| &all[i % n];
        let next = match step {
            Step::Tanh(a) => at(a).tanh()?,
            Step::Sin(a) => at(a).sin()?,
            Step::Softplus(a) => at(a).softplus()?,
            Step::Add(a, b) => at(a).add(at(b))?,
            Step::Sub(a, b) => at(a).sub(at(b))?,
            Step::Mul(a, b) => at(a).tanh()?.mul(at(b))?,
            Step::Div(a, b) => at(a).div(&at(b).square()?.add(1.0)?)?,
            Step::MatMul(a, b) => at(a).tanh()?.matmul(at(b))?.mul(0.5)?,
            Step::Transpose(a) => at(a).t()?,
            Step::Flip(a) => at(a).flip([0, 1])?,
            Step::Diagonal(a) => at(a).diagonal(0, 0, 1)?.unsqueeze(0)?.expand([3, 3])?,
            Step::Softmax(a) => at(a).softmax(1)?,
            Step::RowMeans(a) => at(a).mean_keepdim(1)?.expand([3, 3])?,
            Step::Swap(a) => Tensor::cat(&[&at(a).narrow(1, 1, 2)?, &at(a).narrow(1, 0, 1)?], 1)?,
            Step::AddAssign(a, b) => {
                let mut changed = at(a).clone();
                changed.add_assign(at(b))?;
                changed
            }
            Step::SetRow(a, b) => {
                let mut changed = at(a).clone();
                changed.narrow_assign(0, 1, &at(b).narrow(0, 2, 1)?)?;
                changed
            }
            Step::Gather(a) => {
                let index =
                    Tensor::from_vec(vec![2i64, 0, 0, 1, 1, 1, 0, 2, 1], [3, 3], at(a).device().innermost())?;
                at(a).gather(0, &index)?
            }
            Step::Norm(a) => at(a).layer_norm(1, None, None, 0.1)?,
        };
        all.push(next);
    }
    let last = all.len() - all.len().min(3);
    all[last..]
        .iter()
        .try_fold(Tensor::zeros([3, 3], DType::F64, inputs[0].device().innermost())?, |sum, x| sum.add(x))
}

/// Three matrices, laid out in any way in memory.
fn matrices(device: &Device) -> impl Strategy<Value = Vec<Tensor>> + use<> {
    let shape = strategies::shape(2..=2, 3..=3);
    proptest::collection::vec(strategies::tensor(device, DType::F64, shape, -1.5..1.5), 3)
}

/// The inputs, for messages: where they lie and what they hold.
fn values(x: &[Tensor]) -> String {
    let text = |x: &Tensor| format!("\n  {:?} holds {:?}", x.layout(), x.to_vec::<f64>());
    x.iter().map(text).collect()
}

/// Values of programs may grow, and rounding with them: the errors allowed are wider than for single ops.
fn options() -> Options {
    Options { atol: 1e-5, rtol: 1e-5, ..Options::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_gradient_of_a_random_program_equals_finite_differences(
        program in proptest::collection::vec(step(), 1..14),
        x in matrices(&Cpu::device()),
    ) {
        let outcome = gradcheck(|x| run(&program, x), &x.iter().collect::<Vec<_>>(), options());
        prop_assert!(outcome.is_ok(), "{}{}", outcome.unwrap_err(), values(&x));
    }

    #[test]
    fn the_second_derivative_of_a_random_program_equals_finite_differences(
        program in proptest::collection::vec(step(), 1..7),
        x in matrices(&Cpu::device()),
    ) {
        let fast = Options { mode: gradus_testkit::Mode::Directions(2), ..options() };
        let outcome = gradgradcheck(|x| run(&program, x), &x.iter().collect::<Vec<_>>(), fast);
        prop_assert!(outcome.is_ok(), "{}{}", outcome.unwrap_err(), values(&x));
    }
}
