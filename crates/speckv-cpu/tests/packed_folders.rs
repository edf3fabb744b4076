//! Folders whose matrices are in FP8, INT8, or the 4 bits of GPTQ and AWQ: the numbers that their
//! layouts define, the same model in floats, and what is wrong with damaged ones.

#[path = "support/safetensors.rs"]
mod safetensors;

use std::{num::NonZeroUsize, path::Path, sync::Arc};

use safetensors::{Entry, read, write};
use serde_json::{Value, json};
use speckv::{
    conformance::check_model,
    logits::Logits,
    model::{Feed, LanguageModel},
};
use speckv_cpu::{
    model::{CpuModel, LoadOptions},
    pool::Pool,
};
use speckv_formats::{
    checkpoint::{Checkpoint, Stored},
    quant::{Rows, TensorType, WeightType},
    tiny::Tiny,
};
use tempfile::TempDir;

const GROUP: usize = 32;

/// A method: its name, its configuration, and the type that its matrices have in memory.
struct Method {
    name: &'static str,
    config: Value,
    in_memory: TensorType,
}

fn methods() -> Vec<Method> {
    let scheme = |kind: &str, bits| {
        json!({"quant_method": "compressed-tensors", "format": format!("{kind}-quantized"),
            "config_groups": {"group_0": {"weights": {
                "num_bits": bits, "type": kind, "strategy": "channel", "symmetric": true}}}})
    };
    let method = |name, config, in_memory| Method { name, config, in_memory };
    let gptq = json!({"quant_method": "gptq", "bits": 4, "group_size": GROUP});
    let mut ordered = gptq.clone();
    ordered["desc_act"] = json!(true);
    vec![
        method(
            "fp8 blocks",
            json!({"quant_method": "fp8", "weight_block_size": [24, 40]}),
            TensorType::F16,
        ),
        method("fp8 channels", scheme("float", 8), TensorType::F16),
        method("int8", scheme("int", 8), TensorType::Q8_0),
        method("gptq", gptq, TensorType::Q4_1),
        method("gptq ordered", ordered, TensorType::F16),
        method(
            "awq",
            json!({"quant_method": "awq", "bits": 4, "group_size": GROUP, "version": "gemm"}),
            TensorType::Q4_1,
        ),
    ]
}

/// A number that looks random, below `most`.
fn number(seed: usize, most: usize) -> usize {
    let mut x = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
    x = (x ^ x >> 32).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x ^ x >> 29) >> 16) as usize % most
}

