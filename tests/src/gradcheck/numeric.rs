//! Central differences.

use gradus_autograd::Autograd;
use gradus_tensor_core::{DType, Device, Result, Shape, Tensor};

use super::report::{Entry, Mismatch, Report};
use super::{Mode, Options, nothing};

/// The inputs of a function under test.
pub(super) struct Inputs {
    plain: Vec<Tensor>,
    /// For each input of dtype `f64`: which it is, and its elements.
    wanted: Vec<(usize, Vec<f64>)>,
}

impl Inputs {
    pub(super) fn new(inputs: &[&Tensor]) -> Result<Self> {
        let plain: Vec<Tensor> = inputs.iter().map(|x| x.detach()).collect::<Result<_>>()?;
        let wanted: Vec<(usize, Vec<f64>)> = plain
            .iter()
            .enumerate()
            .filter(|(_, x)| x.dtype() == DType::F64)
            .map(|(i, x)| Ok((i, x.to_vec()?)))
            .collect::<Result<_>>()?;
        if wanted.is_empty() { Err(nothing()) } else { Ok(Inputs { plain, wanted }) }
    }

    pub(super) fn plain(&self) -> &[Tensor] {
        &self.plain
    }

    /// Which inputs are differentiated.
    pub(super) fn wanted(&self) -> impl Iterator<Item = usize> {
        self.wanted.iter().map(|(i, _)| *i)
    }

    pub(super) fn shape(&self, input: usize) -> &Shape {
        self.plain[input].shape()
    }

    /// The inputs, those to be differentiated as leaves.
    pub(super) fn tracked(&self) -> Result<Vec<Tensor>> {
        let leaf = |x: &Tensor| if x.dtype() == DType::F64 { x.requires_grad() } else { Ok(x.clone()) };
        self.plain.iter().map(leaf).collect()
    }

    /// The inputs with the values of one replaced.
    fn with(&self, input: usize, values: Vec<f64>) -> Result<Vec<Tensor>> {
        let mut moved = self.plain.clone();
        let device: &Device = self.plain[input].device();
        moved[input] = Tensor::from_vec(values, self.shape(input), device)?;
        Ok(moved)
    }
}

/// Compares analytic gradients (one per differentiated input) with differences of a function of the inputs.
pub(super) fn compare(
    f: impl Fn(&[Tensor]) -> Result<f64>,
    inputs: &Inputs,
    analytic: &[Vec<f64>],
    options: &Options,
) -> Result<Report, Mismatch> {
    let mut report = Report::default();
    let mut check = |input: Option<(usize, usize)>, analytic: f64, numeric: f64| {
        let index = input.map(|(input, flat)| coordinates(inputs.shape(input), flat)).unwrap_or_default();
        let allowed = options.atol + options.rtol * numeric.abs();
        report.add(Entry { input: input.map(|(i, _)| i), index, analytic, numeric, allowed });
    };
    match options.mode {
        Mode::Elements => {
            for ((input, values), gradient) in inputs.wanted.iter().zip(analytic) {
                for (flat, &g) in gradient.iter().enumerate() {
                    let at = |step: f64| -> Result<f64> {
                        let mut moved = values.clone();
                        moved[flat] += step;
                        f(&inputs.with(*input, moved)?)
                    };
                    let numeric = (at(options.eps)? - at(-options.eps)?) / (2.0 * options.eps);
                    check(Some((*input, flat)), g, numeric);
                }
            }
        }
        Mode::Directions(n) => {
            for direction in 0..n as u64 {
                let key = options.key.fold(2 + direction);
                let draw = |values: &[f64], input: usize| -> Vec<f64> {
                    (0..values.len() as u64).map(|i| key.fold(input as u64).normal64(i)).collect()
                };
                let directions: Vec<Vec<f64>> = inputs.wanted.iter().map(|(i, v)| draw(v, *i)).collect();
                let at = |step: f64| -> Result<f64> {
                    let mut moved = inputs.plain.clone();
                    for ((input, values), along) in inputs.wanted.iter().zip(&directions) {
                        let values = values.iter().zip(along).map(|(x, d)| x + step * d).collect();
                        moved[*input] = inputs.with(*input, values)?.swap_remove(*input);
                    }
                    f(&moved)
                };
                let numeric = (at(options.eps)? - at(-options.eps)?) / (2.0 * options.eps);
                let dot = |(g, d): (&Vec<f64>, &Vec<f64>)| g.iter().zip(d).map(|(g, d)| g * d).sum::<f64>();
                check(None, analytic.iter().zip(&directions).map(dot).sum(), numeric);
            }
        }
    }
    report.verdict()
}

fn coordinates(shape: &Shape, mut flat: usize) -> Vec<usize> {
    let mut index = vec![0; shape.rank()];
    for axis in (0..shape.rank()).rev() {
        index[axis] = flat % shape[axis];
        flat /= shape[axis];
    }
    index
}
