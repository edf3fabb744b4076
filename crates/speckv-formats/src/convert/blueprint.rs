//! A folder's blueprint as metadata.

use super::ConvertError;
use crate::{
    checkpoint::Folder,
    config::{Biases, Config, Sliding},
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
    if config.rope.linear_factor != 1.0 {
        say("rope.scaling.type", "linear".into());
        say("rope.scaling.factor", config.rope.linear_factor.into());
    }
    // Of Gemma's sizes one has a scale that readers know by its number of layers.
    if config.post_norms || config.attention_scale != 1.0 / (config.head_dim as f32).sqrt() {
        say("attention.scale", config.attention_scale.into());
    }
    if let Some(cap) = config.logit_cap {
        say("final_logit_softcapping", cap.into());
    }
    if let Some(Sliding { window, layers, rope }) = &expected.sliding {
        say(
            "attention.sliding_window",
            u32::try_from(*window).map_err(|_| cannot("so wide a window"))?.into(),
        );
        say("rope.freq_base_swa", rope.base.into());
        // Of a model that has fewer layers than the pattern is long, none sees everything.
        let pattern = layers.iter().position(|slides| !slides).unwrap_or(layers.len());
        say("attention.sliding_window_pattern", (pattern as u32 + 1).into());
    }
    let read = read_again(&keys).map_err(|why| cannot(&why))?;
    match difference(&read, &expected) {
        None => Ok(keys),
        Some(what) => Err(cannot(&what)),
    }
}

/// What reading the keys must give: the folder's blueprint, with what GGUF keeps elsewhere where it
/// keeps it.
fn expected(config: &Config) -> Config {
    let mut expected = config.clone();
    // The converter turns the pairs, adds the 1 to the norms, and writes the factors as a tensor.
    let interleaved = config.architecture == "llama";
    expected.rope.interleaved = interleaved;
    expected.rope.factors = Vec::new();
    expected.norm_offset = 0.0;
    (expected.tied, expected.vocab_size) = (None, None);
    expected.biases = Biases {
        query_key_value: config.biases.query_key_value.filter(|_| config.architecture == "qwen2"),
        ..Biases::default()
    };
    match &mut expected.sliding {
        // Only Gemma's files have windows. Up to the window's length it makes no difference, so
        // that is how long a context may be.
        Some(sliding) if !config.post_norms => {
            expected.context_length = config.context_length.min(sliding.window);
            expected.sliding = None;
        }
        Some(sliding) => sliding.rope.factors = Vec::new(),
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
        let config = keys_of(&tiny("llama"), |config| config["sliding_window"] = 40.into())
            .expect("exact so far");
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
