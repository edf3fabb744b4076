//! A model file with an adapter merged into it says `W + scale * B A`, whatever the adapter's
//! layout.

use std::{fs, path::Path, sync::Arc};

use speckv_formats::{
    checkpoint::{Adapter, Checkpoint},
    compression::Compression,
    gguf::Gguf,
    quant::{TensorType, dequantize},
    requantize::requantize_with,
    tiny::Tiny,
};

const RANK: usize = 3;
const ALPHA: f32 = 6.0;

/// A safetensors file of float32 tensors.
fn safetensors(path: &Path, metadata: &str, tensors: &[(String, [usize; 2], Vec<f32>)]) {
    let (mut header, mut data) = (format!("{{\"__metadata__\":{metadata}"), Vec::new());
    for (name, [rows, columns], values) in tensors {
        let start = data.len();
        data.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        header += &format!(
            ",\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{rows},{columns}],\"data_offsets\":[{start},{}]}}",
            data.len()
        );
    }
    header += "}";
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.extend(data);
    fs::write(path, bytes).expect("written");
}

fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 101) % 64) as f32 / 64.0 - 0.5).collect()
}

fn tiny(architecture: &'static str) -> Tiny {
    let biases = architecture == "qwen2";
    Tiny { architecture, biases, tensor_type: TensorType::F32, ..Tiny::default() }
}

/// All values of a matrix, `[out][in]`.
fn matrix(file: &Gguf, name: &str) -> Vec<Vec<f32>> {
    let tensor = file.tensor(name).expect(name);
    let (columns, rows) = (tensor.info.shape[0], tensor.info.shape[1]);
    let mut values = vec![0.0; columns * rows];
    dequantize(tensor.info.tensor_type, tensor.bytes, &mut values).expect("values");
    values.chunks(columns).map(<[f32]>::to_vec).collect()
}

fn merged(model: &Checkpoint, adapter: &Path, place: &Path) -> Gguf {
    let adapter = Adapter::open(adapter).expect("an adapter");
    let path = place.join("merged.gguf");
    let asis = Compression::AsIs;
    requantize_with(model, Some(&adapter), asis, 2, &path, &mut |_, _| true).expect("merged");
    Gguf::from_bytes(fs::read(&path).expect("a file")).expect("a GGUF file")
}

/// `b a` of a part: `a` is numbers of seed 1, `b` of seed 2.
fn product(row: usize, column: usize, columns: usize, rows: usize) -> f32 {
    let (a, b) = (numbers(RANK * columns, 1), numbers(rows * RANK, 2));
    (0..RANK).map(|r| b[row * RANK + r] * a[r * columns + column]).sum()
}

#[test]
fn a_file_with_names_of_gguf_is_added_and_masks_take_their_rows() {
    let place = tempfile::tempdir().expect("a folder");
    let file = Gguf::from_bytes(tiny("qwen2").to_bytes().expect("a model")).expect("a GGUF file");
    let file = Arc::new(file);
    let shape = file.tensor("blk.1.ffn_up.weight").expect("a matrix").info.shape.clone();
    let (columns, rows) = (shape[0], shape[1]);
    let path = place.path().join("adapter.safetensors");
    let masks = numbers(2 * columns, 9);
    safetensors(
        &path,
        &format!("{{\"alpha\":\"{ALPHA}\",\"mask_id\":\"5\"}}"),
        &[
            ("mask_embeddings".into(), [2, columns], masks.clone()),
            ("blk.1.ffn_up.lora_a".into(), [RANK, columns], numbers(RANK * columns, 1)),
            ("blk.1.ffn_up.lora_b".into(), [rows, RANK], numbers(rows * RANK, 2)),
        ],
    );
    let made = merged(&(&file).into(), &path, place.path());
    let (before, after) =
        (matrix(&file, "blk.1.ffn_up.weight"), matrix(&made, "blk.1.ffn_up.weight"));
    for (row, (before, after)) in before.iter().zip(&after).enumerate() {
        for (column, (before, after)) in before.iter().zip(after).enumerate() {
            let expected = before + ALPHA / RANK as f32 * product(row, column, columns, rows);
            assert!((expected - after).abs() < 1e-5, "{row} {column}: {after}, not {expected}");
        }
    }
    let (before, after) = (matrix(&file, "token_embd.weight"), matrix(&made, "token_embd.weight"));
    for (token, (before, after)) in before.iter().zip(&after).enumerate() {
        match token {
            5 | 6 => assert_eq!(after[..], masks[(token - 5) * columns..(token - 4) * columns]),
            _ => assert_eq!(before, after),
        }
    }
    assert_eq!(matrix(&file, "blk.0.ffn_up.weight"), matrix(&made, "blk.0.ffn_up.weight"));
    assert_eq!(Checkpoint::from(Arc::new(made)).mask_tokens().expect("masks"), [5, 6]);
}

