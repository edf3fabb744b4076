//! A folder's blueprint as metadata.

use super::ConvertError;
use crate::{
    checkpoint::Folder,
    config::{Biases, Config, Pairs, Quantization, Rope, Sliding},
    gguf::{Gguf, Value, Writer},
};

/// The keys of a folder's blueprint. They are read again and compared before they are given out, so
/// that a fact that got lost on the way is an error.
pub(super) fn keys(folder: &Folder) -> Result<Vec<(String, Value)>, ConvertError> {
    let config = folder.config();
    let architecture = config.architecture.as_str();
    let cannot = |what: &str| ConvertError::Blueprint {
        folder: folder.path().to_owned(),
        architecture: architecture.to_owned(),
        what: what.to_owned(),
    };
    let expected = expected(config);
    let mut keys: Vec<(String, Value)> = vec![("general.architecture".into(), architecture.into())];
    if let Some(name) = folder.path().file_name() {
        keys.push(("general.name".into(), name.to_string_lossy().into_owned().into()));
    }
    let mut say = |name: &str, value: Value| keys.push((format!("{architecture}.{name}"), value));
    for (name, size) in [
        ("block_count", config.layers),
        ("context_length", expected.context_length),
        ("embedding_length", config.hidden),
        ("feed_forward_length", config.feed_forward),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.rope.dim),
    ] {
        say(name, u32::try_from(size).map_err(|_| cannot(&format!("{name} = {size}")))?.into());
    }
    say("attention.layer_norm_rms_epsilon", config.epsilon.into());
    say("rope.freq_base", config.rope.base.into());
    for (name, value) in rope_keys(&config.rope) {
        say(name, value);
    }
    // Of Gemma's sizes one has a scale that readers know by its number of layers.
    let gemma = config.family().gemma;
    if gemma || config.attention_scale != 1.0 / (config.head_dim as f32).sqrt() {
        say("attention.scale", config.attention_scale.into());
    }
    // Of Gemma 2, readers take their own caps where the file says nothing.
    let usual = (architecture == "gemma2").then_some(0.0);
    for (name, number) in [
        ("attn_logit_softcapping", config.attention_cap.or(usual)),
        ("final_logit_softcapping", config.logit_cap.or(usual)),
        ("attention.temperature_scale", config.query_growth.map(|growth| growth.rate)),
        ("residual_scale", Some(config.residual_scale).filter(|&scale| scale != 1.0)),
        ("embedding_scale", Some(config.embedding_scale).filter(|&x| x != 1.0 && !gemma)),
        ("logit_scale", Some(1.0 / config.logit_scale).filter(|&scale| scale != 1.0)),
    ] {
        if let Some(number) = number {
            say(name, number.into());
        }
    }
    if let Some(Sliding { window, layers, rope }) = &expected.sliding {
        say(
            "attention.sliding_window",
            u32::try_from(*window).map_err(|_| cannot("so wide a window"))?.into(),
        );
        if gemma {
            // Of a model that has fewer layers than the pattern is long, none sees everything.
            let pattern = layers.iter().position(|slides| !slides).unwrap_or(layers.len());
            say("attention.sliding_window_pattern", (pattern as u32 + 1).into());
        } else if architecture != "phi3" {
            say("attention.sliding_window_pattern", layers.clone().into());
        }
        if architecture != "phi3" {
            say("rope.freq_base_swa", rope.base.into());
        }
    }
    let read = read_again(&keys).map_err(|why| cannot(&why))?;
    match difference(&read, &expected) {
        None => Ok(keys),
        Some(what) => Err(cannot(&what)),
    }
}

/// How a rotary embedding is stretched.
fn rope_keys(rope: &Rope) -> Vec<(&'static str, Value)> {
    let mut keys: Vec<(&str, Value)> = Vec::new();
    let context = |context: usize| Value::from(u32::try_from(context).unwrap_or(u32::MAX));
    if rope.linear_factor != 1.0 {
        keys.push(("rope.scaling.type", "linear".into()));
        keys.push(("rope.scaling.factor", rope.linear_factor.into()));
    }
    if let Some(yarn) = &rope.yarn {
        keys.extend([
            ("rope.scaling.type", "yarn".into()),
            ("rope.scaling.factor", yarn.factor.into()),
            ("rope.scaling.original_context_length", context(yarn.context)),
            ("rope.scaling.yarn_beta_fast", yarn.fast.into()),
            ("rope.scaling.yarn_beta_slow", yarn.slow.into()),
            ("rope.scaling.yarn_attn_factor", rope.attention_factor.into()),
        ]);
    }
    if let Some(long) = &rope.long {
        keys.extend([
            ("rope.scaling.type", "longrope".into()),
            ("rope.scaling.original_context_length", context(long.context)),
            ("rope.scaling.attn_factor", rope.attention_factor.into()),
        ]);
    }
    keys
}

