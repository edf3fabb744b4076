//! Blueprints that are whole, and those that are not.

use serde_json::{Value, json};

use super::{Activation, Config, ConfigError, Group, Quantization, QueryKeyNorm};
use crate::{
    gguf::{self, Gguf},
    tiny::Tiny,
};

fn qwen3() -> Value {
    json!({
        "model_type": "qwen3", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "hidden_act": "silu",
        "rope_theta": 1e6, "sliding_window": null, "use_sliding_window": false, "vocab_size": 300,
    })
}

fn gemma3() -> Value {
    json!({
        "architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "vision_config": {"hidden_size": 1152},
        "text_config": {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
    })
}

fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}

#[test]
fn a_folder_and_its_defaults_become_one_blueprint() {
    let config = Config::from_json(&qwen3()).unwrap();
    assert_eq!((config.architecture.as_str(), config.head_dim, config.group()), ("qwen3", 32, 2));
    assert!(
        config.query_key_norm == Some(QueryKeyNorm::PerHead)
            && !config.post_norms
            && config.sliding.is_none()
            && !config.rope.interleaved
    );
    assert_eq!(
        (config.tied, config.vocab_size, config.attention_scale),
        (Some(false), Some(300), 1.0 / 32f32.sqrt())
    );

    // As the published 4B says it: what it leaves out are the library's defaults.
    let config = Config::from_json(&gemma3()).unwrap();
    assert_eq!((config.heads, config.kv_heads, config.head_dim), (8, 4, 256));
    assert_eq!((config.rope.base, config.rope.linear_factor), (1e6, 8.0));
    let sliding = config.sliding.as_ref().unwrap();
    assert_eq!((sliding.window, sliding.rope.base, sliding.rope.linear_factor), (1024, 1e4, 1.0));
    let global: Vec<usize> = (0..34).filter(|&layer| !config.slides(layer)).collect();
    assert_eq!(global, [5, 11, 17, 23, 29]);
    assert_eq!(
        (config.activation, config.norm_offset, config.tied),
        (Activation::Gelu, 1.0, Some(true))
    );
}

#[test]
fn both_spellings_of_the_rotary_embedding_mean_the_same() {
    let old = with(gemma3()["text_config"].clone(), "rope_local_base_freq", json!(5e3));
    let mut new = gemma3()["text_config"].clone();
    new.as_object_mut().unwrap().remove("rope_scaling");
    new["rope_parameters"] = json!({
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 5e3},
    });
    assert_eq!(Config::from_json(&old).unwrap(), Config::from_json(&new).unwrap());
}

#[test]
fn what_is_missing_is_named() {
    for key in [
        "model_type",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "rms_norm_eps",
        "max_position_embeddings",
    ] {
        let mut config = qwen3();
        config.as_object_mut().unwrap().remove(key);
        let error = Config::from_json(&config).unwrap_err();
        assert!(matches!(&error, ConfigError::Missing(name) if name == key), "{key}: {error}");
    }
}

