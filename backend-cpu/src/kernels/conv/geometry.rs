//! The numbers of a convolution, always with three spatial axes: missing ones have size 1 in front.

use gradus_tensor_core::op::{Conv, Spatial};

use crate::Precision;

/// A convolution of `images x (groups * channels) x size` with `(groups * outputs) x channels x kernel`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Geometry {
    pub(super) images: usize,
    pub(super) groups: usize,
    /// Input channels of a group.
    pub(super) channels: usize,
    /// Output channels of a group.
    pub(super) outputs: usize,
    pub(super) size: [usize; 3],
    pub(super) kernel: [usize; 3],
    pub(super) out: [usize; 3],
    pub(super) stride: [usize; 3],
    /// Zeros in front; negative where the first positions are never read.
    pub(super) padding: [isize; 3],
    pub(super) dilation: [usize; 3],
    /// Of products that are made of the operands as they are.
    pub(super) precision: Precision,
}

impl Geometry {
    /// From the shapes of input `[N, C, *size]`, weight `[O, C / groups, *kernel]` and output `[N, O, *out]`.
    pub(super) fn new(conv: &Conv, x: &[usize], w: &[usize], y: &[usize], precision: Precision) -> Self {
        let spatial = x.len() - 2;
        let three = |dims: &[usize]| {
            let mut out = [1; 3];
            out[3 - dims.len()..].copy_from_slice(dims);
            out
        };
        let option = |values: &Spatial, missing: usize| {
            let mut out = [missing; 3];
            out[3 - spatial..].copy_from_slice(&values[..spatial]);
            out
        };
        let (size, kernel, padding) = (three(&x[2..]), three(&w[2..]), option(&conv.padding, 0));
        let (stride, dilation) = (option(&conv.stride, 1), option(&conv.dilation, 1));
        Self {
            images: x[0],
            groups: conv.groups,
            channels: x[1] / conv.groups,
            outputs: y[1] / conv.groups,
            size,
            kernel,
            out: three(&y[2..]),
            // A longer step reaches nothing more, and no step leads from a window's only element to the next: such numbers
            // may be too large to compute with.
            stride: [0, 1, 2].map(|d| stride[d].min((size[d] + 2 * padding[d]).max(1))),
            padding: padding.map(|p| p as isize),
            dilation: [0, 1, 2].map(|d| if kernel[d] == 1 { 1 } else { dilation[d] }),
            precision,
        }
    }

    /// Positions of an input plane.
    pub(super) fn area(&self) -> usize {
        self.size.iter().product()
    }

    /// Positions of an output plane.
    pub(super) fn out_area(&self) -> usize {
        self.out.iter().product()
    }

    /// Elements of a window in one channel.
    pub(super) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Elements of a window in all channels of a group: the depth of the matrix product.
    pub(super) fn depth(&self) -> usize {
        self.channels * self.taps()
    }

    /// Whether input and output positions are the same, so that the input is its own column matrix.
    pub(super) fn pointwise(&self) -> bool {
        self.taps() == 1 && self.stride == [1; 3] && self.padding == [0; 3]
    }

    /// One input channel to each group: no sum over channels.
    pub(super) fn depthwise(&self) -> bool {
        self.channels == 1 && self.groups > 1
    }

    /// The convolution that gives the input's gradient from the output's, with the weight's channels exchanged
    /// and its taps reversed. Only for stride 1.
    pub(super) fn reversed(&self) -> Self {
        let reach = |d: usize| (self.dilation[d] * (self.kernel[d] - 1)) as isize;
        Self {
            channels: self.outputs,
            outputs: self.channels,
            size: self.out,
            out: self.size,
            padding: [0, 1, 2].map(|d| reach(d) - self.padding[d]),
            ..*self
        }
    }

    /// Output positions along `axis` whose window element `tap` lies in the input.
    pub(super) fn valid(&self, axis: usize, tap: usize) -> std::ops::Range<usize> {
        let (stride, size) = (self.stride[axis] as isize, self.size[axis] as isize);
        let shift = (tap * self.dilation[axis]) as isize - self.padding[axis];
        // Positions o with 0 <= o * stride + shift < size.
        let first = if shift < 0 { (-shift + stride - 1) / stride } else { 0 };
        let end = if size > shift { (size - shift + stride - 1) / stride } else { 0 };
        let end = (end.max(0) as usize).min(self.out[axis]);
        (first as usize).min(end)..end
    }

    /// The input position along `axis` of window element `tap` at an output position that is
    /// [valid](Geometry::valid).
    pub(super) fn position(&self, axis: usize, output: usize, tap: usize) -> usize {
        ((output * self.stride[axis] + tap * self.dilation[axis]) as isize - self.padding[axis]) as usize
    }
}
