//! Code of the user's in the graph: custom functions and checkpoints.

use std::fmt;
use std::sync::Arc;

use gradus_tensor_core::{Device, Error, Meta, Result, Tensor, rng};

use crate::backend::{Autodiff, back, outer, wrap};
use crate::engine::edge_of;
use crate::node::{BackwardCode, Edges, Node, Rule, Saved, State, Tracked};
use crate::{Autograd, Gradients, enable_grad, is_grad_enabled, no_grad};

/// A function with a backward of its own: any number of inputs and outputs.
///
/// ```
/// use gradus_autograd::{Autograd, Function, apply};
/// use gradus_tensor_core::{Result, Tensor};
///
/// /// Rounds forward, passes the gradient through unchanged.
/// #[derive(Debug)]
/// struct StraightThroughRound;
///
/// impl Function for StraightThroughRound {
///     fn name(&self) -> &'static str { "straight_through_round" }
///     fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> { Ok(vec![inputs[0].round()?]) }
///     fn backward(&self, _: &[Tensor], _: &[Tensor], grads: &[Option<Tensor>]) -> Result<Vec<Option<Tensor>>> {
///         Ok(vec![grads[0].clone()])
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let device = gradus_backend_cpu::Cpu::device();
/// let x = Tensor::from_vec(vec![0.4f32, 1.6], 2, &device)?.requires_grad()?;
/// let y = apply(StraightThroughRound, &[&x])?.remove(0);
/// assert_eq!(y.to_vec::<f32>()?, [0.0, 2.0]);
/// assert_eq!(y.sum_all()?.backward()?.get(&x).unwrap().to_vec::<f32>()?, [1.0, 1.0]);
/// # Ok(())
/// # }
/// ```
pub trait Function: fmt::Debug + Send + Sync + 'static {
    /// A name for errors.
    fn name(&self) -> &'static str;

    /// The outputs. Runs without recording.
    ///
    /// # Errors
    /// Whatever its ops return.
    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// The gradient of each input (`None`: none flows), given inputs, outputs, and the gradient of each output
    /// (`None`: nothing depends on it). If it is made of tensor ops it can be differentiated again.
    ///
    /// # Errors
    /// Whatever its ops return.
    fn backward(
        &self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        grads: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>>;
}

struct Custom<F>(F);

impl<F: Function> BackwardCode for Custom<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn backward(
        &self,
        inputs: &[Tensor],
        outputs: &[Tensor],
        grads: &[Option<Tensor>],
        _: bool,
    ) -> Result<(Vec<Option<Tensor>>, Option<Gradients>)> {
        let made = self.0.backward(inputs, outputs, grads)?;
        check_gradients(self.0.name(), inputs, &made)?;
        Ok((made, None))
    }
}

/// Whether code of the user's returned a gradient, or none on purpose, for each of its inputs.
pub(crate) fn check_gradients(op: &'static str, inputs: &[Tensor], made: &[Option<Tensor>]) -> Result<()> {
    let wrong = |message: String| Err(Error::Graph { op, message });
    if made.len() != inputs.len() {
        return wrong(format!("backward returned {} gradients for {} inputs", made.len(), inputs.len()));
    }
    for (i, (input, gradient)) in inputs.iter().zip(made).enumerate() {
        if let Some(g) = gradient
            && g.meta() != input.meta()
        {
            return wrong(format!("backward returned {} for input {i}, which is {}", g.meta(), input.meta()));
        }
    }
    Ok(())
}

/// Applies a custom function.
///
/// # Errors
/// What its forward returns; inputs on devices that do not meet.
pub fn apply(function: impl Function, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let plain: Vec<Tensor> = inputs.iter().map(|t| t.detach()).collect::<Result<_>>()?;
    let entered = entered(&plain, &inputs.iter().map(|t| outer(t)).collect::<Vec<_>>())?;
    let outputs = no_grad(|| function.forward(&entered))?;
    if !is_grad_enabled() || !inputs.iter().any(|t| t.is_tracked()) {
        return Ok(outputs);
    }
    attach(Box::new(Custom(function)), inputs, plain, outputs, true)
}

/// Constants on the devices that their originals were on, where those are built around the autodiff device.
fn entered(plain: &[Tensor], outer: &[Option<Device>]) -> Result<Vec<Tensor>> {
    plain.iter().zip(outer).map(|(t, outer)| back(t.clone(), outer.as_ref())).collect()
}

