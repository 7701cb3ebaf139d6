//! The LSTM.

use gradus_tensor_core::Result;

use super::{Sizes, through_sigmoid, through_tanh};
use crate::Cpu;
use crate::kernels::dense::Parts;
use crate::kernels::matmul::panels::{Packed, Panels, Start};
use crate::level::Kernel;

const GATES: usize = 4;

/// Operands `gates`, `w_hh`, `h0`, `c0`; outputs `h`, `c`, activations.
pub(super) fn forward<T: Packed>(
    cpu: &Cpu,
    sizes: Sizes,
    [gates, w_hh, h0, c0]: [&[T]; 4],
    [y, c, active]: [&mut [T]; 3],
) -> Result<()> {
    let hidden = sizes.hidden;
    let weight = Panels::transposed(cpu, w_hh, hidden, GATES * hidden)?;
    let (ys, cs, actives) = (Parts::new(y), Parts::new(c), Parts::new(active));
    sizes.for_rows(cpu, GATES, |rows| {
        let first = sizes.at(0, &rows, 1);
        let (mut h, mut c): (&[T], &[T]) = (&h0[first.clone()], &c0[first]);
        for t in 0..sizes.time {
            let (at, wide) = (sizes.at(t, &rows, 1), sizes.at(t, &rows, GATES));
            // SAFETY: tasks own disjoint samples, and steps are disjoint.
            let (new_h, new_c, active) =
                unsafe { (ys.part(at.clone()), cs.part(at), actives.part(wide.clone())) };
            weight.multiply(h, Start::Rows(&gates[wide]), active);
            let step = Step { hidden, active, c, new_c: &mut *new_c, new_h: &mut *new_h };
            T::drive(cpu.level(), step);
            (h, c) = (new_h, new_c);
        }
    });
    Ok(())
}

/// Makes activations of sums in place, and the new state. A row is passed over several times, each time with so few
/// slices that the compiler sees them apart and vectorizes.
struct Step<'a, T> {
    hidden: usize,
    active: &'a mut [T],
    c: &'a [T],
    new_c: &'a mut [T],
    new_h: &'a mut [T],
}

impl<T: Packed> Kernel for Step<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.hidden;
        let old = self.active.chunks_exact_mut(GATES * n).zip(self.c.chunks_exact(n));
        let new = self.new_c.chunks_exact_mut(n).zip(self.new_h.chunks_exact_mut(n));
        for ((active, c), (new_c, new_h)) in old.zip(new) {
            let (i_f, g_o) = active.split_at_mut(2 * n);
            i_f.iter_mut().for_each(|a| *a = a.sigmoid());
            let ((i, f), (g, o)) = (i_f.split_at(n), g_o.split_at_mut(n));
            g.iter_mut().for_each(|a| *a = a.tanh());
            o.iter_mut().for_each(|a| *a = a.sigmoid());
            for ((new_c, &c), ((&i, &f), &g)) in new_c.iter_mut().zip(c).zip(i.iter().zip(f).zip(&*g)) {
                *new_c = f.fma(c, i * g);
            }
            for ((new_h, &c), &o) in new_h.iter_mut().zip(&*new_c).zip(&*o) {
                *new_h = o * c.tanh();
            }
        }
    }
}

/// What the forward pass computed, and its operands.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a, T> {
    pub(super) active: &'a [T],
    pub(super) c: &'a [T],
    pub(super) w_hh: &'a [T],
    pub(super) c0: &'a [T],
}

/// Gradients of the outputs.
#[derive(Clone, Copy)]
pub(super) struct Given<'a, T> {
    pub(super) y: &'a [T],
    pub(super) c: Option<&'a [T]>,
    pub(super) active: Option<&'a [T]>,
}

