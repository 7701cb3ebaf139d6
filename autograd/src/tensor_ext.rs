//! What a tensor gains by differentiation.

use gradus_tensor_core::{Device, Error, Result, Tensor};

use crate::backend::{Autodiff, back, on_autodiff, outer, wrap};
use crate::engine::{self, Pass, edge_of, ones_seed};
use crate::node::{LeafId, Node, Tracked};
use crate::{Gradients, engine::Hook};

/// Gradients for [`Tensor`]: bring this trait into scope.
///
/// ```
/// use gradus_autograd::Autograd;
/// use gradus_tensor_core::{DType, Result, Tensor};
/// # fn main() -> Result<()> {
/// let device = gradus_backend_cpu::Cpu::device();
/// let x = Tensor::from_vec(vec![1.0f32, 2.0, 3.0], 3, &device)?.requires_grad()?;
/// let loss = x.square()?.sum_all()?;
/// let gradients = loss.backward()?;
/// assert_eq!(gradients.get(&x).unwrap().to_vec::<f32>()?, [2.0, 4.0, 6.0]);
/// # Ok(())
/// # }
/// ```
pub trait Autograd: Sized {
    /// This tensor as a leaf: ops on it are recorded, and backward passes collect its gradient. No data moves,
    /// unless the tensor is a view. A tracked tensor is detached from its past first. On a device around the
    /// autodiff device (mixed precision) it stays there.
    ///
    /// # Errors
    /// The dtype is not a float.
    fn requires_grad(&self) -> Result<Tensor>;

    /// The same values as a constant, on the device under the autodiff device: what devices around that one add
    /// (mixed precision) is left behind with the graph. No data moves.
    ///
    /// # Errors
    /// The device fails.
    fn detach(&self) -> Result<Tensor>;

    /// Whether gradients flow to this tensor.
    fn is_tracked(&self) -> bool;

    /// The identity of this tensor if it is a leaf.
    fn leaf_id(&self) -> Option<LeafId>;

    /// The gradients of all leaves that this tensor, of one element, depends on. Frees the graph's saved tensors
    /// as it goes: see [`Backward`] to retain them.
    ///
    /// # Errors
    /// The tensor is not tracked, has not one element, or its graph was freed by an earlier pass.
    fn backward(&self) -> Result<Gradients>;
}

impl Autograd for Tensor {
    fn requires_grad(&self) -> Result<Tensor> {
        back(leaf(self.innermost_tracked()?, LeafId::fresh())?, outer(self).as_ref())
    }

    fn detach(&self) -> Result<Tensor> {
        self.innermost_tracked()
    }

    fn is_tracked(&self) -> bool {
        let tensor = on_autodiff(self).ok().flatten();
        tensor.and_then(|t| Some(t.buffer::<Tracked>()?.node.is_some())).unwrap_or(false)
    }

    fn leaf_id(&self) -> Option<LeafId> {
        let tensor = on_autodiff(self).ok()??;
        tensor.buffer::<Tracked>()?.node.as_ref()?.0.leaf_id()
    }

    fn backward(&self) -> Result<Gradients> {
        Backward::new().run(self)
    }
}

/// A tensor without its graph: on the device under the autodiff device.
trait Untracked {
    fn innermost_tracked(&self) -> Result<Tensor>;
}

impl Untracked for Tensor {
    fn innermost_tracked(&self) -> Result<Tensor> {
        let Some(tensor) = on_autodiff(self)? else { return Ok(self.clone()) };
        match tensor.buffer::<Tracked>() {
            Some(buffer) => buffer.inner.tensor(*tensor.layout()),
            None => Ok(self.clone()),
        }
    }
}

/// A leaf of a given identity: what a parameter is to its graph, whatever value it has.
///
/// # Errors
/// The dtype is not a float, or the device fails.
pub fn leaf(tensor: Tensor, id: LeafId) -> Result<Tensor> {
    if !tensor.dtype().is_float() {
        return Err(Error::dtype(
            "requires_grad",
            &[tensor.meta()],
            format!("only float tensors have gradients, not {}", tensor.dtype()),
        ));
    }
    let plain = tensor.innermost_tracked()?;
    drop(tensor);
    let (meta, device) = (plain.meta(), Autodiff::device(plain.device()));
    let buffer = Tracked::new(plain.into_whole()?, Some((Node::leaf(id, meta), 0)));
    wrap(&device, buffer)?.reshape(meta.shape)
}

/// The plain tensor inside a leaf or any tracked tensor, moved out: if nobody else holds its buffer, the
/// result may be changed in place without a copy. What optimizers do with parameters.
///
/// # Errors
/// The device fails.
pub fn into_value(mut tensor: Tensor) -> Result<Tensor> {
    let layout = *tensor.layout();
    if Autodiff::within(tensor.device()).is_none() {
        return Ok(tensor);
    }
    match tensor.buffer_mut::<Tracked>() {
        Some(buffer) => {
            // The emptied buffer goes when `tensor` does, so the value ends up with one holder.
            buffer.node = None;
            let value = buffer.inner.tensor(layout)?;
            drop(tensor);
            Ok(value)
        }
        None => tensor.innermost_tracked(),
    }
}

