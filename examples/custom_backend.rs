//! A backend of one's own, in one file: every tensor is a vector of doubles in host memory.
//!
//! It implements just the primitives that this program needs. Everything else is decomposed into them by the
//! core, and gradients work without a line about them. A complete backend implements all primitives and is proven
//! with `gradus_testkit::conformance!`.

use gradus::op::ReduceKind;
use gradus::prelude::*;
use gradus::tensor_core::{
    Backend, Buffers, Error, HostArray, InPlaceOp, Meta, Op, Outcome, View, ViewMut, with_dtype,
};

#[derive(Debug)]
struct Doubles;

fn read<'a>(view: &'a View<'_, Vec<f64>>) -> impl Iterator<Item = f64> + 'a {
    view.layout.positions().map(|at| view.buffer[at])
}

impl Backend for Doubles {
    type Buffer = Vec<f64>;

    fn name(&self) -> String {
        "doubles".into()
    }

    fn upload(&self, host: &HostArray) -> Result<Vec<f64>> {
        Ok(host.convert())
    }

    fn download(&self, from: View<'_, Vec<f64>>) -> Result<HostArray> {
        let values = read(&from);
        with_dtype!(from.dtype, T => HostArray::new::<T>(
            values.map(gradus::Element::from_f64).collect(),
            *from.layout.shape(),
        ))
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Vec<f64>>],
        outputs: &[Meta],
    ) -> Result<Outcome<Buffers<Vec<f64>>>> {
        let n = outputs[0].shape.numel();
        let made: Vec<f64> = match (op, inputs) {
            (Op::Fill(fill), []) => vec![fill.value.to_f64(); n],
            (Op::Copy | Op::Cast(_), [x]) => read(x).collect(),
            (Op::Unary(op), [x]) => read(x).map(|x| op.eval(x)).collect(),
            (Op::Binary(op), [a, b]) => read(a).zip(read(b)).map(|(a, b)| op.eval(a, b)).collect(),
            (Op::Reduce(reduce), [x]) if reduce.kind == ReduceKind::Sum => {
                // The sum's layout, repeated along the reduced axes, says where each element goes.
                let target = gradus::Layout::contiguous(outputs[0].shape).expand(*x.layout.shape())?;
                let mut sums = vec![0.0; n];
                target.positions().zip(read(x)).for_each(|(at, x)| sums[at] += x);
                sums
            }
            (Op::MatMul, [a, b]) if a.layout.rank() == 2 => {
                let (rows, inner, cols) = (a.layout.shape()[0], a.layout.shape()[1], b.layout.shape()[1]);
                let (a, b): (Vec<f64>, Vec<f64>) = (read(a).collect(), read(b).collect());
                let at = |i: usize, j: usize| (0..inner).map(|k| a[i * inner + k] * b[k * cols + j]).sum();
                (0..rows * cols).map(|flat| at(flat / cols, flat % cols)).collect()
            }
            _ => return Ok(Outcome::Unsupported),
        };
        Ok(Outcome::Done(Buffers::from(made)))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Vec<f64>>],
        inputs: &[View<'_, Vec<f64>>],
    ) -> Result<Outcome<()>> {
        let ([target], [source]) = (targets, inputs) else { return Ok(Outcome::Unsupported) };
        let places = target.layout.positions().zip(read(source));
        match op {
            InPlaceOp::Write => places.for_each(|(at, x)| target.buffer[at] = x),
            InPlaceOp::Accumulate => places.for_each(|(at, x)| target.buffer[at] += x),
            _ => return Ok(Outcome::Unsupported),
        }
        Ok(Outcome::Done(()))
    }
}

fn main() -> Result<()> {
    let device = Device::new(Doubles);
    // y = 2 a - b + 0.5, from eight points
    let x: Vec<f64> = (0..16).map(|i| ((i * 7) % 11) as f64 / 11.0 - 0.5).collect();
    let y: Vec<f64> = x.chunks(2).map(|p| 2.0 * p[0] - p[1] + 0.5).collect();
    let (x, y) = (Tensor::from_vec(x, [8, 2], &device)?, Tensor::from_vec(y, [8, 1], &device)?);
    let mut parameters =
        [Tensor::zeros([1, 2], DType::F64, &device)?, Tensor::zeros([1], DType::F64, &device)?];
    let mut last = f64::INFINITY;
    for step in 0..=300 {
        let w = parameters[0].requires_grad()?;
        let b = parameters[1].requires_grad()?;
        let loss = x.linear(&w, Some(&b))?.sub(&y)?.square()?.mean_all()?; // linear decomposes
        last = loss.item()?;
        if step % 100 == 0 {
            println!("step {step}: loss {last:.2e}");
        }
        let gradients = loss.backward()?;
        for (parameter, leaf) in parameters.iter_mut().zip([&w, &b]) {
            let gradient = gradients.get(leaf).ok_or_else(|| Error::argument("train", "no gradient"))?;
            *parameter = parameter.sub(&gradient.mul(0.5)?)?;
        }
    }
    println!("w = {:?}, b = {:?}", parameters[0].to_vec::<f64>()?, parameters[1].to_vec::<f64>()?);
    assert!(last < 1e-6, "the fit is exact");

    // What it does not implement is an error that says so.
    println!("{}", x.sort(0, false).expect_err("no sorting here"));
    Ok(())
}
