//! What chat and completion requests share: sampling, ends, speculation.

use serde::Deserialize;
use serde_json::{Map, Value};
use speckv::{controller::Drafting, sampling::SamplingSettings, token::Token};
use speckv_local::controllers::{ControllerKind, ControllerSpec};
use utoipa::ToSchema;

use super::number;
use crate::{error::ApiError, scheduler::Speculation};

/// Texts that end an answer: one, or several.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Stop {
    /// One text.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// Most stop strings, and most bytes of one.
const MOST_STOPS: usize = 16;
const LONGEST_STOP: usize = 1024;
/// Most answers to one request.
pub const MOST_CHOICES: usize = 16;
/// Most alternatives per token.
pub const MOST_LOGPROBS: usize = 20;

/// Checks and unpacks stop strings. Empty ones, which some clients send for none, are left out.
///
/// # Errors
/// Too many or too long ones.
pub fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let mut stops = match stop {
        None => return Ok(Vec::new()),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    stops.retain(|stop| !stop.is_empty());
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field(
            "stop",
            format!("Expected at most {MOST_STOPS} stop strings, got {}.", stops.len()),
        ));
    }
    if let Some(wrong) = stops.iter().find(|stop| stop.len() > LONGEST_STOP) {
        let message = format!(
            "Expected stop strings of at most {LONGEST_STOP} bytes, got one of {}.",
            wrong.len()
        );
        return Err(ApiError::field("stop", message));
    }
    Ok(stops)
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOptions {
    /// One more chunk at the end, with the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
    /// Accepted and ignored: padding against observers of the connection.
    #[serde(default)]
    pub include_obfuscation: Option<bool>,
    /// Only `false`: usage in every chunk.
    #[serde(default)]
    pub continuous_usage_stats: Option<bool>,
}

impl StreamOptions {
    /// Whether the usage is asked for.
    ///
    /// # Errors
    /// Usage in every chunk.
    pub fn usage(options: Option<Self>) -> Result<bool, ApiError> {
        let options = options.unwrap_or_default();
        if options.continuous_usage_stats == Some(true) {
            let message = "Only include_usage is supported: usage in the last chunk.";
            return Err(ApiError::unsupported("stream_options.continuous_usage_stats", message));
        }
        Ok(options.include_usage.unwrap_or(false))
    }
}

/// How an answer speculates: an object, or `"off"`, `false`, or the name of a controller.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected an object with controller, gamma, draft and details, the name of a \
        controller, or false"
)]
pub enum SpeculationField {
    /// `false` is off, `true` is the server's own choice.
    Switch(bool),
    /// A controller's name.
    Name(String),
    /// In full.
    Full(SpeculationOptions),
}

/// How an answer speculates, in full. What is left out is as the server was started.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpeculationOptions {
    /// What decides how far to draft: `off`, `fixed`, `fixed:4`, `speckv`, ...; `speckv run --help`
    /// lists all.
    #[serde(default)]
    pub controller: Option<String>,
    /// The controller's length, 1 to 64.
    #[serde(default, deserialize_with = "number::optional")]
    pub gamma: Option<u32>,
    /// What drafts: `model`, `ngram`, `both` or `none`.
    #[serde(default)]
    pub draft: Option<String>,
    /// Chunks of a stream have the origin of each token.
    #[serde(default)]
    pub details: Option<bool>,
}

/// What the server can do, and does for requests that do not choose.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeculationDefaults {
    /// The server's controller.
    pub controller: ControllerSpec,
    /// Its length.
    pub gamma: Option<usize>,
    /// Whether there is a draft model.
    pub has_model: bool,
    /// Whether there is look-up.
    pub has_lookup: bool,
}

const OFF: ControllerSpec = ControllerSpec { chain: false, kind: ControllerKind::Off };

