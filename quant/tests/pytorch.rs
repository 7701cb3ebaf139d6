//! PyTorch's numbers.

use std::collections::BTreeMap;
use std::path::Path;

use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Module, Param};
use gradus_quant::{QuantizedLinear, quantize_per_channel};
use gradus_tensor_core::{DType, Result, Tensor, io::safetensors};

type Tensors = BTreeMap<String, Tensor>;

fn golden() -> Result<Tensors> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/data/quant.safetensors");
    safetensors::load(data, &Cpu::device())
}

/// The cases of an op: the beginnings of their tensors' names.
fn cases(tensors: &Tensors, op: &str) -> Vec<String> {
    let first = tensors.keys().filter_map(|name| name.strip_suffix(".input.0"));
    first.filter(|name| name.starts_with(op)).map(str::to_owned).collect()
}

fn layer(weight: &Tensor, bias: &Tensor) -> Result<Linear> {
    Ok(Linear { weight: Param::new(weight.clone())?, bias: Some(Param::new(bias.clone())?) })
}

/// The size of the difference relative to that of `exact`, as square roots of means of squares.
fn off(found: &Tensor, exact: &Tensor) -> Result<f64> {
    let size = |x: &Tensor| x.cast(DType::F64)?.square()?.mean_all()?.sqrt()?.item::<f64>();
    Ok(size(&found.sub(exact)?)? / size(exact)?)
}

#[test]
fn weights_get_the_scales_and_integers_of_pytorchs_observer() -> Result<()> {
    let all = golden()?;
    let cases = cases(&all, "quantize_per_channel/");
    assert_eq!(cases.len(), 5);
    for case in cases {
        let get = |kind: &str| &all[&format!("{case}.{kind}")];
        let quantized = quantize_per_channel(get("input.0"), 0)?;
        assert_eq!(quantized.values().to_vec::<i8>()?, get("output.0").to_vec::<i8>()?, "{case}");
        assert_eq!(quantized.scale().to_vec::<f32>()?, get("output.1").to_vec::<f32>()?, "{case}");
        assert_eq!(quantized.dequantize()?.to_vec::<f32>()?, get("output.2").to_vec::<f32>()?, "{case}");
    }
    Ok(())
}

#[test]
fn outputs_are_those_of_pytorchs_dequantized_weight_but_for_the_rounding_of_the_input() -> Result<()> {
    let all = golden()?;
    let cases = cases(&all, "linear_of_dequantized/");
    assert_eq!(cases.len(), 3);
    for case in cases {
        let get = |i: usize| &all[&format!("{case}.input.{i}")];
        let quantized = QuantizedLinear::from_linear(&layer(get(1), get(2))?)?;
        let (y, exact) = (quantized.forward(get(0))?, &all[&format!("{case}.output.0")]);
        // An input is off by half a step at most, so an output by the sum of that much of each weight.
        let x = get(0);
        let step = x.amax(1)?.maximum(0.0)?.sub(&x.amin(1)?.minimum(0.0)?)?.div(255.0)?.unsqueeze(1)?;
        let weights = quantized.dequantize()?.weight.tensor().abs()?.sum(1)?;
        let bound = step.mul(0.5001)?.mul(&weights)?.add(1e-5)?;
        let beyond = y.sub(exact)?.abs()?.gt(&bound)?.cast(DType::I64)?.sum(..)?.item::<i64>()?;
        assert_eq!(beyond, 0, "{case}");
        assert!(off(&y, exact)? < 0.01, "{case}: off by {}", off(&y, exact)?);
    }
    Ok(())
}

#[test]
fn a_quantized_layer_is_nearer_to_the_floats_than_pytorchs() -> Result<()> {
    let all = golden()?;
    let get = |kind: &str| &all[&format!("quantize_dynamic/normal.{kind}")];
    let layer = layer(get("input.1"), get("input.2"))?;
    let ours = QuantizedLinear::from_linear(&layer)?.forward(get("input.0"))?;
    let (ours, theirs) = (off(&ours, get("output.0"))?, off(get("output.1"), get("output.0"))?);
    println!("off by {ours:.5}, PyTorch's by {theirs:.5}");
    assert!(ours < 0.008 && 1.5 * ours < theirs, "off by {ours}, PyTorch's by {theirs}");
    Ok(())
}
