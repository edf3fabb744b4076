//! Blueprints from GGUF metadata.

use super::{
    Biases, Config, ConfigError, Long, Quantization, QueryGrowth, Rope, Sliding, Yarn,
    family::{self, Family, LocalRope, Norms, Pairs, Rotation, Windows},
    keys,
};
use crate::gguf::{Metadata, Value};

/// Layers of the one Gemma 3 and the one Gemma 2 (27B) whose products are scaled by the width per
/// head, not by the head's own; no key says so.
const WIDE_GEMMA_LAYERS: [(&str, usize); 2] = [("gemma3", 62), ("gemma2", 46)];

/// Most layers that lists are made for; more is refused later.
const MOST_LAYERS: usize = 1 << 12;

/// The metadata of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn size(&self, name: &str) -> Result<usize, ConfigError> {
        Ok(self.metadata.u32(&self.key(name))? as usize)
    }

    fn opt_size(&self, name: &str) -> Result<Option<usize>, ConfigError> {
        Ok(self.metadata.opt_u32(&self.key(name))?.map(|value| value as usize))
    }

    fn opt_float(&self, name: &str) -> Result<Option<f32>, ConfigError> {
        Ok(self.metadata.opt_f32(&self.key(name))?)
    }

    /// A number whose absence and whose 0 mean the same.
    fn factor(&self, name: &str) -> Result<Option<f32>, ConfigError> {
        Ok(self.opt_float(name)?.filter(|&factor| factor != 0.0))
    }

    fn wrong(&self, name: &str, expected: impl Into<String>, got: &dyn ToString) -> ConfigError {
        ConfigError::Value { key: self.key(name), expected: expected.into(), got: got.to_string() }
    }

    /// How positions turn.
    fn rope(&self, family: &Family, head_dim: usize) -> Result<Rope, ConfigError> {
        // A factor alone is a linear one, also under its old name; 0 says that there is none.
        const FACTOR: &str = "rope.scaling.factor";
        let said = match self.opt_float(FACTOR)? {
            None => self.opt_float("rope.scale_linear")?,
            factor => factor,
        };
        let factor = said.filter(|&factor| factor != 0.0).unwrap_or(1.0);
        let dim = self.opt_size("rope.dimension_count")?.unwrap_or(head_dim);
        let mut rope = Rope {
            attention_factor: self.factor("rope.scaling.attn_factor")?.unwrap_or(1.0),
            ..Rope::plain(
                self.opt_float("rope.freq_base")?.unwrap_or(10_000.0),
                dim,
                family.pairs != Pairs::Halves,
            )
        };
        let context = self.opt_size("rope.scaling.original_context_length")?;
        let kind = self.metadata.opt_string(&self.key("rope.scaling.type"))?;
        if kind != Some("yarn") {
            // Readers apply these to all kinds; where they are not set, they are below 0.
            for (name, harmless) in [("yarn_ext_factor", 0.0), ("yarn_attn_factor", 1.0)] {
                let name = format!("rope.scaling.{name}");
                let got = self.opt_float(&name)?.filter(|&got| got > 0.0 && got != harmless);
                if let Some(got) = got {
                    return Err(self.wrong(&name, "none, or a scaling of the type yarn", &got));
                }
            }
        }
        match kind.unwrap_or("linear") {
            "none" => {}
            "linear" if kind.is_some() && said.is_none() => {
                return Err(self.wrong(FACTOR, "a factor beside the type linear", &"none"));
            }
            "linear" => rope.linear_factor = factor,
            "yarn" => {
                if said.is_none_or(|factor| factor == 0.0) {
                    let got = said.map_or_else(|| "none".to_owned(), |factor| factor.to_string());
                    return Err(self.wrong(FACTOR, "a factor beside the type yarn", &got));
                }
                let name = "rope.scaling.yarn_ext_factor";
                let share = self.opt_float(name)?;
                if let Some(got) = share.filter(|&share| share >= 0.0 && share != 1.0) {
                    return Err(self.wrong(name, "1: other shares are not supported", &got));
                }
                let scale = self.factor("rope.scaling.yarn_log_multiplier")?;
                let usual = Yarn::attention_factor(factor, 1.0)
                    / scale.map_or(1.0, |scale| Yarn::attention_factor(factor, scale));
                let said = self.factor("rope.scaling.yarn_attn_factor")?;
                rope.attention_factor *= said.unwrap_or(usual);
                rope.yarn = Some(Yarn {
                    factor,
                    context: match context {
                        Some(context) => context,
                        None => self.size("context_length")?,
                    },
                    fast: self.factor("rope.scaling.yarn_beta_fast")?.unwrap_or(32.0),
                    slow: self.factor("rope.scaling.yarn_beta_slow")?.unwrap_or(1.0),
                    whole: true,
                });
            }
            "longrope" if factor != 1.0 => {
                return Err(self.wrong(FACTOR, "1 or none beside the type longrope", &factor));
            }
            "longrope" if context.is_none() => {
                let name = "rope.scaling.original_context_length";
                return Err(self.wrong(name, "a length beside the type longrope", &"none"));
            }
            "longrope" => {}
            other => {
                let expected = "none, linear, yarn or longrope";
                return Err(self.wrong("rope.scaling.type", expected, &other));
            }
        }
        // The converter of Phi 3 writes no type.
        if kind == Some("longrope") || family.architecture == "phi3" {
            rope.long = context.map(|context| Long { context, factors: Vec::new() });
        }
        Ok(rope)
    }

    /// Which layers have a window, by a list or by how often one has none.
    fn pattern(&self, usual: usize, layers: usize) -> Result<Vec<bool>, ConfigError> {
        let name = "attention.sliding_window_pattern";
        if let Some(Value::Array(list)) = self.metadata.get(&self.key(name)) {
            if list.len() != layers {
                return Err(self.wrong(name, format!("{layers} layers"), &list.len()));
            }
            let slides = |layer| match list.get(layer) {
                Some(Value::Bool(slides)) => Ok(slides),
                Some(other) => match other.as_integer() {
                    Some(number @ (0 | 1)) => Ok(number == 1),
                    _ => Err(self.wrong(name, "true or false", &other.describe())),
                },
                None => Ok(false),
            };
            return (0..layers).map(slides).collect();
        }
        let every = self.opt_size(name)?.unwrap_or(usual);
        let layers = 1..=layers.min(MOST_LAYERS);
        Ok(layers.map(|layer| every == 0 || layer % every != 0).collect())
    }

    /// Layers with a window.
    fn sliding(
        &self,
        windows: Windows,
        rope: &Rope,
        layers: usize,
    ) -> Result<Option<Sliding>, ConfigError> {
        let window = self.opt_size("attention.sliding_window")?.filter(|&window| window > 0);
        let window = match window {
            None if windows.required => self.size("attention.sliding_window")?,
            None => return Ok(None),
            Some(window) => window,
        };
        let local = match windows.local {
            LocalRope::Same => rope.clone(),
            LocalRope::Unscaled => rope.unscaled(),
            LocalRope::Base(base) => Rope { base, ..rope.unscaled() },
        };
        let base = self.opt_float("rope.freq_base_swa")?.unwrap_or(local.base);
        let layers = self.pattern(windows.pattern, layers)?;
        let sliding = Sliding { window, layers, rope: Rope { base, ..local } };
        Ok(Some(sliding).filter(|sliding| sliding.layers.contains(&true)))
    }

    /// Layers in which positions do not turn.
    fn unrotated(
        &self,
        family: &Family,
        sliding: Option<&Sliding>,
        layers: usize,
    ) -> Result<Vec<bool>, ConfigError> {
        let layers = layers.min(MOST_LAYERS);
        // Of Granite, "finetuned" says whether positions turn at all.
        let finetuned = self.key("rope.scaling.finetuned");
        let turns =
            family.architecture != "granite" || self.metadata.opt_bool(&finetuned)?.unwrap_or(true);
        Ok(match family.rotation {
            Rotation::All if turns => Vec::new(),
            Rotation::All => vec![true; layers],
            Rotation::NotEveryFourth => (1..=layers).map(|layer| layer % 4 == 0).collect(),
            Rotation::Windows => sliding.map_or_else(Vec::new, |sliding| {
                sliding.layers.iter().map(|slides| !slides).collect()
            }),
        })
    }
}

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
        let architecture = metadata.string("general.architecture")?;
        let family = family::of_architecture(architecture)
            .ok_or_else(|| ConfigError::Architecture(architecture.to_owned()))?;
        let keys = Keys { metadata, architecture };

        let (layers, hidden, heads) = (
            keys.size("block_count")?,
            keys.size("embedding_length")?,
            keys.size("attention.head_count")?,
        );
        if heads == 0 {
            return Err(keys.wrong("attention.head_count", "at least 1", &heads));
        }
        let head_dim = keys.opt_size("attention.key_length")?.unwrap_or(hidden / heads);
        let value_dim = keys.opt_size("attention.value_length")?;
        if let Some(got) = value_dim.filter(|&length| length != head_dim) {
            return Err(keys.wrong("attention.value_length", head_dim.to_string(), &got));
        }
        let rope = keys.rope(family, head_dim)?;
        let sliding = match family.windows {
            Some(windows) => keys.sliding(windows, &rope, layers)?,
            None => None,
        };
        let wide = WIDE_GEMMA_LAYERS.contains(&(family.architecture, layers));
        let width = if wide { hidden / heads } else { head_dim };
        let context_length = keys.size("context_length")?;
        keys::check(metadata, architecture, family.keys, context_length)?;
        // What readers of Gemma 2 take where the file says nothing.
        let usual_cap = |cap: f32| (architecture == "gemma2").then_some(cap);
        let cap = |name: &str, usual: f32| -> Result<Option<f32>, ConfigError> {
            let cap = keys.opt_float(name)?.or(usual_cap(usual));
            Ok(cap.filter(|&cap| cap != 0.0))
        };
        let growth = keys.factor("attention.temperature_scale")?;
        let span = keys.opt_size("rope.scaling.original_context_length")?.unwrap_or(context_length);
        let config = Config {
            layers,
            hidden,
            feed_forward: keys.size("feed_forward_length")?,
            heads,
            kv_heads: keys.opt_size("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            epsilon: metadata.f32(&keys.key("attention.layer_norm_rms_epsilon"))?,
            context_length,
            unrotated: keys.unrotated(family, sliding.as_ref(), layers)?,
            rope,
            sliding,
            activation: family.activation,
            query_key_norm: family.query_key_norm,
            pre_norms: family.norms != Norms::After,
            post_norms: family.norms != Norms::Before,
            embedding_scale: match family.gemma {
                true => (hidden as f32).sqrt(),
                false => keys.factor("embedding_scale")?.unwrap_or(1.0),
            },
            attention_scale: keys.factor("attention.scale")?.unwrap_or(1.0 / (width as f32).sqrt()),
            attention_cap: cap("attn_logit_softcapping", 50.0)?,
            query_growth: growth.map(|rate| QueryGrowth { rate, span }),
            residual_scale: keys.factor("residual_scale")?.unwrap_or(1.0),
            logit_scale: 1.0 / keys.factor("logit_scale")?.unwrap_or(1.0),
            biases: Biases { query_key_value: family.biases.then_some(true), ..Biases::default() },
            logit_cap: cap("final_logit_softcapping", 30.0)?,
            norm_offset: 0.0, // the converter has added it
            tied: None,
            quantization: Quantization::None,
            vocab_size: None,
            architecture: architecture.to_owned(),
        };
        config.checked(&|name| keys.key(name))
    }
}
