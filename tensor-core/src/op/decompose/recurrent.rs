//! Recurrences and their gradients, step by step. What gradients read of a step are operands with gradients of
//! their own, so nothing is computed again.

use crate::{Result, Tensor};

/// The last axis in `N` equal parts.
fn parts<const N: usize>(x: &Tensor) -> Result<[Tensor; N]> {
    let size = x.dims()[x.rank() - 1] / N;
    let mut all = [(); N].map(|()| x.clone());
    for (i, part) in all.iter_mut().enumerate() {
        *part = x.narrow(-1, i * size, size)?;
    }
    Ok(all)
}

/// One step's tensors side by side along the last axis.
fn beside(all: &[Tensor]) -> Result<Tensor> {
    Tensor::cat(&all.iter().collect::<Vec<_>>(), -1)
}

/// All steps in one tensor of the operands' dtype.
fn steps(all: &[Tensor], like: &Tensor) -> Result<Tensor> {
    Tensor::stack(&all.iter().collect::<Vec<_>>(), 0)?.cast(like.dtype())
}

fn widened<const N: usize>(all: [&Tensor; N]) -> Result<[Tensor; N]> {
    let mut wide = all.map(Clone::clone);
    for x in &mut wide {
        *x = x.widened()?;
    }
    Ok(wide)
}

/// `g` times the derivative of a sigmoid whose value is `s`.
fn through_sigmoid(g: &Tensor, s: &Tensor) -> Result<Tensor> {
    g.mul(&s.sub(&s.square()?)?)
}

/// `g` times the derivative of a tanh whose value is `t`.
fn through_tanh(g: &Tensor, t: &Tensor) -> Result<Tensor> {
    g.mul(&t.square()?.affine(-1.0, 1.0)?)
}

pub(super) fn lstm(gates: &Tensor, w_hh: &Tensor, h0: &Tensor, c0: &Tensor) -> Result<Vec<Tensor>> {
    let [x, w, mut h, mut c] = widened([gates, w_hh, h0, c0])?;
    let w = w.t()?;
    let (mut hs, mut cs, mut active) = (Vec::new(), Vec::new(), Vec::new());
    for t in 0..x.dims()[0] {
        let [i, f, g, o] = parts(&x.select(0, t)?.add(&h.matmul(&w)?)?)?;
        let [i, f, g, o] = [i.sigmoid()?, f.sigmoid()?, g.tanh()?, o.sigmoid()?];
        c = f.mul(&c)?.add(&i.mul(&g)?)?;
        h = o.mul(&c.tanh()?)?;
        hs.push(h.clone());
        cs.push(c.clone());
        active.push(beside(&[i, f, g, o])?);
    }
    Ok(vec![steps(&hs, gates)?, steps(&cs, gates)?, steps(&active, gates)?])
}

/// `given` are the gradients of all `h`, all `c` and the activations, as many as there are.
pub(super) fn lstm_grad(
    active: &Tensor,
    c: &Tensor,
    w_hh: &Tensor,
    c0: &Tensor,
    given: &[Tensor],
) -> Result<Vec<Tensor>> {
    let like = active;
    let [active, c, w, c0] = widened([active, c, w_hh, c0])?;
    let given = given.iter().map(Tensor::widened).collect::<Result<Vec<_>>>()?;
    let (mut gh, mut gc) = (c0.zeros_like()?, c0.zeros_like()?);
    let mut all = Vec::new();
    for t in (0..c.dims()[0]).rev() {
        let [i, f, g, o] = parts(&active.select(0, t)?)?;
        let before = if t > 0 { c.select(0, t - 1)? } else { c0.clone() };
        let squashed = c.select(0, t)?.tanh()?;
        gh = gh.add(&given[0].select(0, t)?)?;
        gc = gc.add(&through_tanh(&gh.mul(&o)?, &squashed)?)?;
        if let Some(given) = given.get(1) {
            gc = gc.add(&given.select(0, t)?)?;
        }
        let mut of = beside(&[gc.mul(&g)?, gc.mul(&before)?, gc.mul(&i)?, gh.mul(&squashed)?])?;
        if let Some(given) = given.get(2) {
            of = of.add(&given.select(0, t)?)?;
        }
        let [gi, gf, gg, go] = parts(&of)?;
        let step = beside(&[
            through_sigmoid(&gi, &i)?,
            through_sigmoid(&gf, &f)?,
            through_tanh(&gg, &g)?,
            through_sigmoid(&go, &o)?,
        ])?;
        gh = step.matmul(&w)?;
        gc = gc.mul(&f)?;
        all.push(step);
    }
    all.reverse();
    Ok(vec![steps(&all, like)?, gh.cast(like.dtype())?, gc.cast(like.dtype())?])
}

