//! What holds for quantized weights and layers.

use gradus_autograd::{Autograd, Backward, no_grad};
use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Module, Param, Parameters, StateDict};
use gradus_quant::{QuantizedLinear, quantize_dynamic, quantize_per_channel};
use gradus_tensor_core::{DType, Error, Result, Tensor};
use gradus_testkit::strategies;
use proptest::prelude::*;

fn linear(inputs: usize, outputs: usize) -> Result<Linear> {
    Linear::new(inputs, outputs).init(&Cpu::device())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_element_is_off_by_more_than_half_of_its_channels_scale(
        ((shape, axis), values) in strategies::shape_and_axis(1..=3, 0..=9).prop_flat_map(|(shape, axis)| {
            (Just((shape, axis)), strategies::values(DType::F32, shape, -5.0..9.0))
        }),
    ) {
        let x = Cpu::device().upload(&values).unwrap();
        let quantized = quantize_per_channel(&x, axis).unwrap();
        prop_assert_eq!(quantized.scale().dims(), [shape[axis]]);
        prop_assert_eq!(quantized.values().shape(), &shape);
        let mut dims = vec![1; shape.rank()];
        dims[axis] = shape[axis];
        // And what `f32` rounds of numbers of up to 127 scales.
        let bound = quantized.scale().mul(0.5001).unwrap().reshape(dims).unwrap();
        let error = quantized.dequantize().unwrap().sub(&x).unwrap().abs().unwrap();
        prop_assert!(error.gt(&bound).unwrap().to_vec::<bool>().unwrap().iter().all(|&beyond| !beyond));
    }
}

#[test]
fn a_channel_of_zeros_stays_zero_and_tiny_weights_keep_their_digits() -> Result<()> {
    let x = Tensor::from_vec(vec![0.0f32, -0.0, 1e-20, -3e-21, 1e-42, 0.0], [3, 2], &Cpu::device())?;
    let back = quantize_per_channel(&x, 0)?.dequantize()?.to_vec::<f32>()?;
    assert_eq!(back[..2], [0.0, 0.0]);
    assert!((back[2] / 1e-20 - 1.0).abs() < 0.004 && (back[3] / -3e-21 - 1.0).abs() < 0.02);
    Ok(())
}

#[test]
fn weights_that_are_not_finite_are_refused_with_their_channel() -> Result<()> {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let x = Tensor::from_vec(vec![1.0, 2.0, 3.0, bad], [2, 2], &Cpu::device())?;
        let error = quantize_per_channel(&x, 0).unwrap_err();
        assert!(
            matches!(error, Error::Argument { .. }) && error.to_string().contains("channel 1"),
            "{error}"
        );
    }
    let integers = Tensor::ones([2, 2], DType::I64, &Cpu::device())?;
    assert!(quantize_per_channel(&integers, 0).is_err());
    assert!(matches!(quantize_per_channel(&integers, 2), Err(Error::Axis { .. })));
    Ok(())
}

#[test]
fn a_layer_is_saved_and_loaded_with_its_bits() -> Result<()> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("layer.safetensors");
    for bias in [true, false] {
        let layer = QuantizedLinear::from_linear(&Linear::new(20, 6).bias(bias).init(&Cpu::device())?)?;
        layer.state_dict().save(&path)?;
        let mut loaded = QuantizedLinear::new(20, 6).bias(bias).init(&Cpu::device())?;
        loaded.load_state_dict(&StateDict::load(&path, &Cpu::device())?)?;
        let x = Tensor::randn([3, 20], DType::F32, &Cpu::device())?;
        assert_eq!(loaded.forward(&x)?.to_vec::<f32>()?, layer.forward(&x)?.to_vec::<f32>()?);
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(size < 1000, "{size} bytes for 120 of weight");
    }
    Ok(())
}

#[test]
fn a_checkpoint_of_floats_does_not_load_into_a_quantized_layer() -> Result<()> {
    let mut layer = QuantizedLinear::new(4, 3).init(&Cpu::device())?;
    let floats = linear(4, 3)?.state_dict();
    assert!(layer.load_state_dict(&floats).is_err());
    assert_eq!(layer.load_state_dict_partial(&floats)?.loaded, ["bias"]);
    Ok(())
}

