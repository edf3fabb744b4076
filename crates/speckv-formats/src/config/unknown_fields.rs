//! No field and no key is ignored: each changes the blueprint, changes nothing, or is refused.

use serde_json::{Value, json};

use super::{Config, ConfigError, Rope};
use crate::{
    gguf::{self, Gguf},
    tiny::Tiny,
};

/// A small model of a type, without anything about its positions.
fn model(model_type: &str) -> Value {
    json!({
        "model_type": model_type, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2,
        "head_dim": 32, "rms_norm_eps": 1e-6, "max_position_embeddings": 128,
    })
}

fn with(model_type: &str, fields: &[(&str, Value)]) -> Result<Config, ConfigError> {
    let mut config = model(model_type);
    for (key, value) in fields {
        config[*key] = value.clone();
    }
    Config::from_json(&config)
}

fn rope(model_type: &str, parameters: Value) -> Result<Rope, String> {
    let read = with(model_type, &[("rope_parameters", parameters)]);
    read.map(|config| config.rope).map_err(|error| error.to_string())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(read: Result<T, impl ToString>, words: &[&str]) {
    let error = read.map_err(|error| error.to_string()).unwrap_err();
    for word in words {
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[test]
fn a_share_of_a_head_turns_in_families_that_can_and_is_refused_in_others() {
    let half = json!({"rope_type": "default", "partial_rotary_factor": 0.5});
    assert_eq!(rope("phi3", half.clone()).unwrap().dim, 16);
    assert_eq!(rope("glm4", json!({"rope_type": "default"})).unwrap().dim, 16);
    let whole = json!({"rope_type": "default", "partial_rotary_factor": 1.0});
    assert_eq!(rope("glm4", whole.clone()).unwrap().dim, 32);
    assert_eq!(rope("llama", whole).unwrap().dim, 32);
    for model_type in ["llama", "mistral", "qwen2", "qwen3", "granite", "seed_oss", "smollm3"] {
        refused(rope(model_type, half.clone()), &["partial_rotary_factor", "heads turn whole"]);
        let outside = with(model_type, &[("partial_rotary_factor", json!(0.5))]);
        refused(outside, &["partial_rotary_factor", "0.5"]);
        let old = with(model_type, &[("rope_scaling", half.clone())]);
        refused(old, &["partial_rotary_factor"]);
    }
    let inside = json!({"full_attention": half, "sliding_attention": {"rope_type": "default"}});
    let gemma = with("gemma3", &[("sliding_window", json!(16)), ("rope_parameters", inside)]);
    refused(gemma, &["partial_rotary_factor"]);
    let two = with(
        "phi3",
        &[("partial_rotary_factor", json!(0.75)), ("rope_parameters", half_of_a_head())],
    );
    refused(two, &["partial_rotary_factor", "0.75"]);
}

fn half_of_a_head() -> Value {
    json!({"rope_type": "default", "partial_rotary_factor": 0.5})
}

#[test]
fn fields_of_a_rotary_embedding_that_its_kind_does_not_have_are_refused_by_name() {
    let linear = json!({"rope_type": "linear", "factor": 2.0});
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
    let yarn = json!({"rope_type": "yarn", "type": "yarn", "factor": 4.0, "finetuned": true,
        "original_max_position_embeddings": 32, "beta_fast": null, "attn_factor": 1});
    for kind in [&json!({"rope_type": "default"}), &linear, &llama3, &yarn] {
        rope("llama", kind.clone()).unwrap();
        for (name, value) in [("unheard_of", json!(1)), ("mrope_section", json!([8, 4, 4]))] {
            let mut more = kind.clone();
            more[name] = value;
            let word = kind["rope_type"].as_str().unwrap();
            refused(rope("llama", more), &[&format!("rope_parameters.{name}"), word]);
        }
    }
    for (kind, name) in [
        (&json!({"rope_type": "default"}), "factor"),
        (&linear, "low_freq_factor"),
        (&llama3, "beta_fast"),
        (&yarn, "long_factor"),
        (&yarn, "llama_4_scaling_beta"),
    ] {
        let mut more = kind.clone();
        more[name] = json!(2.0);
        refused(rope("llama", more), &[name]);
    }
    for name in ["attn_factor", "extrapolation_factor"] {
        let mut more = yarn.clone();
        more[name] = json!(0.5);
        refused(rope("llama", more), &[name, "0.5"]);
    }
    let sections = json!({"rope_type": "default", "mrope_section": [8, 4, 4]});
    rope("qwen2_vl", sections).unwrap();
}

#[test]
fn two_descriptions_of_the_rotary_embedding_must_agree() {
    let new = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 1e6});
    let both =
        |old: Value| with("llama", &[("rope_parameters", new.clone()), ("rope_scaling", old)]);
    let alone = with("llama", &[("rope_parameters", new.clone())]).unwrap();
    for old in [Value::Null, json!({}), json!({"type": "linear", "factor": 2.0})] {
        assert_eq!(both(old).unwrap(), alone);
    }
    refused(both(json!({"type": "linear", "factor": 4.0})), &["rope_scaling.factor", "4.0"]);
    refused(both(json!({"type": "yarn", "factor": 2.0})), &["rope_scaling.type", "yarn"]);
    let lengths = json!({"rope_type": "yarn", "factor": 2.0,
        "original_max_position_embeddings": 64});
    let outside = ("original_max_position_embeddings", json!(32));
    let read = with("llama", &[("rope_parameters", lengths), outside]);
    refused(read, &["original_max_position_embeddings", "32", "64"]);
}

#[test]
fn layers_with_and_without_a_window_have_all_their_parts() {
    let window = ("sliding_window", json!(16));
    let part = json!({"rope_type": "default", "rope_theta": 1e4});
    let read =
        |parameters: Value| with("gemma3", &[window.clone(), ("rope_parameters", parameters)]);
    read(json!({"full_attention": part, "sliding_attention": part})).unwrap();
    refused(read(part.clone()), &["rope_parameters", "full_attention and sliding_attention"]);
    refused(read(json!({"full_attention": part})), &["rope_parameters.sliding_attention"]);
    let third = json!({"full_attention": part, "sliding_attention": part, "chunked": part});
    refused(read(third), &["rope_parameters.chunked"]);
    let layers = ("layer_types", json!(vec!["full_attention"; 4]));
    let parameters = ("rope_parameters", json!({"full_attention": part}));
    with("exaone4", &[layers, parameters]).unwrap();
}

#[test]
fn fields_of_other_families_are_refused_unless_they_say_nothing() {
    for (name, value) in [
        ("query_pre_attn_scalar", json!(64)),
        ("attn_logit_softcapping", json!(50.0)),
        ("embedding_multiplier", json!(12.0)),
        ("residual_multiplier", json!(0.22)),
        ("logits_scaling", json!(8.0)),
        ("attention_multiplier", json!(0.1)),
        ("no_rope_layers", json!([0, 1, 1, 1])),
        ("use_qk_norm", json!(true)),
        ("clip_qkv", json!(8.0)),
        ("num_local_experts", json!(8)),
        ("sliding_window", json!(16)),
    ] {
        refused(with("llama", &[(name, value)]), &[name]);
    }
    let plain = with("llama", &[]).unwrap();
    for (name, value) in [
        ("logits_scaling", json!(1.0)),
        ("num_experts", json!(0)),
        ("use_qk_norm", json!(false)),
        ("clip_qkv", Value::Null),
        ("attn_logit_softcapping", Value::Null),
    ] {
        assert_eq!(with("llama", &[(name, value)]).unwrap(), plain, "{name}");
    }
    let used = [("use_sliding_window", json!(true)), ("sliding_window", json!(16))];
    refused(with("smollm3", &used), &["use_sliding_window", "layer_types"]);
    for pattern in ["", "LLXG"] {
        let fields = [("sliding_window", json!(16)), ("sliding_window_pattern", json!(pattern))];
        refused(with("exaone4", &fields), &["sliding_window_pattern", "letters L and G"]);
    }
    let fields = [("sliding_window", json!(16)), ("sliding_window_pattern", json!("LLG"))];
    let sliding = with("exaone4", &fields).unwrap().sliding.unwrap();
    assert_eq!(sliding.layers, [true, true, false, false], "the last layer sees everything");
}

#[test]
fn fields_of_a_quantization_that_its_method_does_not_have_are_refused_by_name() {
    let read = |method: &Value| with("llama", &[("quantization_config", method.clone())]);
    let scheme = json!({"num_bits": 8, "type": "int", "symmetric": true, "strategy": "channel",
        "group_size": null, "dynamic": false, "actorder": null});
    let compressed = json!({"quant_method": "compressed-tensors", "format": "int-quantized",
        "ignore": ["lm_head"], "kv_cache_scheme": null, "transform_config": {},
        "sparsity_config": {"format": "dense"},
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": scheme}}});
    let gptq = json!({"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": true,
        "dynamic": {"-:.*down.*": {}}, "pack_dtype": "int32", "rotation": null});
    let methods = [
        json!({"quant_method": "bitsandbytes", "load_in_4bit": true, "llm_int8_threshold": 6.0}),
        json!({"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3"}),
        json!({"quant_method": "awq", "bits": 4, "zero_point": true, "group_size": 64}),
        gptq.clone(),
        compressed.clone(),
    ];
    for method in &methods {
        read(method).unwrap();
        let mut more = method.clone();
        more["unheard_of"] = json!(1);
        let name = method["quant_method"].as_str().unwrap();
        refused(read(&more), &["quantization_config.unheard_of", name]);
    }
    let changed = |method: &Value, path: &str, value: Value| {
        let mut more = method.clone();
        match path.rsplit_once('/') {
            None => more[path] = value,
            Some((at, key)) => more.pointer_mut(at).unwrap()[key] = value,
        }
        read(&more)
    };
    let weights = "/config_groups/group_0/weights";
    for (method, path, value, word) in [
        (&gptq, "dynamic", json!({"+:.*up.*": {"bits": 8}}), "dynamic.+:.*up.*"),
        (&gptq, "rotation", json!("hadamard"), "rotation"),
        (&gptq, "pack_dtype", json!("int64"), "pack_dtype"),
        (&gptq, "group_size", json!(0), "group_size"),
        (&methods[2], "zero_point", json!(false), "zero_point"),
        (&compressed, "kv_cache_scheme", json!({"num_bits": 8}), "kv_cache_scheme"),
        (&compressed, "transform_config", json!({"r1": {}}), "transform_config"),
        (&compressed, "sparsity_config", json!({"format": "2:4"}), "dense"),
        (&compressed, "/config_groups/group_0/format", json!("pack-quantized"), "format"),
        (&compressed, &format!("{weights}/type"), json!("float"), "8 bits of int"),
        (&compressed, &format!("{weights}/actorder"), json!("weight"), "actorder"),
        (&compressed, &format!("{weights}/group_size"), json!(128), "group_size"),
        (&compressed, &format!("{weights}/unheard_of"), json!(1), "weights.unheard_of"),
        (&compressed, "/config_groups/group_0/unheard_of", json!(1), "group_0.unheard_of"),
    ] {
        refused(changed(method, path, value), &[word]);
    }
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
fn a_kind_of_scaling_without_its_numbers_is_refused_by_the_missing_key() {
    let kind = |name: &str| ("llama.rope.scaling.type", name.into());
    let float = |name: &'static str, number: f32| (name, number.into());
    let factor = "llama.rope.scaling.factor";
    for name in ["yarn", "linear"] {
        refused(metadata(&[kind(name)]), &[factor, name]);
        assert!(metadata(&[kind(name), float(factor, 2.0)]).is_ok(), "{name}");
    }
    refused(metadata(&[kind("yarn"), float(factor, 0.0)]), &[factor, "yarn"]);
    let context = ("llama.rope.scaling.original_context_length", 64u32.into());
    refused(metadata(&[kind("longrope")]), &[context.0]);
    refused(metadata(&[kind("longrope"), context, float(factor, 2.0)]), &[factor]);
    for (key, bad, good) in [
        ("llama.rope.scaling.yarn_attn_factor", 0.5, 1.0),
        ("llama.rope.scaling.yarn_ext_factor", 1.0, -1.0),
    ] {
        refused(metadata(&[float(key, bad)]), &[key, "yarn"]);
        assert!(metadata(&[float(key, good)]).is_ok(), "{key}");
    }
}
