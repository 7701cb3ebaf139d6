//! Samples of element-wise ops.

use gradus_tensor_core::op::Needs;
use gradus_tensor_core::{BinaryOp, CompareOp, DType, Op, UnaryOp};

use super::{INTEGERS, Input, Kind, NUMBERS, Sample};

/// Shapes with no, one, few and many elements, ranks 0 to 4, odd sizes.
const SHAPES: [&[usize]; 5] = [&[], &[7], &[3, 5], &[2, 3, 17], &[2, 1, 3, 2]];

/// Shape number `i`, so that ops share the shapes among them.
fn shape(i: usize) -> &'static [usize] {
    SHAPES[i % SHAPES.len()]
}

pub(super) fn unary() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (i, op) in UnaryOp::ALL.into_iter().enumerate() {
        if op == UnaryOp::Not {
            let truth = Sample::new(Op::Unary(op), [Input::new(&[3, 5], Kind::Truth)]);
            samples.push(truth.over(&[DType::Bool]).rough());
            continue;
        }
        let mut sample = Sample::new(Op::Unary(op), [Input::new(shape(i + 1), Kind::Domain(op))]);
        sample = sample.within(8.0, 0.1);
        samples.push(sample);
        if op.takes_int() {
            let ints = Sample::new(Op::Unary(op), [Input::number(&[2, 9])]);
            samples.push(ints.over(&INTEGERS).rough());
        }
    }
    for op in
        [UnaryOp::Powf(3.0), UnaryOp::Powf(-1.0), UnaryOp::Powf(0.5), UnaryOp::Affine { mul: 3.0, add: -2.0 }]
    {
        samples.push(Sample::new(Op::Unary(op), [Input::new(&[11], Kind::Domain(op))]).within(16.0, 0.1));
    }
    samples
}

pub(super) fn unary_grad() -> Vec<Sample> {
    let numbers = UnaryOp::ALL.into_iter().filter(|&op| op != UnaryOp::Not);
    let sample = |(i, op): (usize, UnaryOp)| {
        let dims = shape(i + 2);
        let x = Input::new(dims, Kind::Domain(op));
        let g = Input::number(dims);
        let inputs = match op.needs() {
            Needs::Input => vec![g, x],
            Needs::Nothing => vec![g, Input::output(Op::Copy, &[0], 0)],
            // The saved output is an operand computed from an input that the op itself does not take, so
            // give it values that the op can have.
            Needs::Output => vec![g, Input::new(dims, outputs_of(op))],
        };
        Sample::new(Op::UnaryGrad(op), inputs).within(64.0, 1.0)
    };
    numbers.enumerate().map(sample).collect()
}

/// Values in the range of an op whose gradient is computed from its output.
fn outputs_of(op: UnaryOp) -> Kind {
    let (low, high) = match op {
        UnaryOp::Tanh => (-0.9, 0.9),
        UnaryOp::Sigmoid => (0.1, 0.9),
        UnaryOp::Expm1 => (-0.9, 2.0),
        _ => (0.2, 2.0),
    };
    Kind::Number { low, high }
}

