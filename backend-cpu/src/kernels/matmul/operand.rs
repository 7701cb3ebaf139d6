//! A float operand that is read where it lies, whatever its strides.

use gradus_tensor_core::{Element, Layout, Result, Shape, View};

use super::gemm::Mat;
use crate::kernels::dense::{Dense, Stored, copied};
use crate::{Cpu, CpuBuffer};

/// The elements of a buffer and a layout over them; a widened copy if the operand is no `T`.
#[derive(Debug)]
pub(crate) struct Operand<'a, T> {
    data: Dense<'a, T>,
    layout: Layout,
}

impl<'a, T: Element> Operand<'a, T> {
    pub(crate) fn new(cpu: &Cpu, view: &View<'a, CpuBuffer>) -> Result<Self> {
        Ok(match view.buffer.as_slice() {
            Some(data) => Self { data: Dense::Borrowed(data), layout: *view.layout },
            None => Self::copy(cpu, view)?,
        })
    }

    fn copy(cpu: &Cpu, view: &View<'a, CpuBuffer>) -> Result<Self> {
        let data = Dense::Owned(copied::<T>(cpu, view)?);
        Ok(Self { data, layout: Layout::contiguous(*view.layout.shape()) })
    }

    /// The operand as one matrix with a row for every index of all but the last axis; a copy if its strides do
    /// not allow that.
    pub(crate) fn rows(cpu: &Cpu, view: &View<'a, CpuBuffer>) -> Result<Self> {
        let dims = view.layout.shape().dims();
        let last = dims.len().saturating_sub(1);
        let shape = Shape::new(&[dims[..last].iter().product(), *dims.last().unwrap_or(&1)])?;
        let mut operand = Self::new(cpu, view)?;
        if !operand.fold(shape)? {
            operand = Self::copy(cpu, view)?;
            operand.layout = Layout::contiguous(shape);
        }
        Ok(operand)
    }

    /// Reads the operand in another shape if strides allow.
    pub(crate) fn fold(&mut self, shape: Shape) -> Result<bool> {
        let folded = self.layout.reshape(shape)?;
        self.layout = folded.unwrap_or(self.layout);
        Ok(folded.is_some())
    }

    pub(crate) fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// Whether all matrices of the batch are the same memory.
    pub(crate) fn is_shared(&self) -> bool {
        let batch = self.layout.rank() - 2;
        (0..batch).all(|d| self.layout.strides()[d] == 0 || self.layout.shape()[d] == 1)
    }

    /// The matrix of the last two axes at a flat index of the others.
    pub(crate) fn matrix(&self, batch: usize) -> Mat<'_, T> {
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        let r = shape.rank() - 2;
        let start = self.start(batch);
        Mat::strided(&self.data, start, [shape[r], shape[r + 1]], [strides[r], strides[r + 1]])
    }

    /// The matrix, if its elements are what is computed with.
    pub(crate) fn computed(&self, batch: usize) -> Option<Mat<'_, T::Computed>>
    where
        T: Stored,
    {
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        let r = shape.rank() - 2;
        let data = T::computed(&self.data)?;
        let shape = [shape[r], shape[r + 1]];
        Some(Mat::strided(data, self.start(batch), shape, [strides[r], strides[r + 1]]))
    }

    /// One element of a matrix of the batch.
    #[inline]
    pub(crate) fn get(&self, start: usize, row: usize, col: usize) -> T {
        let strides = &self.layout.strides()[self.layout.rank() - 2..];
        let at = start as isize + row as isize * strides[0] + col as isize * strides[1];
        self.data[at as usize]
    }

    /// Where the matrix at a flat index of the batch axes begins.
    pub(crate) fn start(&self, mut batch: usize) -> usize {
        let (shape, strides) = (self.layout.shape(), self.layout.strides());
        let mut start = self.layout.offset() as isize;
        for d in (0..shape.rank() - 2).rev() {
            start += (batch % shape[d]) as isize * strides[d];
            batch /= shape[d];
        }
        start as usize
    }
}
