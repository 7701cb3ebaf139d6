//! Recurrent layers over sequences.

mod cell;
mod weights;

use gradus_tensor_core::{DType, Device, Error, Result, Tensor, rng};

pub use cell::{Cell, GruCell, LstmCell, RnnCell};
pub use weights::RecurrentWeights;

use crate::{Mode, Module, Parameters, Visitor, VisitorMut};

/// A long short-term memory (Hochreiter and Schmidhuber, 1997).
pub type Lstm = Recurrent<LstmCell>;
/// A network of gated recurrent units (Cho et al., arXiv:1406.1078), with PyTorch's place of the reset gate: after the
/// product with the state.
pub type Gru = Recurrent<GruCell>;
/// A network of plain units (Elman, 1990): `tanh` of a sum of projections of input and state. It is composed of ops
/// for each step and not fused: for what is small.
pub type Rnn = Recurrent<RnnCell>;

/// Recurrent layers, one on top of the other, with the parameters and definitions of PyTorch's `nn.LSTM`, `nn.GRU` and
/// `nn.RNN`.
///
/// Sequences are `[time, batch, features]`, or `[batch, time, features]` with [`RecurrentBuilder::batch_first`], or
/// `[time, features]` without a batch. The output has `hidden` features, twice as many in both directions. States
/// are `[layers * directions, batch, hidden]`, without a batch `[layers * directions, hidden]`.
///
/// As a [`Module`] it starts from zeros and gives the output alone; [`Lstm::forward_with`] and its like take a
/// state and return the last one.
///
/// ```
/// # use gradus_nn::{Lstm, Module};
/// # use gradus_tensor_core::{DType, Result, Tensor};
/// # fn main() -> Result<()> {
/// let device = gradus_backend_cpu::Cpu::device();
/// let lstm = Lstm::new(3, 8).batch_first(true).init(&device)?;
/// let x = Tensor::randn([2, 5, 3], DType::F32, &device)?;
/// assert_eq!(lstm.forward(&x)?.dims(), [2, 5, 8]);
///
/// // A sequence in two pieces.
/// let (first, (h, c)) = lstm.forward_with(&x.narrow(1, 0, 2)?, None)?;
/// let (second, _) = lstm.forward_with(&x.narrow(1, 2, 3)?, Some((&h, &c)))?;
/// assert_eq!((first.dims(), second.dims(), h.dims()), (&[2, 2, 8][..], &[2, 3, 8][..], &[1, 2, 8][..]));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Recurrent<C> {
    /// The parameters of each layer, in each of its directions: `weight_ih_l0`, .., `weight_ih_l0_reverse`, ..,
    /// `weight_ih_l1`, ..
    pub weights: Vec<RecurrentWeights>,
    /// Whether each layer also reads the sequence from its end.
    pub bidirectional: bool,
    /// Whether the batch is the first axis of sequences.
    pub batch_first: bool,
    /// The probability that a feature is dropped between layers in training.
    pub dropout: f64,
    /// Training or evaluation.
    pub mode: Mode,
    cell: C,
}

/// Options of a [`Recurrent`].
#[derive(Clone, Copy, Debug)]
#[must_use = "call `init` to make the layer"]
pub struct RecurrentBuilder<C> {
    inputs: usize,
    hidden: usize,
    layers: usize,
    bias: bool,
    batch_first: bool,
    dropout: f64,
    bidirectional: bool,
    dtype: DType,
    cell: C,
}

