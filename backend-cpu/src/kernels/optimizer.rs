//! The optimizers' steps, each one pass over parameter, state and gradient.

use gradus_tensor_core::half::{bf16, f16};
use gradus_tensor_core::op::{Adam, Sgd};
use gradus_tensor_core::{DType, Outcome, View, ViewMut};

use crate::elementwise::{Operand, walk};
use crate::level::Kernel;
use crate::math::half::Half;
use crate::math::real::Real;
use crate::{Cpu, CpuBuffer};

/// Work per element, as [`Cpu::for_chunks`] counts it.
const COST: usize = 4;

/// An element that is updated as an `R`.
trait Stored<R>: Copy {
    fn load(self) -> R;
    fn store(x: R) -> Self;
}

macro_rules! stored {
    ($($t:ty => $r:ty, |$x:ident| $load:expr, $store:expr;)*) => {$(
        impl Stored<$r> for $t {
            #[inline(always)]
            fn load(self) -> $r { let $x = self; $load }
            #[inline(always)]
            fn store($x: $r) -> Self { $store }
        }
    )*};
}
stored! {
    f32 => f32, |x| x, x;
    f64 => f64, |x| x, x;
    f16 => f32, |x| x.to_single(), f16::from_single(x);
    bf16 => f32, |x| x.to_single(), bf16::from_single(x);
}

/// A rule that changes `N - 1` numbers given one gradient, the last.
trait Step<R, const N: usize>: Copy + Sync {
    fn step(self, values: [R; N]) -> [R; N];
}

struct StepLoop<S, T, R, const N: usize>(S, [*mut T; N], usize, std::marker::PhantomData<R>);

impl<S: Step<R, N>, T: Stored<R>, R: Real, const N: usize> Kernel for StepLoop<S, T, R, N> {
    type Output = ();
    #[inline(always)]
    fn run(self) {
        let StepLoop(rule, pointers, n, _) = self;
        for i in 0..n {
            let mut values = [R::ZERO; N];
            for k in 0..N {
                // SAFETY: the walk promises `n` elements everywhere.
                values[k] = unsafe { *pointers[k].add(i) }.load();
            }
            let new = rule.step(values);
            for k in 0..N - 1 {
                // SAFETY: as above; all but the last are exclusively borrowed.
                unsafe { *pointers[k].add(i) = T::store(new[k]) };
            }
        }
    }
}

fn run<T: Stored<R>, R: Real, S: Step<R, N>, const N: usize>(cpu: &Cpu, rule: S, operands: [Operand; N]) {
    let level = cpu.level();
    // SAFETY: the views were checked, have one shape and the type of the dtype, and targets are exclusive.
    unsafe {
        walk(cpu, COST * N, operands, |p, n| {
            level.run(StepLoop::<S, T, R, N>(rule, p.map(|p| p.cast()), n, std::marker::PhantomData))
        });
    }
}

fn by_float<S: Step<f32, N> + Step<f64, N>, const N: usize>(
    cpu: &Cpu,
    dtype: DType,
    rule: S,
    operands: [Operand; N],
) -> Outcome<()> {
    match dtype {
        DType::F32 => run::<f32, f32, S, N>(cpu, rule, operands),
        DType::F64 => run::<f64, f64, S, N>(cpu, rule, operands),
        DType::F16 => run::<f16, f32, S, N>(cpu, rule, operands),
        DType::BF16 => run::<bf16, f32, S, N>(cpu, rule, operands),
        _ => return Outcome::Unsupported,
    }
    Outcome::Done(())
}

impl<R: Real> Step<R, 2> for Sgd {
    #[inline(always)]
    fn step(self, [p, g]: [R; 2]) -> [R; 2] {
        let g = g + p * R::of(self.weight_decay);
        [p - g * R::of(self.lr), g]
    }
}

