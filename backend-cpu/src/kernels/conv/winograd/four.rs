//! Four outputs of six products: the points 0, 5/8, -5/8, 3/2, -3/2 and infinity.

use super::super::super::matmul::registers::Lanes;
use super::tile::{MOST, Tile, add, add_times, sub, times};
use crate::math::real::Real as _;

/// F(4, 3).
#[derive(Clone, Copy, Debug)]
pub(super) struct Four;

impl Four {
    /// Two of its points; the others are their negatives, 0 and infinity.
    const P: f64 = 5.0 / 8.0;
    const Q: f64 = 3.0 / 2.0;
    /// Their squares, which `f32` holds.
    const PP: f64 = Self::P * Self::P;
    const QQ: f64 = Self::Q * Self::Q;
    /// For each point, the product of its differences to the other ones but infinity.
    const AT_0: f64 = Self::PP * Self::QQ;
    const AT_P: f64 = 2.0 * Self::PP * (Self::PP - Self::QQ);
    const AT_Q: f64 = 2.0 * Self::QQ * (Self::QQ - Self::PP);

    /// The polynomial that is 0 at both points and their negatives, of inputs that are two apart.
    ///
    /// # Safety
    /// The machine has the register.
    #[inline(always)]
    unsafe fn ends<V: Lanes>(first: V, middle: V, last: V) -> V {
        // SAFETY: promised by the caller.
        unsafe { add_times(add_times(last, -(Self::PP + Self::QQ), middle), Self::PP * Self::QQ, first) }
    }
}

impl Tile for Four {
    const OUT: usize = 4;

    #[inline(always)]
    unsafe fn input<V: Lanes>([d0, d1, d2, d3, d4, d5]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            // Polynomials that are 0 at all points but one: even and odd parts of those at both signs.
            let (even_p, odd_p) = (add_times(d4, -Self::QQ, d2), add_times(d3, -Self::QQ, d1));
            let (even_q, odd_q) = (add_times(d4, -Self::PP, d2), add_times(d3, -Self::PP, d1));
            [
                Self::ends(d0, d2, d4),
                add_times(even_p, Self::P, odd_p),
                add_times(even_p, -Self::P, odd_p),
                add_times(even_q, Self::Q, odd_q),
                add_times(even_q, -Self::Q, odd_q),
                Self::ends(d1, d3, d5),
            ]
        }
    }

    #[inline(always)]
    unsafe fn filter<V: Lanes>([g0, g1, g2, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let even_p = add_times(times(1.0 / Self::AT_P, g0), Self::PP / Self::AT_P, g2);
            let even_q = add_times(times(1.0 / Self::AT_Q, g0), Self::QQ / Self::AT_Q, g2);
            [
                times(1.0 / Self::AT_0, g0),
                add_times(even_p, Self::P / Self::AT_P, g1),
                add_times(even_p, -Self::P / Self::AT_P, g1),
                add_times(even_q, Self::Q / Self::AT_Q, g1),
                add_times(even_q, -Self::Q / Self::AT_Q, g1),
                g2,
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<V: Lanes>([m0, m1, m2, m3, m4, m5]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let (even_p, odd_p, even_q, odd_q) = (add(m1, m2), sub(m1, m2), add(m3, m4), sub(m3, m4));
            let o = V::splat(V::Element::ZERO);
            [
                add(m0, add(even_p, even_q)),
                add_times(times(Self::P, odd_p), Self::Q, odd_q),
                add_times(times(Self::PP, even_p), Self::QQ, even_q),
                add_times(add_times(m5, Self::PP * Self::P, odd_p), Self::QQ * Self::Q, odd_q),
                o,
                o,
            ]
        }
    }

    #[inline(always)]
    unsafe fn output_adjoint<V: Lanes>([y0, y1, y2, y3, ..]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let (even_p, odd_p) = (add_times(y0, Self::PP, y2), add_times(y1, Self::PP, y3));
            let (even_q, odd_q) = (add_times(y0, Self::QQ, y2), add_times(y1, Self::QQ, y3));
            [
                y0,
                add_times(even_p, Self::P, odd_p),
                add_times(even_p, -Self::P, odd_p),
                add_times(even_q, Self::Q, odd_q),
                add_times(even_q, -Self::Q, odd_q),
                y3,
            ]
        }
    }

    #[inline(always)]
    unsafe fn filter_adjoint<V: Lanes>([u0, u1, u2, u3, u4, u5]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let (even_p, odd_p, even_q, odd_q) = (add(u1, u2), sub(u1, u2), add(u3, u4), sub(u3, u4));
            let (p, q) = (1.0 / Self::AT_P, 1.0 / Self::AT_Q);
            let o = V::splat(V::Element::ZERO);
            [
                add_times(add_times(times(1.0 / Self::AT_0, u0), p, even_p), q, even_q),
                add_times(times(Self::P * p, odd_p), Self::Q * q, odd_q),
                add_times(add_times(u5, Self::PP * p, even_p), Self::QQ * q, even_q),
                o,
                o,
                o,
            ]
        }
    }

    #[inline(always)]
    unsafe fn split<V: Lanes>([a, b, c, d, o, _]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let ([a, b], [c, d]) = (V::apart(a, b), V::apart(c, d));
            let ([a, c], [b, d]) = (V::apart(a, c), V::apart(b, d));
            [a, b, c, d, o, o]
        }
    }

    #[inline(always)]
    unsafe fn join<V: Lanes>([a, b, c, d, o, _]: [V; MOST]) -> [V; MOST] {
        // SAFETY: promised by the caller.
        unsafe {
            let ([a, c], [b, d]) = (V::together(a, c), V::together(b, d));
            let ([a, b], [c, d]) = (V::together(a, b), V::together(c, d));
            [a, b, c, d, o, o]
        }
    }
}
