//! Samples: at least one way to call every op, as data.
//!
//! A [`Sample`] is an op and a recipe for its operands: shapes, and what numbers to put there. The conformance
//! suite runs every sample on a device and compares with the reference, over dtypes and layouts; the gradient
//! sweep differentiates every sample. A new op is covered by adding samples here and nowhere else (and a
//! test of this crate fails until it is).
//!
//! Values are a pure function of a [`Key`], so a failure can be repeated.

mod attention;
mod conv;
mod create;
mod elementwise;
mod index;
mod input;
mod loss;
mod matmul;
mod norm;
mod recurrent;
mod reduce;

use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, HostArray, Op, Result, Tensor};

pub(crate) use input::inside;
pub use input::{Input, Kind};

use crate::Reference;

/// A group of ops that are tested together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)]
pub enum Family {
    Create,
    Unary,
    UnaryGrad,
    Binary,
    Compare,
    Cast,
    Reduce,
    Scan,
    Sort,
    MatMul,
    Index,
    Softmax,
    Norm,
    Conv,
    Pool,
    Loss,
    Attention,
    Recurrent,
    Dropout,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 19] = [
        Family::Create,
        Family::Unary,
        Family::UnaryGrad,
        Family::Binary,
        Family::Compare,
        Family::Cast,
        Family::Reduce,
        Family::Scan,
        Family::Sort,
        Family::MatMul,
        Family::Index,
        Family::Softmax,
        Family::Norm,
        Family::Conv,
        Family::Pool,
        Family::Loss,
        Family::Attention,
        Family::Recurrent,
        Family::Dropout,
    ];

    /// The samples of this family.
    pub fn samples(self) -> Vec<Sample> {
        match self {
            Family::Create => create::create(),
            Family::Unary => elementwise::unary(),
            Family::UnaryGrad => elementwise::unary_grad(),
            Family::Binary => elementwise::binary(),
            Family::Compare => elementwise::compare(),
            Family::Cast => elementwise::cast(),
            Family::Reduce => reduce::reduce(),
            Family::Scan => reduce::scan(),
            Family::Sort => reduce::sort(),
            Family::MatMul => matmul::matmul(),
            Family::Index => index::index(),
            Family::Softmax => norm::softmax(),
            Family::Norm => norm::norm(),
            Family::Conv => conv::conv(),
            Family::Pool => conv::pool(),
            Family::Loss => loss::loss(),
            Family::Attention => attention::attention(),
            Family::Recurrent => recurrent::recurrent(),
            Family::Dropout => create::dropout(),
        }
    }
}

/// One way to call an op.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The op.
    pub op: Op,
    /// What its operands are.
    pub inputs: Vec<Input>,
    /// The dtypes to sweep over: what operands of [`Kind`]s without a dtype of their own get.
    pub dtypes: Vec<DType>,
    /// How many units in the last place of the computing dtype (`f32` for half precision) a result may be
    /// off, relative to the larger of itself and [`Sample::scale`].
    pub ulps: f64,
    /// The magnitude of the numbers that are added up on the way to a result.
    pub scale: f64,
    /// Whether gradients are to be checked by finite differences at this sample: it keeps away from kinks.
    pub smooth: bool,
}

impl Sample {
    /// A sample over all float dtypes, with the accuracy of a sum of a few terms around 1, differentiable.
    pub fn new(op: Op, inputs: impl IntoIterator<Item = Input>) -> Self {
        let inputs = inputs.into_iter().collect();
        Sample { op, inputs, dtypes: DType::FLOATS.to_vec(), ulps: 16.0, scale: 1.0, smooth: true }
    }

    /// The same sample swept over these dtypes.
    #[must_use]
    pub fn over(self, dtypes: &[DType]) -> Self {
        Sample { dtypes: dtypes.to_vec(), ..self }
    }

    /// The same sample with another accuracy.
    #[must_use]
    pub fn within(self, ulps: f64, scale: f64) -> Self {
        Sample { ulps, scale, ..self }
    }

    /// The same sample, not to be differentiated numerically.
    #[must_use]
    pub fn rough(self) -> Self {
        Sample { smooth: false, ..self }
    }

    /// The operands' values in that dtype.
    ///
    /// # Errors
    /// An operand that is computed by an op cannot be.
    pub fn values(&self, dtype: DType, key: Key) -> Result<Vec<HostArray>> {
        self.values_with(dtype, key, |_, values| values)
    }

    /// The operands' values in that dtype, free operands (by number) passed through a function before others are
    /// computed from them.
    ///
    /// # Errors
    /// An operand that is computed by an op cannot be.
    pub fn values_with(
        &self,
        dtype: DType,
        key: Key,
        settle: impl Fn(usize, HostArray) -> HostArray,
    ) -> Result<Vec<HostArray>> {
        let device = Reference::device();
        let mut tensors: Vec<Option<Tensor>> = Vec::new();
        for (i, input) in self.inputs.iter().enumerate() {
            let values = input.value(dtype, key.fold(i as u64))?.map(|values| settle(i, values));
            tensors.push(values.map(|values| device.upload(&values)).transpose()?);
        }
        self.complete(tensors)?.iter().map(Tensor::to_host).collect()
    }

    /// Fills in the operands that are outputs of other ops.
    fn complete(&self, mut tensors: Vec<Option<Tensor>>) -> Result<Vec<Tensor>> {
        for (i, input) in self.inputs.iter().enumerate() {
            if let Kind::Output { op, from, output } = &input.kind {
                let operands: Vec<&Tensor> = from.iter().filter_map(|&j| tensors[j].as_ref()).collect();
                let made = op.run(&operands)?.into_iter().nth(*output);
                tensors[i] = made;
            }
        }
        Ok(tensors.into_iter().flatten().collect())
    }

    /// The op as a function of its operands, for gradient checks: operands that are outputs of other ops are
    /// computed anew from the others, and the outputs that gradients flow through are joined into one vector.
    ///
    /// # Errors
    /// What the ops return.
    pub fn function(&self, operands: &[Tensor]) -> Result<Tensor> {
        let given = operands.iter().zip(&self.inputs);
        let computed = |input: &Input| matches!(input.kind, Kind::Output { .. });
        let all = self.complete(given.map(|(x, input)| (!computed(input)).then(|| x.clone())).collect())?;
        let outputs = self.op.run(&all.iter().collect::<Vec<_>>())?;
        // Statistics, logarithms of denominators and indices are constants to differentiation.
        let first_only =
            matches!(self.op, Op::Norm(_) | Op::BatchNormBlock(_) | Op::CrossEntropy(_) | Op::Attention(_));
        let differentiable = outputs.iter().take(if first_only { 1 } else { usize::MAX });
        let flat: Vec<Tensor> = differentiable
            .filter(|y| y.dtype().is_float())
            .map(|y| y.reshape([y.numel()]))
            .collect::<Result<_>>()?;
        Tensor::cat(&flat.iter().collect::<Vec<_>>(), 0)
    }
}

/// All integer dtypes, without bool.
pub(crate) const INTEGERS: [DType; 4] = [DType::U8, DType::I8, DType::I32, DType::I64];

/// All float dtypes and all integer dtypes, without bool.
pub(crate) const NUMBERS: [DType; 8] =
    [DType::U8, DType::I8, DType::I32, DType::I64, DType::F16, DType::BF16, DType::F32, DType::F64];
