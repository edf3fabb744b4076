//! Blueprints from the `config.json` of a Hugging Face folder, as versions 4 and 5 of the
//! `transformers` library write it.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Activation, Biases, Config, ConfigError, FAMILIES, Family, GEMMA_PATTERN, Rope, Sliding,
};

/// Fields of one object, read with the checks that foreign JSON needs.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

fn wrong(key: &str, expected: impl Into<String>, got: &Value) -> ConfigError {
    let mut got = got.to_string();
    if got.len() > 100 {
        got = got.chars().take(100).collect::<String>() + "...";
    }
    ConfigError::Value { key: key.to_owned(), expected: expected.into(), got }
}

impl<'a> Fields<'a> {
    /// A field; null counts as absent, as it does in Python's configurations.
    fn get(self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn read<T>(
        self,
        key: &str,
        expected: &str,
        as_type: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        self.get(key)
            .map(|value| as_type(value).ok_or_else(|| wrong(key, expected, value)))
            .transpose()
    }

    fn opt_size(self, key: &str) -> Result<Option<usize>, ConfigError> {
        self.read(key, "a whole number", |value| value.as_u64()?.try_into().ok())
    }

    fn size(self, key: &str) -> Result<usize, ConfigError> {
        self.opt_size(key)?.ok_or_else(|| ConfigError::Missing(key.to_owned()))
    }

    fn opt_float(self, key: &str) -> Result<Option<f32>, ConfigError> {
        self.read(key, "a number", |value| value.as_f64().map(|x| x as f32))
    }

    fn opt_bool(self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "true or false", Value::as_bool)
    }

    fn opt_string(self, key: &str) -> Result<Option<&'a str>, ConfigError> {
        self.read(key, "a string", Value::as_str)
    }

    fn opt_object(self, key: &str) -> Result<Option<Fields<'a>>, ConfigError> {
        Ok(self.read(key, "an object", Value::as_object)?.map(Fields))
    }

    /// Refuses a field that is set to anything but `allowed`.
    fn only(self, key: &str, allowed: &Value, expected: &str) -> Result<(), ConfigError> {
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
        refuse_quantized(whole)?;
        let model_type = whole
            .opt_string("model_type")?
            .ok_or_else(|| ConfigError::Missing("model_type".into()))?;
        let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type));
        let family = family.ok_or_else(|| ConfigError::ModelType(model_type.to_owned()))?;
        let fields = whole.opt_object("text_config")?.unwrap_or(whole);
        refuse_quantized(fields)?;
        // The library's own defaults for Gemma 3, on which its published files rely.
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
            None if family.architecture == "qwen3" => 128,
            None if heads > 0 && hidden.is_multiple_of(heads) => hidden / heads,
            None => return Err(ConfigError::Missing("head_dim".into())),
        };
        let context_length = fields.opt_size("max_position_embeddings")?.or(gemma(131_072));
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
        fields.only(
            "attn_logit_softcapping",
            &Value::Null,
            "null: capped attention is not supported",
        )?;
        whole_heads_turn(fields)?;

        let slides = sliding_layers(fields, family, layers)?;
        let window = if slides.contains(&true) { fields.size("sliding_window")? } else { 0 };
        let (rope, local) = ropes(fields, family, head_dim)?;
        let sliding = (window > 0).then_some(Sliding { window, layers: slides, rope: local });
        let scalar = fields.opt_float("query_pre_attn_scalar")?.or(family.gemma.then_some(256.0));
        let config = Config {
            architecture: family.architecture.to_owned(),
            layers,
            hidden,
            feed_forward: fields.size("intermediate_size")?,
            heads,
            kv_heads: fields.opt_size("num_key_value_heads")?.or(gemma(4)).unwrap_or(heads),
            head_dim,
            epsilon: epsilon.ok_or_else(|| ConfigError::Missing("rms_norm_eps".into()))?,
            context_length: or_missing(context_length, "max_position_embeddings")?,
            rope,
            sliding,
            activation: family.activation,
            query_key_norm: family.query_key_norm,
            post_norms: family.gemma,
            embedding_scale: if family.gemma { (hidden as f32).sqrt() } else { 1.0 },
            attention_scale: 1.0 / scalar.unwrap_or(head_dim as f32).sqrt(),
            biases: biases(fields, family)?,
            logit_cap: fields.opt_float("final_logit_softcapping")?,
            norm_offset: if family.gemma { 1.0 } else { 0.0 },
            tied: whole
                .opt_bool("tie_word_embeddings")?
                .or(fields.opt_bool("tie_word_embeddings")?)
                .or(Some(family.gemma)),
            vocab_size: fields.opt_size("vocab_size")?,
        };
        config.checked(&|name| field(name).to_owned())
    }
}

/// Weights in a quantization's own layout cannot be read, but for the 4 bits of bitsandbytes, whose
/// tensors say everything else themselves.
fn refuse_quantized(fields: Fields<'_>) -> Result<(), ConfigError> {
    const KEY: &str = "quantization_config";
    let Some(quantization) = fields.opt_object(KEY)? else { return Ok(()) };
    // Early files have no method, and mean this one.
    let method = quantization.opt_string("quant_method")?;
    let four = quantization.opt_bool("load_in_4bit")?.unwrap_or(false);
    let eight = quantization.opt_bool("load_in_8bit")?.unwrap_or(false);
    let got: Value = match (method, four, eight) {
        (None | Some("bitsandbytes"), true, false) => return Ok(()),
        (None | Some("bitsandbytes"), true, true) => "load_in_4bit and load_in_8bit".into(),
        (None | Some("bitsandbytes"), false, true) => "bitsandbytes in 8 bits".into(),
        (Some("bitsandbytes"), false, false) => "bitsandbytes without load_in_4bit".into(),
        (method, ..) => method.map_or_else(|| Value::Object(quantization.0.clone()), Value::from),
    };
    let expected = "bitsandbytes in 4 bits, or none: float32, float16 and bfloat16 are read, too";
    Err(wrong(KEY, expected, &got))
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
    let said = Some(fields.opt_bool("attention_bias")?.unwrap_or(false));
    Ok(Biases { query_key_value: said, output: said, feed_forward })
}

