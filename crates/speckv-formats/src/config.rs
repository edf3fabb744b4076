//! A model's blueprint: the shape and the constants of a transformer, whatever file says them.

mod family;
mod gguf;
mod json;
mod keys;
mod known;
mod own_fields;
mod quantization;
mod rope;
mod ropes;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unknown_fields;

use std::path::PathBuf;

use family::FAMILIES;
pub use family::QueryKeyNorm;
pub(crate) use family::{Family, Norms, Pairs};
pub use quantization::{Group, Quantization};
pub use rope::{Long, Rope, RopeFactors, Yarn};

use crate::gguf::GgufError;

/// Most values per head. No model has as many; it bounds what is computed before a backend, which
/// has limits of its own, sees the number.
const MAX_HEAD_DIM: usize = 1 << 16;

/// Shape and constants of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Architecture as GGUF names it, also where the file is a Hugging Face folder.
    pub architecture: String,
    /// Number of layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward part.
    pub feed_forward: usize,
    /// Query heads.
    pub heads: usize,
    /// Key-value heads; `heads` is a multiple.
    pub kv_heads: usize,
    /// Values per head.
    pub head_dim: usize,
    /// Epsilon of the norms.
    pub epsilon: f32,
    /// Longest context that the model was made for.
    pub context_length: usize,
    /// Rotary embedding of layers that see the whole context.
    pub rope: Rope,
    /// Layers that see only the latest positions.
    pub sliding: Option<Sliding>,
    /// Whether positions do not turn in each layer, `[layers]`; empty where they turn in all.
    pub unrotated: Vec<bool>,
    /// Activation function of the feed-forward part.
    pub activation: Activation,
    /// Query and key go through a norm before they turn.
    pub query_key_norm: Option<QueryKeyNorm>,
    /// What attention and feed-forward part read goes through a norm.
    pub pre_norms: bool,
    /// What attention and feed-forward part add to the residual stream goes through a norm.
    pub post_norms: bool,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Products of query and key are multiplied by this.
    pub attention_scale: f32,
    /// Scaled products of query and key become `cap * tanh(product / cap)`.
    pub attention_cap: Option<f32>,
    /// Queries are multiplied by a factor that grows with the position.
    pub query_growth: Option<QueryGrowth>,
    /// What attention and feed-forward part add to the residual stream is multiplied by this.
    pub residual_scale: f32,
    /// Logits are multiplied by this, before the cap.
    pub logit_scale: f32,
    /// Which projections have biases.
    pub biases: Biases,
    /// Logits become `cap * tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    /// Added to the stored weights of all norms.
    pub norm_offset: f32,
    /// What the file says of the output head being the embedding, if it says anything.
    pub tied: Option<bool>,
    /// How a folder stores its matrices.
    pub quantization: Quantization,
    /// Tokens, if the file says so apart from the embedding's shape.
    pub vocab_size: Option<usize>,
}

/// Whether projections have biases, where family or file say so; `None` leaves it to the tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Query, key and value.
    pub query_key_value: Option<bool>,
    /// Output of the attention.
    pub output: Option<bool>,
    /// Gate, up and down of the feed-forward part.
    pub feed_forward: Option<bool>,
}

/// A query at position `i` is multiplied by `1 + rate * ln(1 + floor(i / span))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryGrowth {
    /// Factor of the logarithm.
    pub rate: f32,
    /// Positions with the same factor.
    pub span: usize,
}

impl QueryGrowth {
    /// The factor at a position.
    #[must_use]
    pub fn at(self, position: usize) -> f32 {
        1.0 + self.rate * ((1 + position / self.span.max(1)) as f32).ln()
    }
}

/// Layers whose positions see only the latest ones: position `i` sees `i - window + 1` to `i`.
#[derive(Debug, Clone, PartialEq)]
pub struct Sliding {
    /// Positions that are seen.
    pub window: usize,
    /// Whether each layer is one of these, `[layers]`.
    pub layers: Vec<bool>,
    /// Rotary embedding of these layers.
    pub rope: Rope,
}

/// Activation function of the feed-forward part's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `x / 2 * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`. Hendrycks and Gimpel 2016, arXiv
    /// 1606.08415.
    Gelu,
}

/// Architectures that this crate runs, as GGUF names them.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.architecture)
}

/// Values of `model_type` in `config.json` that this crate runs.
pub fn supported_model_types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.model_types).copied()
}

/// Why metadata is no blueprint that this crate can run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// A `config.json` that cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A `config.json` that is not JSON.
    #[error("{} is not JSON", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A field of `config.json` that every model of the family has.
    #[error("config.json has no \"{0}\"")]
    Missing(String),
    /// Another architecture.
    #[error("the architecture \"{0}\" is not supported; supported are \
        {list}", list = supported_architectures().collect::<Vec<_>>().join(", "))]
    Architecture(String),
    /// Another `model_type`.
    #[error("the model_type \"{0}\" is not supported; supported are \
        {list}", list = supported_model_types().collect::<Vec<_>>().join(", "))]
    ModelType(String),
    /// A key that may change the model and is not known.
    #[error("{key}: not known for the architecture \"{architecture}\", and may change the output")]
    UnknownKey {
        /// The key.
        key: String,
        /// The architecture.
        architecture: String,
    },
    /// A field of `config.json` that may change the model and is not known.
    #[error("{key}: not known beside {beside}, and may change the output")]
    UnknownField {
        /// The field and the object that has it.
        key: String,
        /// What decides which fields are known.
        beside: String,
    },
    /// Values that contradict each other, or that a backend cannot take.
    #[error("{key}: expected {expected}, got {got}")]
    Value {
        /// The key.
        key: String,
        /// What it should be.
        expected: String,
        /// What it is.
        got: String,
    },
}

