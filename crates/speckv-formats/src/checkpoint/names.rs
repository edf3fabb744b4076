//! What Hugging Face calls the tensors that GGUF calls otherwise.

use crate::config::{Config, Norms};

/// A name in GGUF and in Hugging Face's files.
type Pair = (&'static str, &'static str);

/// Parts of every layer.
const LAYER: [Pair; 10] = [
    ("attn_q.weight", "self_attn.q_proj.weight"),
    ("attn_q.bias", "self_attn.q_proj.bias"),
    ("attn_k.weight", "self_attn.k_proj.weight"),
    ("attn_k.bias", "self_attn.k_proj.bias"),
    ("attn_v.weight", "self_attn.v_proj.weight"),
    ("attn_v.bias", "self_attn.v_proj.bias"),
    ("attn_output.weight", "self_attn.o_proj.weight"),
    ("attn_output.bias", "self_attn.o_proj.bias"),
    ("ffn_down.weight", "mlp.down_proj.weight"),
    ("ffn_down.bias", "mlp.down_proj.bias"),
];

/// Gate and up apart.
const GATE_UP: [Pair; 4] = [
    ("ffn_gate.weight", "mlp.gate_proj.weight"),
    ("ffn_gate.bias", "mlp.gate_proj.bias"),
    ("ffn_up.weight", "mlp.up_proj.weight"),
    ("ffn_up.bias", "mlp.up_proj.bias"),
];

/// Gate and up as one.
const FUSED_GATE_UP: [Pair; 2] =
    [("ffn_up.weight", "mlp.gate_up_proj.weight"), ("ffn_up.bias", "mlp.gate_up_proj.bias")];

/// Query, key and value as one.
const FUSED_QUERY_KEY_VALUE: [Pair; 2] = [
    ("attn_qkv.weight", "self_attn.qkv_proj.weight"),
    ("attn_qkv.bias", "self_attn.qkv_proj.bias"),
];

/// Norms of queries and keys.
const QUERY_KEY_NORMS: [Pair; 2] = [
    ("attn_q_norm.weight", "self_attn.q_norm.weight"),
    ("attn_k_norm.weight", "self_attn.k_norm.weight"),
];

/// The norms of attention and feed-forward part. What is called "post attention" is after the
/// attention in some families and before the feed-forward part in others.
fn norms(norms: Norms) -> &'static [Pair] {
    match norms {
        Norms::Before => &[
            ("attn_norm.weight", "input_layernorm.weight"),
            ("ffn_norm.weight", "post_attention_layernorm.weight"),
        ],
        Norms::Around => &[
            ("attn_norm.weight", "input_layernorm.weight"),
            ("post_attention_norm.weight", "post_attention_layernorm.weight"),
            ("ffn_norm.weight", "pre_feedforward_layernorm.weight"),
            ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
        ],
        Norms::AroundGlm => &[
            ("attn_norm.weight", "input_layernorm.weight"),
            ("post_attention_norm.weight", "post_self_attn_layernorm.weight"),
            ("ffn_norm.weight", "post_attention_layernorm.weight"),
            ("post_ffw_norm.weight", "post_mlp_layernorm.weight"),
        ],
        Norms::After => &[
            ("post_attention_norm.weight", "post_attention_layernorm.weight"),
            ("post_ffw_norm.weight", "post_feedforward_layernorm.weight"),
        ],
    }
}

const WHOLE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// The names of one family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    query_key_norm: bool,
    norms: Norms,
    fused_query_key_value: bool,
    fused_gate_up: bool,
    /// GGUF's name of the norm before the feed-forward part.
    feed_forward_norm: &'static str,
}

impl Names {
    /// The names of matrices in families that keep them apart, which are the same in all of them.
    pub(super) const MATRICES: Names = Names {
        query_key_norm: false,
        norms: Norms::Before,
        fused_query_key_value: false,
        fused_gate_up: false,
        feed_forward_norm: "ffn_norm.weight",
    };

    /// The names of a blueprint's family.
    pub(super) fn of(config: &Config) -> Self {
        let family = config.family();
        Names {
            query_key_norm: family.query_key_norm.is_some(),
            norms: family.norms,
            fused_query_key_value: family.fused_query_key_value,
            fused_gate_up: family.fused_gate_up,
            feed_forward_norm: family.feed_forward_norm,
        }
    }
}

/// What a name in a file stands for.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// A tensor of the model, by its GGUF name.
    Tensor(String),
    /// Something that text generation does not need: the parts for pictures of a model that sees,
    /// and constants that can be computed.
    Ignored,
    /// Something that this crate does not know, and that may change what the model says.
    Unknown,
}

impl Names {
    fn layer(self) -> impl Iterator<Item = Pair> {
        let some = |wanted: bool, pairs: &'static [Pair]| if wanted { pairs } else { &[] };
        let inner = if self.fused_gate_up { &FUSED_GATE_UP[..] } else { &GATE_UP };
        let lists = [
            &LAYER[..],
            inner,
            some(self.fused_query_key_value, &FUSED_QUERY_KEY_VALUE),
            some(self.query_key_norm, &QUERY_KEY_NORMS),
            norms(self.norms),
        ];
        lists.into_iter().flatten().map(move |&(gguf, hugging_face)| match gguf {
            "ffn_norm.weight" => (self.feed_forward_norm, hugging_face),
            _ => (gguf, hugging_face),
        })
    }