#[test]
fn a_peft_folder_is_added_to_a_folder_and_to_its_file_alike() {
    for architecture in ["llama", "qwen2", "qwen3"] {
        let place = tempfile::tempdir().expect("a folder");
        let model = place.path().join("model");
        fs::create_dir(&model).expect("a folder");
        tiny(architecture).write_folder(&model, 1).expect("written");
        let folder = Checkpoint::open(&model).expect("a model");
        let shape = folder.stored("blk.0.attn_q.weight").expect("a matrix");
        let shape = speckv_formats::quant::Rows::shape(&shape).to_vec();
        let (columns, rows) = (shape[0], shape[1]);
        let adapter = place.path().join("adapter");
        fs::create_dir(&adapter).expect("a folder");
        let config = format!("{{\"peft_type\":\"LORA\",\"lora_alpha\":{ALPHA},\"bias\":\"none\"}}");
        fs::write(adapter.join("adapter_config.json"), config).expect("written");
        let name = |part: &str| {
            format!("base_model.model.model.layers.0.self_attn.q_proj.lora_{part}.weight")
        };
        safetensors(
            &adapter.join("adapter_model.safetensors"),
            "{}",
            &[
                (name("A"), [RANK, columns], numbers(RANK * columns, 1)),
                (name("B"), [rows, RANK], numbers(rows * RANK, 2)),
            ],
        );
        let plain = place.path().join("plain.gguf");
        requantize_with(&folder, None, Compression::AsIs, 1, &plain, &mut |_, _| true)
            .expect("a file");
        let plain = Gguf::from_bytes(fs::read(&plain).expect("a file")).expect("a GGUF file");
        let plain = Arc::new(plain);
        let of_folder = matrix(&merged(&folder, &adapter, place.path()), "blk.0.attn_q.weight");
        let of_file =
            matrix(&merged(&(&plain).into(), &adapter, place.path()), "blk.0.attn_q.weight");
        assert_eq!(of_folder, of_file, "{architecture}");
        // The rows of the llama family have another order in a file; their sums do not.
        let added = |row: usize| {
            (0..columns).map(|column| product(row, column, columns, rows)).sum::<f32>()
        };
        let before: f32 = matrix(&plain, "blk.0.attn_q.weight").iter().flatten().sum();
        let after: f32 = of_file.iter().flatten().sum();
        let expected = ALPHA / RANK as f32 * (0..rows).map(added).sum::<f32>();
        assert!((after - before - expected).abs() < 1e-2, "{architecture}: {after} {before}");
    }
}

#[test]
fn adapters_of_another_model_and_of_another_kind_are_refused() {
    let place = tempfile::tempdir().expect("a folder");
    let path = place.path().join("adapter.safetensors");
    let model = Gguf::from_bytes(tiny("qwen2").to_bytes().expect("a model")).expect("a GGUF file");
    let model = Checkpoint::from(Arc::new(model));
    let alpha = "{\"alpha\":\"2\"}";
    let a = |name: &str| (format!("{name}.lora_a"), [1, 4], numbers(4, 1));
    let b = |name: &str| (format!("{name}.lora_b"), [4, 1], numbers(4, 1));
    let refused = |metadata: &str, tensors: &[(String, [usize; 2], Vec<f32>)]| {
        safetensors(&path, metadata, tensors);
        let opened = Adapter::open(&path).and_then(|adapter| adapter.check(&model));
        opened.expect_err("does not fit").to_string()
    };
    let name = "blk.0.ffn_up";
    for (metadata, tensors, expected) in [
        ("{}", vec![a(name), b(name)], "alpha"),
        (alpha, vec![a(name)], "[rank, in]"),
        (alpha, vec![a(name), b(name)], "of which the model has"),
        (alpha, vec![a("blk.77.ffn_up"), b("blk.77.ffn_up")], "of which the model has []"),
        (alpha, vec![("blk.0.ffn_up.weight".into(), [1, 1], vec![1.0])], "no part of a LoRA"),
        (alpha, vec![("mask_embeddings".into(), [1, 4], numbers(4, 1))], "mask_id"),
    ] {
        let error = refused(metadata, &tensors);
        assert!(error.contains(expected), "{error}");
    }
}
