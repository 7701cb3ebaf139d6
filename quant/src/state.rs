//! From the state of a model to that of its quantized twin.

use gradus_nn::{StateDict, Within, matches_name};
use gradus_tensor_core::{DType, Error, Result};

use crate::quantize_per_channel;

/// The state of a model with [`QuantizedLinear`](crate::QuantizedLinear) in place of those
/// [`Linear`](gradus_nn::Linear) layers whose dotted names match a pattern (`*` stands for any characters, `?` for one).
///
/// For each such layer `name`, the matrix `name.weight` becomes `name.qweight` and `name.scale`, and `name.bias` is kept in
/// `f32`. Weights that are no matrices (norms, convolutions) are never touched; that of an embedding is a matrix, so a
/// pattern must not match it. Loading the result into the quantized model fails, with a list, if the two do not agree.
///
/// # Errors
/// A pattern matches no layer with a matrix, or a weight holds a NaN or an infinity: the error names the layer.
pub fn quantize_dynamic(state: &StateDict, layers: &[&str]) -> Result<StateDict> {
    let op = "quantize_dynamic";
    let layer_of = |name: &str| -> Option<String> {
        let layer = name.strip_suffix(".weight")?;
        let weight = state.get(name)?;
        (weight.rank() == 2 && weight.dtype().is_float()).then(|| layer.to_owned())
    };
    let candidates: Vec<String> = state.names().filter_map(layer_of).collect();
    for pattern in layers {
        if !candidates.iter().any(|layer| matches_name(pattern, layer)) {
            let found = candidates.join(", ");
            return Err(Error::argument(
                op,
                format!("`{pattern}` matches no linear layer; there are: {found}"),
            ));
        }
    }
    let mut out = state.clone();
    for layer in candidates.iter().filter(|layer| layers.iter().any(|pattern| matches_name(pattern, layer))) {
        let Some(weight) = out.remove(&format!("{layer}.weight")) else { continue };
        let weight = quantize_per_channel(&weight, 0).within(layer)?;
        out.insert(format!("{layer}.qweight"), weight.values().clone());
        out.insert(format!("{layer}.scale"), weight.scale().clone());
        let bias = format!("{layer}.bias");
        if let Some(value) = out.get(&bias) {
            let value = value.cast(DType::F32)?;
            out.insert(bias, value);
        }
    }
    Ok(out)
}
