//! A differentiable function with a backward of its own: a rounding that lets gradients through, as used to
//! train quantized networks (the straight-through estimator, Bengio et al., arXiv:1308.3432).

use gradus::autograd::{Function, apply};
use gradus::prelude::*;

/// Rounds to multiples of `step`; its gradient is that of the identity, inside the range.
#[derive(Debug)]
struct Quantize {
    step: f64,
    limit: f64,
}

impl Function for Quantize {
    fn name(&self) -> &'static str {
        "quantize"
    }

    fn forward(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let x = inputs[0].clamp(-self.limit, self.limit)?;
        Ok(vec![x.mul(1.0 / self.step)?.round()?.mul(self.step)?])
    }

    fn backward(
        &self,
        inputs: &[Tensor],
        _outputs: &[Tensor],
        grads: &[Option<Tensor>],
    ) -> Result<Vec<Option<Tensor>>> {
        let Some(g) = &grads[0] else { return Ok(vec![None]) };
        let inside = inputs[0].abs()?.le(self.limit)?.cast(g.dtype())?;
        Ok(vec![Some(g.mul(&inside)?)])
    }
}

fn main() -> Result<()> {
    let device = Cpu::device();
    let target = Tensor::from_vec(vec![0.3f32, -0.8, 0.5, 2.0], 4, &device)?;
    let mut w = Tensor::zeros(4, DType::F32, &device)?;
    for step in 0..60 {
        let leaf = w.requires_grad()?;
        let quantized = apply(Quantize { step: 0.25, limit: 1.0 }, &[&leaf])?.remove(0);
        let loss = quantized.sub(&target)?.square()?.sum_all()?;
        let gradients = loss.backward()?;
        if step % 20 == 0 {
            println!("step {step}: loss {:.4}", loss.item::<f32>()?);
        }
        drop((leaf, quantized, loss));
        if let Some((_, gradient)) = gradients.iter().next() {
            w.sub_assign(&gradient.mul(0.05)?)?;
        }
    }
    let trained = apply(Quantize { step: 0.25, limit: 1.0 }, &[&w])?.remove(0);
    println!("trained to multiples of 0.25: {:?}", trained.to_vec::<f32>()?);
    assert_eq!(trained.to_vec::<f32>()?[3], 1.0, "the last one is clipped at the limit");
    Ok(())
}
