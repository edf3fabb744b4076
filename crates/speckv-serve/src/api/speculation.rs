//! How an answer speculates.

use serde::Deserialize;
use speckv::controller::Drafting;
use speckv_local::controllers::{ControllerKind, ControllerSpec};
use utoipa::ToSchema;

use super::number;
use crate::{error::ApiError, scheduler::Speculation};

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
}