#[test]
fn every_float_dtype_goes_in_and_comes_out() -> Result<()> {
    let mut layer = QuantizedLinear::from_linear(&linear(16, 5)?)?;
    let x = Tensor::randn([2, 3, 16], DType::F32, &Cpu::device())?;
    let y = layer.forward(&x)?;
    for dtype in DType::FLOATS {
        let z = layer.forward(&x.cast(dtype)?)?;
        assert_eq!((z.dims(), z.dtype()), (&[2, 3, 5][..], dtype));
        assert!(z.cast(DType::F32)?.sub(&y)?.abs()?.amax_all()?.item::<f32>()? < 0.05);
    }
    // Converting a model must not make its layers unusable.
    layer.to_dtype(DType::BF16)?;
    assert_eq!(layer.forward(&x)?.dtype(), DType::F32);
    Ok(())
}

#[test]
fn a_state_dict_is_quantized_where_patterns_say() -> Result<()> {
    let device = Cpu::device();
    let float = |name: &str, dims: &[usize]| -> Result<(String, Tensor)> {
        Ok((name.into(), Tensor::randn(dims.to_vec(), DType::F32, &device)?))
    };
    let state: StateDict = [
        float("blocks.0.up.weight", &[8, 4])?,
        float("blocks.0.up.bias", &[8])?,
        float("blocks.0.norm.weight", &[8])?,
        float("head.weight", &[3, 8])?,
    ]
    .into_iter()
    .collect();
    let names = |state: &StateDict| state.names().map(str::to_owned).collect::<Vec<_>>();
    let some = quantize_dynamic(&state, &["blocks.*"])?;
    let expected = [
        "blocks.0.norm.weight",
        "blocks.0.up.bias",
        "blocks.0.up.qweight",
        "blocks.0.up.scale",
        "head.weight",
    ];
    assert_eq!(names(&some), expected);
    let mut layer = QuantizedLinear::new(4, 8).init(&device)?;
    layer.load_state_dict(&some.part("blocks.0.up"))?;
    let error = quantize_dynamic(&state, &["tail"]).unwrap_err().to_string();
    assert!(error.contains("`tail`") && error.contains("blocks.0.up, head"), "{error}");
    Ok(())
}

#[test]
fn gradients_pass_through_to_what_comes_before() -> Result<()> {
    let (first, second) = (linear(6, 5)?, linear(5, 4)?);
    let small = QuantizedLinear::from_linear(&second)?;
    let x = Tensor::randn([7, 6], DType::F32, &Cpu::device())?;
    let gradient = |last: &dyn Module| -> Result<Tensor> {
        let g = Tensor::ones([7, 4], DType::F32, &Cpu::device())?;
        let gradients = Backward::new().gradient(g).run(&last.forward(&first.forward(&x)?)?)?;
        gradients.get(first.weight.value()?).cloned().ok_or_else(|| Error::argument("test", "no gradient"))
    };
    let (near, exact) = (gradient(&small)?, gradient(&small.dequantize()?)?);
    assert!(near.sub(&exact)?.abs()?.amax_all()?.item::<f32>()? < 1e-5);
    assert!(!no_grad(|| small.forward(&first.forward(&x)?))?.is_tracked());
    Ok(())
}

#[test]
fn a_weight_that_overflowed_in_training_is_refused_with_its_name() -> Result<()> {
    let weight = Tensor::full(f64::INFINITY, [2, 2], DType::F32, &Cpu::device())?;
    let layer = Linear { weight: Param::new(weight)?, bias: None };
    assert!(QuantizedLinear::from_linear(&layer).is_err());
    let state: StateDict = [("deep.down.weight", layer.weight.tensor().clone())].into_iter().collect();
    let error = quantize_dynamic(&state, &["*"]).unwrap_err().to_string();
    assert!(error.starts_with("deep.down: "), "{error}");
    Ok(())
}

#[test]
fn a_layer_whose_weight_has_no_axes_is_refused() -> Result<()> {
    let layer = QuantizedLinear::from_linear(&linear(3, 2)?)?;
    layer.qweight.set(Tensor::zeros((), DType::I8, &Cpu::device())?)?;
    assert!(matches!(layer.dequantize(), Err(Error::Axis { .. })));
    assert!(layer.forward(&Tensor::ones([1, 3], DType::F32, &Cpu::device())?).is_err());
    Ok(())
}
