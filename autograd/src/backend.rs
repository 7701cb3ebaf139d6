//! `Autodiff`: the backend that passes ops on to an inner device and records them.

use std::borrow::Cow;
use std::sync::Arc;

use gradus_tensor_core::{
    Backend, Buffers, Device, Error, Few, HostArray, InPlaceOp, Layout, MemoryStats, Meta, Op, Outcome,
    Result, Storage, Tensor, View, ViewMut,
};
use smallvec::SmallVec;

use crate::node::{Edge, Edges, Kept, Node, Rule, Saved, State, Tracked};
use crate::rules::{self, Class, Saves};
use crate::{anomaly, is_grad_enabled};

/// Reverse-mode differentiation around any device. Two of them around one device are the same device.
#[derive(Debug)]
pub struct Autodiff {
    inner: Device,
}

impl Autodiff {
    /// The autodiff device around a device; the device itself if it is one already, or is built around one.
    pub fn device(inner: &Device) -> Device {
        match Autodiff::within(inner) {
            Some(_) => inner.clone(),
            None => Device::new(Autodiff { inner: inner.clone() }),
        }
    }

    /// The autodiff device that a device is or is built around.
    pub fn within(device: &Device) -> Option<&Device> {
        std::iter::successors(Some(device), |device| device.inner())
            .find(|device| device.backend::<Autodiff>().is_some())
    }
}