/// Puts outputs that were computed without recording into the graph, behind code that computes their gradients.
fn attach(
    code: Box<dyn BackwardCode>,
    inputs: &[&Tensor],
    plain: Vec<Tensor>,
    outputs: Vec<Tensor>,
    save_outputs: bool,
) -> Result<Vec<Tensor>> {
    let around: Vec<Option<Device>> = outputs.iter().map(outer).collect();
    let outputs: Vec<Tensor> = outputs.iter().map(owned).collect::<Result<_>>()?;
    let edges: Edges = inputs.iter().map(|t| edge_of(t)).collect();
    let saved = Saved::new(
        Rule::Code(code),
        plain.into_iter().map(Some).collect(),
        outputs.iter().filter(|_| save_outputs).cloned().map(Some).collect(),
        Vec::new(),
    );
    let metas: Vec<Meta> = outputs.iter().map(Tensor::meta).collect();
    let node = Node::new(edges, &metas, State::Saved(Arc::new(saved)));
    outputs
        .into_iter()
        .zip(&around)
        .enumerate()
        .map(|(i, (output, around))| {
            if !output.dtype().is_float() {
                return back(output, around.as_ref());
            }
            let (device, shape) = (Autodiff::device(output.device()), *output.shape());
            let buffer = Tracked::new(output.into_whole()?, Some((node.clone(), i)));
            back(wrap(&device, buffer)?.reshape(shape)?, around.as_ref())
        })
        .collect()
}

/// A plain tensor that is the whole of its buffer.
fn owned(tensor: &Tensor) -> Result<Tensor> {
    let plain = tensor.detach()?;
    if plain.layout().covers(plain.buffer_len()) { Ok(plain) } else { plain.copy() }
}

/// Puts the ambient generator back when dropped, also when a panic passes.
struct Generator(rng::Rng);

impl Drop for Generator {
    fn drop(&mut self) {
        rng::set_state(self.0);
    }
}

struct Checkpoint<F> {
    f: F,
    /// Where the inputs were, if on devices around the autodiff device.
    outer: Vec<Option<Device>>,
    rng: rng::Rng,
    metas: Vec<Meta>,
}

impl<F: Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync> BackwardCode for Checkpoint<F> {
    fn name(&self) -> &'static str {
        "checkpoint"
    }

    fn reaches_leaves(&self) -> bool {
        true
    }

    fn backward(
        &self,
        inputs: &[Tensor],
        _: &[Tensor],
        grads: &[Option<Tensor>],
        create_graph: bool,
    ) -> Result<(Vec<Option<Tensor>>, Option<Gradients>)> {
        if create_graph {
            return Err(Error::NotDifferentiable {
                op: "checkpoint",
                message: "gradients of gradients do not pass through a checkpoint; leave it out where they are needed"
                    .into(),
            });
        }
        let inputs: Vec<Tensor> = inputs
            .iter()
            .map(|t| if t.dtype().is_float() { t.requires_grad() } else { Ok(t.clone()) })
            .collect::<Result<_>>()?;
        // The same random numbers as the first time, without disturbing whoever draws next.
        let outputs = {
            let _generator = Generator(rng::state());
            rng::set_state(self.rng);
            entered(&inputs, &self.outer).and_then(|inputs| enable_grad(|| (self.f)(&inputs)))?
        };
        let metas: Vec<Meta> = outputs.iter().map(Tensor::meta).collect();
        if metas != self.metas {
            return Err(Error::Graph {
                op: "checkpoint",
                message: format!(
                    "computing again gave {metas:?} instead of {:?}: the function must be pure",
                    self.metas
                ),
            });
        }
        let mut pass = crate::engine::Pass::new();
        let roots = outputs.iter().zip(grads).filter_map(|(y, g)| Some((edge_of(y)?, g.clone()?))).collect();
        let mut all = crate::engine::run(roots, &mut pass)?;
        let own = inputs.iter().map(|t| all.take(t)).collect();
        Ok((own, Some(all)))
    }
}

/// Computes `f(inputs)` without keeping what its backward needs, and computes it again when backward gets
/// there: memory for time (Chen et al., arXiv:1604.06174). Random numbers of the ambient generator are the same
/// both times. Parameters that `f` captures get their gradients too.
///
/// ```
/// # use gradus_autograd::{Autograd, checkpoint};
/// # use gradus_tensor_core::{Result, Tensor};
/// # fn main() -> Result<()> {
/// # let device = gradus_backend_cpu::Cpu::device();
/// let x = Tensor::from_vec(vec![0.5f32], 1, &device)?.requires_grad()?;
/// let y = checkpoint(|x| Ok(vec![x[0].sin()?.exp()?]), &[&x])?.remove(0);
/// let gradient = y.sum_all()?.backward()?.take(&x).unwrap().item::<f32>()?;
/// assert!((gradient - 0.5f32.cos() * 0.5f32.sin().exp()).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// What `f` returns; in backward, an error if computing again gives other shapes.
pub fn checkpoint(
    f: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
    inputs: &[&Tensor],
) -> Result<Vec<Tensor>> {
    let plain: Vec<Tensor> = inputs.iter().map(|t| t.detach()).collect::<Result<_>>()?;
    let rng = rng::state();
    let outer: Vec<Option<Device>> = inputs.iter().map(|t| crate::backend::outer(t)).collect();
    let outputs = entered(&plain, &outer).and_then(|inputs| no_grad(|| f(&inputs)))?;
    if !is_grad_enabled() {
        return outputs.iter().map(|t| back(owned(t)?, crate::backend::outer(t).as_ref())).collect();
    }
    let metas = outputs.iter().map(Tensor::meta).collect();
    attach(Box::new(Checkpoint { f, outer, rng, metas }), inputs, plain, outputs, false)
}