/// A float of 8 bits by its definition: a sign, four bits of exponent, three of fraction.
fn f8(byte: u8) -> f32 {
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f32::from(byte & 7));
    let magnitude = match exponent {
        0 => fraction / 8.0 * 2f32.powi(-6),
        _ => (1.0 + fraction / 8.0) * 2f32.powi(exponent - 7),
    };
    if byte & 0x80 == 0 { magnitude } else { -magnitude }
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Tensors of a matrix [rows, columns], and its values.
fn packed(method: &str, name: &str, rows: usize, columns: usize) -> (Vec<Entry>, Vec<f32>) {
    let seed = name.len() * 7919 + name.bytes().map(usize::from).sum::<usize>() * 31;
    let stem = name.strip_suffix(".weight").unwrap();
    let entry = |end: &str, shape: Vec<usize>, dtype: &str, bytes| Entry {
        name: format!("{stem}.{end}"),
        shape,
        dtype: dtype.to_owned(),
        bytes,
    };
    let scale = |place: usize| (1.0 + number(seed + place, 8) as f32 / 8.0) / 128.0;
    if method.starts_with("fp8") || method == "int8" {
        let fp8 = method.starts_with("fp8");
        let block = if method == "fp8 blocks" { [24, 40] } else { [1, columns] };
        let [down, across] = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
        // Floats up to 15, the subnormal ones among them.
        let byte = |i: usize| number(seed + i, 88) as u8 | (number(seed + 3 * i, 2) as u8) << 7;
        let codes: Vec<u8> = (0..rows * columns)
            .map(|i| if fp8 { byte(i) } else { number(seed + i, 256) as u8 })
            .collect();
        let size = if fp8 { 1.0 } else { 1.0 / 16.0 };
        let scales: Vec<f32> = (0..down * across).map(|place| scale(place) * size).collect();
        let value = |i: usize| {
            let place = i / columns / block[0] * across + i % columns / block[1];
            scales[place] * if fp8 { f8(codes[i]) } else { f32::from(codes[i] as i8) }
        };
        let values = (0..rows * columns).map(value).collect();
        let end = if method == "fp8 blocks" { "weight_scale_inv" } else { "weight_scale" };
        let dtype = if fp8 { "F8_E4M3" } else { "I8" };
        let tensors = vec![
            entry("weight", vec![rows, columns], dtype, codes),
            entry(end, vec![down, across], "F32", floats(&scales)),
            entry("input_scale", vec![1], "F32", floats(&[0.5])),
        ];
        return (tensors, values);
    }
    let (awq, ordered) = (method == "awq", method == "gptq ordered");
    let groups = columns / GROUP;
    let code = |row: usize, column: usize| number(seed + row * columns + column, 16) as u32;
    let zero = |group: usize, row: usize| number(seed + 5 * row + group, 15) as u32;
    let group_of = |column: usize| match ordered {
        true => (column * 7 + column / 5) % groups,
        false => column / GROUP,
    };
    // The first output of a word of AWQ is in its lowest bits, the second in bits 16 to 19.
    let nibble = |row: usize| if awq { [0, 4, 1, 5, 2, 6, 3, 7][row % 8] } else { row % 8 };
    let mut codes = vec![0u32; rows * columns / 8];
    let mut zeros = vec![0u32; groups * rows / 8];
    for row in 0..rows {
        for column in 0..columns {
            let (place, shift) = match awq {
                true => (column * (rows / 8) + row / 8, nibble(row)),
                false => (column / 8 * rows + row, column % 8),
            };
            codes[place] |= code(row, column) << (4 * shift);
        }
        for group in 0..groups {
            zeros[group * (rows / 8) + row / 8] |= zero(group, row) << (4 * nibble(row));
        }
    }
    let scales: Vec<f32> = (0..groups * rows).map(|place| scale(place) / 4.0).collect();
    // GPTQ stores zeros less 1.
    let more = if awq { 0.0 } else { 1.0 };
    let value = |i: usize| {
        let (row, column) = (i / columns, i % columns);
        let group = group_of(column);
        let steps = code(row, column) as f32 - zero(group, row) as f32 - more;
        scales[group * rows + row] * steps
    };
    let values = (0..rows * columns).map(value).collect();
    let shape = if awq { vec![columns, rows / 8] } else { vec![columns / 8, rows] };
    let order: Vec<u32> = (0..columns).map(|column| group_of(column) as u32).collect();
    let mut tensors = vec![
        entry("qweight", shape, "I32", words(&codes)),
        entry("qzeros", vec![groups, rows / 8], "I32", words(&zeros)),
        entry("scales", vec![groups, rows], "F32", floats(&scales)),
    ];
    if !awq {
        tensors.push(entry("g_idx", vec![columns], "I32", words(&order)));
    }
    (tensors, values)
}

/// A tiny model in a method, and the same in floats.
struct Pair {
    packed: TempDir,
    plain: TempDir,
}

fn pair(method: &Method, change: impl FnOnce(&mut Vec<Entry>)) -> Pair {
    let tiny = Tiny { tensor_type: TensorType::F32, sharpness: 1.0, ..Tiny::default() };
    let pair = Pair { packed: TempDir::new().unwrap(), plain: TempDir::new().unwrap() };
    let paths = [pair.packed.path(), pair.plain.path()];
    paths.iter().for_each(|path| tiny.write_folder(path, 1).unwrap());
    let file = |path: &Path| path.join("model.safetensors");
    let (mut packed_entries, mut plain_entries) = (Vec::new(), Vec::new());
    for entry in read(&std::fs::read(file(paths[0])).unwrap()) {
        match *entry.shape.as_slice() {
            [rows, columns] if entry.name.contains(".layers.") => {
                let (tensors, values) = packed(method.name, &entry.name, rows, columns);
                packed_entries.extend(tensors);
                plain_entries.push(Entry { bytes: floats(&values), ..entry });
            }
            _ => {
                packed_entries.push(entry.clone());
                plain_entries.push(entry);
            }
        }
    }
    change(&mut packed_entries);
    std::fs::write(file(paths[0]), write(&packed_entries)).unwrap();
    std::fs::write(file(paths[1]), write(&plain_entries)).unwrap();
    let path = paths[0].join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["quantization_config"] = method.config.clone();
    std::fs::write(path, config.to_string()).unwrap();
    pair
}

