//! The families that this crate runs, and what of each no file says.

use super::Activation;

/// Which values of a query or key go through a norm together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryKeyNorm {
    /// Those of each head, with weights that all heads share: `[head_dim]`.
    PerHead,
    /// Those of all heads: `[heads * head_dim]`, of keys `[kv_heads * head_dim]`.
    Whole,
}

/// Where the norms of attention and feed-forward part are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norms {
    /// Before each part.
    Before,
    /// Before and after each part, with the names of Gemma's folders.
    Around,
    /// Before and after each part, with the names of GLM's folders.
    AroundGlm,
    /// After each part only.
    After,
}

/// Where a rotary pair's two values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairs {
    /// Half of the turning values apart.
    Halves,
    /// Neighbours in GGUF, whose converter permutes the rows of queries and keys; half of the
    /// turning values apart in folders.
    Permuted,
    /// Neighbours, in GGUF and in folders.
    Neighbours,
}

/// The rotary embedding of layers with a window, where the file does not say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum LocalRope {
    /// That of the other layers.
    Same,
    /// That of the other layers without their scaling.
    Unscaled,
    /// Not scaled, with this base.
    Base(f32),
}

/// Which layers have a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Windows {
    /// A file without a window has no meaning.
    pub required: bool,
    /// Of so many layers the last sees everything; 0: none does.
    pub pattern: usize,
    /// How their positions turn.
    pub local: LocalRope,
}

/// Which layers turn queries and keys by their positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rotation {
    /// All.
    All,
    /// All but every fourth, where the file does not say.
    NotEveryFourth,
    /// Those with a window; all where none has one.
    Windows,
}

/// A family that this crate runs, and what of it no metadata key says.
#[derive(Debug)]
pub(crate) struct Family {
    /// Name in GGUF.
    pub architecture: &'static str,
    /// Names in `config.json`.
    pub model_types: &'static [&'static str],
    pub pairs: Pairs,
    pub activation: Activation,
    pub query_key_norm: Option<QueryKeyNorm>,
    pub norms: Norms,
    /// Query, key and value always have biases, the attention's output never.
    pub biases: bool,
    /// Norm weights are stored less 1 in folders, and embeddings are scaled by the root of the
    /// width.
    pub gemma: bool,
    pub(super) windows: Option<Windows>,
    pub(super) rotation: Rotation,
    /// Query, key and value are one matrix in folders.
    pub fused_query_key_value: bool,
    /// Gate and up are one matrix, in folders and in GGUF.
    pub fused_gate_up: bool,
    /// GGUF's name of the norm before the feed-forward part.
    pub feed_forward_norm: &'static str,
    /// Keys of GGUF that this family alone has, beside those of all.
    pub(super) keys: &'static [&'static str],
    /// Values per head where a `config.json` does not say; 0: the width shared among the heads.
    pub(super) head_dim: usize,
    /// Base of the rotary frequencies where a `config.json` does not say.
    pub(super) rope_base: f32,
    /// Share of a head that turns where a `config.json` does not say.
    pub(super) rotary_share: f32,
    /// A `config.json` may say that only a share of a head turns.
    pub(super) partial: bool,
    /// Fields that this family alone has in `rope_parameters`, beside those of all.
    pub(super) rope_fields: &'static [&'static str],
    /// Embedding and output head are one matrix where a `config.json` does not say.
    pub(super) tied: bool,
    /// Projections of the attention have biases where a `config.json` does not say.
    pub(super) attention_bias: bool,
    /// The attention's output can have a bias only if `attention_out_bias` says so.
    pub(super) own_output_bias: bool,
}

/// Which of a position's numbers a pair turns by: of text, all are the same.
const MROPE: &[&str] = &["mrope_section", "mrope_interleaved"];

const LLAMA: Family = Family {
    architecture: "llama",
    // Mistral 3 sees, too; what its part for text is, that part says.
    model_types: &["llama", "mistral", "ministral", "mistral3"],
    pairs: Pairs::Permuted,
    activation: Activation::Silu,
    query_key_norm: None,
    norms: Norms::Before,
    biases: false,
    gemma: false,
    windows: None,
    rotation: Rotation::All,
    fused_query_key_value: false,
    fused_gate_up: false,
    feed_forward_norm: "ffn_norm.weight",
    keys: &[],
    head_dim: 0,
    rope_base: 10_000.0,
    rotary_share: 1.0,
    partial: false,
    rope_fields: &[],
    tied: false,
    attention_bias: false,
    own_output_bias: false,
};

const QWEN2: Family = Family {
    architecture: "qwen2",
    model_types: &["qwen2"],
    pairs: Pairs::Halves,
    biases: true,
    ..LLAMA
};

const QWEN3: Family = Family {
    architecture: "qwen3",
    model_types: &["qwen3"],
    pairs: Pairs::Halves,
    query_key_norm: Some(QueryKeyNorm::PerHead),
    head_dim: 128,
    ..LLAMA
};

