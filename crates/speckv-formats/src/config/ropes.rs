//! Rotary embeddings as `config.json` describes them.

use serde_json::{Map, Value};

use super::{
    ConfigError, Long, MAX_HEAD_DIM, Rope, Yarn,
    family::{Family, LocalRope, Pairs},
    json::{Fields, wrong},
};

/// Objects that describe how positions turn.
const PARAMETERS: &str = "rope_parameters";
const SCALING: &str = "rope_scaling";
/// Parts of them for layers without and with a window.
const PARTS: [&str; 2] = ["full_attention", "sliding_attention"];

/// Fields of every kind.
const COMMON: &[&str] =
    &["rope_type", "type", "rope_theta", "partial_rotary_factor", "finetuned", CONTEXT];
const CONTEXT: &str = "original_max_position_embeddings";
const LINEAR: &[&str] = &["factor"];
const LLAMA3: &[&str] = &["factor", "low_freq_factor", "high_freq_factor"];
const YARN: &[&str] = &[
    "factor",
    "attention_factor",
    "beta_fast",
    "beta_slow",
    "mscale",
    "mscale_all_dim",
    "truncate",
    "attn_factor",
    "extrapolation_factor",
];
const LONG: &[&str] = &["factor", "attention_factor", "short_factor", "long_factor"];

/// Values of a head that turn.
pub(super) fn rotary_dim(
    fields: Fields<'_>,
    family: &Family,
    head_dim: usize,
) -> Result<usize, ConfigError> {
    const KEY: &str = "partial_rotary_factor";
    let mut places = vec![fields];
    for name in [PARAMETERS, SCALING] {
        let Some(object) = fields.opt_object(name)? else { continue };
        places.push(object);
        for part in PARTS {
            places.extend(object.opt_object(part)?);
        }
    }
    let mut said: Option<f32> = None;
    for place in places {
        let Some(share) = place.opt_float(KEY)? else { continue };
        if !(share > 0.0 && share <= 1.0) {
            return Err(wrong(KEY, "a share of a head, above 0 and up to 1", &share.into()));
        }
        if !family.partial && share != 1.0 {
            let expected = "1: in models of this family, heads turn whole";
            return Err(wrong(KEY, expected, &share.into()));
        }
        if let Some(other) = said.replace(share).filter(|&other| other != share) {
            return Err(wrong(KEY, format!("{other}, as another place says"), &share.into()));
        }
    }
    Ok((head_dim as f32 * said.unwrap_or(family.rotary_share)) as usize)
}

/// Rotary embeddings of layers that see everything, and of those that slide; `slides` says whether
/// there are any.
pub(super) fn ropes(
    fields: Fields<'_>,
    family: &Family,
    dim: usize,
    context: usize,
    slides: bool,
) -> Result<(Rope, Rope), ConfigError> {
    let reader = Reader { fields, family, dim, context };
    let base = fields.opt_float("rope_theta")?;
    let usual = base.unwrap_or(family.rope_base);
    let local = family.windows.map_or(LocalRope::Same, |windows| windows.local);
    let own_base = match local {
        LocalRope::Base(base) => base,
        LocalRope::Same | LocalRope::Unscaled => family.rope_base,
    };
    let parameters = fields.opt_object(PARAMETERS)?.filter(|object| !object.0.is_empty());
    let scaling = fields.opt_object(SCALING)?;
    if let Some(parameters) = parameters {
        if let Some(scaling) = scaling {
            agree(scaling, parameters)?;
        }
        let parts = [parameters.opt_object(PARTS[0])?, parameters.opt_object(PARTS[1])?];
        if parts.iter().all(Option::is_none) {
            if slides && local != LocalRope::Same {
                let expected = "full_attention and sliding_attention, each with its own fields";
                let got = Value::Object(parameters.0.clone());
                return Err(wrong(PARAMETERS, expected, &got));
            }
            let rope = reader.rope(PARAMETERS, parameters, usual)?;
            return Ok((rope.clone(), rope));
        }
        parameters.known(PARAMETERS, "parts for layers with and without a window", &[&PARTS])?;
        let part = |number: usize, usual: f32| {
            let place = format!("{PARAMETERS}.{}", PARTS[number]);
            let own = parts[number].ok_or_else(|| ConfigError::Missing(place.clone()))?;
            reader.rope(&place, own, base.unwrap_or(usual))
        };
        let global = part(0, family.rope_base)?;
        let sliding = match (parts[1], slides) {
            (None, false) => global.clone(),
            _ => part(1, own_base)?,
        };
        return Ok((global, sliding));
    }
    let empty = Map::new();
    let global = reader.rope(SCALING, scaling.unwrap_or(Fields(&empty)), usual)?;
    let local = match local {
        LocalRope::Same => global.clone(),
        LocalRope::Unscaled => global.unscaled(),
        LocalRope::Base(base) => {
            let base = fields.opt_float("rope_local_base_freq")?.unwrap_or(base);
            Rope { base, ..global.unscaled() }
        }
    };
    Ok((global, local))
}

/// Refuses a `rope_scaling` that says something else than `rope_parameters`: which of them counts
/// differs between versions of the library.
fn agree(scaling: Fields<'_>, parameters: Fields<'_>) -> Result<(), ConfigError> {
    let kind = |fields: Fields<'_>| fields.get("rope_type").or(fields.get("type")).cloned();
    let same = |key: &str| match key {
        "rope_type" | "type" => kind(scaling) == kind(parameters),
        _ => scaling.get(key) == parameters.get(key),
    };
    let said = scaling.0.iter().filter(|(_, value)| !value.is_null());
    match said.map(|(key, value)| (key.as_str(), value)).find(|(key, _)| !same(key)) {
        Some((key, value)) => {
            let expected = format!("the value of {PARAMETERS}.{key}, which is there, too");
            Err(wrong(&format!("{SCALING}.{key}"), expected, value))
        }
        None => Ok(()),
    }
}