/// A tensor on its autodiff device, without what devices around that one add. `None` if there is none.
pub(crate) fn on_autodiff(tensor: &Tensor) -> Result<Option<Cow<'_, Tensor>>> {
    let Some(target) = Autodiff::within(tensor.device()) else { return Ok(None) };
    let mut at = Cow::Borrowed(tensor);
    while at.device() != target {
        match at.released()? {
            Some(inner) => at = Cow::Owned(inner),
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// The device of a tensor if it is built around an autodiff device: it stays there where tensors are taken out of
/// their graph for a moment.
pub(crate) fn outer(tensor: &Tensor) -> Option<Device> {
    let device = tensor.device();
    Autodiff::within(device).filter(|base| *base != device).map(|_| device.clone())
}

/// The tensor on the device that [`outer`] found, if it found one.
pub(crate) fn back(tensor: Tensor, outer: Option<&Device>) -> Result<Tensor> {
    match outer {
        Some(device) => Ok(device.lift(&tensor)?.unwrap_or(tensor)),
        None => Ok(tensor),
    }
}

/// The operand on the inner device, read as the view reads it.
pub(crate) fn inner(view: &View<'_, Tracked>) -> Result<Tensor> {
    view.buffer.inner.tensor(*view.layout)
}

#[inline]
pub(crate) fn edge(view: &View<'_, Tracked>) -> Option<Edge> {
    let (node, output) = view.buffer.node.as_ref()?;
    let layout = (!view.layout.covers(view.buffer.inner.len())).then(|| Box::new(*view.layout));
    Some(Edge { node: node.clone(), output: *output, layout })
}

impl Backend for Autodiff {
    type Buffer = Tracked;

    fn name(&self) -> String {
        format!("autodiff({})", self.inner.name())
    }

    fn upload(&self, host: &HostArray) -> Result<Tracked> {
        Ok(Tracked::new(self.inner.upload(host)?.into_whole()?, None))
    }

    fn download(&self, from: View<'_, Tracked>) -> Result<HostArray> {
        inner(&from)?.to_host()
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Tracked>],
        metas: &[Meta],
    ) -> Result<Outcome<Buffers<Tracked>>> {
        let tracked = is_grad_enabled() && inputs.iter().any(|v| v.buffer.node.is_some());
        let class = if tracked { rules::classify(op, inputs) } else { Class::Constant };
        match class {
            Class::Decompose => return Ok(Outcome::Unsupported),
            Class::Refused(message) => {
                return Err(Error::NotDifferentiable { op: op.name(), message: message.into() });
            }
            Class::Constant | Class::Differentiable => {}
        }
        let outputs = self.inner.execute_views(op, inputs, |tracked| &tracked.inner, metas)?;
        if anomaly::enabled() {
            let operands: Vec<Tensor> = inputs.iter().map(inner).collect::<Result<_>>()?;
            let made: Vec<Tensor> = outputs.as_slice().iter().map(Storage::flat).collect();
            anomaly::check(op.name(), "forward", &operands, &made, anomaly::call_site().as_deref())?;
        }
        let node = match class {
            Class::Differentiable => Some(record(op, inputs, outputs.as_slice(), metas)?),
            _ => None,
        };
        let is_tracked = |i: usize| metas[i].dtype.is_float() && rules::output_is_tracked(op, i);
        Ok(Outcome::Done(match outputs {
            Few::One(inner) => {
                Buffers::from(Tracked::new(inner, node.filter(|_| is_tracked(0)).map(|n| (n, 0))))
            }
            outputs => {
                let track = |(i, inner): (usize, Storage)| {
                    let node = node.as_ref().filter(|_| is_tracked(i)).map(|n| (n.clone(), i));
                    Tracked::new(inner, node)
                };
                outputs.into_iter().enumerate().map(track).collect()
            }
        }))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Tracked>],
        inputs: &[View<'_, Tracked>],
    ) -> Result<Outcome<()>> {
        let tracked = is_grad_enabled()
            && (targets.iter().any(|t| t.buffer.node.is_some())
                || inputs.iter().any(|v| v.buffer.node.is_some()));
        let required = matches!(op, InPlaceOp::Write | InPlaceOp::Accumulate);
        if tracked && !required {
            return Ok(Outcome::Unsupported); // its new values are computed, recorded, and written
        }
        let sources: SmallVec<[Tensor; 2]> = inputs.iter().map(inner).collect::<Result<_>>()?;
        let layouts: SmallVec<[Layout; 4]> = targets.iter().map(|t| *t.layout).collect();
        let edges: Edges = targets
            .iter()
            .map(|t| {
                let (node, output) = t.buffer.node.as_ref()?;
                Some(Edge { node: node.clone(), output: *output, layout: None })
            })
            .chain(inputs.iter().map(edge))
            .collect();
        {
            let mut inner: SmallVec<[&mut Storage; 4]> = targets
                .iter_mut()
                .map(|t| {
                    t.buffer.cast.take();
                    &mut t.buffer.inner
                })
                .collect();
            let refs: SmallVec<[&Tensor; 2]> = sources.iter().collect();
            op.run_at_layouts(&mut inner, &layouts, &refs)?;
        }
        if tracked && let [target] = targets {
            let layout = Box::new(*target.layout);
            let rule = if *op == InPlaceOp::Write { Rule::Write(layout) } else { Rule::Accumulate(layout) };
            let saved = Saved::nothing(rule);
            let meta = target.buffer.inner.flat().meta();
            let node = Node::new(edges, &[meta], State::Saved(Arc::new(saved)));
            target.buffer.node = Some((node, 0));
        }
        Ok(Outcome::Done(()))
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }

    fn memory(&self) -> MemoryStats {
        self.inner.memory()
    }

    fn equals(&self, other: &Self) -> bool {
        self.inner == other.inner
    }

    fn inner(&self) -> Option<&Device> {
        Some(&self.inner)
    }

    fn adopt(&self, storage: Storage) -> Result<Tracked> {
        Ok(Tracked::new(storage, None))
    }

    fn release(&self, tensor: View<'_, Tracked>) -> Result<Tensor> {
        inner(&tensor)
    }

    fn transfer(&self, tensor: View<'_, Tracked>, to: &Device) -> Result<Option<Tensor>> {
        if let Some(base) = Autodiff::within(to).filter(|base| *base != to) {
            let moved = self.transfer(tensor, base)?;
            return moved.map_or(Ok(None), |moved| to.lift(&moved));
        }
        let plain = inner(&tensor)?;
        let target = Autodiff::device(to);
        if to.lift(&plain)?.is_some() || target.backend::<Autodiff>().is_some_and(|a| a.equals(self)) {
            // Already there, tracked: leaving the graph takes a `detach`.
            let tracked = Tracked::new(plain.storage().clone(), tensor.buffer.node.clone());
            return Ok(Some(wrap(&target, tracked)?.with_layout(*tensor.layout)?));
        }
        let moved = plain.to(target.inner().unwrap_or(to))?;
        let (shape, meta) = (*moved.shape(), moved.meta());
        let node = edge(&tensor).filter(|_| is_grad_enabled()).map(|edge| {
            let saved = Saved::nothing(Rule::Transfer(self.inner.clone()));
            (Node::new(SmallVec::from_iter([Some(edge)]), &[meta], State::Saved(Arc::new(saved))), 0)
        });
        Ok(Some(wrap(&target, Tracked::new(moved.into_whole()?, node))?.reshape(shape)?))
    }
}

/// A tensor on an autodiff device with this buffer, as a vector.
pub(crate) fn wrap(device: &Device, tracked: Tracked) -> Result<Tensor> {
    let lost = || Error::argument("autodiff", "the device did not adopt a tensor of its inner device");
    let mut tensor = device.lift(&tracked.inner.flat())?.ok_or_else(lost)?;
    *tensor.buffer_mut::<Tracked>().ok_or_else(lost)? = tracked;
    Ok(tensor)
}

/// The node of an executed op.
pub(crate) fn record(
    op: &Op,
    views: &[View<'_, Tracked>],
    outputs: &[Storage],
    metas: &[Meta],
) -> Result<Arc<Node>> {
    Node::try_new(views.iter().map(edge), metas, |edges| {
        let saves = rules::saves(op, edges);
        match op {
            Op::Binary(op) if saves == Saves::default() => Ok(State::Light(*op)),
            op => save(op, saves, views, outputs, metas).map(State::Saved),
        }
    })
}

/// What the rule of an op reads.
#[inline(never)]
fn save(
    op: &Op,
    saves: Saves,
    views: &[View<'_, Tracked>],
    outputs: &[Storage],
    metas: &[Meta],
) -> Result<Arc<Saved>> {
    let rule = Rule::Op(op.clone());
    if saves == Saves::default() {
        return Ok(Arc::new(Saved::nothing(rule)));
    }
    let keep = |mask: u8, all: usize, tensor: &dyn Fn(usize) -> Result<Tensor>| -> Result<Kept> {
        if mask == 0 {
            return Ok(Kept::new());
        }
        (0..all).map(|i| Saves::names(mask, i).then(|| tensor(i)).transpose()).collect()
    };
    let inputs = keep(saves.inputs, views.len(), &|i| inner(&views[i]))?;
    let outputs =
        keep(saves.outputs, outputs.len(), &|i| outputs[i].tensor(Layout::contiguous(metas[i].shape)))?;
    let operands = if saves.metas { views.iter().map(View::meta).collect() } else { Vec::new() };
    Ok(Arc::new(Saved::new(rule, inputs, outputs, operands)))
}
