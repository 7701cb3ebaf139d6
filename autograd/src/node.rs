//! The graph: nodes, edges, and what they keep alive.
//!
//! A node is made for each executed op that has a tracked operand. It is owned by the tensors it made and by
//! the nodes that read them, by nothing else: when the last of them goes, so does the graph. Nodes carry a
//! number that grows with time, so a larger number is never needed by a smaller one.

use std::convert::Infallible;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gradus_tensor_core::{BinaryOp, Layout, Meta, Op, Result, Storage, Tensor};
use smallvec::SmallVec;

use crate::casts::Slot;
use crate::{Gradients, pool};

static NEXT: AtomicU64 = AtomicU64::new(1);
/// Starts where `NEXT` does: what lies between them are the nodes alive.
static DROPPED: AtomicU64 = AtomicU64::new(1);
static NEXT_LEAF: AtomicU64 = AtomicU64::new(1);
static SAVED_BYTES: AtomicI64 = AtomicI64::new(0);

/// The identity of a leaf: a tensor that gradients are collected for. Stable while its value changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeafId(u64);

impl LeafId {
    /// An identity that no other leaf has.
    pub fn fresh() -> Self {
        LeafId(NEXT_LEAF.fetch_add(1, Ordering::Relaxed))
    }
}

/// Where an operand came from: the node that made it, which of its outputs it is, and how it was read.
pub(crate) struct Edge {
    pub(crate) node: Arc<Node>,
    // (A word: see `DType`.)
    pub(crate) output: usize,
    /// `None` if the whole buffer was read in order (whatever the shape).
    pub(crate) layout: Option<Box<Layout>>,
}

pub(crate) type Edges = SmallVec<[Option<Edge>; 2]>;

/// The buffers of the autodiff backend: a buffer of the inner device, and what made it.
#[repr(C)] // The storage where it is copied in the pieces that it was written in: see `Meta`.
pub struct Tracked {
    pub(crate) inner: Storage,
    pub(crate) node: Option<(Arc<Node>, usize)>,
    /// A leaf's values in another dtype. Whatever changes `inner` drops them.
    pub(crate) cast: OnceLock<Slot>,
}

impl Tracked {
    pub(crate) fn new(inner: Storage, node: Option<(Arc<Node>, usize)>) -> Self {
        Tracked { inner, node, cast: OnceLock::new() }
    }
}

pub(crate) struct Node {
    /// 0 while it is the node of no op.
    pub(crate) id: u64,
    pub(crate) edges: Edges,
    /// Shape and dtype of each output's buffer, which is that of its gradient.
    pub(crate) outputs: SmallVec<[Meta; 1]>,
    pub(crate) state: Mutex<State>,
    /// Where the op was called, if anomaly detection was on.
    pub(crate) site: Option<Arc<str>>,
}

/// What backward needs at a node.
pub(crate) enum State {
    Leaf(LeafId),
    /// An element-wise op of two operands whose rule reads neither: the commonest node, without an allocation.
    Light(BinaryOp),
    Saved(Arc<Saved>),
    /// Backward was here and did not retain the graph.
    Freed,
}

/// Saved tensors by position. Empty, and without an allocation, where a rule reads none.
pub(crate) type Kept = Vec<Option<Tensor>>;

pub(crate) struct Saved {
    pub(crate) rule: Rule,
    /// Operands on the inner device, those that the rule reads.
    pub(crate) inputs: Kept,
    /// Outputs on the inner device, those that the rule reads.
    pub(crate) outputs: Kept,
    /// Shapes and dtypes of the operands, if the rule reads them.
    pub(crate) metas: Vec<Meta>,
    bytes: i64,
}

pub(crate) enum Rule {
    /// The gradient of an op.
    Op(Op),
    /// Overwriting part of a buffer: operands are the old value and the source.
    Write(Box<Layout>),
    /// Adding to part of a buffer: operands are the old value and the source.
    Accumulate(Box<Layout>),
    /// A move between devices; the gradient moves back.
    Transfer(gradus_tensor_core::Device),
    /// Code of the user's.
    Code(Box<dyn BackwardCode>),
}

/// A backward pass that is not a rule over an op: custom functions and checkpoints.
pub(crate) trait BackwardCode: Send + Sync {
    fn name(&self) -> &'static str;

    /// Gradients of the operands, and of leaves that the code reached by itself.
    fn backward(
        &self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        grads: &[Option<Tensor>],
        create_graph: bool,
    ) -> Result<(Vec<Option<Tensor>>, Option<Gradients>)>;

    /// Whether leaves are reached that the graph does not show.
    fn reaches_leaves(&self) -> bool {
        false
    }
}

