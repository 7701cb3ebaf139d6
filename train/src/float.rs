//! Floats in JSON, exactly: JSON has no NaN and no infinities, so those are words.

use serde::{Deserialize, Deserializer, Serializer};

/// A float as it stands in JSON.
#[derive(Deserialize)]
#[serde(untagged)]
enum Float {
    Number(f64),
    Word(String),
}

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() { serializer.serialize_f64(*value) } else { serializer.collect_str(value) }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Float::deserialize(deserializer)? {
        Float::Number(value) => Ok(value),
        Float::Word(word) => word.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use crate::metrics::Average;

    #[test]
    fn every_float_survives_json_to_the_bit() {
        for sum in [0.0, -0.0, 0.1 + 0.2, 5.0, -1e300, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
            let json = serde_json::to_string(&Average::of(sum, 1)).unwrap();
            let back: Average = serde_json::from_str(&json).unwrap();
            assert_eq!(back.value().unwrap().to_bits(), (sum / 1.0).to_bits(), "{json}");
        }
        let json = serde_json::to_string(&Average::of(f64::NAN, 1)).unwrap();
        assert!(serde_json::from_str::<Average>(&json).unwrap().value().unwrap().is_nan());
    }
}
