//! What chat and completion requests share: sampling, ends, speculation.

use serde::Deserialize;
use speckv::{controller::Drafting, sampling::SamplingSettings};
use speckv_local::controllers::{ControllerKind, ControllerSpec};
use utoipa::ToSchema;

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

/// Checks and unpacks stop strings.
///
/// # Errors
/// Too many, too long, or empty ones.
pub fn stops(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let stops = match stop {
        None => return Ok(Vec::new()),
        Some(Stop::One(stop)) => vec![stop],
        Some(Stop::Many(stops)) => stops,
    };
    if stops.len() > MOST_STOPS {
        return Err(ApiError::field(
            "stop",
            format!("Expected at most {MOST_STOPS} stop strings, got {}.", stops.len()),
        ));
    }
    if let Some(wrong) = stops.iter().find(|stop| stop.is_empty() || stop.len() > LONGEST_STOP) {
        let message = format!(
            "Expected stop strings of 1 to {LONGEST_STOP} bytes, got one of {}.",
            wrong.len()
        );
        return Err(ApiError::field("stop", message));
    }
    Ok(stops)
}

/// How a stream is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, ToSchema)]
pub struct StreamOptions {
    /// One more chunk at the end, with the usage.
    #[serde(default)]
    pub include_usage: Option<bool>,
}

/// How an answer speculates: an object, or `"off"`, `false`, or the name of a controller.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "expected an object with controller, gamma, draft and details, the name of a controller, or false"
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
    /// Who decides how far to draft: `off`, `fixed`, `fixed:4`, `speckv`, ...; `speckv run --help`
    /// lists all.
    #[serde(default)]
    pub controller: Option<String>,
    /// The controller's length, 1 to 64.
    #[serde(default)]
    pub gamma: Option<u32>,
    /// Who drafts: `model`, `ngram`, `both` or `none`.
    #[serde(default)]
    pub draft: Option<String>,
    /// Chunks of a stream say where each token came from.
    #[serde(default)]
    pub details: Option<bool>,
}

/// What the server can do, and does where a request says nothing.
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
    /// A request's speculation and whether its stream tells details.
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
                let message = "This server has nobody who drafts; start it with --draft MODEL or --draft ngram.";
                return Err(ApiError::field("speculation.controller", message));
            }
        }
        Ok((Speculation { controller, gamma, drafting }, details))
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
    /// `seed`.
    pub seed: Option<i64>,
    /// `frequency_penalty`: only 0.
    pub frequency_penalty: Option<f32>,
    /// `presence_penalty`: only 0.
    pub presence_penalty: Option<f32>,
}

/// Temperature where a request gives none: OpenAI's.
pub const DEFAULT_TEMPERATURE: f32 = 1.0;

impl SamplingFields {
    /// Checked settings; `seed` where the request gives none.
    ///
    /// # Errors
    /// A value outside its range.
    pub fn settings(&self, seed: u64) -> Result<SamplingSettings, ApiError> {
        for (name, value) in [
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ] {
            if value.is_some_and(|value| value != 0.0) {
                return Err(ApiError::unsupported(
                    name,
                    format!("{name} is not supported; repetition_penalty is."),
                ));
            }
        }
        let temperature = self.temperature.unwrap_or(DEFAULT_TEMPERATURE);
        if !(0.0..=10.0).contains(&temperature) {
            return Err(ApiError::field(
                "temperature",
                format!("Expected a temperature from 0 to 10, got {temperature}."),
            ));
        }
        let settings = SamplingSettings {
            temperature,
            top_p: self.top_p.unwrap_or(1.0),
            top_k: self.top_k.map_or(0, |k| usize::try_from(k).unwrap_or(0)),
            min_p: self.min_p.unwrap_or(0.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(1.0),
            seed: self.seed.map_or(seed, |seed| seed as u64),
            ..SamplingSettings::default()
        };
        settings.check().map_err(|error| ApiError::field(error.field, format!("{error}.")))?;
        Ok(settings)
    }
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

/// Most tokens of an answer by whichever of the names is given.
///
/// # Errors
/// 0, or two names that contradict each other.
pub fn max_tokens(named: [(&str, Option<u32>); 2]) -> Result<Option<usize>, ApiError> {
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
        Some((name, 0)) => {
            Err(ApiError::field(name, format!("{name}: expected at least 1, got 0.")))
        }
        other => Ok(other.map(|(_, value)| value as usize)),
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
        let nobody = SpeculationDefaults { has_model: false, has_lookup: false, ..defaults() };
        assert_eq!(param(&nobody, "\"speckv\""), "speculation.controller");
        assert_eq!(everything.drafters(), ["model", "ngram", "both", "none"]);
        assert_eq!((lookup.drafters(), nobody.drafters()), (vec!["ngram", "none"], vec!["none"]));
        for defaults in [&everything, &lookup, &nobody] {
            for name in ["model", "ngram", "both", "none"] {
                let taken =
                    defaults.resolve(Some(field(&format!("{{\"draft\": \"{name}\"}}")))).is_ok();
                assert_eq!(taken, defaults.drafters().contains(&name), "{name}");
            }
        }
        assert_eq!(nobody.resolve(None).expect("plain").0.controller, OFF);
        assert!(
            serde_json::from_str::<SpeculationField>("{\"gama\": 4}").is_err(),
            "a typo is seen"
        );
    }

    #[test]
    fn ranges_are_kept() {
        let settings =
            |fields: SamplingFields| fields.settings(7).map_err(|error| error.body.param);
        assert_eq!(settings(SamplingFields::default()).expect("defaults").seed, 7);
        let wrong = |name: &str, fields: SamplingFields| {
            assert_eq!(settings(fields).unwrap_err().as_deref(), Some(name))
        };
        wrong("temperature", SamplingFields { temperature: Some(-1.0), ..Default::default() });
        wrong("temperature", SamplingFields { temperature: Some(f32::NAN), ..Default::default() });
        wrong("top_p", SamplingFields { top_p: Some(0.0), ..Default::default() });
        wrong("min_p", SamplingFields { min_p: Some(2.0), ..Default::default() });
        wrong(
            "repetition_penalty",
            SamplingFields { repetition_penalty: Some(0.0), ..Default::default() },
        );
        wrong(
            "presence_penalty",
            SamplingFields { presence_penalty: Some(0.5), ..Default::default() },
        );
        assert_eq!(
            settings(SamplingFields { top_k: Some(-1), ..Default::default() }).expect("off").top_k,
            0
        );
        assert!(choices(Some(0)).is_err() && choices(Some(17)).is_err() && choices(None) == Ok(1));
        assert!(max_tokens([("a", Some(0)), ("b", None)]).is_err());
        assert!(max_tokens([("a", Some(1)), ("b", Some(2))]).is_err());
        assert_eq!(max_tokens([("a", Some(2)), ("b", Some(2))]), Ok(Some(2)));
        assert!(stops(Some(Stop::One(String::new()))).is_err());
        assert!(stops(Some(Stop::Many(vec!["x".into(); 17]))).is_err());
    }
}