    /// What a name of a Hugging Face file stands for.
    pub(super) fn meaning(self, name: &str) -> Meaning {
        // A model that also sees keeps its part for text under a name of its own, whose place has
        // changed over the years.
        let name = ["language_model.", "model.language_model."]
            .iter()
            .find_map(|prefix| {
                let rest = name.strip_prefix(prefix)?;
                Some(if rest.starts_with("model.") || rest.starts_with("lm_head.") {
                    rest.to_owned()
                } else {
                    format!("model.{rest}")
                })
            })
            .unwrap_or_else(|| name.to_owned());
        if let Some((gguf, _)) = WHOLE.iter().find(|(_, hugging_face)| *hugging_face == name) {
            return Meaning::Tensor((*gguf).to_owned());
        }
        let other_parts = [
            "vision_tower.",
            "multi_modal_projector.",
            "model.vision_tower.",
            "model.multi_modal_projector.",
            "visual.",
            "model.visual.",
        ];
        if name.ends_with("rotary_emb.inv_freq")
            || other_parts.iter().any(|prefix| name.starts_with(prefix))
        {
            return Meaning::Ignored;
        }
        let layer = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        let Some((number, part)) = layer else { return Meaning::Unknown };
        let (Ok(number), Some((gguf, _))) =
            (number.parse::<u32>(), self.layer().find(|(_, hugging_face)| *hugging_face == part))
        else {
            return Meaning::Unknown;
        };
        Meaning::Tensor(format!("blk.{number}.{gguf}"))
    }

    /// What Hugging Face calls the tensor that GGUF calls so.
    pub(super) fn spelled(self, name: &str) -> String {
        if let Some((_, hugging_face)) = WHOLE.iter().find(|(gguf, _)| *gguf == name) {
            return (*hugging_face).to_owned();
        }
        let layer = name.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
        layer
            .and_then(|(number, part)| {
                let (_, hugging_face) = self.layer().find(|(gguf, _)| *gguf == part)?;
                Some(format!("model.layers.{number}.{hugging_face}"))
            })
            .unwrap_or_else(|| name.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Names = Names {
        query_key_norm: false,
        norms: Norms::Before,
        fused_query_key_value: false,
        fused_gate_up: false,
        feed_forward_norm: "ffn_norm.weight",
    };
    const GEMMA: Names = Names { query_key_norm: true, norms: Norms::Around, ..PLAIN };
    const GLM: Names = Names { norms: Norms::AroundGlm, fused_gate_up: true, ..PLAIN };
    const PHI: Names = Names { fused_query_key_value: true, fused_gate_up: true, ..PLAIN };
    const OLMO: Names = Names { query_key_norm: true, norms: Norms::After, ..PLAIN };
    const SEED: Names = Names { feed_forward_norm: "post_attention_norm.weight", ..PLAIN };

    #[test]
    fn names_go_there_and_back() {
        for names in [PLAIN, GEMMA, GLM, PHI, OLMO, SEED] {
            for (gguf, _) in names.layer() {
                let gguf = format!("blk.17.{gguf}");
                assert_eq!(names.meaning(&names.spelled(&gguf)), Meaning::Tensor(gguf));
            }
            for (gguf, _) in WHOLE {
                assert_eq!(names.meaning(&names.spelled(gguf)), Meaning::Tensor(gguf.to_owned()));
            }
        }
    }

    #[test]
    fn one_name_means_two_things_in_two_families() {
        let name = "model.layers.3.post_attention_layernorm.weight";
        assert_eq!(PLAIN.meaning(name), Meaning::Tensor("blk.3.ffn_norm.weight".into()));
        assert_eq!(GEMMA.meaning(name), Meaning::Tensor("blk.3.post_attention_norm.weight".into()));
        assert_eq!(SEED.meaning(name), Meaning::Tensor("blk.3.post_attention_norm.weight".into()));
        assert_eq!(GLM.meaning(name), Meaning::Tensor("blk.3.ffn_norm.weight".into()));
    }

    #[test]
    fn models_that_see_keep_their_text_part_and_unknown_tensors_are_not_overlooked() {
        let norm = Meaning::Tensor("output_norm.weight".into());
        for name in [
            "model.norm.weight",
            "language_model.model.norm.weight",
            "model.language_model.norm.weight",
        ] {
            assert_eq!(GEMMA.meaning(name), norm, "{name}");
        }
        assert_eq!(GEMMA.meaning("vision_tower.encoder.weight"), Meaning::Ignored);
        assert_eq!(PLAIN.meaning("model.layers.0.self_attn.rotary_emb.inv_freq"), Meaning::Ignored);
        for name in [
            "model.layers.0.mlp.gate_proj.scale",
            "model.layers.x.input_layernorm.weight",
            "adapter.weight",
            "",
            "model.layers.0.self_attn.q_norm.weight",
        ] {
            assert_eq!(PLAIN.meaning(name), Meaning::Unknown, "{name}");
        }
    }
}