/// Outputs: gradients of `gates`, `h0`, `c0`. The last two hold those of the state on the way.
pub(super) fn backward<T: Packed>(
    cpu: &Cpu,
    sizes: Sizes,
    saved: Saved<'_, T>,
    given: Given<'_, T>,
    [gates, gh0, gc0]: [&mut [T]; 3],
) -> Result<()> {
    let hidden = sizes.hidden;
    let weight = Panels::new(cpu, saved.w_hh, GATES * hidden, hidden)?;
    let (gates, ghs, gcs) = (Parts::new(gates), Parts::new(gh0), Parts::new(gc0));
    sizes.for_rows(cpu, GATES, |rows| {
        let first = sizes.at(0, &rows, 1);
        // SAFETY: tasks own disjoint samples.
        let (gh, gc) = unsafe { (ghs.part(first.clone()), gcs.part(first.clone())) };
        gh.copy_from_slice(&given.y[sizes.at(sizes.time - 1, &rows, 1)]);
        gc.fill(T::ZERO);
        for t in (0..sizes.time).rev() {
            let (at, wide) = (sizes.at(t, &rows, 1), sizes.at(t, &rows, GATES));
            // SAFETY: as above, and steps are disjoint.
            let out = unsafe { gates.part(wide.clone()) };
            let before = (t > 0).then(|| sizes.at(t - 1, &rows, 1));
            if let Some(g) = given.c {
                gc.iter_mut().zip(&g[at.clone()]).for_each(|(gc, &g)| *gc += g);
            }
            let back = Back {
                hidden,
                active: &saved.active[wide.clone()],
                c: &saved.c[at],
                c_before: before.clone().map_or(&saved.c0[first.clone()], |at| &saved.c[at]),
                gh: &*gh,
                gc: &mut *gc,
                out: &mut *out,
            };
            match given.active {
                None => T::drive(cpu.level(), back),
                Some(g) => {
                    let g = &g[wide];
                    back.rows(|row, at| g[row * GATES * hidden + at]);
                }
            }
            let start = before.map_or(Start::Zero, |at| Start::Rows(&given.y[at]));
            weight.multiply(out, start, gh);
        }
    });
    Ok(())
}

/// Makes the gradient of the sums of that of the state, and that of `c` before.
struct Back<'a, T> {
    hidden: usize,
    active: &'a [T],
    c: &'a [T],
    c_before: &'a [T],
    gh: &'a [T],
    gc: &'a mut [T],
    out: &'a mut [T],
}

impl<T: Packed> Back<'_, T> {
    /// `more(row, k)` is added to the gradient of activation `k` of a row.
    #[inline(always)]
    fn rows(self, more: impl Fn(usize, usize) -> T) {
        let n = self.hidden;
        let saved = self.active.chunks_exact(GATES * n).zip(self.c.chunks_exact(n));
        let saved = saved.zip(self.c_before.chunks_exact(n)).zip(self.gh.chunks_exact(n));
        let out = self.out.chunks_exact_mut(GATES * n).zip(self.gc.chunks_exact_mut(n));
        for (row, ((((active, c), c_before), gh), (out, gc))) in saved.zip(out).enumerate() {
            let (i, f, g, o) =
                (&active[..n], &active[n..][..n], &active[2 * n..][..n], &active[3 * n..][..n]);
            let (out_i, rest) = out.split_at_mut(n);
            let (out_f, rest) = rest.split_at_mut(n);
            let (out_g, out_o) = rest.split_at_mut(n);
            for (k, ((gc, out), ((&gh, &o), &c))) in
                gc.iter_mut().zip(out_o).zip(gh.iter().zip(o).zip(c)).enumerate()
            {
                let c = c.tanh();
                *gc += through_tanh(gh * o, c);
                *out = through_sigmoid(gh * c + more(row, 3 * n + k), o);
            }
            for (k, ((out_i, out_g), ((&gc, &i), &g))) in
                out_i.iter_mut().zip(out_g).zip(gc.iter().zip(i).zip(g)).enumerate()
            {
                *out_i = through_sigmoid(gc * g + more(row, k), i);
                *out_g = through_tanh(gc * i + more(row, 2 * n + k), g);
            }
            for (k, ((gc, out), (&c, &f))) in gc.iter_mut().zip(out_f).zip(c_before.iter().zip(f)).enumerate()
            {
                *out = through_sigmoid(*gc * c + more(row, n + k), f);
                *gc *= f;
            }
        }
    }
}

impl<T: Packed> Kernel for Back<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.rows(|_, _| T::ZERO);
    }
}