impl Rule {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Rule::Op(op) => op.name(),
            Rule::Write(_) => "write_",
            Rule::Accumulate(_) => "accumulate_",
            Rule::Transfer(_) => "to",
            Rule::Code(code) => code.name(),
        }
    }
}

impl Saved {
    /// What a rule needs that reads no tensors.
    pub(crate) fn nothing(rule: Rule) -> Self {
        Saved { rule, inputs: Vec::new(), outputs: Vec::new(), metas: Vec::new(), bytes: 0 }
    }

    pub(crate) fn new(rule: Rule, inputs: Kept, outputs: Kept, metas: Vec<Meta>) -> Self {
        let bytes = inputs.iter().chain(&outputs).flatten().map(|t| t.meta().bytes() as i64).sum();
        if bytes > 0 {
            SAVED_BYTES.fetch_add(bytes, Ordering::Relaxed);
        }
        Saved { rule, inputs, outputs, metas, bytes }
    }
}

impl Drop for Saved {
    fn drop(&mut self) {
        if self.bytes > 0 {
            SAVED_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl Node {
    pub(crate) fn new(edges: Edges, outputs: &[Meta], state: State) -> Arc<Self> {
        let Ok(node) = Self::try_new::<Infallible>(edges.into_iter(), outputs, |_| Ok(state));
        node
    }

    /// A node whose state depends on its edges. They are made where they stay.
    #[inline]
    pub(crate) fn try_new<E>(
        edges: impl Iterator<Item = Option<Edge>>,
        outputs: &[Meta],
        state: impl FnOnce(&Edges) -> Result<State, E>,
    ) -> Result<Arc<Self>, E> {
        let mut node = pool::take();
        if let Some(empty) = Arc::get_mut(&mut node) {
            edges.for_each(|edge| empty.edges.push(edge));
            *empty.state_mut() = state(&empty.edges)?;
            match outputs {
                // By parts: see `Meta`.
                [output] => empty.outputs.push(Meta::new(output.shape, output.dtype)),
                outputs => empty.outputs.extend_from_slice(outputs),
            }
            empty.id = NEXT.fetch_add(1, Ordering::Relaxed);
            empty.site = crate::anomaly::call_site();
        }
        Ok(node)
    }

    pub(crate) fn leaf(id: LeafId, meta: Meta) -> Arc<Self> {
        Self::new(SmallVec::new(), &[meta], State::Leaf(id))
    }

    /// A node of no op.
    pub(crate) fn empty() -> Self {
        let state = Mutex::new(State::Freed);
        Node { id: 0, edges: SmallVec::new(), outputs: SmallVec::new(), state, site: None }
    }

    /// Makes it a node of no op again.
    pub(crate) fn clear(&mut self) {
        if self.id != 0 {
            self.id = 0;
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        self.edges.clear();
        self.outputs.clear();
        *self.state_mut() = State::Freed;
        self.site = None;
    }

    /// Whether its state is code of the user's, which may hold tensors of this or any other graph.
    pub(crate) fn holds_code(&mut self) -> bool {
        let State::Saved(saved) = self.state_mut() else { return false };
        matches!(saved.rule, Rule::Code(_) | Rule::Op(Op::Custom(_)))
    }

    fn state_mut(&mut self) -> &mut State {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, whatever happened to threads that held it: it is replaced as a whole or not at all.
    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn leaf_id(&self) -> Option<LeafId> {
        match *self.state() {
            State::Leaf(id) => Some(id),
            _ => None,
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for edge in self.edges.iter_mut().filter_map(Option::take) {
            pool::give(edge.node);
        }
        self.clear();
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some((node, _)) = self.node.take() {
            pool::give(node);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.id)
    }
}

impl fmt::Debug for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tracked").field("inner", &self.inner).field("node", &self.node).finish()
    }
}

/// What graphs hold at this moment, in the whole process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GraphStats {
    /// Nodes alive: executed ops with a tracked operand, and leaves.
    pub live_nodes: usize,
    /// Bytes of tensors saved for backward. A tensor saved twice counts twice.
    pub saved_bytes: usize,
}

/// Counts the graphs of the whole process: equal before and after a training step, unless something keeps a
/// graph alive.
pub fn graph_stats() -> GraphStats {
    // In this order: a node dropped between the two reads was counted as made.
    let dropped = DROPPED.load(Ordering::Relaxed);
    let made = NEXT.load(Ordering::Relaxed);
    GraphStats {
        live_nodes: made.saturating_sub(dropped) as usize,
        saved_bytes: SAVED_BYTES.load(Ordering::Relaxed).max(0) as usize,
    }
}