impl SpeculationDefaults {
    /// A request's speculation, and whether its stream has details.
    ///
    /// # Errors
    /// An unknown controller, a gamma outside its range, a drafter that the server does not have.
    pub fn resolve(
        &self,
        field: Option<SpeculationField>,
    ) -> Result<(Speculation, bool), ApiError> {
        let options = match field {
            None | Some(SpeculationField::Switch(true)) => SpeculationOptions::default(),
            Some(SpeculationField::Switch(false)) => {
                SpeculationOptions { controller: Some("off".into()), ..Default::default() }
            }
            Some(SpeculationField::Name(name)) => {
                SpeculationOptions { controller: Some(name), ..Default::default() }
            }
            Some(SpeculationField::Full(options)) => options,
        };
        let details = options.details.unwrap_or(false);
        let mut controller = match &options.controller {
            Some(name) => name.parse::<ControllerSpec>().map_err(|error| {
                ApiError::field("speculation.controller", format!("Unknown controller: {error}."))
            })?,
            None => self.controller,
        };
        let gamma = match options.gamma.map(|gamma| controller.checked_gamma(gamma as usize)) {
            Some(Err(error)) => {
                let message = format!("Wrong gamma: {error}; controller \"off\" drafts nothing.");
                return Err(ApiError::field("speculation.gamma", message));
            }
            Some(Ok(gamma)) => Some(gamma),
            // The server's gamma belongs to the server's controller.
            None => self.gamma.filter(|_| options.controller.is_none()),
        };
        let drafting = match options.draft.as_deref() {
            None => None,
            Some("none") => {
                controller = OFF;
                None
            }
            Some("model") => Some(Drafting::Model),
            Some("ngram") => Some(Drafting::Ngram),
            Some("both") => Some(Drafting::Both),
            Some(other) => {
                let message = format!("Expected model, ngram, both or none, got {other:?}.");
                return Err(ApiError::field("speculation.draft", message));
            }
        };
        let drafting = match drafting {
            Some(wanted) => {
                self.check(wanted)?;
                wanted
            }
            None if self.has_lookup => controller.natural_drafting(self.has_model),
            None => Drafting::Model,
        };
        if controller.kind != ControllerKind::Off && !self.has_model && !self.has_lookup {
            if options.controller.is_none() {
                controller = OFF;
            } else {
                let message = "This server drafts with nothing; start it with --draft MODEL or \
                    --draft ngram.";
                return Err(ApiError::field("speculation.controller", message));
            }
        }
        Ok((Speculation { controller, gamma, drafting }, details))
    }

    /// Controllers that can act: without a draft only `off`.
    #[must_use]
    pub fn controllers(&self) -> Vec<&'static str> {
        let drafts = self.has_model || self.has_lookup;
        ControllerSpec::NAMES.into_iter().filter(|name| drafts || *name == "off").collect()
    }

    /// What a request's `draft` may be.
    #[must_use]
    pub fn drafters(&self) -> Vec<&'static str> {
        let both = self.has_model && self.has_lookup;
        let all =
            [(self.has_model, "model"), (self.has_lookup, "ngram"), (both, "both"), (true, "none")];
        all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
    }

    fn check(&self, wanted: Drafting) -> Result<(), ApiError> {
        let model = matches!(wanted, Drafting::Model | Drafting::Both) && !self.has_model;
        let lookup = matches!(wanted, Drafting::Ngram | Drafting::Both) && !self.has_lookup;
        if model || lookup {
            let missing = if model { "draft model" } else { "look-up of earlier text" };
            let message = format!("This server has no {missing}; start it with another --draft.");
            return Err(ApiError::field("speculation.draft", message));
        }
        Ok(())
    }
}

/// Sampling as requests ask for it; `None` is the default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SamplingFields {
    /// `temperature`.
    pub temperature: Option<f32>,
    /// `top_p`.
    pub top_p: Option<f32>,
    /// `top_k`; below 1 is off, as in llama.cpp and vLLM.
    pub top_k: Option<i64>,
    /// `min_p`.
    pub min_p: Option<f32>,
    /// `repetition_penalty`, or llama.cpp's `repeat_penalty`.
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's `repeat_last_n`: 0 looks at no token, -1 at all.
    pub repeat_last_n: Option<i64>,
    /// `seed`; -1 is none.
    pub seed: Option<i64>,
    /// `frequency_penalty`.
    pub frequency_penalty: Option<f32>,
    /// `presence_penalty`.
    pub presence_penalty: Option<f32>,
}

/// Penalties within which logits stay finite and the distribution is still one of the model's.
const PENALTIES: std::ops::RangeInclusive<f32> = 0.01..=100.0;

/// Temperature where a request gives none: OpenAI's.
pub const DEFAULT_TEMPERATURE: f32 = 1.0;

