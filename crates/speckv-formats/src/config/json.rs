//! Blueprints from the `config.json` of a Hugging Face folder, as versions 4 and 5 of the
//! `transformers` library write it.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Activation, Biases, Config, ConfigError, Quantization, QueryGrowth, Sliding,
    family::{self, Family, Norms, Rotation},
    own_fields,
    quantization::quantization,
    ropes::{ropes, rotary_dim},
};

/// Fields of one object, read with the checks that foreign JSON needs.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub &'a Map<String, Value>);

pub(super) fn wrong(key: &str, expected: impl Into<String>, got: &Value) -> ConfigError {
    let mut got = got.to_string();
    if got.len() > 100 {
        got = got.chars().take(100).collect::<String>() + "...";
    }
    ConfigError::Value { key: key.to_owned(), expected: expected.into(), got }
}

impl<'a> Fields<'a> {
    /// A field; null counts as absent, as it does in Python's configurations.
    pub fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub fn read<T>(
        self,
        key: &str,
        expected: &str,
        as_type: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(key)
            .map(|value| as_type(value).ok_or_else(|| wrong(key, expected, value)))
            .transpose()
    }

    pub fn opt_size(self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.read(key, "a whole number", |value| value.as_u64()?.try_into().ok())
    }

    pub fn size(self, key: &str) -> Result<usize, ConfigError> {
        self.opt_size(key)?.ok_or_else(|| ConfigError::Missing(key.to_owned()))
    }

    pub fn opt_float(self, key: &str) -> Result<Option<f32>, ConfigError> {
        self.read(key, "a number", |value| value.as_f64().map(|x| x as f32))
    }

    pub fn opt_bool(self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    pub fn opt_string(self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.read(key, "a string", Value::as_str)
    }

    pub fn opt_object(self, key: &str) -> Result<Option<Fields<'a>>, ConfigError> {
        Ok(self.read(key, "an object", Value::as_object)?.map(Fields))
    }

    /// Refuses a field that is set to anything but `allowed`.
    pub fn only(self, key: &str, allowed: &Value, expected: &str) -> Result<(), ConfigError> {
        match self.get(key) {
            Some(value) if value != allowed => Err(wrong(key, expected, value)),
            _ => Ok(()),
        }
    }
}

