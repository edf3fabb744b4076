//! Tiny models in the layout of the Hugging Face libraries.

use std::{collections::BTreeMap, io, path::Path};

use serde_json::{Value, json};

use super::{CONTROL, MERGES, TEMPLATE, Tiny};
use crate::quant::{TensorType, dequantize, nf4, quantize};

impl Tiny {
    /// Writes the model that [`to_bytes`](Self::to_bytes) writes as GGUF into an existing folder:
    /// `config.json`, `tokenizer.json`, `tokenizer_config.json`, and the weights in `shards`
    /// safetensors files, with an index if they are more than one.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// If the tensor type is not F32, F16 or BF16, or for `rope_factors`, which folders have as a
    /// formula.
    pub fn write_folder(&self, folder: &Path, shards: usize) -> io::Result<()> {
        self.write(folder, shards, false)
    }

    /// As [`write_folder`](Self::write_folder), with the matrices of the layers in NF4 as
    /// bitsandbytes stores it: blocks of 64, scales as floats.
    ///
    /// # Errors
    /// The system's.
    ///
    /// # Panics
    /// As [`write_folder`](Self::write_folder), and for matrices whose rows are no multiple of 64.
    pub fn write_nf4_folder(&self, folder: &Path, shards: usize) -> io::Result<()> {
        self.write(folder, shards, true)
    }

    fn write(&self, folder: &Path, shards: usize, nf4: bool) -> io::Result<()> {
        assert!(!self.rope_factors, "the blueprint of a folder has a formula for the factors");
        let put =
            |name: &str, value: &Value| std::fs::write(folder.join(name), format!("{value:#}\n"));
        let mut config = self.config_json();
        if nf4 {
            config["quantization_config"] = json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "bnb_4bit_quant_type": "nf4"});
        }
        put("config.json", &config)?;
        put("tokenizer.json", &self.tokenizer_json())?;
        put(
            "tokenizer_config.json",
            &json!({"bos_token": CONTROL[0], "eos_token": CONTROL[2], "chat_template": TEMPLATE}),
        )?;
        let tensors: Vec<_> = self
            .values()
            .into_iter()
            .flat_map(|(name, shape, values)| {
                let four_bit = nf4 && shape.len() == 2 && name.starts_with("blk.");
                let stored = self.stored(&name, shape, values);
                if four_bit { four_bits(stored) } else { vec![stored] }
            })
            .collect();
        if shards == 1 {
            return std::fs::write(folder.join("model.safetensors"), safetensors(&tensors));
        }
        let mut placed = BTreeMap::new();
        for (number, part) in tensors.chunks(tensors.len().div_ceil(shards)).enumerate() {
            let file = format!("model-{:05}-of-{shards:05}.safetensors", number + 1);
            placed.extend(part.iter().map(|tensor| (tensor.name.clone(), file.clone())));
            std::fs::write(folder.join(&file), safetensors(part))?;
        }
        put("model.safetensors.index.json", &json!({"metadata": {}, "weight_map": placed}))
    }

    /// The tensor as a folder stores it.
    fn stored(&self, name: &str, mut shape: Vec<usize>, mut values: Vec<f32>) -> Stored {
        if self.is_gemma() && name.ends_with("norm.weight") {
            values.iter_mut().for_each(|weight| *weight -= 1.0); // exact for weights near 1
        }
        let heads = match name.rsplit_once("attn_").map(|(_, part)| part) {
            Some("q.weight" | "q.bias") => self.heads,
            Some("k.weight" | "k.bias") => self.kv_heads,
            _ => 0,
        };
        if self.architecture == "llama" && heads > 0 {
            values = halves_from_neighbours(&values, heads, self.head_dim());
        }
        let tensor_type = if shape.len() == 2 { self.tensor_type } else { TensorType::F32 };
        let mut bytes = vec![0; tensor_type.byte_len(values.len()).expect("a small tensor")];
        quantize(tensor_type, &values, &mut bytes).expect("small numbers");
        shape.reverse();
        let dtype = match tensor_type {
            TensorType::F32 => "F32",
            TensorType::F16 => "F16",
            TensorType::BF16 => "BF16",
            other => panic!("folders hold no {other}"),
        };
        Stored { name: self.spelled(name), shape, dtype, bytes }
    }

    fn spelled(&self, name: &str) -> String {
        let post_norms = self.is_gemma();
        let Some((layer, part)) = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'))
        else {
            return match name {
                "token_embd.weight" => "model.embed_tokens.weight".into(),
                "output_norm.weight" => "model.norm.weight".into(),
                _ => "lm_head.weight".into(),
            };
        };
        let (stem, kind) = part.rsplit_once('.').unwrap_or((part, "weight"));
        let stem = match stem {
            "attn_norm" => "input_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "attn_q_norm" => "self_attn.q_norm",
            "attn_k_norm" => "self_attn.k_norm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            "ffn_norm" if post_norms => "pre_feedforward_layernorm",
            "ffn_norm" | "post_attention_norm" => "post_attention_layernorm",
            _ => "post_feedforward_layernorm",
        };
        format!("model.layers.{layer}.{stem}.{kind}")
    }

    fn config_json(&self) -> Value {
        let mut config = json!({
            "model_type": if self.is_gemma() { "gemma3_text" } else { self.architecture },
            "hidden_size": self.hidden, "intermediate_size": self.feed_forward, "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads, "num_key_value_heads": self.kv_heads, "head_dim": self.head_dim(),
            "rms_norm_eps": 1e-5, "max_position_embeddings": self.context_length, "rope_theta": 10_000.0,
            "tie_word_embeddings": self.tied, "vocab_size": self.vocab_size,
        });
        if self.feed_forward_biases {
            config["mlp_bias"] = json!(true);
        }
        if self.architecture != "qwen2" {
            config["attention_bias"] = json!(self.biases);
        }
        if self.is_gemma() {
            config["query_pre_attn_scalar"] = json!(self.head_dim());
            config["sliding_window"] = json!(self.window);
        }
        config
    }

    fn tokenizer_json(&self) -> Value {
        let (tokens, types) = self.tokens();
        let vocabulary: BTreeMap<&String, usize> = tokens.iter().zip(0..).collect();
        let added: Vec<Value> = tokens
            .iter()
            .zip(&types)
            .enumerate()
            .filter(|(_, (_, kind))| **kind != 1)
            .map(|(id, (text, kind))| {
                json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": *kind == 3})
            })
            .collect();
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": true});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
                "merges": MERGES.map(|(a, b)| format!("{a} {b}"))},
        })
    }
}

