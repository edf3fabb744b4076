//! Fields of `config.json` that only some families have: elsewhere they must say nothing.

use serde_json::Value;

use super::{
    ConfigError,
    json::{Fields, wrong},
};

/// A field, the architectures that read it, and the number that changes nothing elsewhere.
struct Own {
    name: &'static str,
    architectures: &'static [&'static str],
    harmless: Option<f64>,
}

const fn own(
    name: &'static str,
    architectures: &'static [&'static str],
    harmless: Option<f64>,
) -> Own {
    Own { name, architectures, harmless }
}

const GEMMA: &[&str] = &["gemma2", "gemma3"];
const GRANITE: &[&str] = &["granite"];
/// No architecture that is supported has experts.
const NONE: &[&str] = &[];

const OWN: [Own; 15] = [
    own("query_pre_attn_scalar", GEMMA, None),
    own("attn_logit_softcapping", GEMMA, None),
    own("final_logit_softcapping", GEMMA, None),
    own("rope_local_base_freq", &["gemma3"], None),
    own("embedding_multiplier", GRANITE, Some(1.0)),
    own("attention_multiplier", GRANITE, None),
    own("residual_multiplier", GRANITE, Some(1.0)),
    own("logits_scaling", GRANITE, Some(1.0)),
    own("no_rope_layers", &["smollm3"], None),
    own("use_qk_norm", &["qwen3", "qwen3vl", "gemma3", "olmo2", "exaone4"], None),
    own("clip_qkv", NONE, None),
    own("num_experts", NONE, Some(0.0)),
    own("num_local_experts", NONE, Some(0.0)),
    own("n_routed_experts", NONE, Some(0.0)),
    own("kv_lora_rank", NONE, None),
];

/// Refuses fields of other families, which would change the model if they counted.
pub(super) fn check(fields: Fields<'_>, architecture: &str) -> Result<(), ConfigError> {
    for Own { name, architectures, harmless } in &OWN {
        let said = fields.get(name).filter(|_| !architectures.contains(&architecture));
        let Some(value) = said else { continue };
        let changes_nothing =
            value == &Value::Bool(false) || harmless.is_some() && value.as_f64() == *harmless;
        if !changes_nothing {
            let expected = match harmless {
                Some(number) => format!("none, or {number}, in a model of the family"),
                None => "none in a model of the family".to_owned(),
            };
            return Err(wrong(name, format!("{expected} {architecture}"), value));
        }
    }
    Ok(())
}
