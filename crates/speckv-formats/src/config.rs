//! A model's blueprint: the shape and the constants of a transformer, whatever file says them.

mod gguf;
mod json;
mod keys;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

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
    /// Activation function of the feed-forward part.
    pub activation: Activation,
    /// Every head's query and key go through a norm before they turn.
    pub query_key_norm: bool,
    /// What attention and feed-forward part add to the residual stream goes through a norm.
    pub post_norms: bool,
    /// Embeddings are multiplied by this.
    pub embedding_scale: f32,
    /// Products of query and key are multiplied by this.
    pub attention_scale: f32,
    /// Which projections have biases.
    pub biases: Biases,
    /// Logits become `cap * tanh(logit / cap)`.
    pub logit_cap: Option<f32>,
    /// Added to the stored weights of all norms.
    pub norm_offset: f32,
    /// What the file says of the output head being the embedding, if it says anything.
    pub tied: Option<bool>,
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

/// Rotary position embedding: pair `i` of a head turns by `position / (factor_i * linear_factor) *
/// base^(-2i / dim)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub base: f32,
    /// Values of a head that turn; the rest stays.
    pub dim: usize,
    /// Pairs are neighbours, not halves.
    pub interleaved: bool,
    /// All positions are divided by this.
    pub linear_factor: f32,
    /// Factors per pair, [dim / 2]; empty where all are 1. GGUF keeps them as a tensor instead.
    pub factors: Vec<f32>,
}

impl Rope {
    /// Angle per position of each pair, [dim / 2]. `factors` stand in where the blueprint has none.
    #[must_use]
    pub fn frequencies(&self, factors: Option<&[f32]>) -> Vec<f64> {
        let factors = if self.factors.is_empty() { factors } else { Some(self.factors.as_slice()) };
        (0..self.dim / 2)
            .map(|pair| {
                let factor = factors.map_or(1.0, |factors| f64::from(factors[pair]));
                let exponent = -2.0 * pair as f64 / self.dim as f64;
                f64::from(self.base).powf(exponent) / factor / f64::from(self.linear_factor)
            })
            .collect()
    }
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

/// A family that this crate runs, and what of it no metadata key says.
struct Family {
    /// Name in GGUF.
    architecture: &'static str,
    /// Names in `config.json`.
    model_types: &'static [&'static str],
    /// Pairs are neighbours in GGUF: the converter permutes llama's query and key rows. In Hugging
    /// Face folders they never are.
    interleaved_rope: bool,
    activation: Activation,
    query_key_norm: bool,
    /// Query, key and value always have biases, the attention's output never.
    biases: bool,
    /// The family of Gemma: norms after attention and feed-forward part, norm weights stored less
    /// 1, scaled embeddings, and local layers.
    gemma: bool,
}

const FAMILIES: [Family; 4] = [
    Family {
        architecture: "llama",
        model_types: &["llama", "mistral"],
        interleaved_rope: true,
        activation: Activation::Silu,
        query_key_norm: false,
        biases: false,
        gemma: false,
    },
    Family {
        architecture: "qwen2",
        model_types: &["qwen2"],
        interleaved_rope: false,
        activation: Activation::Silu,
        query_key_norm: false,
        biases: true,
        gemma: false,
    },
    Family {
        architecture: "qwen3",
        model_types: &["qwen3"],
        interleaved_rope: false,
        activation: Activation::Silu,
        query_key_norm: true,
        biases: false,
        gemma: false,
    },
    Family {
        architecture: "gemma3",
        model_types: &["gemma3_text", "gemma3"],
        interleaved_rope: false,
        activation: Activation::Gelu,
        query_key_norm: true,
        biases: false,
        gemma: true,
    },
];

/// Of Gemma 3, every sixth layer sees the whole context.
const GEMMA_PATTERN: usize = 6;

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
        self.logit_cap.map_or(Ok(()), |cap| positive("final_logit_softcapping", cap))?;
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
            rope.factors.iter().try_for_each(|&factor| positive("rope.scaling.factor", factor))?;
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