/// What reading the keys must give: the folder's blueprint, with what GGUF keeps elsewhere where it
/// keeps it.
fn expected(config: &Config) -> Config {
    let mut expected = config.clone();
    // The converter turns the pairs, adds the 1 to the norms, and writes the factors as tensors.
    let family = config.family();
    let as_tensors = |rope: &mut Rope| {
        rope.interleaved = family.pairs != Pairs::Halves;
        rope.factors = Vec::new();
        if let Some(long) = &mut rope.long {
            long.factors = Vec::new();
        }
    };
    as_tensors(&mut expected.rope);
    expected.quantization = Quantization::None;
    expected.norm_offset = 0.0;
    (expected.tied, expected.vocab_size) = (None, None);
    expected.biases = Biases {
        query_key_value: config.biases.query_key_value.filter(|_| family.biases),
        ..Biases::default()
    };
    match &mut expected.sliding {
        // Of other families, files have no windows. Up to the window's length it makes no
        // difference, so that is how long a context may be.
        Some(sliding) if !family.has_windows() => {
            expected.context_length = config.context_length.min(sliding.window);
            expected.sliding = None;
        }
        Some(sliding) => as_tensors(&mut sliding.rope),
        None => {}
    }
    expected
}

fn read_again(keys: &[(String, Value)]) -> Result<Config, String> {
    let mut writer = Writer::new();
    for (key, value) in keys {
        writer.set(key.clone(), value.clone());
    }
    let file = writer.to_bytes().and_then(Gguf::from_bytes).map_err(|error| error.to_string())?;
    Config::from_metadata(file.metadata()).map_err(|error| error.to_string())
}

/// The first thing in which two blueprints differ.
fn difference(read: &Config, expected: &Config) -> Option<String> {
    if read == expected {
        return None;
    }
    let what = match () {
        () if read.sliding != expected.sliding => {
            "which layers have a window, and how their positions turn"
        }
        () if read.rope != expected.rope => "how its positions turn",
        () if read.attention_scale != expected.attention_scale => "how its queries are scaled",
        () => "all of its config.json",
    };
    Some(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::Checkpoint, quant::TensorType, tiny::Tiny};

    fn keys_of(
        tiny: &Tiny,
        change: impl FnOnce(&mut serde_json::Value),
    ) -> Result<Config, ConvertError> {
        let place = tempfile::tempdir().expect("a folder");
        tiny.write_folder(place.path(), 1).expect("written");
        let path = place.path().join("config.json");
        let mut value =
            serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
        change(&mut value);
        std::fs::write(&path, value.to_string()).expect("written");
        let Checkpoint::Folder(folder) = Checkpoint::open(place.path()).expect("a model") else {
            unreachable!()
        };
        keys(&folder).map(|keys| read_again(&keys).expect("as it was checked"))
    }

    fn tiny(architecture: &'static str) -> Tiny {
        let biases = architecture == "qwen2";
        Tiny { architecture, biases, tensor_type: TensorType::F32, layers: 7, ..Tiny::default() }
    }

    #[test]
    fn every_family_says_in_keys_what_its_folder_says() {
        for architecture in ["llama", "qwen2", "qwen3", "gemma3"] {
            keys_of(&tiny(architecture), |_| {}).expect(architecture);
        }
        let scaled = |config: &mut serde_json::Value| {
            config["rope_scaling"] = serde_json::json!({"rope_type": "linear", "factor": 4.0});
        };
        assert_eq!(
            keys_of(&tiny("qwen3"), scaled).expect("a key of its own").rope.linear_factor,
            4.0
        );
        let scalar = |config: &mut serde_json::Value| config["query_pre_attn_scalar"] = 64.into();
        assert_eq!(
            keys_of(&tiny("gemma3"), scalar).expect("a key of its own").attention_scale,
            0.125
        );
    }

    #[test]
    fn a_window_that_no_key_can_say_becomes_the_longest_context() {
        let window = |config: &mut serde_json::Value| {
            config["model_type"] = "mistral".into();
            config["sliding_window"] = 40.into();
        };
        let config = keys_of(&tiny("llama"), window).expect("exact so far");
        assert_eq!((config.context_length, config.sliding), (40, None));
    }

    #[test]
    fn layers_with_windows_out_of_pattern_are_refused() {
        let types = ["sliding_attention", "full_attention", "full_attention"];
        let error = keys_of(&tiny("gemma3"), |config| {
            config["layer_types"] = (0..7).map(|layer| types[layer % 3]).collect();
        });
        assert!(error.expect_err("no key").to_string().contains("which layers have a window"));
    }
}