impl Config {
    /// Reads the blueprint of a `config.json`.
    ///
    /// # Errors
    /// See [`ConfigError`]; every one names the file or the field.
    pub fn from_json_file(path: &Path) -> Result<Self, ConfigError> {
        let bytes = std::fs::read(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let value = serde_json::from_slice(&bytes)
            .map_err(|source| ConfigError::Json { path: path.to_owned(), source })?;
        Config::from_json(&value)
    }

    /// Reads the blueprint that a `config.json` holds. Of a model that also sees pictures, it is
    /// that of the part for text.
    ///
    /// # Errors
    /// See [`ConfigError`]; every one names the field.
    pub fn from_json(value: &Value) -> Result<Self, ConfigError> {
        let whole =
            Fields(value.as_object().ok_or_else(|| wrong("config.json", "an object", value))?);
        let model_type = whole
            .opt_string("model_type")?
            .ok_or_else(|| ConfigError::Missing("model_type".into()))?;
        let family = family::of_model_type(model_type);
        let family = family.ok_or_else(|| ConfigError::ModelType(model_type.to_owned()))?;
        let part = whole.opt_object("text_config")?;
        let fields = part.unwrap_or(whole);
        // What sees may have a part for text of more than one family.
        let part_type = part.map(|part| part.opt_string("model_type")).transpose()?.flatten();
        let part_type = part_type.unwrap_or(model_type);
        let family = match family::of_model_type(part_type) {
            Some(family) => family,
            None if part_type.strip_suffix("_text") == Some(model_type) => family,
            None => return Err(ConfigError::ModelType(part_type.to_owned())),
        };
        let quantization = match quantization(whole)? {
            Quantization::None => quantization(fields)?,
            of_whole => of_whole,
        };
        own_fields::check(fields, family.architecture)?;
        // The library's own defaults for Gemma, on which its published files rely.
        let gemma = |value: usize| family.gemma.then_some(value);
        let or_missing = |value: Option<usize>, key: &str| {
            value.ok_or_else(|| ConfigError::Missing(key.to_owned()))
        };

        let layers = fields.size("num_hidden_layers")?;
        let hidden = fields.size("hidden_size")?;
        let heads = fields.opt_size("num_attention_heads")?.or(gemma(8));
        let heads = or_missing(heads, "num_attention_heads")?;
        let head_dim = match fields.opt_size("head_dim")?.or(gemma(256)) {
            Some(head_dim) => head_dim,
            None if family.head_dim > 0 && !family.gemma => family.head_dim,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(ConfigError::Missing("head_dim".into())),
        };
        let usual = if family.architecture == "gemma2" { 8192 } else { 131_072 };
        let context_length = fields.opt_size("max_position_embeddings")?.or(gemma(usual));
        let epsilon = fields.opt_float("rms_norm_eps")?.or(family.gemma.then_some(1e-6));
        let activation = match family.activation {
            Activation::Silu => "silu",
            Activation::Gelu => "gelu_pytorch_tanh",
        };
        for key in ["hidden_act", "hidden_activation"] {
            // Early Gemma files say "gelu" in the one field and mean what the other says.
            if !(family.gemma && key == "hidden_act") {
                fields.only(key, &activation.into(), activation)?;
            }
        }
        fields.only(
            "use_bidirectional_attention",
            &false.into(),
            "false: only causal attention is supported",
        )?;
        let context_length = or_missing(context_length, "max_position_embeddings")?;
        let slides = sliding_layers(fields, family, model_type, layers)?;
        let window = match fields.opt_size("sliding_window")? {
            _ if !slides.contains(&true) => 0,
            None if matches!(family.architecture, "gemma2" | "olmo2") => 4096,
            None => fields.size("sliding_window")?,
            Some(window) => window,
        };
        if model_type == "llama" && window > 0 && window < context_length {
            let expected = format!(
                "none, or at least the context of {context_length} tokens: models of the type \
                 llama have no window"
            );
            return Err(wrong("sliding_window", expected, &window.into()));
        }
        let turning = rotary_dim(fields, family, head_dim)?;
        let (rope, local) = ropes(fields, family, turning, context_length, window > 0)?;
        let sliding = (window > 0).then_some(Sliding { window, layers: slides, rope: local });
        let scalar = fields.opt_float("query_pre_attn_scalar")?.or(family.gemma.then_some(256.0));
        let multiplier = |key: &str| -> Result<Option<f32>, ConfigError> {
            Ok(if family.architecture == "granite" { fields.opt_float(key)? } else { None })
        };
        let of_gemma2 = |cap: f32| (family.architecture == "gemma2").then_some(cap);
        // A null is none, an absent one the library's default.
        let cap = |key: &str, usual: f32| -> Result<Option<f32>, ConfigError> {
            Ok(if fields.0.contains_key(key) { fields.opt_float(key)? } else { of_gemma2(usual) })
        };
        let config = Config {
            architecture: family.architecture.to_owned(),
            layers,
            hidden,
            feed_forward: fields.size("intermediate_size")?,
            heads,
            kv_heads: fields.opt_size("num_key_value_heads")?.or(gemma(4)).unwrap_or(heads),
            head_dim,
            epsilon: epsilon.ok_or_else(|| ConfigError::Missing("rms_norm_eps".into()))?,
            context_length,
            unrotated: unrotated(fields, family, sliding.as_ref(), layers)?,
            rope,
            sliding,
            activation: family.activation,
            query_key_norm: family.query_key_norm,
            pre_norms: family.norms != Norms::After,
            post_norms: family.norms != Norms::Before,
            embedding_scale: match family.gemma {
                true => (hidden as f32).sqrt(),
                false => multiplier("embedding_multiplier")?.unwrap_or(1.0),
            },
            attention_scale: match family.architecture {
                "granite" => multiplier("attention_multiplier")?.unwrap_or(1.0),
                _ => 1.0 / scalar.unwrap_or(head_dim as f32).sqrt(),
            },
            attention_cap: cap("attn_logit_softcapping", 50.0)?,
            query_growth: query_growth(fields, family, context_length)?,
            residual_scale: multiplier("residual_multiplier")?.unwrap_or(1.0),
            logit_scale: 1.0 / multiplier("logits_scaling")?.unwrap_or(1.0),
            biases: biases(fields, family)?,
            logit_cap: cap("final_logit_softcapping", 30.0)?,
            norm_offset: if family.gemma { 1.0 } else { 0.0 },
            tied: whole
                .opt_bool("tie_word_embeddings")?
                .or(fields.opt_bool("tie_word_embeddings")?)
                .or(Some(family.tied)),
            quantization,
            vocab_size: fields.opt_size("vocab_size")?,
        };
        config.checked(&|name| field(name).to_owned())
    }
}

/// Which projections have biases. The library's Qwen 2 has them without a field that says so; the
/// other families have none where nothing is said.
fn biases(fields: Fields<'_>, family: &Family) -> Result<Biases, ConfigError> {
    let feed_forward = Some(fields.opt_bool("mlp_bias")?.unwrap_or(false));
    if family.biases {
        fields.only(
            "attention_bias",
            &true.into(),
            "true: query, key and value of this family have biases",
        )?;
        return Ok(Biases { query_key_value: Some(true), output: Some(false), feed_forward });
    }
    let said = Some(fields.opt_bool("attention_bias")?.unwrap_or(family.attention_bias));
    let output = match family.own_output_bias {
        true => Some(fields.opt_bool("attention_out_bias")?.unwrap_or(false)),
        false => said,
    };
    Ok(Biases { query_key_value: said, output, feed_forward })
}

/// Which layers see only the latest positions.
fn sliding_layers(
    fields: Fields<'_>,
    family: &Family,
    model_type: &str,
    layers: usize,
) -> Result<Vec<bool>, ConfigError> {
    if let Some(types) = fields.read("layer_types", "an array", Value::as_array)? {
        if types.len() != layers {
            let expected = format!("{layers} layers, as num_hidden_layers says");
            return Err(wrong("layer_types", expected, &types.len().into()));
        }
        let slides = |value: &Value| match value.as_str() {
            Some("sliding_attention") => Ok(true),
            Some("full_attention") => Ok(false),
            _ => Err(wrong("layer_types", "full_attention or sliding_attention", value)),
        };
        return types.iter().map(slides).collect();
    }
    let layers = layers.min(1 << 12); // more is refused later
    let windowed = fields.get("sliding_window").is_some();
    if let Some(windows) = family.windows {
        if !(windowed || family.gemma || model_type == "olmo3") {
            return Ok(vec![false; layers]);
        }
        // A pattern of EXAONE's spells each layer: L has a window, G and the last layer have none.
        const PATTERN: &str = "sliding_window_pattern";
        if let Some(value @ Value::String(letters)) = fields.get(PATTERN) {
            if letters.is_empty() || letters.contains(|letter| !matches!(letter, 'L' | 'G')) {
                return Err(wrong(PATTERN, "a number, or the letters L and G", value));
            }
            let letters = letters.as_bytes();
            let slides =
                |layer: usize| layer + 1 < layers && letters[layer % letters.len()] == b'L';
            return Ok((0..layers).map(slides).collect());
        }
        let pattern = fields
            .opt_size("sliding_window_pattern")?
            .or(fields.opt_size("_sliding_window_pattern")?)
            .unwrap_or(windows.pattern);
        return Ok((1..=layers).map(|layer| pattern == 0 || layer % pattern != 0).collect());
    }
    // Qwen's files name a window and say apart from that whether it is used; Mistral's name one
    // where it is.
    let mistral = matches!(family.architecture, "llama" | "mistral3");
    let used = match fields.opt_bool("use_sliding_window")? {
        Some(used) => used && windowed,
        None => mistral && windowed,
    };
    if used && family.rotation == Rotation::NotEveryFourth {
        let expected = "false, or layer_types beside it, which says which layers have a window";
        return Err(wrong("use_sliding_window", expected, &true.into()));
    }
    let first = match used {
        true if mistral => 0,
        true => fields.size("max_window_layers")?,
        false => layers,
    };
    Ok((0..layers).map(|layer| layer >= first).collect())
}

/// Layers in which positions do not turn.
fn unrotated(
    fields: Fields<'_>,
    family: &Family,
    sliding: Option<&Sliding>,
    layers: usize,
) -> Result<Vec<bool>, ConfigError> {
    match family.rotation {
        Rotation::All => Ok(Vec::new()),
        Rotation::Windows => Ok(sliding.map_or_else(Vec::new, |sliding| {
            sliding.layers.iter().map(|slides| !slides).collect()
        })),
        Rotation::NotEveryFourth => {
            const KEY: &str = "no_rope_layers"; // 1 where positions turn
            let Some(list) = fields.read(KEY, "an array", Value::as_array)? else {
                let every = fields.opt_size("no_rope_layer_interval")?.unwrap_or(4).max(1);
                return Ok((1..=layers.min(1 << 12)).map(|layer| layer % every == 0).collect());
            };
            if list.len() != layers {
                let expected = format!("{layers} layers, as num_hidden_layers says");
                return Err(wrong(KEY, expected, &list.len().into()));
            }
            let stays = |value: &Value| match value.as_u64() {
                Some(turns @ (0 | 1)) => Ok(turns == 0),
                _ => Err(wrong(KEY, "0 or 1", value)),
            };
            list.iter().map(stays).collect()
        }
    }
}

/// How queries grow with the position.
fn query_growth(
    fields: Fields<'_>,
    family: &Family,
    context_length: usize,
) -> Result<Option<QueryGrowth>, ConfigError> {
    if family.architecture != "mistral3" {
        return Ok(None);
    }
    let parameters = fields.opt_object("rope_parameters")?.or(fields.opt_object("rope_scaling")?);
    let Some(parameters) = parameters else { return Ok(None) };
    let rate = parameters.opt_float("llama_4_scaling_beta")?.filter(|&rate| rate != 0.0);
    let span = parameters.opt_size("original_max_position_embeddings")?.unwrap_or(context_length);
    Ok(rate.map(|rate| QueryGrowth { rate, span }))
}

/// What `config.json` calls a value that GGUF calls so.
pub(super) fn field(name: &str) -> &str {
    match name {
        "block_count" => "num_hidden_layers",
        "embedding_length" => "hidden_size",
        "feed_forward_length" => "intermediate_size",
        "attention.head_count" => "num_attention_heads",
        "attention.head_count_kv" => "num_key_value_heads",
        "attention.key_length" => "head_dim",
        "attention.layer_norm_rms_epsilon" => "rms_norm_eps",
        "attention.scale" => "query_pre_attn_scalar",
        "attention.sliding_window" => "sliding_window",
        "attention.temperature_scale" => "llama_4_scaling_beta",
        "embedding_scale" => "embedding_multiplier",
        "residual_scale" => "residual_multiplier",
        "logit_scale" => "logits_scaling",
        "context_length" => "max_position_embeddings",
        "rope.dimension_count" => "head_dim",
        "rope.freq_base" => "rope_theta",
        "rope.scaling.factor" => "rope factor",
        "rope.scaling.attn_factor" => "attention_factor",
        "rope.scaling.original_context_length" => "original_max_position_embeddings",
        "rope.scaling.yarn_beta_fast" => "beta_fast",
        "rope.scaling.yarn_beta_slow" => "beta_slow",
        other => other,
    }
}