/// Reads the rotary embeddings of one model.
struct Reader<'a> {
    fields: Fields<'a>,
    family: &'a Family,
    dim: usize,
    /// The longest context.
    context: usize,
}

impl Reader<'_> {
    /// One rotary embedding: its base, and how its frequencies are scaled.
    fn rope(&self, place: &str, fields: Fields<'_>, base: f32) -> Result<Rope, ConfigError> {
        let base = fields.opt_float("rope_theta")?.unwrap_or(base);
        let kind = fields.opt_string("rope_type")?.or(fields.opt_string("type")?);
        if kind.is_none() && fields.get("factor").is_some() {
            let expected = "default, linear, llama3, yarn or longrope beside a factor";
            return Err(wrong("rope_type", expected, &Value::Null));
        }
        let kind = match kind.unwrap_or("default") {
            // Early files of Phi 3 have other names for it.
            "su" | "yarn" if self.family.architecture == "phi3" => "longrope",
            // Three numbers per position, which are the same for text.
            "mrope" if self.family.keys.contains(&"rope.dimension_sections") => "default",
            kind => kind,
        };
        let own: &[&str] = match kind {
            "linear" => LINEAR,
            "llama3" => LLAMA3,
            "yarn" => YARN,
            "longrope" => LONG,
            _ => &[],
        };
        let is_known = ["default", "linear", "llama3", "yarn", "longrope"].contains(&kind);
        if is_known {
            fields.known(place, &format!("\"{kind}\""), &[COMMON, self.family.rope_fields, own])?;
        }
        let number = |key: &str| {
            fields.opt_float(key)?.ok_or_else(|| ConfigError::Missing(format!("rope: {key}")))
        };
        let plain = Rope::plain(base, self.dim, self.family.pairs == Pairs::Neighbours);
        Ok(match kind {
            "default" => plain,
            "linear" => Rope { linear_factor: number("factor")?, ..plain },
            "llama3" => {
                let ends = [number("low_freq_factor")?, number("high_freq_factor")?];
                let context = number("original_max_position_embeddings")?;
                let dim = self.dim.min(MAX_HEAD_DIM);
                let factors = llama3_factors(base, dim, number("factor")?, ends, context);
                Rope { factors, ..plain }
            }
            "yarn" => self.yarn(fields, plain)?,
            "longrope" => self.long(fields, plain)?,
            other => {
                let expected = "default, linear, llama3, yarn or longrope";
                return Err(wrong("rope_type", expected, &other.into()));
            }
        })
    }

    /// Positions before the context was extended.
    fn original(&self, fields: Fields<'_>) -> Result<usize, ConfigError> {
        let (own, outer) = (fields.opt_size(CONTEXT)?, self.fields.opt_size(CONTEXT)?);
        match (own, outer) {
            (Some(own), Some(outer)) if own != outer => {
                let expected = format!("{outer}, as {CONTEXT} outside says");
                Err(wrong(CONTEXT, expected, &own.into()))
            }
            _ => Ok(own.or(outer).unwrap_or(self.context)),
        }
    }

    /// How much longer the context has become.
    fn factor(&self, fields: Fields<'_>, original: usize) -> Result<f32, ConfigError> {
        let said = fields.opt_float("factor")?;
        Ok(said.unwrap_or(self.context as f32 / original.max(1) as f32))
    }

    fn yarn(&self, fields: Fields<'_>, plain: Rope) -> Result<Rope, ConfigError> {
        for key in ["attn_factor", "extrapolation_factor"] {
            fields.only_number(key, 1.0, "other factors are not supported")?;
        }
        let context = self.original(fields)?;
        let factor = self.factor(fields, context)?;
        let some = |key: &str| -> Result<Option<f32>, ConfigError> {
            Ok(fields.opt_float(key)?.filter(|&number| number != 0.0))
        };
        let usual = match (some("mscale")?, some("mscale_all_dim")?) {
            (Some(one), Some(all)) => {
                Yarn::attention_factor(factor, one) / Yarn::attention_factor(factor, all)
            }
            _ => Yarn::attention_factor(factor, 1.0),
        };
        let yarn = Yarn {
            factor,
            context,
            fast: some("beta_fast")?.unwrap_or(32.0),
            slow: some("beta_slow")?.unwrap_or(1.0),
            whole: fields.opt_bool("truncate")?.unwrap_or(true),
        };
        let attention_factor = fields.opt_float("attention_factor")?.unwrap_or(usual);
        Ok(Rope { yarn: Some(yarn), attention_factor, ..plain })
    }

    fn long(&self, fields: Fields<'_>, plain: Rope) -> Result<Rope, ConfigError> {
        let context = self.original(fields)?;
        // Where the field is there, its ratio is that of the contexts.
        let ratio = self.factor(fields, context)?;
        let usual = match ratio > 1.0 {
            true => (1.0 + ratio.ln() / (context as f32).ln()).sqrt(),
            false => 1.0,
        };
        let list = |key: &str| -> Result<Vec<f32>, ConfigError> {
            let list = fields.read(key, "an array of numbers", Value::as_array)?;
            let list = list.ok_or_else(|| ConfigError::Missing(format!("rope: {key}")))?;
            let number = |value: &Value| {
                let number = value.as_f64().map(|number| number as f32);
                number.ok_or_else(|| wrong(key, "numbers", value))
            };
            list.iter().map(number).collect()
        };
        Ok(Rope {
            factors: list("short_factor")?,
            long: Some(Long { context, factors: list("long_factor")? }),
            attention_factor: fields.opt_float("attention_factor")?.unwrap_or(usual),
            ..plain
        })
    }
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