impl<C: Cell> Recurrent<C> {
    /// One layer from `inputs` features to `hidden` ones, in one direction, with biases. All parameters start uniform
    /// in `±1 / sqrt(hidden)`.
    pub fn new(inputs: usize, hidden: usize) -> RecurrentBuilder<C> {
        RecurrentBuilder {
            inputs,
            hidden,
            layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            dtype: DType::F32,
            cell: C::default(),
        }
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// The output, and the last states, given the first ones or none.
    fn sequence(&self, input: &Tensor, states: &[&Tensor]) -> Result<(Tensor, Vec<Tensor>)> {
        let Some(first) = self.weights.first() else {
            return Err(Error::argument(C::NAME, "there is no layer"));
        };
        let (inputs, hidden) = (first.inputs(), first.hidden());
        let rank = input.rank();
        if !(2..=3).contains(&rank) || input.dims()[rank - 1] != inputs {
            let axes = if self.batch_first { "batch, time" } else { "time, batch" };
            let rule = format!("expects [{axes}, {inputs}], or [time, {inputs}] without a batch");
            return Err(Error::shape(C::NAME, &[input.meta()], rule));
        }
        // Steps first, always with a batch.
        let mut x = match rank {
            2 => input.unsqueeze(1)?,
            _ if self.batch_first => input.transpose(0, 1)?.contiguous()?,
            _ => input.clone(),
        };
        let state = [self.weights.len(), x.dims()[1], hidden];
        let wanted = if rank == 2 { vec![state[0], hidden] } else { state.to_vec() };
        if let Some(wrong) = states.iter().find(|s| s.dims() != wanted) {
            let rule = format!("a state of this input must be {wanted:?}");
            return Err(Error::shape(C::NAME, &[input.meta(), wrong.meta()], rule));
        }
        let zeros = match states {
            [] => Some(Tensor::zeros([state[1], hidden], x.dtype(), x.device().innermost())?),
            _ => None,
        };
        let mut last: Vec<Vec<Tensor>> = vec![Vec::new(); C::STATES];
        for (layer, directions) in self.weights.chunks(self.directions()).enumerate() {
            if layer > 0 && self.mode.is_training() && self.dropout > 0.0 {
                x = x.dropout(self.dropout, rng::next_key())?;
            }
            let mut outputs = Vec::new();
            for (direction, weights) in directions.iter().enumerate() {
                let k = layer * self.directions() + direction;
                let start = |i: usize| match (&zeros, states.get(i)) {
                    (None, Some(s)) => s.select(0, k)?.reshape([state[1], hidden]),
                    (zeros, _) => zeros.clone().ok_or_else(|| Error::argument(C::NAME, "a state is missing")),
                };
                let start = (0..C::STATES).map(start).collect::<Result<Vec<_>>>()?;
                let reverse = direction == 1;
                let read = if reverse { x.flip(0)? } else { x.clone() };
                let (y, ends) = self.cell.run(weights, &read, &start)?;
                outputs.push(if reverse { y.flip(0)? } else { y });
                last.iter_mut().zip(ends).for_each(|(last, end)| last.push(end));
            }
            x = match &outputs[..] {
                [one] => one.clone(),
                all => Tensor::cat(&all.iter().collect::<Vec<_>>(), -1)?,
            };
        }
        let stack =
            |ends: &Vec<Tensor>| Tensor::stack(&ends.iter().collect::<Vec<_>>(), 0)?.reshape(&wanted[..]);
        let output = match rank {
            2 => x.squeeze(1)?,
            _ if self.batch_first => x.transpose(0, 1)?,
            _ => x,
        };
        Ok((output, last.iter().map(stack).collect::<Result<_>>()?))
    }
}

impl Lstm {
    /// The output, and the last `h` and `c`; from `h` and `c` given, or zeros.
    ///
    /// # Errors
    /// Shapes or dtypes do not fit, there is no step, or the device fails.
    pub fn forward_with(
        &self,
        input: &Tensor,
        state: Option<(&Tensor, &Tensor)>,
    ) -> Result<(Tensor, (Tensor, Tensor))> {
        let (y, mut last) = match state {
            Some((h, c)) => self.sequence(input, &[h, c])?,
            None => self.sequence(input, &[])?,
        };
        match (last.pop(), last.pop()) {
            (Some(c), Some(h)) => Ok((y, (h, c))),
            _ => Err(Error::argument("lstm", "there is no layer")),
        }
    }
}

/// The layers whose state is one tensor.
macro_rules! one_state {
    ($($layer:ty),*) => {$(
        impl $layer {
            /// The output, and the last `h`; from `h` given, or zeros.
            ///
            /// # Errors
            /// Shapes or dtypes do not fit, there is no step, or the device fails.
            pub fn forward_with(&self, input: &Tensor, state: Option<&Tensor>) -> Result<(Tensor, Tensor)> {
                let (y, mut last) = self.sequence(input, state.as_slice())?;
                last.pop().map(|h| (y, h)).ok_or_else(|| Error::argument("recurrent", "there is no layer"))
            }
        }
    )*};
}

one_state!(Gru, Rnn);

/// From zeros to the output alone.
impl<C: Cell> Module for Recurrent<C> {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.sequence(input, &[])?.0)
    }
}

