//! Two outputs of four products: the points 0, 1, -1 and infinity.

use super::super::super::matmul::registers::Lanes;
use super::tile::{MOST, Tile, add, add_times, sub, times};

/// F(2, 3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Two;

impl Tile for Two {
    const OUT: usize = 2;

    #[inline(always)]
    unsafe fn input<V: Lanes>([d0, d1, d2, d3, o, _]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe { [sub(d0, d2), add(d1, d2), sub(d2, d1), sub(d1, d3), o, o] }
    }

    #[inline(always)]
    unsafe fn filter<V: Lanes>([g0, g1, g2, o, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let ends = add(g0, g2);
            [g0, times(0.5, add(ends, g1)), times(0.5, sub(ends, g1)), g2, o, o]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Lanes>([m0, m1, m2, m3, o, _]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe { [add(m0, add(m1, m2)), sub(sub(m1, m2), m3), o, o, o, o] }
    }

    #[inline(always)]
    unsafe fn output_adjoint<V: Lanes>([y0, y1, o, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe { [y0, add(y0, y1), sub(y0, y1), sub(o, y1), o, o] }
    }

    #[inline(always)]
    unsafe fn filter_adjoint<V: Lanes>([u0, u1, u2, u3, o, _]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let (sum, difference) = (add(u1, u2), sub(u1, u2));
            [add_times(u0, 0.5, sum), times(0.5, difference), add_times(u3, 0.5, sum), o, o, o]
        }
    }

    #[inline(always)]
    unsafe fn split<V: Lanes>([a, b, o, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        let [a, b] = unsafe { V::apart(a, b) };
        [a, b, o, o, o, o]
    }

    #[inline(always)]
    unsafe fn join<V: Lanes>([a, b, o, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        let [a, b] = unsafe { V::together(a, b) };
        [a, b, o, o, o, o]
    }
}
