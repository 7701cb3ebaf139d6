//! The backward pass.
//!
//! Nodes are visited from the youngest to the oldest, by a heap over their numbers: a node's gradient is complete
//! when it is taken from the heap, since whatever read its output is younger. No recursion, no sort of the graph.
//!
//! A rule gives the gradient of an operand in the shape the operand was read in. `carry` brings it to the buffer it
//! was read from.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use gradus_tensor_core::{Error, Op, Result, Shape, Tensor};

use crate::backend::{Autodiff, on_autodiff, wrap};
use crate::carry::{Slots, carry, overwritten, whole};
use crate::node::{Edge, LeafId, Node, Rule, Saved, State, Tracked};
use crate::rules::{self, Context, Grads};
use crate::{Gradients, anomaly, enable_grad, no_grad};

/// Node numbers are distinct already; hashing them again would only cost time.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.0 = self.0.rotate_left(8) ^ b as u64;
        }
    }
    fn write_u64(&mut self, id: u64) {
        // Spread consecutive numbers over the table's control bits.
        self.0 = id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

type ById<T> = HashMap<u64, T, BuildHasherDefault<IdHasher>>;

struct ByAge(Arc<Node>);

impl PartialEq for ByAge {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}
impl Eq for ByAge {}
impl PartialOrd for ByAge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for ByAge {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.id.cmp(&other.0.id)
    }
}

/// A function that is called with each leaf's gradient as soon as it is complete.
pub(crate) type Hook<'a> = &'a mut dyn FnMut(LeafId, &mut Tensor) -> Result<()>;

/// What to do on the way back.
pub(crate) struct Pass<'a> {
    pub(crate) retain: bool,
    pub(crate) create: bool,
    pub(crate) hook: Option<Hook<'a>>,
    /// Outputs of nodes whose gradients are wanted besides those of leaves.
    pub(crate) wanted: Vec<(u64, usize)>,
    pub(crate) found: HashMap<(u64, usize), Tensor>,
}

impl<'a> Pass<'a> {
    pub(crate) fn new() -> Self {
        Pass { retain: false, create: false, hook: None, wanted: Vec::new(), found: HashMap::new() }
    }
}

struct Engine<'p, 'a> {
    pass: &'p mut Pass<'a>,
    slots: ById<Slots>,
    heap: BinaryHeap<ByAge>,
    gradients: Gradients,
    /// How many edges into each leaf are still to come; only counted for hooks.
    pending: Option<ById<usize>>,
}

/// How a tensor came out of the graph.
pub(crate) fn edge_of(tensor: &Tensor) -> Option<Edge> {
    let tensor = on_autodiff(tensor).ok()??;
    let (node, output) = tensor.buffer::<Tracked>()?.node.as_ref()?;
    let layout = (!tensor.layout().covers(tensor.buffer_len())).then(|| Box::new(*tensor.layout()));
    Some(Edge { node: node.clone(), output: *output, layout })
}

/// Carries gradients of roots back to the leaves.
pub(crate) fn run(roots: Vec<(Edge, Tensor)>, pass: &mut Pass<'_>) -> Result<Gradients> {
    let create = pass.create;
    let mut engine = Engine {
        pending: pass.hook.as_ref().map(|_| count_leaf_edges(&roots)),
        pass,
        slots: ById::default(),
        heap: BinaryHeap::new(),
        gradients: Gradients::new(),
    };
    let go = move || {
        for (edge, gradient) in roots {
            engine.arrive(&edge, gradient)?;
        }
        while let Some(ByAge(node)) = engine.heap.pop() {
            if let Some(slots) = engine.slots.remove(&node.id) {
                engine.visit(node, slots)?;
            }
        }
        engine.finish()
    };
    if create { enable_grad(go) } else { no_grad(go) }
}

/// The number of edges into each leaf that this pass will follow. A checkpoint may reach leaves that the graph
/// does not show, so with one in the graph nothing is counted and hooks run at the end.
fn count_leaf_edges(roots: &[(Edge, Tensor)]) -> ById<usize> {
    let mut counts = ById::default();
    let mut seen: HashSet<u64, BuildHasherDefault<IdHasher>> = HashSet::default();
    let mut stack: Vec<Arc<Node>> = roots.iter().map(|(e, _)| e.node.clone()).collect();
    for (edge, _) in roots {
        *counts.entry(edge.node.id).or_insert(0) += 1;
    }
    while let Some(node) = stack.pop() {
        if !seen.insert(node.id) {
            continue;
        }
        if let State::Saved(saved) = &*node.state()
            && let Rule::Code(code) = &saved.rule
            && code.reaches_leaves()
        {
            return ById::default();
        }
        for edge in node.edges.iter().flatten() {
            *counts.entry(edge.node.id).or_insert(0) += 1;
            stack.push(edge.node.clone());
        }
    }
    counts
}

