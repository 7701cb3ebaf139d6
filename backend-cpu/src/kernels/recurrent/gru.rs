//! The GRU.

use gradus_tensor_core::Result;

use super::{Sizes, through_sigmoid, through_tanh};
use crate::Cpu;
use crate::kernels::dense::{Parts, Scratch};
use crate::kernels::matmul::panels::{Packed, Panels, Start};
use crate::level::Kernel;

const GATES: usize = 3;
/// What is kept of a step: `r`, `z`, `n` and what `r` is multiplied with.
const KEPT: usize = 4;

/// Operands `gates`, `w_hh`, `h0` and a bias; outputs `h`, activations.
pub(super) fn forward<T: Packed>(
    cpu: &Cpu,
    sizes: Sizes,
    [gates, w_hh, h0]: [&[T]; 3],
    bias: Option<&[T]>,
    [y, active]: [&mut [T]; 2],
) -> Result<()> {
    let hidden = sizes.hidden;
    let weight = Panels::transposed(cpu, w_hh, hidden, GATES * hidden)?;
    let mut sums = Scratch::new(cpu, sizes.batch * GATES * hidden)?;
    let (ys, actives, sums) = (Parts::new(y), Parts::new(active), Parts::new(sums.slice()));
    sizes.for_rows(cpu, GATES, |rows| {
        let mut h: &[T] = &h0[sizes.at(0, &rows, 1)];
        // SAFETY: tasks own disjoint samples.
        let sums = unsafe { sums.part(sizes.at(0, &rows, GATES)) };
        for t in 0..sizes.time {
            let (at, kept) = (sizes.at(t, &rows, 1), sizes.at(t, &rows, KEPT));
            // SAFETY: as above, and steps are disjoint.
            let (new_h, active) = unsafe { (ys.part(at), actives.part(kept)) };
            weight.multiply(h, bias.map_or(Start::Zero, Start::Repeated), sums);
            let gates = &gates[sizes.at(t, &rows, GATES)];
            T::drive(cpu.level(), Step { hidden, gates, sums: &*sums, active, h, new_h: &mut *new_h });
            h = new_h;
        }
    });
    Ok(())
}

struct Step<'a, T> {
    hidden: usize,
    gates: &'a [T],
    sums: &'a [T],
    active: &'a mut [T],
    h: &'a [T],
    new_h: &'a mut [T],
}

impl<T: Packed> Kernel for Step<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.hidden;
        let rows = self.gates.chunks_exact(GATES * n).zip(self.sums.chunks_exact(GATES * n));
        let rows = rows.zip(self.active.chunks_exact_mut(KEPT * n));
        let states = self.h.chunks_exact(n).zip(self.new_h.chunks_exact_mut(n));
        for (((gates, sums), active), (h, new_h)) in rows.zip(states) {
            let (r_z, n_a) = active.split_at_mut(2 * n);
            for ((active, &x), &a) in r_z.iter_mut().zip(&gates[..2 * n]).zip(&sums[..2 * n]) {
                *active = (x + a).sigmoid();
            }
            let ((r, z), (new, a)) = (r_z.split_at(n), n_a.split_at_mut(n));
            a.copy_from_slice(&sums[2 * n..]);
            for ((new, &x), (&r, &a)) in new.iter_mut().zip(&gates[2 * n..]).zip(r.iter().zip(&*a)) {
                *new = r.fma(a, x).tanh();
            }
            for ((new_h, &h), (&z, &new)) in new_h.iter_mut().zip(h).zip(z.iter().zip(&*new)) {
                *new_h = z.fma(h - new, new);
            }
        }
    }
}

/// What the forward pass computed, and its operands.
#[derive(Clone, Copy)]
pub(super) struct Saved<'a, T> {
    pub(super) active: &'a [T],
    pub(super) y: &'a [T],
    pub(super) w_hh: &'a [T],
    pub(super) h0: &'a [T],
}

