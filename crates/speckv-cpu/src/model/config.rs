//! A model's blueprint: what its metadata says of its shape.

use crate::gguf::{GgufError, Metadata};

/// Most values per head.
pub(super) const MAX_HEAD_DIM: usize = 1024;

/// Shape and constants of a transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Architecture as the file names it.
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
    /// Rotary embedding.
    pub rope: Rope,
}

/// Rotary position embedding: pair `i` of a head turns by `position / factor_i * base^(-2i / dim)`.
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
}

/// A family that this crate runs, and what of it no metadata key says.
struct Family {
    architecture: &'static str,
    interleaved_rope: bool,
}

const FAMILIES: [Family; 2] = [
    // The converter to GGUF permutes llama's query and key rows so that pairs are neighbours.
    Family { architecture: "llama", interleaved_rope: true },
    Family { architecture: "qwen2", interleaved_rope: false },
];

/// Architectures that this crate runs.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.architecture)
}

/// Why metadata is no blueprint that this crate can run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is missing or of the wrong type.
    #[error(transparent)]
    Metadata(#[from] GgufError),
    /// Another architecture.
    #[error("the architecture \"{0}\" is not supported; supported are {list}", list = supported_architectures().collect::<Vec<_>>().join(", "))]
    Architecture(String),
    /// Values that contradict each other or that kernels cannot take.
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
    /// Reads the blueprint.
    ///
    /// # Errors
    /// See [`ConfigError`]; every one names the key.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, ConfigError> {
        let architecture = metadata.string("general.architecture")?.to_owned();
        let family = FAMILIES.iter().find(|family| family.architecture == architecture);
        let family = family.ok_or_else(|| ConfigError::Architecture(architecture.clone()))?;
        let key = |name: &str| format!("{architecture}.{name}");
        let size = |name: &str, most: u32| -> Result<usize, ConfigError> {
            let key = key(name);
            let value = metadata.u32(&key)?;
            if value == 0 || value > most {
                return Err(ConfigError::Value { key, expected: format!("1 to {most}"), got: value.to_string() });
            }
            Ok(value as usize)
        };
        let opt_size = |name: &str, default: usize| -> Result<usize, ConfigError> {
            Ok(metadata.opt_u32(&key(name))?.map_or(default, |value| value as usize))
        };
        let wrong = |name: &str, expected: &str, got: String| ConfigError::Value {
            key: key(name),
            expected: expected.to_owned(),
            got,
        };

        let hidden = size("embedding_length", 1 << 20)?;
        let heads = size("attention.head_count", 1 << 16)?;
        let kv_heads = opt_size("attention.head_count_kv", heads)?;
        if kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            return Err(wrong("attention.head_count_kv", &format!("a divisor of {heads}"), kv_heads.to_string()));
        }
        let head_dim = opt_size("attention.key_length", hidden / heads)?;
        if head_dim == 0 || !head_dim.is_multiple_of(16) || head_dim > MAX_HEAD_DIM {
            return Err(wrong(
                "attention.key_length",
                &format!("a multiple of 16 up to {MAX_HEAD_DIM}"),
                head_dim.to_string(),
            ));
        }
        let value_length = opt_size("attention.value_length", head_dim)?;
        if value_length != head_dim {
            return Err(wrong("attention.value_length", &head_dim.to_string(), value_length.to_string()));
        }
        let rope_dim = opt_size("rope.dimension_count", head_dim)?;
        if rope_dim == 0 || rope_dim > head_dim || rope_dim % 2 == 1 {
            return Err(wrong(
                "rope.dimension_count",
                &format!("an even number up to {head_dim}"),
                rope_dim.to_string(),
            ));
        }
        let scaling = metadata.opt_string(&key("rope.scaling.type"))?.unwrap_or("none");
        let linear_factor = match scaling {
            "none" => 1.0,
            "linear" => metadata.f32(&key("rope.scaling.factor"))?,
            other => return Err(wrong("rope.scaling.type", "none or linear", other.to_owned())),
        };
        let positive = |name: &str, value: f32| {
            if value.is_finite() && value > 0.0 {
                Ok(value)
            } else {
                Err(wrong(name, "a positive number", value.to_string()))
            }
        };
        let base = metadata.opt_f32(&key("rope.freq_base"))?.unwrap_or(10_000.0);
        let epsilon = "attention.layer_norm_rms_epsilon";
        Ok(Config {
            layers: size("block_count", 1 << 12)?,
            hidden,
            feed_forward: size("feed_forward_length", 1 << 22)?,
            heads,
            kv_heads,
            head_dim,
            epsilon: positive(epsilon, metadata.f32(&key(epsilon))?)?,
            context_length: size("context_length", u32::MAX)?,
            rope: Rope {
                base: positive("rope.freq_base", base)?,
                dim: rope_dim,
                interleaved: family.interleaved_rope,
                linear_factor: positive("rope.scaling.factor", linear_factor)?,
            },
            architecture,
        })
    }

    /// Query heads that share a key-value head.
    #[must_use]
    pub fn group(&self) -> usize {
        self.heads / self.kv_heads
    }
}