impl Engine<'_, '_> {
    /// A gradient reaches a node through an edge.
    fn arrive(&mut self, edge: &Edge, gradient: Tensor) -> Result<()> {
        let node = &edge.node;
        let output = edge.output;
        let heap = &mut self.heap;
        let slots = self.slots.entry(node.id).or_insert_with(|| {
            heap.push(ByAge(node.clone()));
            node.outputs.iter().map(|_| None).collect()
        });
        carry(&mut slots[output], gradient, edge.layout.as_deref(), node.outputs[output])?;
        self.departed(node)
    }

    /// One edge into a node has been dealt with; a leaf without further ones is complete.
    fn departed(&mut self, node: &Arc<Node>) -> Result<()> {
        let Some(left) = self.pending.as_mut().and_then(|p| p.get_mut(&node.id)) else { return Ok(()) };
        *left -= 1;
        if *left > 0 {
            return Ok(());
        }
        let Some(leaf) = node.leaf_id() else { return Ok(()) };
        match self.slots.remove(&node.id) {
            Some(slots) => self.leaf(leaf, node, slots, true),
            None => Ok(()),
        }
    }

    /// A leaf's gradient is complete.
    fn leaf(&mut self, leaf: LeafId, node: &Node, mut slots: Slots, complete: bool) -> Result<()> {
        let Some(gradient) = slots.first_mut().and_then(Option::take) else { return Ok(()) };
        let mut gradient = gradient.reshape(node.outputs[0].shape)?.contiguous()?;
        if complete && let Some(hook) = &mut self.pass.hook {
            hook(leaf, &mut gradient)?;
        }
        self.want(node, 0, &gradient);
        self.gradients.add(leaf, gradient)
    }

    fn want(&mut self, node: &Node, output: usize, gradient: &Tensor) {
        if self.pass.wanted.contains(&(node.id, output)) {
            self.pass.found.insert((node.id, output), gradient.clone());
        }
    }

    fn visit(&mut self, node: Arc<Node>, slots: Slots) -> Result<()> {
        for (i, gradient) in slots.iter().enumerate() {
            if let Some(gradient) = gradient {
                let gradient = gradient.clone();
                self.want(&node, i, &gradient);
            }
        }
        let saved = {
            let mut state = node.state();
            match &*state {
                State::Leaf(leaf) => {
                    let leaf = *leaf;
                    drop(state);
                    // Whatever reads a leaf is younger, so nothing more can come: it is complete even if edges into it
                    // were never followed because no gradient reached their nodes. Only a checkpoint may add to it.
                    let counted = self.pending.as_ref().is_some_and(|p| !p.is_empty());
                    return self.leaf(leaf, &node, slots, counted);
                }
                State::Freed => {
                    return Err(Error::Graph {
                        op: "backward",
                        message: "a second pass through a graph whose saved tensors the first one freed; retain the graph in the first (Backward::new().retain_graph())".into(),
                    });
                }
                &State::Light(op) => {
                    if !self.pass.retain {
                        *state = State::Freed;
                    }
                    Arc::new(Saved::nothing(Rule::Op(Op::Binary(op))))
                }
                State::Saved(saved) => {
                    let saved = saved.clone();
                    if !self.pass.retain {
                        *state = State::Freed;
                    }
                    saved
                }
            }
        };
        let gradients = self.apply(&node, &saved, &slots).map_err(|e| match e {
            // What went wrong in a rule is about tensors the user never named: say where they come from.
            e @ (Error::NotFinite { .. } | Error::NotDifferentiable { .. }) => e,
            e => e.context(format!("backward of {}", saved.rule.name())),
        })?;
        drop((saved, slots));
        for (i, edge) in node.edges.iter().enumerate() {
            let Some(edge) = edge else { continue };
            match gradients.get(i).cloned().flatten() {
                Some(gradient) => self.arrive(edge, gradient)?,
                None => self.departed(&edge.node)?,
            }
        }
        Ok(())
    }