struct Stored {
    name: String,
    shape: Vec<usize>,
    dtype: &'static str,
    bytes: Vec<u8>,
}

/// A matrix and its companions in bitsandbytes' NF4; see [`crate::quant::bitsandbytes`].
fn four_bits(Stored { name, shape, dtype, bytes }: Stored) -> Vec<Stored> {
    let tensor_type = match dtype {
        "F32" => TensorType::F32,
        "F16" => TensorType::F16,
        _ => TensorType::BF16,
    };
    let mut values = vec![0.0; shape.iter().product()];
    dequantize(tensor_type, &bytes, &mut values).expect("as they were written");
    assert!(shape[1].is_multiple_of(nf4::LEN), "rows of whole blocks, got {shape:?}");
    let blocks: Vec<nf4::Block> = values.as_chunks().0.iter().map(nf4::quantize).collect();
    let floats = |values: &mut dyn Iterator<Item = f32>| {
        values.flat_map(f32::to_le_bytes).collect::<Vec<u8>>()
    };
    let codes: Vec<u8> = blocks
        .iter()
        .flat_map(|block| block.q.as_chunks().0.iter().map(|[a, b]| a << 4 | b))
        .collect();
    let state =
        json!({"quant_type": "nf4", "blocksize": nf4::LEN, "dtype": "float32", "shape": shape})
            .to_string();
    let part = |end: &str, dtype: &'static str, shape: Vec<usize>, bytes| Stored {
        name: format!("{name}{end}"),
        shape,
        dtype,
        bytes,
    };
    vec![
        part("", "U8", vec![codes.len(), 1], codes),
        part(
            ".absmax",
            "F32",
            vec![blocks.len()],
            floats(&mut blocks.iter().map(|block| block.absmax)),
        ),
        part(".quant_map", "F32", vec![16], floats(&mut nf4::LEVELS.into_iter())),
        part(".quant_state.bitsandbytes__nf4", "U8", vec![state.len()], state.into_bytes()),
    ]
}

/// A file with these tensors.
fn safetensors(tensors: &[Stored]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data: Vec<u8> = Vec::new();
    for Stored { name, shape, dtype, bytes } in tensors {
        let start = data.len();
        data.extend(bytes);
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [start, data.len()]}),
        );
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.into_bytes());
    file.extend(data);
    file
}

/// Rows of heads whose rotary pairs are neighbours, `(2i, 2i + 1)`, in the order in which pairs are
/// halves, `(i, i + head_dim / 2)`: what the converter to GGUF does to llama, backwards.
fn halves_from_neighbours(values: &[f32], heads: usize, head_dim: usize) -> Vec<f32> {
    let columns = values.len() / (heads * head_dim);
    let row = |row: usize| &values[row * columns..(row + 1) * columns];
    let place = |i: usize| if i < head_dim / 2 { 2 * i } else { 2 * (i - head_dim / 2) + 1 };
    (0..heads)
        .flat_map(|head| {
            (0..head_dim).flat_map(move |i| row(head * head_dim + place(i)).iter().copied())
        })
        .collect()
}
