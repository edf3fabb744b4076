//! Safetensors files, split and assembled for tests.

use serde_json::{Value, json};

/// A tensor of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: String,
    pub bytes: Vec<u8>,
}

/// The tensors of a file, which is whole.
#[allow(dead_code, reason = "not every test program reads")]
pub(crate) fn read(file: &[u8]) -> Vec<Entry> {
    let (length, rest) = file.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
    let header: Value = serde_json::from_slice(header).unwrap();
    let sizes = |value: &Value| -> Vec<usize> {
        value.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect()
    };
    let tensors = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    tensors
        .map(|(name, value)| {
            let span = sizes(&value["data_offsets"]);
            Entry {
                name: name.clone(),
                shape: sizes(&value["shape"]),
                dtype: value["dtype"].as_str().unwrap().to_owned(),
                bytes: data[span[0]..span[1]].to_vec(),
            }
        })
        .collect()
}

/// A file of these tensors.
pub(crate) fn write(tensors: &[Entry]) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for Entry { name, shape, dtype, bytes } in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