#[test]
fn what_contradicts_itself_or_is_not_supported_is_named() {
    let cases = [
        ("model_type", json!("mamba"), "llama, mistral, ministral, mistral3, qwen2, qwen3, gemma3"),
        ("num_key_value_heads", json!(3), "a divisor of 4"),
        ("head_dim", json!(0), "1 to 65536"),
        ("hidden_size", json!(0), "1 to"),
        ("hidden_size", json!(-5), "a whole number"),
        ("hidden_size", json!("64"), "a whole number"),
        ("num_hidden_layers", json!(1_000_000_000_000u64), "1 to"),
        ("rms_norm_eps", json!(0.0), "a positive number"),
        ("rope_theta", json!(-1.0), "a positive number"),
        ("hidden_act", json!("relu"), "silu"),
        ("layer_types", json!(["full_attention"]), "2 layers"),
        ("layer_types", json!(["full_attention", "linear_attention"]), "linear_attention"),
        ("layer_types", json!(["full_attention", "sliding_attention"]), "sliding_window"),
        ("rope_scaling", json!({"rope_type": "dynamic", "factor": 4.0}), "yarn or longrope"),
        ("rope_scaling", json!({"rope_type": "longrope", "short_factor": [1.0]}), "long_factor"),
        (
            "rope_scaling",
            json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}),
            "16 factors",
        ),
        ("partial_rotary_factor", json!(1.5), "a share of a head"),
        ("rope_scaling", json!({"rope_type": "linear"}), "factor"),
        ("rope_scaling", json!({"factor": 4.0}), "or longrope beside a factor, got null"),
        ("rope_scaling", json!({"type": null, "factor": 4.0}), "beside a factor, got null"),
        ("rope_scaling", json!([1]), "an object"),
        ("quantization_config", json!({"quant_method": "gptq", "bits": 3}), "expected 4, got 3"),
        (
            "quantization_config",
            json!({"quant_method": "bitsandbytes", "load_in_8bit": true}),
            "bitsandbytes in 8 bits",
        ),
        (
            "quantization_config",
            json!({"load_in_8bit": true, "load_in_4bit": true}),
            "load_in_4bit and load_in_8bit",
        ),
        ("quantization_config", json!({"quant_method": "bitsandbytes"}), "without load_in_4bit"),
        (
            "quantization_config",
            json!({"quant_method": "awq", "load_in_4bit": true}),
            "got \"awq\"",
        ),
        ("quantization_config", json!({"quant_method": "hqq"}), "got \"hqq\""),
        ("quantization_config", json!({"quant_method": "awq", "bits": 8}), "expected 4, got 8"),
        (
            "quantization_config",
            json!({"quant_method": "fp8", "weight_block_size": [128]}),
            "two sizes",
        ),
        (
            "quantization_config",
            json!({"quant_method": "compressed-tensors", "format": "pack-quantized"}),
            "int-quantized or float-quantized",
        ),
        ("quantization_config", json!({"bits": 4}), "{\"bits\":4}"),
        ("quantization_config", json!("nf4"), "an object"),
        ("quantization_config", json!({"load_in_4bit": "yes"}), "true or false"),
        ("tie_word_embeddings", json!("yes"), "true or false"),
    ];
    for (key, value, words) in cases {
        let config = with(qwen3(), key, value.clone());
        let error = Config::from_json(&config).expect_err(&format!("{key} {value}")).to_string();
        assert!(error.contains(words), "{key} {value}: {error}");
    }
    assert!(Config::from_json(&json!([])).is_err());
}

#[test]
fn quantized_weights_change_no_other_fact_of_a_blueprint() {
    let plain = Config::from_json(&qwen3()).unwrap();
    let weights = json!({"num_bits": 8, "symmetric": true, "strategy": "channel"});
    let compressed = |format: &str| {
        json!({"quant_method": "compressed-tensors", "format": format,
            "config_groups": {"group_0": {"weights": weights}}})
    };
    let block = Some([128, 64]);
    for (method, expected) in [
        (
            json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false}),
            Quantization::FourBit,
        ),
        (json!({"load_in_4bit": true}), Quantization::FourBit),
        (
            json!({"quant_method": "fp8", "weight_block_size": [128, 64]}),
            Quantization::Fp8 { block },
        ),
        (compressed("float-quantized"), Quantization::Fp8 { block: None }),
        (compressed("int-quantized"), Quantization::Int8),
        (
            json!({"quant_method": "gptq", "bits": 4}),
            Quantization::Gptq { offset: 1, group: Group::Unsaid },
        ),
        (
            json!({"quant_method": "awq", "w_bit": 4, "q_group_size": 64, "version": "GEMM"}),
            Quantization::Awq { group: Group::Of(64) },
        ),
    ] {
        let read = Config::from_json(&with(qwen3(), "quantization_config", method)).unwrap();
        assert_eq!(read.quantization, expected);
        assert_eq!(Config { quantization: Quantization::None, ..read }, plain);
    }
}

