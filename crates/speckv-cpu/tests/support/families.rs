//! Tiny models of every dense family, as `transformers/families.py` describes them.

#![allow(dead_code, reason = "each test program uses its part")]

#[path = "reference_weights.rs"]
mod reference_weights;
#[path = "safetensors.rs"]
mod safetensors;

use std::path::Path;

use reference_weights::weights;
use safetensors::{Entry, write};
use serde_json::Value;
use speckv_formats::checkpoint::Checkpoint;
use tempfile::TempDir;

/// Made by the program beside it.
pub fn reference() -> Value {
    serde_json::from_str(include_str!("../transformers/families.json")).unwrap()
}

pub fn numbers(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as usize).collect()
}

/// Text parts of a folder's configuration.
pub fn part(model: &Value) -> &Value {
    model["config"].get("text_config").unwrap_or(&model["config"])
}

/// Names, shapes and values of the tensors of a folder.
pub fn tensors(model: &Value) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let layers = part(model)["num_hidden_layers"].as_u64().unwrap();
    let less_one = model["less_one"].as_bool().unwrap();
    let mut tensors = Vec::new();
    for (pattern, shape) in model["tensors"].as_object().unwrap() {
        let copies = if pattern.contains("layers.0.") { layers } else { 1 };
        for layer in 0..copies {
            let name = pattern.replace("layers.0.", &format!("layers.{layer}."));
            let shape = numbers(shape);
            let mut values = weights(&name, &shape);
            if name.ends_with("norm.weight") && !less_one {
                values.iter_mut().for_each(|value| *value += 1.0);
            }
            tensors.push((name, shape, values));
        }
    }
    tensors
}

pub fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub fn write_folder(folder: &Path, model: &Value) {
    std::fs::write(folder.join("config.json"), model["config"].to_string()).unwrap();
    let entry = |(name, shape, values): (String, Vec<usize>, Vec<f32>)| Entry {
        name,
        shape,
        dtype: "F32".to_owned(),
        bytes: bytes(&values),
    };
    let entries: Vec<Entry> = tensors(model).into_iter().map(entry).collect();
    std::fs::write(folder.join("model.safetensors"), write(&entries)).unwrap();
}

pub fn folder(model: &Value) -> (TempDir, Checkpoint) {
    let place = TempDir::new().unwrap();
    write_folder(place.path(), model);
    let checkpoint = Checkpoint::open(place.path()).unwrap();
    (place, checkpoint)
}

/// The distance of logits in units of the length of what is expected.
pub fn distance(got: &[f32], expected: &[f64]) -> f64 {
    let size = expected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let square = |(g, e): (&f32, &f64)| (f64::from(*g) - e).powi(2);
    got.iter().zip(expected).map(square).sum::<f64>().sqrt() / size
}