/// Outputs: gradients of `gates`, of the products with the weight, and of `h0`, which holds that of the state on the
/// way.
pub(super) fn backward<T: Packed>(
    cpu: &Cpu,
    sizes: Sizes,
    saved: Saved<'_, T>,
    gy: &[T],
    g_active: Option<&[T]>,
    [gates, sums, gh0]: [&mut [T]; 3],
) -> Result<()> {
    let hidden = sizes.hidden;
    let weight = Panels::new(cpu, saved.w_hh, GATES * hidden, hidden)?;
    let (gates, sums, ghs) = (Parts::new(gates), Parts::new(sums), Parts::new(gh0));
    sizes.for_rows(cpu, GATES, |rows| {
        let first = sizes.at(0, &rows, 1);
        // SAFETY: tasks own disjoint samples.
        let gh = unsafe { ghs.part(first.clone()) };
        gh.fill(T::ZERO);
        for t in (0..sizes.time).rev() {
            let (at, wide) = (sizes.at(t, &rows, 1), sizes.at(t, &rows, GATES));
            // SAFETY: as above, and steps are disjoint.
            let (out, hidden_out) = unsafe { (gates.part(wide.clone()), sums.part(wide)) };
            let kept = sizes.at(t, &rows, KEPT);
            let back = Back {
                hidden,
                active: &saved.active[kept.clone()],
                h: if t > 0 { &saved.y[sizes.at(t - 1, &rows, 1)] } else { &saved.h0[first.clone()] },
                gy: &gy[at],
                gh: &mut *gh,
                gates: out,
                sums: &mut *hidden_out,
            };
            match g_active {
                None => T::drive(cpu.level(), back),
                Some(g) => {
                    let g = &g[kept];
                    back.rows(|row, at| g[row * KEPT * hidden + at]);
                }
            }
            weight.multiply(hidden_out, Start::Old, gh);
        }
    });
    Ok(())
}

/// Makes the gradients of gates and products of that of the state, which keeps what goes around them.
struct Back<'a, T> {
    hidden: usize,
    active: &'a [T],
    h: &'a [T],
    gy: &'a [T],
    gh: &'a mut [T],
    gates: &'a mut [T],
    sums: &'a mut [T],
}

impl<T: Packed> Back<'_, T> {
    /// `more(row, k)` is added to the gradient of activation `k` of a row.
    #[inline(always)]
    fn rows(self, more: impl Fn(usize, usize) -> T) {
        let n = self.hidden;
        let saved =
            self.active.chunks_exact(KEPT * n).zip(self.h.chunks_exact(n)).zip(self.gy.chunks_exact(n));
        let out = self.gates.chunks_exact_mut(GATES * n).zip(self.sums.chunks_exact_mut(GATES * n));
        let out = out.zip(self.gh.chunks_exact_mut(n));
        for (row, (((active, h), gy), ((gates, sums), gh))) in saved.zip(out).enumerate() {
            let (r, z, new, a) =
                (&active[..n], &active[n..][..n], &active[2 * n..][..n], &active[3 * n..][..n]);
            let (out_r, rest) = gates.split_at_mut(n);
            let (out_z, out_n) = rest.split_at_mut(n);
            gh.iter_mut().zip(gy).for_each(|(gh, &gy)| *gh += gy);
            for (k, ((out_z, &gh), (&z, (&new, &h)))) in
                out_z.iter_mut().zip(&*gh).zip(z.iter().zip(new.iter().zip(h))).enumerate()
            {
                *out_z = through_sigmoid(gh * (h - new) + more(row, n + k), z);
            }
            for (k, ((out_n, gh), (&z, &new))) in
                out_n.iter_mut().zip(gh.iter_mut()).zip(z.iter().zip(new)).enumerate()
            {
                *out_n = through_tanh(*gh * (T::ONE - z) + more(row, 2 * n + k), new);
                *gh *= z;
            }
            for (k, ((out_r, &out_n), (&a, &r))) in
                out_r.iter_mut().zip(&*out_n).zip(a.iter().zip(r)).enumerate()
            {
                *out_r = through_sigmoid(out_n * a + more(row, k), r);
            }
            let (sums, sums_n) = sums.split_at_mut(2 * n);
            for (k, ((sum, &out_n), &r)) in sums_n.iter_mut().zip(&*out_n).zip(r).enumerate() {
                *sum = out_n * r + more(row, 3 * n + k);
            }
            sums.copy_from_slice(&gates[..2 * n]);
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