#[test]
fn windows_count_only_where_they_are_used() {
    let window = with(qwen3(), "sliding_window", json!(16));
    assert!(Config::from_json(&window).unwrap().sliding.is_none());
    let used = with(with(window, "use_sliding_window", json!(true)), "max_window_layers", json!(1));
    assert_eq!(Config::from_json(&used).unwrap().sliding.unwrap().layers, [false, true]);
    let mut mistral =
        with(with(qwen3(), "model_type", json!("mistral")), "sliding_window", json!(16));
    mistral.as_object_mut().unwrap().remove("use_sliding_window");
    assert_eq!(Config::from_json(&mistral).unwrap().sliding.unwrap().layers, [true, true]);
}

fn metadata(more: &[(&str, gguf::Value)]) -> Result<Config, ConfigError> {
    let tiny = Tiny::default();
    let mut writer = tiny.writer().unwrap();
    for (key, value) in more {
        writer.set(*key, value.clone());
    }
    Config::from_metadata(Gguf::from_bytes(writer.to_bytes().unwrap()).unwrap().metadata())
}

#[test]
fn a_rotary_factor_counts_in_every_spelling() {
    let factor = |more: &[(&str, gguf::Value)]| metadata(more).unwrap().rope.linear_factor;
    let kind = |name: &str| ("llama.rope.scaling.type", name.into());
    let new = ("llama.rope.scaling.factor", 4f32.into());
    let old = ("llama.rope.scale_linear", 2f32.into());
    assert_eq!(factor(&[]), 1.0);
    assert_eq!(factor(&[kind("linear"), new.clone()]), 4.0);
    assert_eq!(factor(std::slice::from_ref(&new)), 4.0, "a factor without a type is linear");
    assert_eq!(factor(std::slice::from_ref(&old)), 2.0, "the old spelling");
    assert_eq!(factor(&[old, new.clone()]), 4.0);
    assert_eq!(factor(&[kind("none"), new.clone()]), 1.0);
    assert_eq!(factor(&[("llama.rope.scaling.factor", 0f32.into())]), 1.0);
    assert!(metadata(&[kind("dynamic"), new]).is_err());
}

#[test]
fn heads_that_turn_whole_may_say_so_as_any_number() {
    let plain = Config::from_json(&qwen3()).unwrap();
    for one in [json!(1), json!(1.0), Value::Null] {
        let config = Config::from_json(&with(qwen3(), "partial_rotary_factor", one)).unwrap();
        assert_eq!(config, plain);
    }
}

#[test]
fn a_file_that_holds_no_model_is_told_by_its_type() {
    let typed = |kind: &str| metadata(&[("general.type", kind.into())]);
    assert!(typed("model").is_ok());
    for kind in ["adapter", "mmproj", "imatrix"] {
        let error = typed(kind).unwrap_err().to_string();
        assert!(error.contains("general.type") && error.contains(kind), "{error}");
    }
}

#[test]
fn keys_of_the_architecture_are_known_or_refused_by_name() {
    for (key, value) in [
        ("llama.vocab_size", 267u32.into()),
        ("llama.expert_count", 0u32.into()),
        ("llama.attention.causal", true.into()),
        ("llama.attention.sliding_window", 4096u32.into()),
        ("llama.rope.scaling.original_context_length", 64u32.into()),
        ("llama.vision.block_count", 3u32.into()),
        ("general.anything", 1u32.into()),
    ] {
        let value: gguf::Value = value;
        assert!(metadata(&[(key, value)]).is_ok(), "{key}");
    }
    for (key, value) in [
        ("llama.rope.new_scaling", 2f32.into()),
        ("llama.expert_count", 8u32.into()),
        ("llama.attention.causal", false.into()),
        ("llama.attention.sliding_window", 16u32.into()),
        ("llama.attention.temperature_scale", 0.1f32.into()),
        ("llama.rope.dimension_sections", vec![8u32, 8, 8, 0].into()),
        ("llama.logit_scale", 0.5f32.into()),
        ("llama.attention.clamp_kqv", 8f32.into()),
        ("llama.residual_scale", 0.2f32.into()),
        ("llama.use_parallel_residual", true.into()),
    ] {
        let value: gguf::Value = value;
        let error = metadata(&[(key, value)]).unwrap_err().to_string();
        assert!(error.contains(key), "{error}");
    }
}
