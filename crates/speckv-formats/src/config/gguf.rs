//! Blueprints from GGUF metadata.

use super::{Biases, Config, ConfigError, FAMILIES, GEMMA_PATTERN, Rope, Sliding, keys};
use crate::gguf::Metadata;

/// Layers of the one Gemma 3 (27B) whose products are scaled by the width per head, not by the
/// head's own; no key says so.
const WIDE_GEMMA_LAYERS: usize = 62;

impl Config {
    /// Reads the blueprint of a GGUF file.
    ///
    /// # Errors
    /// See [`ConfigError`]; every one names the key.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, ConfigError> {
        const TYPE: &str = "general.type";
        // An adapter has the architecture's name and keys, too.
        if let Some(got) = metadata.opt_string(TYPE)?.filter(|&kind| kind != "model") {
            let expected = "model: a file with all weights of a model".to_owned();
            return Err(ConfigError::Value { key: TYPE.to_owned(), expected, got: got.to_owned() });
        }
        let architecture = metadata.string("general.architecture")?.to_owned();
        let family = FAMILIES.iter().find(|family| family.architecture == architecture);
        let family = family.ok_or_else(|| ConfigError::Architecture(architecture.clone()))?;
        let key = |name: &str| format!("{architecture}.{name}");
        let size =
            |name: &str| -> Result<usize, ConfigError> { Ok(metadata.u32(&key(name))? as usize) };
        let opt_size = |name: &str| -> Result<Option<usize>, ConfigError> {
            Ok(metadata.opt_u32(&key(name))?.map(|value| value as usize))
        };
        let opt_float =
            |name: &str| -> Result<Option<f32>, ConfigError> { Ok(metadata.opt_f32(&key(name))?) };
        let wrong = |name: &str, expected: String, got: &dyn ToString| ConfigError::Value {
            key: key(name),
            expected,
            got: got.to_string(),
        };

        let (layers, hidden, heads) =
            (size("block_count")?, size("embedding_length")?, size("attention.head_count")?);
        if heads == 0 {
            return Err(wrong("attention.head_count", "at least 1".to_owned(), &heads));
        }
        let head_dim = opt_size("attention.key_length")?.unwrap_or(hidden / heads);
        if let Some(got) = opt_size("attention.value_length")?.filter(|&length| length != head_dim)
        {
            return Err(wrong("attention.value_length", head_dim.to_string(), &got));
        }
        if let Some(got) = opt_float("attn_logit_softcapping")?.filter(|&cap| cap != 0.0) {
            return Err(wrong(
                "attn_logit_softcapping",
                "none: capped attention is not supported".to_owned(),
                &got,
            ));
        }
        // A factor alone is a linear one, also under its old name; 0 says that there is none.
        let factor = match opt_float("rope.scaling.factor")? {
            None => opt_float("rope.scale_linear")?,
            factor => factor,
        };
        let factor = factor.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        let linear_factor =
            match metadata.opt_string(&key("rope.scaling.type"))?.unwrap_or("linear") {
                "none" => 1.0,
                "linear" => factor,
                other => {
                    return Err(wrong("rope.scaling.type", "none or linear".to_owned(), &other));
                }
            };
        let rope = Rope {
            base: opt_float("rope.freq_base")?.unwrap_or(10_000.0),
            dim: opt_size("rope.dimension_count")?.unwrap_or(head_dim),
            interleaved: family.interleaved_rope,
            linear_factor,
            factors: Vec::new(),
        };
        let sliding = if family.gemma {
            let window = size("attention.sliding_window")?;
            let base = opt_float("rope.freq_base_swa")?.unwrap_or(10_000.0);
            let pattern =
                opt_size("attention.sliding_window_pattern")?.unwrap_or(GEMMA_PATTERN).max(1);
            let layers = (1..=layers.min(1 << 12)).map(|layer| layer % pattern != 0).collect();
            Some(Sliding {
                window,
                layers,
                rope: Rope { base, linear_factor: 1.0, ..rope.clone() },
            })
        } else {
            None
        };
        let width =
            if family.gemma && layers == WIDE_GEMMA_LAYERS { hidden / heads } else { head_dim };
        let context_length = size("context_length")?;
        keys::check(metadata, &architecture, family.gemma, context_length)?;
        let config = Config {
            layers,
            hidden,
            feed_forward: size("feed_forward_length")?,
            heads,
            kv_heads: opt_size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            epsilon: metadata.f32(&key("attention.layer_norm_rms_epsilon"))?,
            context_length,
            rope,
            sliding,
            activation: family.activation,
            query_key_norm: family.query_key_norm,
            post_norms: family.gemma,
            embedding_scale: if family.gemma { (hidden as f32).sqrt() } else { 1.0 },
            attention_scale: opt_float("attention.scale")?
                .filter(|&scale| scale != 0.0)
                .unwrap_or(1.0 / (width as f32).sqrt()),
            biases: Biases { query_key_value: family.biases.then_some(true), ..Biases::default() },
            logit_cap: opt_float("final_logit_softcapping")?.filter(|&cap| cap != 0.0),
            norm_offset: 0.0, // the converter has added it
            tied: None,
            vocab_size: None,
            architecture: architecture.clone(),
        };
        config.checked(&key)
    }
}
