//! Matrices in FP8, INT8, GPTQ and AWQ hold the numbers that other programs read from them.

#[path = "support/safetensors.rs"]
mod safetensors;

use safetensors::{Entry, read, write};
use serde_json::Value;
use speckv_formats::{
    checkpoint::{Checkpoint, Stored},
    quant::Rows,
};
use tempfile::TempDir;

/// A tensor in GGUF, and its stem in folders.
const GATE: (&str, &str) = ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj");

#[test]
fn values_are_those_of_other_programs() {
    // Made by `transformers/packed.py`.
    let tensors = read(include_bytes!("transformers/packed/cases.safetensors"));
    let configs: Value =
        serde_json::from_slice(include_bytes!("transformers/packed/configs.json")).unwrap();
    let model: Value =
        serde_json::from_slice(include_bytes!("transformers/four_bits/config.json")).unwrap();
    let cases = configs.as_object().unwrap();
    assert_eq!(cases.len(), 9);
    for (name, quantization) in cases {
        let part = |tensor: &Entry| {
            let end = tensor.name.strip_prefix(name.as_str())?.strip_prefix('.')?;
            let kept = end != "values";
            kept.then(|| Entry { name: format!("{}.{end}", GATE.1), ..tensor.clone() })
        };
        let matrix: Vec<Entry> = tensors.iter().filter_map(part).collect();
        let values = tensors.iter().find(|tensor| tensor.name == format!("{name}.values")).unwrap();
        let expected: Vec<f32> =
            values.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();

        let folder = TempDir::new().unwrap();
        let mut config = model.clone();
        config["quantization_config"] = quantization.clone();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        std::fs::write(folder.path().join("model.safetensors"), write(&matrix)).unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let stored = checkpoint.stored(GATE.0).unwrap();
        assert!(matches!(stored, Stored::Packed(_)), "{name}");
        let &[columns, rows] = stored.shape() else { panic!("{name}: a matrix") };
        assert_eq!(values.shape, [rows, columns], "{name}");
        let mut got = vec![0.0; columns];
        for (row, expected) in expected.chunks(columns).enumerate() {
            stored.read(row, &mut got).unwrap();
            assert_eq!(got, expected, "{name}, row {row}");
        }
    }
}