impl<C: Cell> Recurrent<C> {
    /// What follows a parameter's name.
    fn suffix(&self, k: usize) -> String {
        let (layer, reverse) = (k / self.directions(), k % self.directions() == 1);
        format!("_l{layer}{}", if reverse { "_reverse" } else { "" })
    }
}

impl<C: Cell> Parameters for Recurrent<C> {
    fn visit(&self, visitor: &mut dyn Visitor) {
        for (k, weights) in self.weights.iter().enumerate() {
            weights.visit(&self.suffix(k), visitor);
        }
    }

    fn visit_mut(&mut self, visitor: &mut dyn VisitorMut) {
        for k in 0..self.weights.len() {
            let suffix = self.suffix(k);
            self.weights[k].visit_mut(&suffix, visitor);
        }
        visitor.mode(&mut self.mode);
    }
}

impl<C: Cell> RecurrentBuilder<C> {
    /// The number of layers, 1 unless given. Each reads the output of the one before.
    pub fn num_layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Whether there are biases.
    pub fn bias(mut self, bias: bool) -> Self {
        self.bias = bias;
        self
    }

    /// Whether the batch is the first axis of sequences, and not the second.
    pub fn batch_first(mut self, batch_first: bool) -> Self {
        self.batch_first = batch_first;
        self
    }

    /// The probability that a feature is dropped between layers in training.
    pub fn dropout(mut self, p: f64) -> Self {
        self.dropout = p;
        self
    }

    /// Whether each layer also reads the sequence from its end; outputs of both directions lie side by side.
    pub fn bidirectional(mut self, bidirectional: bool) -> Self {
        self.bidirectional = bidirectional;
        self
    }

    /// The parameters' dtype, `f32` unless given.
    pub fn dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Makes the layers.
    ///
    /// # Errors
    /// There are no layers or no hidden features, `p` is not in `0..=1`, the dtype is not floating-point, or memory
    /// runs out.
    pub fn init(self, device: &Device) -> Result<Recurrent<C>> {
        let RecurrentBuilder { inputs, hidden, layers, bidirectional, dropout, .. } = self;
        let fail = |message: String| Err(Error::argument(C::NAME, message));
        if layers == 0 || hidden == 0 {
            return fail(format!("{layers} layers of {hidden} features; there must be one of each at least"));
        }
        if !(0.0..=1.0).contains(&dropout) {
            return fail(format!("dropout probability {dropout} is not in 0..=1"));
        }
        let directions = 1 + usize::from(bidirectional);
        // What is too large is refused as a shape.
        let weights = (0..layers.saturating_mul(directions)).map(|k| {
            let inputs = if k < directions { inputs } else { hidden.saturating_mul(directions) };
            RecurrentWeights::new(C::GATES, inputs, hidden, self.bias, self.dtype, device)
        });
        Ok(Recurrent {
            weights: weights.collect::<Result<_>>()?,
            bidirectional,
            batch_first: self.batch_first,
            dropout,
            mode: Mode::default(),
            cell: self.cell,
        })
    }
}

impl RecurrentBuilder<RnnCell> {
    /// Uses `relu` in the place of `tanh`.
    pub fn relu(mut self) -> Self {
        self.cell = RnnCell::RELU;
        self
    }
}
