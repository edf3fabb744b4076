//! The keys of an architecture in GGUF metadata: each is read, known to be harmless, or refused.

use super::ConfigError;
use crate::gguf::{Metadata, Value};

/// What a key that is not read must say so that the model can be computed without it.
enum Rule {
    /// Read by the configuration, which checks its value.
    Read,
    /// Changes nothing.
    Harmless,
    /// Changes nothing while it has this value.
    Only(f64),
    /// A window at least as long as the context changes nothing.
    Window,
}

/// Keys behind the architecture's name.
const KEYS: [(&str, Rule); 43] = [
    ("context_length", Rule::Read),
    ("embedding_length", Rule::Read),
    ("block_count", Rule::Read),
    ("feed_forward_length", Rule::Read),
    ("attention.head_count", Rule::Read),
    ("attention.head_count_kv", Rule::Read),
    ("attention.layer_norm_rms_epsilon", Rule::Read),
    ("attention.key_length", Rule::Read),
    ("attention.value_length", Rule::Read),
    ("attention.scale", Rule::Read),
    ("attn_logit_softcapping", Rule::Read),
    ("final_logit_softcapping", Rule::Read),
    ("rope.freq_base", Rule::Read),
    ("rope.dimension_count", Rule::Read),
    ("rope.scaling.type", Rule::Read),
    ("rope.scaling.factor", Rule::Read),
    ("rope.scale_linear", Rule::Read),
    // Of the token embeddings, whose shape says it.
    ("vocab_size", Rule::Harmless),
    // What the model was made for before its context was extended.
    ("rope.scaling.original_context_length", Rule::Read),
    ("rope.scaling.finetuned", Rule::Harmless),
    // Only read with scaling of the type "yarn".
    ("rope.scaling.yarn_ext_factor", Rule::Read),
    ("rope.scaling.yarn_attn_factor", Rule::Read),
    ("rope.scaling.yarn_beta_fast", Rule::Read),
    ("rope.scaling.yarn_beta_slow", Rule::Read),
    ("rope.scaling.yarn_log_multiplier", Rule::Read),
    // Of norms that these architectures do not have.
    ("attention.layer_norm_epsilon", Rule::Harmless),
    ("attention.group_norm_epsilon", Rule::Harmless),
    ("tensor_data_layout", Rule::Harmless),
    ("attention.causal", Rule::Only(1.0)),
    ("use_parallel_residual", Rule::Only(0.0)),
    ("attention.clamp_kqv", Rule::Only(0.0)),
    ("attention.max_alibi_bias", Rule::Only(0.0)),
    ("expert_count", Rule::Only(0.0)),
    ("expert_used_count", Rule::Only(0.0)),
    ("nextn_predict_layers", Rule::Only(0.0)),
    ("rope.scaling.attn_factor", Rule::Read),
    ("logit_scale", Rule::Only(1.0)),
    ("embedding_scale", Rule::Only(1.0)),
    ("residual_scale", Rule::Only(1.0)),
    ("router_logit_softcapping", Rule::Only(0.0)),
    ("pooling_type", Rule::Only(0.0)),
    ("attention.sliding_window", Rule::Window),
    ("attention.shared_kv_layers", Rule::Only(0.0)),
];

/// Parts for pictures and sound, which text does not need.
const OTHER_PARTS: [&str; 3] = ["vision.", "mm.", "audio."];

/// Refuses keys that are not known and values that would change the model. `own` are the keys that
/// the family alone has.
pub(super) fn check(
    metadata: &Metadata,
    architecture: &str,
    own: &[&str],
    context_length: usize,
) -> Result<(), ConfigError> {
    let prefix = format!("{architecture}.");
    for (key, value) in metadata.iter() {
        let Some(name) = key.strip_prefix(&prefix) else { continue };
        let other_part = OTHER_PARTS.iter().any(|part| name.starts_with(part));
        if other_part || own.contains(&name) {
            continue;
        }
        let wrong = |expected: String| {
            let got = number(value).map_or_else(|| "another value".to_owned(), |it| it.to_string());
            Err(ConfigError::Value { key: key.to_owned(), expected, got })
        };
        match KEYS.iter().find(|(known, _)| *known == name).map(|(_, rule)| rule) {
            Some(Rule::Read | Rule::Harmless) => {}
            Some(Rule::Only(expected)) if number(value) == Some(*expected) => {}
            Some(Rule::Only(expected)) => {
                return wrong(format!("{expected}: other values are not supported"));
            }
            Some(Rule::Window) => {
                let window = number(value);
                if window != Some(0.0) && window.is_none_or(|it| it < context_length as f64) {
                    return wrong(format!(
                        "a window of at least the context of {context_length} tokens"
                    ));
                }
            }
            None => {
                return Err(ConfigError::UnknownKey {
                    key: key.to_owned(),
                    architecture: architecture.to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// A number or a truth value.
fn number(value: &Value) -> Option<f64> {
    Some(match value {
        Value::Bool(truth) => f64::from(u8::from(*truth)),
        Value::F32(number) => f64::from(*number),
        Value::F64(number) => *number,
        other => other.as_integer()? as f64,
    })
}