    fn apply(&mut self, node: &Arc<Node>, saved: &Saved, slots: &Slots) -> Result<Grads> {
        let gradients = match &saved.rule {
            Rule::Op(op) => {
                let [inputs, outputs] = self.operands(node, saved)?;
                let ctx = Context { op, inputs, outputs, metas: &saved.metas, edges: &node.edges };
                rules::backward(&ctx, slots)?
            }
            Rule::Write(layout) => overwritten(node, slots, layout)?,
            Rule::Accumulate(layout) => {
                let g = whole(slots, node.outputs[0])?;
                rules::grads([Some(g.clone()), Some(g.with_layout(*layout.as_ref())?)])
            }
            Rule::Transfer(device) => {
                let g = whole(slots, node.outputs[0])?;
                rules::grads([Some(g.to(device)?)])
            }
            Rule::Code(code) => {
                let [inputs, outputs] = self.operands(node, saved)?;
                let all = |ts: &[Option<Tensor>]| ts.iter().flatten().cloned().collect::<Vec<_>>();
                let (gradients, leaves) =
                    code.backward(&all(&inputs), &all(&outputs), slots, self.pass.create)?;
                for (leaf, gradient) in leaves.iter().flat_map(Gradients::iter) {
                    self.gradients.add(leaf, gradient.clone())?;
                }
                gradients.into()
            }
        };
        if anomaly::enabled() {
            let incoming: Vec<Tensor> = slots.iter().chain(&saved.inputs).flatten().cloned().collect();
            let made: Vec<Tensor> = gradients.iter().flatten().cloned().collect();
            anomaly::check(saved.rule.name(), "backward", &incoming, &made, node.site.as_deref())?;
        }
        Ok(gradients)
    }

    /// The saved tensors: plain, or tracked as they were if the gradient is to be differentiated.
    fn operands<'s>(&self, node: &Arc<Node>, saved: &'s Saved) -> Result<[Cow<'s, [Option<Tensor>]>; 2]> {
        if !self.pass.create {
            return Ok([Cow::Borrowed(&saved.inputs[..]), Cow::Borrowed(&saved.outputs[..])]);
        }
        let track = |plain: &Tensor, from: Option<(Arc<Node>, usize)>| -> Result<Tensor> {
            let device = Autodiff::device(plain.device());
            wrap(&device, Tracked::new(plain.storage().clone(), from))?.with_layout(*plain.layout())
        };
        let inputs = saved.inputs.iter().enumerate().map(|(i, plain)| {
            let from = node.edges.get(i).and_then(Option::as_ref).map(|e| (e.node.clone(), e.output));
            plain.as_ref().map(|t| track(t, from)).transpose()
        });
        let outputs = saved.outputs.iter().enumerate().map(|(i, plain)| {
            let tracked = match &saved.rule {
                Rule::Op(op) => rules::output_is_tracked(op, i),
                _ => true,
            };
            plain
                .as_ref()
                .map(|t| track(t, (tracked && t.dtype().is_float()).then(|| (node.clone(), i))))
                .transpose()
        });
        Ok([Cow::Owned(inputs.collect::<Result<_>>()?), Cow::Owned(outputs.collect::<Result<_>>()?)])
    }

    fn finish(&mut self) -> Result<Gradients> {
        let mut gradients = std::mem::take(&mut self.gradients);
        // Without counts (a checkpoint reaches leaves by itself) hooks have waited for everything.
        if self.pending.as_ref().is_some_and(|p| p.is_empty())
            && let Some(hook) = &mut self.pass.hook
        {
            for (leaf, gradient) in gradients.iter_mut() {
                hook(leaf, gradient)?;
            }
        }
        Ok(gradients)
    }
}

/// The seed of a backward pass from a tensor of one element.
pub(crate) fn ones_seed(tensor: &Tensor) -> Result<Tensor> {
    if tensor.numel() != 1 {
        return Err(Error::shape(
            "backward",
            &[tensor.meta()],
            "starts from a tensor of exactly one element; reduce it first, or give its gradient with Backward::gradient",
        ));
    }
    let one = Tensor::ones(Shape::SCALAR, tensor.dtype(), tensor.device().innermost())?;
    one.expand(tensor.shape())
}
