//! Gradients of buffers from gradients of what was read of them.
//!
//! A gradient arrives in the shape in which an operand was read. [`carry`] inverts the layout, once for all ops: a
//! permutation is re-strided, a broadcast is summed, any other view is accumulated in place into the gradient of the
//! buffer.

use gradus_tensor_core::{Error, Layout, Meta, Result, Tensor};
use smallvec::SmallVec;

use crate::node::Node;
use crate::rules::{self, Grads};

/// The gradients of one node's outputs, as far as they have arrived.
pub(crate) type Slots = SmallVec<[Option<Tensor>; 1]>;

/// A node's only gradient over its whole buffer, as a vector in a buffer of its own: layouts of the node's buffer
/// apply to it, which they would not to a slice of a larger gradient.
pub(crate) fn whole(slots: &Slots, meta: Meta) -> Result<Tensor> {
    let g = slots.first().and_then(Option::as_ref).ok_or_else(|| Error::Graph {
        op: "backward",
        message: "a node without a gradient was visited".into(),
    })?;
    let g = g.reshape([meta.shape.numel()])?.contiguous()?;
    if g.layout().covers(g.buffer_len()) { Ok(g) } else { g.copy() }
}

/// What is left for the old value (nothing where it was overwritten), and what the source gets.
pub(crate) fn overwritten(node: &Node, slots: &Slots, layout: &Layout) -> Result<Grads> {
    let g = whole(slots, node.outputs[0])?;
    let source = g.with_layout(*layout)?;
    let mut old = g.copy()?;
    let zero = Tensor::zeros((), g.dtype(), g.device().innermost())?;
    old.view_assign(&zero.expand(layout.shape())?, |_| Ok(*layout))?;
    Ok(rules::grads([Some(old), Some(source)]))
}

/// Adds a gradient, given in the shape an operand was read in, to the gradient of the buffer it was read from.
pub(crate) fn carry(
    slot: &mut Option<Tensor>,
    gradient: Tensor,
    layout: Option<&Layout>,
    meta: Meta,
) -> Result<()> {
    let Some(layout) = layout else {
        return add(slot, gradient.reshape(meta.shape)?);
    };
    let repeated = layout.broadcast_axes();
    let gradient = if repeated.is_empty() { gradient } else { gradient.sum_keepdim(repeated)? };
    let layout = layout.collapse(repeated);
    let len = meta.shape.numel();
    if let Some(order) = layout.permutation_of(len) {
        return add(slot, gradient.permute(&order[..layout.rank()])?.reshape(meta.shape)?);
    }
    let mut sum = match slot.take() {
        // Only a gradient that lies in memory as the buffer does can be added to at the buffer's positions.
        Some(sum) => sum.contiguous()?,
        None => Tensor::zeros(meta.shape, meta.dtype, gradient.device().innermost())?,
    };
    if !sum.layout().covers(sum.buffer_len()) {
        sum = sum.copy()?;
    }
    sum.view_accumulate(&gradient, |_| Ok(layout))?;
    // In-place ops on tracked tensors may have replaced the shape's view of the buffer by another.
    *slot = Some(sum.reshape(meta.shape)?);
    Ok(())
}

fn add(slot: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *slot = Some(match slot.take() {
        None => gradient,
        Some(mut sum) if sum.is_unique() && sum.layout().is_contiguous() => {
            sum.add_assign(&gradient)?;
            sum
        }
        Some(sum) => sum.add(&gradient)?,
    });
    Ok(())
}