impl Config {
    /// What `config.json` calls a value that GGUF calls so.
    pub(crate) fn field(name: &str) -> &str {
        json::field(name)
    }

    /// Query heads that share a key-value head.
    #[must_use]
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// Whether a layer sees only the latest positions.
    #[must_use]
    pub fn slides(&self, layer: usize) -> bool {
        self.sliding
            .as_ref()
            .is_some_and(|sliding| sliding.layers.get(layer).copied().unwrap_or_default())
    }

    /// Whether a layer turns queries and keys by their positions.
    #[must_use]
    pub fn rotates(&self, layer: usize) -> bool {
        !self.unrotated.get(layer).copied().unwrap_or_default()
    }

    /// What no file says of this model's family.
    pub(crate) fn family(&self) -> &'static Family {
        family::of_architecture(&self.architecture).expect("a blueprint is of a known family")
    }

    /// GGUF's name of the norm before the feed-forward part.
    pub(crate) fn feed_forward_norm(&self) -> &'static str {
        self.family().feed_forward_norm
    }

    /// Refuses what contradicts itself. `key` says what the file calls
    /// a value that GGUF calls so.
    fn checked(self, key: &dyn Fn(&str) -> String) -> Result<Self, ConfigError> {
        let demand = |holds: bool, name: &str, expected: String, got: &dyn ToString| {
            if holds {
                Ok(())
            } else {
                Err(ConfigError::Value { key: key(name), expected, got: got.to_string() })
            }
        };
        let Config { heads, kv_heads, head_dim, .. } = self;
        let sizes = [
            ("block_count", self.layers, 1 << 12),
            ("embedding_length", self.hidden, 1 << 20),
            ("feed_forward_length", self.feed_forward, 1 << 22),
            ("attention.head_count", heads, 1 << 16),
            ("context_length", self.context_length, u32::MAX as usize),
        ];
        for (name, size, most) in sizes {
            demand(size > 0 && size <= most, name, format!("1 to {most}"), &size)?;
        }
        let divides = kv_heads > 0 && heads.is_multiple_of(kv_heads);
        demand(divides, "attention.head_count_kv", format!("a divisor of {heads}"), &kv_heads)?;
        let fits = head_dim > 0 && head_dim <= MAX_HEAD_DIM;
        demand(fits, "attention.key_length", format!("1 to {MAX_HEAD_DIM}"), &head_dim)?;
        let positive = |name: &str, value: f32| {
            demand(value.is_finite() && value > 0.0, name, "a positive number".to_owned(), &value)
        };
        positive("attention.layer_norm_rms_epsilon", self.epsilon)?;
        positive("attention.scale", self.attention_scale)?;
        positive("residual_scale", self.residual_scale)?;
        positive("logit_scale", self.logit_scale)?;
        positive("embedding_scale", self.embedding_scale)?;
        self.attention_cap.map_or(Ok(()), |cap| positive("attn_logit_softcapping", cap))?;
        self.logit_cap.map_or(Ok(()), |cap| positive("final_logit_softcapping", cap))?;
        if let Some(QueryGrowth { rate, span }) = self.query_growth {
            positive("attention.temperature_scale", rate)?;
            let name = "rope.scaling.original_context_length";
            demand(span > 0, name, "at least 1".to_owned(), &span)?;
        }
        for rope in
            std::iter::once(&self.rope).chain(self.sliding.as_ref().map(|sliding| &sliding.rope))
        {
            let even = rope.dim > 0 && rope.dim <= head_dim && rope.dim % 2 == 0;
            demand(
                even,
                "rope.dimension_count",
                format!("an even number up to {head_dim}"),
                &rope.dim,
            )?;
            positive("rope.freq_base", rope.base)?;
            positive("rope.scaling.factor", rope.linear_factor)?;
            positive("rope.scaling.attn_factor", rope.attention_factor)?;
            let long = rope.long.as_ref().map_or(&[][..], |long| &long.factors);
            for factors in [&rope.factors[..], long] {
                let whole = factors.is_empty() || factors.len() == rope.dim / 2;
                let expected = format!("{} factors", rope.dim / 2);
                demand(whole, "rope.scaling.factor", expected, &factors.len())?;
                factors.iter().try_for_each(|&factor| positive("rope.scaling.factor", factor))?;
            }
            if let Some(yarn) = &rope.yarn {
                positive("rope.scaling.factor", yarn.factor)?;
                positive("rope.scaling.yarn_beta_fast", yarn.fast)?;
                positive("rope.scaling.yarn_beta_slow", yarn.slow)?;
                let name = "rope.scaling.original_context_length";
                demand(yarn.context > 0, name, "at least 1".to_owned(), &yarn.context)?;
                demand(rope.base > 1.0, "rope.freq_base", "more than 1".to_owned(), &rope.base)?;
            }
        }
        if let Some(sliding) = &self.sliding {
            demand(
                sliding.window > 0,
                "attention.sliding_window",
                "at least 1".to_owned(),
                &sliding.window,
            )?;
        }
        Ok(self)
    }
}