fn load(checkpoint: &Checkpoint) -> CpuModel {
    let pool = Arc::new(Pool::new(NonZeroUsize::new(2).unwrap()).unwrap());
    CpuModel::load(checkpoint, &LoadOptions::new(pool), &mut |_| {}).unwrap()
}

fn logits(model: &CpuModel) -> Vec<f32> {
    let tokens: Vec<u32> = (0..20).map(|i| (i * 29 + 3) % 250).collect();
    let (mut logits, mut cache) = (Logits::new(), model.new_cache().unwrap());
    model.forward(&mut [Feed::new(&mut cache, &tokens, tokens.len())], &mut logits).unwrap();
    (0..tokens.len()).flat_map(|row| logits.row(row).to_vec()).collect()
}

#[test]
fn values_are_those_that_the_layouts_define() {
    for method in methods() {
        let pair = pair(&method, |_| {});
        let (packed, plain) = (
            Checkpoint::open(pair.packed.path()).unwrap(),
            Checkpoint::open(pair.plain.path()).unwrap(),
        );
        let mut matrices = 0;
        for tensor in plain.contents().filter(|tensor| tensor.shape().len() == 2) {
            let ours = packed.stored(tensor.name()).unwrap();
            assert_eq!(ours.shape(), tensor.shape());
            if matches!(ours, Stored::Packed(_)) {
                matrices += 1;
                let in_memory = WeightType::File(method.in_memory);
                assert_eq!(ours.weight_type(), in_memory, "{}", method.name);
            }
            let columns = tensor.shape()[0];
            let (mut a, mut b) = (vec![0.0; columns], vec![0.0; columns]);
            for row in 0..tensor.shape()[1] {
                ours.read(row, &mut a).unwrap();
                tensor.read(row, &mut b).unwrap();
                assert_eq!(a, b, "{}, {} row {row}", method.name, tensor.name());
            }
        }
        assert_eq!(matrices, 14, "{}", method.name);
    }
}

#[test]
fn a_packed_model_says_what_the_same_model_says_in_floats_and_conforms() {
    for method in methods() {
        let pair = pair(&method, |_| {});
        let ours = load(&Checkpoint::open(pair.packed.path()).unwrap());
        let theirs = logits(&load(&Checkpoint::open(pair.plain.path()).unwrap()));
        let got = logits(&ours);
        let size = theirs.iter().map(|x| x * x).sum::<f32>().sqrt();
        let error = got.iter().zip(&theirs).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        // With integers in memory, activations are rounded to 8 bits.
        let bound = if method.in_memory == TensorType::F16 { 3e-3 } else { 6e-2 };
        assert!(error < bound * size, "{}: {}", method.name, error / size);
        check_model(&ours).unwrap_or_else(|broken| panic!("{}: {broken}", method.name));
    }
}

#[test]
fn what_is_missing_or_contradicts_itself_is_named() {
    let refusal = |number: usize, change: &dyn Fn(&mut Vec<Entry>)| {
        let pair = pair(&methods()[number], change);
        Checkpoint::open(pair.packed.path()).unwrap_err().to_string()
    };
    let remove = |end: &'static str| {
        move |entries: &mut Vec<Entry>| {
            let at = entries.iter().position(|entry| entry.name.ends_with(end)).unwrap();
            entries.remove(at);
        }
    };
    let shorten = |end: &'static str, size: usize| {
        move |entries: &mut Vec<Entry>| {
            let entry = entries.iter_mut().find(|entry| entry.name.ends_with(end)).unwrap();
            entry.shape[0] -= 1;
            let bytes = entry.shape.iter().product::<usize>() * size;
            entry.bytes.truncate(bytes);
        }
    };
    for (number, end) in [(0, "weight_scale_inv"), (3, "qzeros"), (3, "scales"), (5, "qweight")] {
        let text = refusal(number, &remove(end));
        assert!(text.contains(end) || text.contains("weight_scale"), "{text}");
    }
    for (number, end) in [(0, "weight_scale_inv"), (3, "qzeros"), (3, "g_idx"), (5, "qzeros")] {
        let text = refusal(number, &shorten(end, 4));
        assert!(text.contains(end) && text.contains("shape"), "{text}");
    }
    let wild = |entries: &mut Vec<Entry>| {
        let entry = entries.iter_mut().find(|entry| entry.name.ends_with("g_idx")).unwrap();
        entry.bytes[..4].copy_from_slice(&(-1i32).to_le_bytes());
    };
    assert!(refusal(3, &wild).contains("numbers of groups"));
}
