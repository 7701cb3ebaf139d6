//! The same values in memory in another way.

use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{
    AxisSet, Device, Element, HostArray, Layout, MAX_RANK, Result, Shape, Tensor, with_dtype,
};

/// A way to lay out a tensor in a buffer: some order of axes, steps, gaps, directions, repeated axes.
///
/// The values stay what they were; the gaps hold junk (NaN, or an index that is out of range everywhere), so
/// that a kernel that reads or writes beside its view is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrangement {
    /// The axes from outermost to innermost in memory.
    pub order: [usize; MAX_RANK],
    /// Per axis: the distance between neighbours, in units of a dense layout.
    pub step: [usize; MAX_RANK],
    /// Per axis: unused places before the first element.
    pub lead: [usize; MAX_RANK],
    /// Per axis: unused places after the last element.
    pub trail: [usize; MAX_RANK],
    /// Axes that run backwards.
    pub flipped: AxisSet,
    /// Axes along which one element is read again and again.
    pub repeated: AxisSet,
}

impl Arrangement {
    /// Row-major without gaps.
    pub const CONTIGUOUS: Arrangement = Arrangement {
        order: [0, 1, 2, 3, 4, 5, 6, 7],
        step: [1; MAX_RANK],
        lead: [0; MAX_RANK],
        trail: [0; MAX_RANK],
        flipped: AxisSet::EMPTY,
        repeated: AxisSet::EMPTY,
    };

    /// Some arrangement in which no element repeats, for tensors of that rank.
    pub fn random(rank: usize, key: Key) -> Self {
        let mut draw = 0..;
        let mut below = |bound: u64| key.below(draw.next().unwrap_or(0), bound) as usize;
        let mut out = Self::CONTIGUOUS;
        // Half of the time the axes stay in order, else they are shuffled.
        if below(2) == 1 {
            for i in (1..rank).rev() {
                out.order.swap(i, below(i as u64 + 1));
            }
        }
        for axis in 0..rank {
            out.step[axis] = [1, 1, 1, 2, 3][below(5)];
            out.lead[axis] = [0, 0, 1, 2][below(4)];
            out.trail[axis] = [0, 0, 1][below(3)];
            if below(4) == 0 {
                out.flipped = out.flipped.union(AxisSet::single(axis));
            }
        }
        out
    }

    /// This arrangement with one element repeated along an axis.
    #[must_use]
    pub fn repeating(self, axis: usize) -> Self {
        Arrangement { repeated: self.repeated.union(AxisSet::single(axis)), ..self }
    }

    /// How long a buffer this needs for tensors of that shape, and the layout in it.
    ///
    /// # Errors
    /// The buffer would be too large, or the order is not one of the shape's axes.
    pub fn layout(&self, shape: &Shape) -> Result<(usize, Layout)> {
        let rank = shape.rank();
        let stored = shape.reduced(self.repeated);
        let extent = |axis: usize| self.lead[axis] + stored[axis] * self.step[axis] + self.trail[axis];
        let dims: Vec<usize> = self.order[..rank].iter().map(|&axis| extent(axis)).collect();
        let memory = Shape::new(&dims)?;
        let mut place = vec![0; rank];
        self.order[..rank].iter().enumerate().for_each(|(outer, &axis)| place[axis] = outer);
        let mut layout = Layout::contiguous(memory).permute(&place)?;
        for axis in 0..rank {
            let (start, n, step) = (self.lead[axis], stored[axis], self.step[axis]);
            let end = if n == 0 { start } else { start + (n - 1) * step + 1 };
            layout = layout.slice(axis, start, end, step)?;
            if self.flipped.contains(axis) {
                layout = layout.flip(axis)?;
            }
        }
        Ok((memory.numel(), layout.expand(*shape)?))
    }

    /// Uploads values in this arrangement. Along repeated axes the last value wins.
    ///
    /// # Errors
    /// What [`Arrangement::layout`] and the device return.
    pub fn place(&self, values: &HostArray, device: &Device) -> Result<Tensor> {
        let (len, layout) = self.layout(values.shape())?;
        with_dtype!(values.dtype(), T => {
            let mut all = vec![junk::<T>(); len];
            for (place, x) in layout.positions().zip(values.as_slice::<T>().unwrap_or(&[])) {
                all[place] = *x;
            }
            Tensor::from_vec(all, [len], device)?.with_layout(layout)
        })
    }

    /// The values as they will be read: the same, but for repeated axes.
    pub fn settled(&self, values: HostArray) -> HostArray {
        let repeated = self.repeated.iter().filter(|&axis| axis < values.shape().rank());
        let shape = *values.shape();
        let one = repeated.map(AxisSet::single).fold(AxisSet::EMPTY, AxisSet::union);
        let Ok(owner) = Layout::contiguous(shape.reduced(one)).expand(shape) else { return values };
        if one.is_empty() || shape.numel() == 0 {
            return values;
        }
        with_dtype!(values.dtype(), T => {
            let mut kept = vec![T::default(); shape.reduced(one).numel()];
            for (place, x) in owner.positions().zip(values.as_slice::<T>().unwrap_or(&[])) {
                kept[place] = *x;
            }
            let read = owner.positions().map(|place| kept[place]).collect::<Vec<T>>();
            HostArray::new(read, shape).unwrap_or(values)
        })
    }
}

/// What lies between elements: NaN for floats, far out of range for indices.
fn junk<T: Element>() -> T {
    if T::DTYPE.is_float() { T::from_f64(f64::NAN) } else { T::from_i64(i64::MIN + 113) }
}