/// A backward pass with options.
///
/// ```
/// # use gradus_autograd::{Autograd, Backward};
/// # use gradus_tensor_core::{Result, Tensor};
/// # fn main() -> Result<()> {
/// # let device = gradus_backend_cpu::Cpu::device();
/// let x = Tensor::from_vec(vec![3.0f64], 1, &device)?.requires_grad()?;
/// let y = x.pow(3.0)?;
/// let first = Backward::new().create_graph().run(&y)?; // 3 x^2, itself differentiable
/// let second = first.get(&x).unwrap().sum_all()?.backward()?; // 6 x
/// assert_eq!(second.get(&x).unwrap().to_vec::<f64>()?, [18.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Backward<'a> {
    gradient: Option<Tensor>,
    retain_graph: bool,
    create_graph: bool,
    hook: Option<Hook<'a>>,
}

impl std::fmt::Debug for Backward<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backward")
            .field("gradient", &self.gradient)
            .field("retain_graph", &self.retain_graph)
            .field("create_graph", &self.create_graph)
            .finish_non_exhaustive()
    }
}

impl<'a> Backward<'a> {
    /// A plain backward pass.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from this gradient (of the tensor's shape) instead of 1. It is a constant unless the pass is recorded.
    pub fn gradient(mut self, gradient: Tensor) -> Self {
        self.gradient = Some(gradient);
        self
    }

    /// Keeps saved tensors, so that another pass can follow.
    pub fn retain_graph(mut self) -> Self {
        self.retain_graph = true;
        self
    }

    /// Records the pass itself, so that the gradients can be differentiated. Retains the graph.
    pub fn create_graph(mut self) -> Self {
        self.create_graph = true;
        self.retain_graph = true;
        self
    }

    /// Calls a function with each leaf's gradient the moment it is complete, while the pass goes on: what
    /// distributed training overlaps communication with. The function may change the gradient. If the graph has
    /// a checkpoint, which may reach any leaf, all are complete only at the end.
    pub fn on_leaf(mut self, hook: &'a mut dyn FnMut(LeafId, &mut Tensor) -> Result<()>) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Runs the pass from a tensor.
    ///
    /// # Errors
    /// As [`Autograd::backward`], or what the hook returns.
    pub fn run(self, tensor: &Tensor) -> Result<Gradients> {
        let edge = edge_of(tensor).ok_or_else(|| not_tracked(tensor))?;
        let seed = match self.gradient {
            Some(g) => seed(g, tensor, self.create_graph)?,
            None => ones_seed(tensor)?,
        };
        let mut pass = Pass::new();
        pass.retain = self.retain_graph;
        pass.create = self.create_graph;
        pass.hook = self.hook;
        engine::run(vec![(edge, seed)], &mut pass)
    }
}

fn not_tracked(tensor: &Tensor) -> Error {
    Error::Graph {
        op: "backward",
        message: format!(
            "{} on {} does not depend on a tensor that requires a gradient (or was computed under no_grad)",
            tensor.meta(),
            tensor.device().name()
        ),
    }
}

/// A gradient for a tensor: of its shape and dtype. A constant, unless the pass is recorded.
fn seed(gradient: Tensor, tensor: &Tensor, create: bool) -> Result<Tensor> {
    if gradient.shape() != tensor.shape() || gradient.dtype() != tensor.dtype() {
        return Err(Error::shape(
            "backward",
            &[tensor.meta(), gradient.meta()],
            "the gradient must have the shape and dtype of the tensor",
        ));
    }
    if !create {
        return gradient.detach();
    }
    // The pass runs in the dtypes of the forward pass, whatever device around the autodiff device the gradient is on.
    Ok(on_autodiff(&gradient)?.map(std::borrow::Cow::into_owned).unwrap_or(gradient))
}

/// Options of [`grad`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GradOptions {
    /// Keep saved tensors, so that another pass can follow.
    pub retain_graph: bool,
    /// Record the pass, so that the gradients can be differentiated. Retains the graph.
    pub create_graph: bool,
}

/// The gradients of outputs, each given its own gradient (`None`: 1, for one element), with respect to inputs,
/// which may be any tracked tensors, also inside the graph. `None` for an input that no output depends on.
///
/// # Errors
/// An output is not tracked, an input is not tracked or is a view that leaves out or reorders part of its buffer
/// (take the gradient of what it views, or of a copy), or the pass fails.
pub fn grad(
    outputs: &[(&Tensor, Option<Tensor>)],
    inputs: &[&Tensor],
    options: GradOptions,
) -> Result<Vec<Option<Tensor>>> {
    let mut pass = Pass::new();
    pass.retain = options.retain_graph || options.create_graph;
    pass.create = options.create_graph;
    for input in inputs {
        let edge = edge_of(input).ok_or_else(|| Error::Graph {
            op: "grad",
            message: format!("input {} is not tracked; make it require a gradient first", input.meta()),
        })?;
        if edge.layout.is_some() {
            return Err(Error::Graph {
                op: "grad",
                message: format!(
                    "input {} is a view of part of its buffer; use what it views, or a copy",
                    input.meta()
                ),
            });
        }
        pass.wanted.push((edge.node.id, edge.output));
    }
    let mut roots = Vec::new();
    for (output, gradient) in outputs {
        let edge = edge_of(output).ok_or_else(|| not_tracked(output))?;
        let gradient = match gradient {
            Some(g) => seed(g.clone(), output, options.create_graph)?,
            None => ones_seed(output)?,
        };
        roots.push((edge, gradient));
    }
    engine::run(roots, &mut pass)?;
    let found = std::mem::take(&mut pass.found);
    inputs
        .iter()
        .zip(&pass.wanted)
        .map(|(input, key)| found.get(key).map(|g| g.reshape(input.shape())?.contiguous()).transpose())
        .collect()
}

/// The autodiff device around a device: where tracked tensors live.
pub fn autodiff(device: &Device) -> Device {
    Autodiff::device(device)
}