pub(super) fn binary() -> Vec<Sample> {
    let mut samples = Vec::new();
    for (i, op) in BinaryOp::ALL.into_iter().enumerate() {
        let dims = shape(i + 1);
        let number = || Input::number(dims);
        let between = |low, high| Input::new(dims, Kind::Number { low, high });
        let floats = match op {
            BinaryOp::Xor => {
                let truth = || Input::new(dims, Kind::Truth);
                samples.push(Sample::new(Op::Binary(op), [truth(), truth()]).over(&[DType::Bool]).rough());
                continue;
            }
            BinaryOp::Div | BinaryOp::Atan2 => [number(), between(0.5, 2.0)],
            BinaryOp::Pow => [between(0.5, 2.0), number()],
            // Remainders jump where the quotient is whole: it stays between 0.25 and 0.75 here.
            BinaryOp::Rem => [between(0.75, 1.25), between(1.75, 2.75)],
            // Far enough apart that a finite difference does not cross where they are equal.
            BinaryOp::Maximum | BinaryOp::Minimum => [between(-2.0, 0.0), between(0.1, 2.0)],
            _ => [number(), number()],
        };
        samples.push(Sample::new(Op::Binary(op), floats).within(8.0, 0.1));
        if matches!(op, BinaryOp::Maximum | BinaryOp::Minimum) {
            samples.push(Sample::new(Op::Binary(op), [number(), number()]).rough());
        }
        if op == BinaryOp::Rem {
            samples
                .push(Sample::new(Op::Binary(op), [number(), between(-1.5, -0.5)]).within(8.0, 2.0).rough());
        }
        if op.takes(DType::I64) {
            let ints = match op {
                BinaryOp::Div | BinaryOp::Rem => [number(), between(1.0, 2.0)],
                BinaryOp::Pow => [number(), between(0.0, 2.0)],
                _ => [number(), number()],
            };
            samples.push(Sample::new(Op::Binary(op), ints).over(&INTEGERS).rough());
        }
        if matches!(op, BinaryOp::Div | BinaryOp::Rem) {
            let negative = Sample::new(Op::Binary(op), [number(), between(-2.0, -1.0)]);
            samples.push(negative.over(&[DType::I8, DType::I32, DType::I64]).rough());
        }
        if op.takes(DType::Bool) {
            let truth = || Input::new(dims, Kind::Truth);
            samples.push(Sample::new(Op::Binary(op), [truth(), truth()]).over(&[DType::Bool]).rough());
        }
    }
    let select = [Input::new(&[3, 5], Kind::Truth), Input::number(&[3, 5]), Input::number(&[3, 5])];
    samples.push(Sample::new(Op::Select, select.clone()));
    samples.push(Sample::new(Op::Select, select).over(&INTEGERS).rough());
    let truth = || Input::new(&[2, 7], Kind::Truth);
    samples.push(Sample::new(Op::Select, [truth(), truth(), truth()]).over(&[DType::Bool]).rough());
    samples
}

pub(super) fn compare() -> Vec<Sample> {
    let mut samples = Vec::new();
    for op in CompareOp::ALL {
        let ties = || Input::new(&[4, 9], Kind::Ties);
        samples.push(Sample::new(Op::Compare(op), [ties(), ties()]).over(&NUMBERS).rough());
        let truth = || Input::new(&[9], Kind::Truth);
        samples.push(Sample::new(Op::Compare(op), [truth(), truth()]).over(&[DType::Bool]).rough());
    }
    samples
}

pub(super) fn cast() -> Vec<Sample> {
    let mut samples = Vec::new();
    for to in DType::ALL {
        let numbers = Sample::new(Op::Cast(to), [Input::new(&[3, 7], Kind::Number { low: 0.0, high: 50.0 })]);
        samples.push(numbers.over(&NUMBERS).rough());
        // Integers wrap: some of these are beyond `i8`, and negative ones beyond `u8`.
        for (low, high) in [(0.0, 100.0), (-50.0, 50.0)] {
            let wrapped = Sample::new(Op::Cast(to), [Input::new(&[3, 17], Kind::Number { low, high })]);
            samples.push(wrapped.over(&INTEGERS).rough());
        }
        samples.push(Sample::new(Op::Cast(to), [Input::new(&[5], Kind::Truth)]).over(&[DType::Bool]).rough());
        if to != DType::U8 {
            let signed = Sample::new(Op::Cast(to), [Input::number(&[2, 9])]);
            let from: Vec<DType> = NUMBERS.into_iter().filter(|&dtype| dtype != DType::U8).collect();
            samples.push(signed.over(&from).rough());
        }
    }
    // The only casts that finite differences in double precision can see.
    samples.push(Sample::new(Op::Cast(DType::F64), [Input::number(&[2, 3])]).over(&[DType::F64]));
    samples.push(Sample::new(Op::Copy, [Input::number(&[2, 3, 4])]));
    samples.push(Sample::new(Op::Copy, [Input::number(&[5])]).over(&NUMBERS).rough());
    samples
}