pub(super) fn gru(gates: &Tensor, w_hh: &Tensor, h0: &Tensor, b_hh: Option<&Tensor>) -> Result<Vec<Tensor>> {
    let [x, w, mut h] = widened([gates, w_hh, h0])?;
    let w = w.t()?;
    let bias = b_hh.map(Tensor::widened).transpose()?;
    let (mut hs, mut active) = (Vec::new(), Vec::new());
    for t in 0..x.dims()[0] {
        let mut a = h.matmul(&w)?;
        if let Some(bias) = &bias {
            a = a.add(bias)?;
        }
        let ([xr, xz, xn], [ar, az, an]) = (parts(&x.select(0, t)?)?, parts(&a)?);
        let (r, z) = (xr.add(&ar)?.sigmoid()?, xz.add(&az)?.sigmoid()?);
        let n = xn.add(&r.mul(&an)?)?.tanh()?;
        h = n.add(&z.mul(&h.sub(&n)?)?)?;
        hs.push(h.clone());
        active.push(beside(&[r, z, n, an])?);
    }
    Ok(vec![steps(&hs, gates)?, steps(&active, gates)?])
}

pub(super) fn gru_grad(
    active: &Tensor,
    y: &Tensor,
    w_hh: &Tensor,
    h0: &Tensor,
    given: &[Tensor],
) -> Result<Vec<Tensor>> {
    let like = active;
    let [active, y, w, h0] = widened([active, y, w_hh, h0])?;
    let given = given.iter().map(Tensor::widened).collect::<Result<Vec<_>>>()?;
    let mut gh = h0.zeros_like()?;
    let (mut of_gates, mut of_hidden) = (Vec::new(), Vec::new());
    for t in (0..y.dims()[0]).rev() {
        let [r, z, n, an] = parts(&active.select(0, t)?)?;
        let before = if t > 0 { y.select(0, t - 1)? } else { h0.clone() };
        gh = gh.add(&given[0].select(0, t)?)?;
        let extra = given.get(1).map(|g| parts::<4>(&g.select(0, t)?)).transpose()?;
        let with = |g: Tensor, k: usize| extra.as_ref().map_or_else(|| Ok(g.clone()), |e| g.add(&e[k]));
        let gz = through_sigmoid(&with(gh.mul(&before.sub(&n)?)?, 1)?, &z)?;
        let gn = through_tanh(&with(gh.mul(&z.affine(-1.0, 1.0)?)?, 2)?, &n)?;
        let gr = through_sigmoid(&with(gn.mul(&an)?, 0)?, &r)?;
        let ga = with(gn.mul(&r)?, 3)?;
        let hidden = beside(&[gr.clone(), gz.clone(), ga])?;
        gh = hidden.matmul(&w)?.add(&gh.mul(&z)?)?;
        of_gates.push(beside(&[gr, gz, gn])?);
        of_hidden.push(hidden);
    }
    of_gates.reverse();
    of_hidden.reverse();
    Ok(vec![steps(&of_gates, like)?, steps(&of_hidden, like)?, gh.cast(like.dtype())?])
}
