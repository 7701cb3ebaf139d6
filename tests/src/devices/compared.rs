//! Two devices side by side.

use std::fmt;

use gradus_tensor_core::{
    Device, Error, HostArray, InPlaceOp, Layout, Meta, Op, Result, Storage, Tensor, Tensors,
};

use super::{Decorated, Decorator};
use crate::conformance::{Tolerance, compare};

/// Runs every op on a trusted device too, on the same operands, and fails at the first op whose results
/// differ. Since each op starts from the operands of the device under test, errors do not build up: the op that
/// is named is the one that is wrong.
///
/// Put it around a device and run a whole training step: `Compared::around(&mine, &Reference::device(), ..)`.
#[derive(Debug)]
pub struct Compared {
    trusted: Device,
    tolerance: Tolerance,
}

/// An op whose results differ. Found in [`Error::Other`].
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The op, with its parameters.
    pub op: String,
    /// The operands' shapes and dtypes; for ops in place targets first.
    pub operands: Vec<Meta>,
    /// How each operand lies in memory.
    pub layouts: Vec<Layout>,
    /// Which output (or target) differs, and where first.
    pub message: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.op, self.message)?;
        for (i, (meta, layout)) in self.operands.iter().zip(&self.layouts).enumerate() {
            write!(f, "\n  operand {i}: {meta}, strides {:?}, offset {}", layout.strides(), layout.offset())?;
        }
        Ok(())
    }
}

impl std::error::Error for Difference {}

impl Compared {
    /// A device around another whose every op is compared with the trusted device.
    pub fn around(device: &Device, trusted: &Device, tolerance: Tolerance) -> Device {
        Decorated::around(device, Compared { trusted: trusted.clone(), tolerance })
    }

    fn trusted(&self, x: &Tensor) -> Result<Tensor> {
        self.trusted.upload(&x.to_host()?)
    }

    fn compare(&self, op: String, operands: &[&Tensor], got: &[HostArray], want: &[HostArray]) -> Result<()> {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            if let Err(text) = compare(got, want, self.tolerance) {
                let difference = Difference {
                    op,
                    operands: operands.iter().map(|x| x.meta()).collect(),
                    layouts: operands.iter().map(|x| *x.layout()).collect(),
                    message: format!("output {i} {text}"),
                };
                return Err(Error::Other(Box::new(difference)));
            }
        }
        Ok(())
    }
}

fn hosts<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<Vec<HostArray>> {
    tensors.into_iter().map(Tensor::to_host).collect()
}

impl Decorator for Compared {
    fn name(&self) -> &'static str {
        "compared"
    }

    fn execute(&self, inner: &Device, op: &Op, inputs: &[&Tensor]) -> Result<Tensors> {
        let trusted: Vec<Tensor> = inputs.iter().map(|x| self.trusted(x)).collect::<Result<_>>()?;
        let outputs = inner.execute(op, inputs)?;
        let expected = self.trusted.execute(op, &trusted.iter().collect::<Vec<_>>())?;
        self.compare(format!("{} {op:?}", op.name()), inputs, &hosts(&outputs)?, &hosts(&expected)?)?;
        Ok(outputs)
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [&mut Storage],
        layouts: &[Layout],
        inputs: &[&Tensor],
    ) -> Result<()> {
        // Whole buffers are compared, so that a write beside the view shows.
        let mut trusted: Vec<Storage> =
            targets.iter().map(|x| self.trusted(&x.flat())?.into_whole()).collect::<Result<_>>()?;
        let sources: Vec<Tensor> = inputs.iter().map(|x| self.trusted(x)).collect::<Result<_>>()?;
        op.run_at_layouts(targets, layouts, inputs)?;
        op.run_at_layouts(
            &mut trusted.iter_mut().collect::<Vec<_>>(),
            layouts,
            &sources.iter().collect::<Vec<_>>(),
        )?;
        let views: Vec<Tensor> =
            targets.iter().zip(layouts).map(|(t, layout)| t.tensor(*layout)).collect::<Result<_>>()?;
        let operands: Vec<&Tensor> = views.iter().chain(inputs.iter().copied()).collect();
        let hosts = |all: &mut dyn Iterator<Item = &Storage>| -> Result<Vec<HostArray>> {
            all.map(|s| s.flat().to_host()).collect()
        };
        let got = hosts(&mut targets.iter().map(|t| &**t))?;
        self.compare(format!("{} {op:?}", op.name()), &operands, &got, &hosts(&mut trusted.iter())?)
    }
}