const GEMMA3: Family = Family {
    architecture: "gemma3",
    model_types: &["gemma3_text", "gemma3"],
    pairs: Pairs::Halves,
    activation: Activation::Gelu,
    query_key_norm: Some(QueryKeyNorm::PerHead),
    norms: Norms::Around,
    gemma: true,
    windows: Some(Windows { required: true, pattern: 6, local: LocalRope::Base(10_000.0) }),
    keys: &["attention.sliding_window", "rope.freq_base_swa", "attention.sliding_window_pattern"],
    head_dim: 256,
    rope_base: 1_000_000.0,
    tied: true,
    ..LLAMA
};

pub(super) const FAMILIES: [Family; 15] = [
    LLAMA,
    QWEN2,
    QWEN3,
    GEMMA3,
    Family {
        architecture: "gemma2",
        model_types: &["gemma2"],
        query_key_norm: None,
        windows: Some(Windows { required: false, pattern: 2, local: LocalRope::Same }),
        rope_base: 10_000.0,
        ..GEMMA3
    },
    Family {
        architecture: "mistral3",
        model_types: &["ministral3"],
        keys: &["attention.temperature_scale"],
        rope_fields: &["llama_4_scaling_beta"],
        head_dim: 128,
        rope_base: 1_000_000.0,
        ..LLAMA
    },
    Family {
        architecture: "phi3",
        partial: true,
        model_types: &["phi3"],
        pairs: Pairs::Halves,
        windows: Some(Windows { required: false, pattern: 0, local: LocalRope::Same }),
        fused_query_key_value: true,
        fused_gate_up: true,
        keys: &["attention.sliding_window"],
        ..LLAMA
    },
    Family {
        architecture: "smollm3",
        model_types: &["smollm3"],
        rotation: Rotation::NotEveryFourth,
        rope_base: 2_000_000.0,
        tied: true,
        ..LLAMA
    },
    Family {
        architecture: "granite",
        model_types: &["granite"],
        keys: &["embedding_scale", "residual_scale", "logit_scale", "rope.scaling.finetuned"],
        ..LLAMA
    },
    Family {
        architecture: "olmo2",
        model_types: &["olmo2", "olmo3"],
        pairs: Pairs::Halves,
        query_key_norm: Some(QueryKeyNorm::Whole),
        norms: Norms::After,
        windows: Some(Windows { required: false, pattern: 4, local: LocalRope::Unscaled }),
        keys: GEMMA3.keys,
        ..LLAMA
    },
    Family {
        architecture: "glm4",
        model_types: &["glm4"],
        pairs: Pairs::Neighbours,
        norms: Norms::AroundGlm,
        fused_gate_up: true,
        head_dim: 128,
        rotary_share: 0.5,
        partial: true,
        attention_bias: true,
        own_output_bias: true,
        ..LLAMA
    },
    Family {
        architecture: "exaone4",
        model_types: &["exaone4"],
        pairs: Pairs::Halves,
        query_key_norm: Some(QueryKeyNorm::PerHead),
        norms: Norms::After,
        windows: Some(Windows { required: false, pattern: 4, local: LocalRope::Same }),
        rotation: Rotation::Windows,
        keys: GEMMA3.keys,
        ..LLAMA
    },
    Family {
        architecture: "seed_oss",
        model_types: &["seed_oss"],
        pairs: Pairs::Halves,
        feed_forward_norm: "post_attention_norm.weight",
        head_dim: 128,
        attention_bias: true,
        own_output_bias: true,
        ..LLAMA
    },
    Family {
        architecture: "qwen2vl",
        model_types: &["qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"],
        // Which of a position's three numbers a pair turns by: of text, all three are the same.
        keys: &["rope.dimension_sections"],
        rope_fields: MROPE,
        rope_base: 1_000_000.0,
        ..QWEN2
    },
    Family {
        architecture: "qwen3vl",
        model_types: &["qwen3_vl", "qwen3_vl_text"],
        // The second counts layers that take what the part for pictures says.
        keys: &["rope.dimension_sections", "n_deepstack_layers"],
        rope_fields: MROPE,
        rope_base: 500_000.0,
        ..QWEN3
    },
];

impl Family {
    /// Whether its GGUF files say which layers have a window.
    pub fn has_windows(&self) -> bool {
        self.windows.is_some()
    }
}

/// The family of a GGUF architecture.
pub(super) fn of_architecture(name: &str) -> Option<&'static Family> {
    static TABLE: [Family; 15] = FAMILIES;
    TABLE.iter().find(|family| family.architecture == name)
}

/// The family of a `model_type`.
pub(super) fn of_model_type(name: &str) -> Option<&'static Family> {
    let known = FAMILIES.iter().find(|family| family.model_types.contains(&name))?;
    of_architecture(known.architecture)
}