impl<R: Real> Step<R, 3> for Sgd {
    #[inline(always)]
    fn step(self, [p, v, g]: [R; 3]) -> [R; 3] {
        let g = g + p * R::of(self.weight_decay);
        let kept = v * R::of(self.momentum) + g * R::of(1.0 - self.dampening);
        let v = if self.first { g } else { kept };
        let ahead = g + v * R::of(self.momentum);
        let step = if self.nesterov { ahead } else { v };
        [p - step * R::of(self.lr), v, g]
    }
}

/// [`Adam`] with what does not change from element to element worked out.
#[derive(Clone, Copy)]
struct AdamStep {
    op: Adam,
    /// What the parameter is multiplied with first.
    decay: f64,
    /// How much of the parameter is added to the gradient.
    penalty: f64,
    /// `1 / sqrt(1 - beta2^step)`.
    root: f64,
    /// `lr / (1 - beta1^step)`.
    rate: f64,
}

impl AdamStep {
    fn new(op: &Adam) -> Self {
        let (first, second) = op.bias_corrections();
        let (decay, penalty) =
            if op.decoupled { (1.0 - op.lr * op.weight_decay, 0.0) } else { (1.0, op.weight_decay) };
        Self { op: *op, decay, penalty, root: 1.0 / second.sqrt(), rate: op.lr / first }
    }

    #[inline(always)]
    fn moments<R: Real>(self, p: R, m: R, v: R, g: R) -> (R, R) {
        let (beta1, beta2) = self.op.betas;
        let g = g + p * R::of(self.penalty);
        let m = m * R::of(beta1) + g * R::of(1.0 - beta1);
        let v = v * R::of(beta2) + g * g * R::of(1.0 - beta2);
        (m, v)
    }

    #[inline(always)]
    fn parameter<R: Real>(self, p: R, m: R, v: R) -> R {
        let root = v.sqrt() * R::of(self.root) + R::of(self.op.eps);
        p * R::of(self.decay) - m / root * R::of(self.rate)
    }
}

impl<R: Real> Step<R, 4> for AdamStep {
    #[inline(always)]
    fn step(self, [p, m, v, g]: [R; 4]) -> [R; 4] {
        let (m, v) = self.moments(p, m, v, g);
        [self.parameter(p, m, v), m, v, g]
    }
}

impl<R: Real> Step<R, 5> for AdamStep {
    #[inline(always)]
    fn step(self, [p, m, v, largest, g]: [R; 5]) -> [R; 5] {
        let (m, v) = self.moments(p, m, v, g);
        let largest = if largest.is_nan() || largest > v { largest } else { v };
        [self.parameter(p, m, largest), m, v, largest, g]
    }
}

/// A step of stochastic gradient descent. Targets: parameter and perhaps velocity.
pub(crate) fn sgd(
    cpu: &Cpu,
    op: &Sgd,
    targets: &mut [ViewMut<'_, CpuBuffer>],
    g: &View<'_, CpuBuffer>,
) -> Outcome<()> {
    let rule = *op;
    match targets {
        [p] => by_float(cpu, g.dtype, rule, [Operand::update(p), Operand::read(g)]),
        [p, v] => by_float(cpu, g.dtype, rule, [Operand::update(p), Operand::update(v), Operand::read(g)]),
        _ => Outcome::Unsupported,
    }
}

/// A step of Adam. Targets: parameter, first and second moment and perhaps the largest second moment.
pub(crate) fn adam(
    cpu: &Cpu,
    op: &Adam,
    targets: &mut [ViewMut<'_, CpuBuffer>],
    g: &View<'_, CpuBuffer>,
) -> Outcome<()> {
    let rule = AdamStep::new(op);
    let update = Operand::update;
    match targets {
        [p, m, v] => by_float(cpu, g.dtype, rule, [update(p), update(m), update(v), Operand::read(g)]),
        [p, m, v, l] => {
            by_float(cpu, g.dtype, rule, [update(p), update(m), update(v), update(l), Operand::read(g)])
        }
        _ => Outcome::Unsupported,
    }
}