impl SamplingFields {
    /// The seed, if the request gives one.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.seed.filter(|&seed| seed != -1).map(|seed| seed as u64)
    }

    /// Checked settings, without a seed.
    ///
    /// # Errors
    /// A value outside its range.
    pub fn settings(&self) -> Result<SamplingSettings, ApiError> {
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        if !(0.0..=10.0).contains(&temperature) {
            return Err(ApiError::field(
                "temperature",
                format!("Expected a temperature from 0 to 10, got {temperature}."),
            ));
        }
        let penalty = self.repetition_penalty.unwrap_or(1.0);
        if !PENALTIES.contains(&penalty) {
            let message = format!(
                "Expected a repetition_penalty from {} to {}, got {penalty}.",
                PENALTIES.start(),
                PENALTIES.end()
            );
            return Err(ApiError::field("repetition_penalty", message));
        }
        let defaults = SamplingSettings::default();
        let (repetition_penalty, repetition_window) = match self.repeat_last_n {
            None => (penalty, defaults.repetition_window),
            Some(0) => (1.0, defaults.repetition_window),
            // In the engine's settings 0 is the whole context.
            Some(last) => (penalty, usize::try_from(last).unwrap_or(0)),
        };
        let settings = SamplingSettings {
            temperature,
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.map_or(0, |k| usize::try_from(k).unwrap_or(0)),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty,
            repetition_window,
            frequency_penalty: self.frequency_penalty.unwrap_or(0.0),
            presence_penalty: self.presence_penalty.unwrap_or(0.0),
            ..defaults
        };
        settings.check().map_err(|error| ApiError::field(error.field, format!("{error}.")))?;
        Ok(settings)
    }
}

/// Reads `logit_bias`: numbers from -100 to 100 by token id.
///
/// # Errors
/// A key that is no token of the vocabulary, a value outside the range.
pub fn biases(
    bias: Option<&Map<String, Value>>,
    vocab_size: usize,
) -> Result<Vec<(Token, f32)>, ApiError> {
    let one = |(key, value): (&String, &Value)| {
        let field = format!("logit_bias.{key}");
        let token = key.parse().ok().filter(|&token: &Token| (token as usize) < vocab_size);
        let Some(token) = token else {
            let message =
                format!("Expected a token id below {vocab_size}, got {key:?}; see /tokenize.");
            return Err(ApiError::field(field, message));
        };
        match value.as_f64().filter(|bias| (-100.0..=100.0).contains(bias)) {
            Some(bias) => Ok((token, bias as f32)),
            None => {
                let message = format!("Expected a bias from -100 to 100, got {value}.");
                Err(ApiError::field(field, message))
            }
        }
    };
    bias.into_iter().flatten().map(one).collect()
}

/// Checks tokens that end an answer.
///
/// # Errors
/// Too many, or one outside the vocabulary.
pub fn stop_tokens(tokens: Option<Vec<Token>>, vocab_size: usize) -> Result<Vec<Token>, ApiError> {
    let tokens = tokens.unwrap_or_default();
    if tokens.len() > MOST_STOPS {
        let message = format!("Expected at most {MOST_STOPS} tokens, got {}.", tokens.len());
        return Err(ApiError::field("stop_token_ids", message));
    }
    if let Some(wrong) = tokens.iter().find(|&&token| token as usize >= vocab_size) {
        let message = format!("Expected token ids below {vocab_size}, got {wrong}.");
        return Err(ApiError::field("stop_token_ids", message));
    }
    Ok(tokens)
}

/// Refuses what contradicts a constraint on the answer.
///
/// # Errors
/// An answer that may neither end nor go on where its grammar ends.
pub fn check_with_constraint(ignore_end: bool, min_tokens: Option<u32>) -> Result<(), ApiError> {
    let wrong = match (ignore_end, min_tokens) {
        (true, _) => "ignore_eos",
        (_, Some(1..)) => "min_tokens",
        _ => return Ok(()),
    };
    let message = format!("{wrong} and a grammar, schema or tool contradict each other.");
    Err(ApiError::unsupported(wrong, message))
}

/// Number of answers.
///
/// # Errors
/// 0, or more than [`MOST_CHOICES`].
pub fn choices(n: Option<u32>) -> Result<usize, ApiError> {
    match n.unwrap_or(1) as usize {
        n if (1..=MOST_CHOICES).contains(&n) => Ok(n),
        n => Err(ApiError::field("n", format!("Expected 1 to {MOST_CHOICES} answers, got {n}."))),
    }
}