/// Which layers see only the latest positions.
fn sliding_layers(
    fields: Fields<'_>,
    family: &Family,
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
    if family.gemma {
        let pattern = fields
            .opt_size("sliding_window_pattern")?
            .or(fields.opt_size("_sliding_window_pattern")?);
        let pattern = pattern.unwrap_or(GEMMA_PATTERN).max(1);
        return Ok((1..=layers).map(|layer| layer % pattern != 0).collect());
    }
    // Qwen's files name a window and say apart from that whether it is used; Mistral's name one
    // where it is.
    let used = match fields.opt_bool("use_sliding_window")? {
        Some(used) => used && fields.get("sliding_window").is_some(),
        None => family.architecture == "llama" && fields.get("sliding_window").is_some(),
    };
    let first = match used {
        true if family.architecture == "llama" => 0,
        true => fields.size("max_window_layers")?,
        false => layers,
    };
    Ok((0..layers).map(|layer| layer >= first).collect())
}

/// Rotary embeddings of layers that see everything, and of those that slide.
fn ropes(
    fields: Fields<'_>,
    family: &Family,
    head_dim: usize,
) -> Result<(Rope, Rope), ConfigError> {
    let parameters = fields.opt_object("rope_parameters")?;
    let base = fields.opt_float("rope_theta")?;
    let default_base = if family.gemma { 1_000_000.0 } else { 10_000.0 };
    if let Some(parameters) = parameters {
        let of = |key: &str, default: f32| match parameters.opt_object(key)? {
            Some(own) => rope(own, base.unwrap_or(default), head_dim),
            None => rope(parameters, base.unwrap_or(default), head_dim),
        };
        return Ok((of("full_attention", default_base)?, of("sliding_attention", 10_000.0)?));
    }
    let empty = Map::new();
    let scaling = fields.opt_object("rope_scaling")?.unwrap_or(Fields(&empty));
    let global = rope(scaling, base.unwrap_or(default_base), head_dim)?;
    let local = match family.gemma {
        true => rope(
            Fields(&empty),
            fields.opt_float("rope_local_base_freq")?.unwrap_or(10_000.0),
            head_dim,
        )?,
        false => global.clone(),
    };
    Ok((global, local))
}

/// Refuses rotary embeddings of a part of each head. Version 5 of the library writes the field
/// among the parameters of the rotary embedding, version 4 among those of the model.
fn whole_heads_turn(fields: Fields<'_>) -> Result<(), ConfigError> {
    const KEY: &str = "partial_rotary_factor";
    match fields.opt_float(KEY)? {
        Some(factor) if factor != 1.0 => {
            Err(wrong(KEY, "1.0: heads that turn in part are not supported", &factor.into()))
        }
        _ => Ok(()),
    }
}

/// One rotary embedding: its base, and how its frequencies are scaled.
fn rope(fields: Fields<'_>, base: f32, dim: usize) -> Result<Rope, ConfigError> {
    whole_heads_turn(fields)?;
    let base = fields.opt_float("rope_theta")?.unwrap_or(base);
    let kind = fields.opt_string("rope_type")?.or(fields.opt_string("type")?);
    if kind.is_none() && fields.get("factor").is_some() {
        let expected = "default, linear or llama3 beside a factor";
        return Err(wrong("rope_type", expected, &Value::Null));
    }
    let kind = kind.unwrap_or("default");
    let number = |key: &str| {
        fields.opt_float(key)?.ok_or_else(|| ConfigError::Missing(format!("rope: {key}")))
    };
    let (linear_factor, factors) = match kind {
        "default" => (1.0, Vec::new()),
        "linear" => (number("factor")?, Vec::new()),
        "llama3" => {
            let ends = [number("low_freq_factor")?, number("high_freq_factor")?];
            let context = number("original_max_position_embeddings")?;
            (
                1.0,
                llama3_factors(
                    base,
                    dim.min(super::MAX_HEAD_DIM),
                    number("factor")?,
                    ends,
                    context,
                ),
            )
        }
        other => return Err(wrong("rope_type", "default, linear or llama3", &other.into())),
    };
    Ok(Rope { base, dim, interleaved: false, linear_factor, factors })
}

/// Llama 3.1 divides slow frequencies by `factor` and leaves fast ones; between, by the number of
/// turns `t` that a pair makes over the original context, the frequency goes from one to the other:
/// `f (s + (1 - s) / factor)`, `s = (t - low) / (high - low)`.
fn llama3_factors(
    base: f32,
    dim: usize,
    factor: f32,
    [low, high]: [f32; 2],
    context: f32,
) -> Vec<f32> {
    let [base, factor, low, high, context] = [base, factor, low, high, context].map(f64::from);
    (0..dim / 2)
        .map(|pair| {
            let frequency = base.powf(-2.0 * pair as f64 / dim as f64);
            let turns = context * frequency / std::f64::consts::TAU;
            let share = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            (1.0 / (share + (1.0 - share) / factor)) as f32
        })
        .collect()
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
        "context_length" => "max_position_embeddings",
        "rope.dimension_count" => "head_dim",
        "rope.freq_base" => "rope_theta",
        "rope.scaling.factor" => "rope factor",
        other => other,
    }
}