/// Number of alternatives per token.
///
/// # Errors
/// More than [`MOST_LOGPROBS`].
pub fn alternatives(param: &str, count: u32) -> Result<usize, ApiError> {
    let count = count as usize;
    if count > MOST_LOGPROBS {
        return Err(ApiError::field(
            param,
            format!("Expected at most {MOST_LOGPROBS} alternatives, got {count}."),
        ));
    }
    Ok(count)
}

/// Most tokens of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// The request gives no number.
    Default,
    /// As many as the context holds.
    Rest,
    /// So many.
    Tokens(usize),
}

/// Most tokens of an answer by the names that the field has.
///
/// # Errors
/// 0, a negative number but -1, or two names with different values.
pub fn max_tokens(named: [(&str, Option<i64>); 2]) -> Result<Length, ApiError> {
    if let [(first, Some(a)), (second, Some(b))] = named
        && a != b
    {
        return Err(ApiError::field(
            first,
            format!("{first} is {a} and {second} is {b}; give one of them."),
        ));
    }
    let given = named.into_iter().find_map(|(name, value)| Some((name, value?)));
    match given {
        None => Ok(Length::Default),
        Some((_, -1)) => Ok(Length::Rest),
        Some((_, tokens)) if tokens > 0 => {
            Ok(Length::Tokens(usize::try_from(tokens).unwrap_or(usize::MAX)))
        }
        Some((name, tokens)) => {
            let message =
                format!("{name}: expected at least 1, or -1 for the context's rest, got {tokens}.");
            Err(ApiError::field(name, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> SpeculationDefaults {
        let controller = "speckv".parse().expect("a name");
        SpeculationDefaults { controller, gamma: Some(8), has_model: true, has_lookup: true }
    }

    fn field(json: &str) -> SpeculationField {
        serde_json::from_str(json).expect("a field")
    }

    #[test]
    fn speculation_is_an_object_a_name_or_a_switch() {
        let resolved = |json: &str| {
            let (speculation, _) = defaults().resolve(Some(field(json))).expect(json);
            (speculation.controller.to_string(), speculation.gamma, speculation.drafting)
        };
        assert_eq!(resolved("true"), ("speckv".into(), Some(8), Drafting::Both));
        assert_eq!(resolved("false").0, "off");
        assert_eq!(resolved("\"off\"").0, "off");
        assert_eq!(resolved("{\"draft\": \"none\"}").0, "off");
        assert_eq!(resolved("\"fixed:3\""), ("fixed:3".into(), None, Drafting::Model));
        assert_eq!(resolved("{\"gamma\": 5}"), ("speckv".into(), Some(5), Drafting::Both));
        let full = resolved("{\"controller\": \"fixed\", \"gamma\": 2, \"draft\": \"ngram\"}");
        assert_eq!(full, ("fixed".into(), Some(2), Drafting::Ngram));
    }

    #[test]
    fn what_the_server_does_not_have_is_refused_by_name() {
        let param = |defaults: &SpeculationDefaults, json: &str| {
            defaults.resolve(Some(field(json))).expect_err(json).body.param.expect("a field")
        };
        let everything = defaults();
        assert_eq!(param(&everything, "\"fast\""), "speculation.controller");
        assert_eq!(param(&everything, "\"fixed:65\""), "speculation.controller");
        assert_eq!(param(&everything, "{\"gamma\": 0}"), "speculation.gamma");
        for wrong in ["{\"gamma\": 65}", "{\"gamma\": 4, \"controller\": \"ema\"}"] {
            assert_eq!(param(&everything, wrong), "speculation.gamma");
        }
        assert_eq!(param(&everything, "\"fixed:65\""), "speculation.controller");
        assert_eq!(param(&everything, "{\"draft\": \"self\"}"), "speculation.draft");
        let lookup = SpeculationDefaults { has_model: false, ..defaults() };
        assert_eq!(param(&lookup, "{\"draft\": \"model\"}"), "speculation.draft");
        let without = SpeculationDefaults { has_model: false, has_lookup: false, ..defaults() };
        assert_eq!(param(&without, "\"speckv\""), "speculation.controller");
        assert_eq!(without.controllers(), ["off"]);
        assert_eq!(lookup.controllers(), ControllerSpec::NAMES);
        assert_eq!(everything.drafters(), ["model", "ngram", "both", "none"]);
        assert_eq!((lookup.drafters(), without.drafters()), (vec!["ngram", "none"], vec!["none"]));
        for defaults in [&everything, &lookup, &without] {
            for name in ["model", "ngram", "both", "none"] {
                let taken =
                    defaults.resolve(Some(field(&format!("{{\"draft\": \"{name}\"}}")))).is_ok();
                assert_eq!(taken, defaults.drafters().contains(&name), "{name}");
            }
        }
        assert_eq!(without.resolve(None).expect("plain").0.controller, OFF);
        assert!(
            serde_json::from_str::<SpeculationField>("{\"gama\": 4}").is_err(),
            "a typo is seen"
        );
    }

    #[test]
    fn ranges_are_kept() {
        let settings = |fields: SamplingFields| fields.settings().map_err(|error| error.body.param);
        assert_eq!(settings(SamplingFields::default()).expect("defaults").top_k, 0);
        let wrong = |name: &str, fields: SamplingFields| {
            assert_eq!(settings(fields).unwrap_err().as_deref(), Some(name))
        };
        wrong("temperature", SamplingFields { temperature: Some(-1.0), ..Default::default() });
        wrong("temperature", SamplingFields { temperature: Some(f32::NAN), ..Default::default() });
        wrong("top_p", SamplingFields { top_p: Some(0.0), ..Default::default() });
        wrong("min_p", SamplingFields { min_p: Some(2.0), ..Default::default() });
        for penalty in [0.0, 1e-38, -1.0, 1e30, f32::NAN] {
            let fields = SamplingFields { repetition_penalty: Some(penalty), ..Default::default() };
            wrong("repetition_penalty", fields);
        }
        wrong(
            "presence_penalty",
            SamplingFields { presence_penalty: Some(2.5), ..Default::default() },
        );
        assert_eq!(
            settings(SamplingFields { top_k: Some(-1), ..Default::default() }).expect("off").top_k,
            0
        );
        assert!(choices(Some(0)).is_err() && choices(Some(17)).is_err() && choices(None) == Ok(1));
        assert!(max_tokens([("a", Some(0)), ("b", None)]).is_err());
        assert!(max_tokens([("a", Some(1)), ("b", Some(2))]).is_err());
        assert!(max_tokens([("a", Some(-2)), ("b", None)]).is_err());
        assert_eq!(max_tokens([("a", Some(2)), ("b", Some(2))]), Ok(Length::Tokens(2)));
        assert_eq!(max_tokens([("a", None), ("b", Some(-1))]), Ok(Length::Rest));
        assert_eq!(max_tokens([("a", None), ("b", None)]), Ok(Length::Default));
        assert!(stops(Some(Stop::Many(vec!["x".into(); 17]))).is_err());
    }

    #[test]
    fn empty_stop_strings_are_none() {
        let stops = |stop: Stop| stops(Some(stop)).expect("good");
        assert_eq!(stops(Stop::One(String::new())), [""; 0]);
        assert_eq!(stops(Stop::Many(vec![String::new(), "fox".into()])), ["fox"]);
    }

    #[test]
    fn the_window_of_the_penalty_is_llama_cpps() {
        let settings = |last| {
            let fields = SamplingFields {
                repetition_penalty: Some(1.2),
                repeat_last_n: last,
                ..Default::default()
            };
            let settings = fields.settings().expect("good");
            (settings.repetition_penalty, settings.repetition_window)
        };
        assert_eq!(settings(None), (1.2, 64));
        assert_eq!(settings(Some(0)).0, 1.0, "no token is looked at");
        assert_eq!(settings(Some(-1)), (1.2, 0), "the whole context");
        assert_eq!(settings(Some(10)), (1.2, 10));
    }

    #[test]
    fn a_seed_of_minus_one_is_none() {
        let seed = |seed| SamplingFields { seed, ..Default::default() }.seed();
        assert_eq!((seed(None), seed(Some(-1))), (None, None));
        assert_eq!((seed(Some(0)), seed(Some(-2))), (Some(0), Some(u64::MAX - 1)));
    }
}
