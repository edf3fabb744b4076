//! Controllers by name.

use std::{fmt, str::FromStr, sync::Arc};

use speckv::{
    controller::{
        AdaptiveVerification, Chain, Confidence, Controller, Drafting, Ema, Entropy, EntropyRule,
        ExpectedValue, Fixed, GammaError, Heuristic, MAX_GAMMA, Off, Paper, PaperPredictor, Speckv,
        SpeckvOptions, checked_gamma,
    },
    cost::CostModel,
    predictor::{Predictor, SessionFacts},
};

/// A controller by name, with its parameter: `off`, `fixed:4`, `confidence:0.4`, `entropy:adaedl`,
/// `speckv`, `speckv:siblings=off`, and `chain+NAME` for look-up first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControllerSpec {
    /// Look-up first, see [`Chain`].
    pub chain: bool,
    /// Which controller.
    pub kind: ControllerKind,
}

/// Controllers by kind; `None` is the kind's own default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ControllerKind {
    /// [`Off`].
    Off,
    /// [`Fixed`] with its gamma.
    Fixed(Option<usize>),
    /// [`Confidence`] with its threshold.
    Confidence(Option<f32>),
    /// [`Heuristic`].
    Heuristic,
    /// [`Entropy`] with its rule.
    Entropy(EntropyRule),
    /// [`Ema`].
    Ema,
    /// [`ExpectedValue`].
    ExpectedValue,
    /// [`AdaptiveVerification`].
    AdaptiveVerification,
    /// [`Paper`].
    Paper,
    /// [`Speckv`], the default, and whether it verifies second choices of the draft.
    Speckv(Option<bool>),
}

/// What controllers are made of; each takes what it needs.
#[derive(Debug, Clone, Default)]
pub struct ControllerParts {
    /// `--gamma`: the fixed length, the start or the limit of a controller. `None`: the
    /// controller's own default.
    pub gamma: Option<usize>,
    /// Measured costs of the pair.
    pub cost: CostModel,
    /// Weights of the predictor; `None`: the prior.
    pub predictor: Option<Arc<Predictor>>,
    /// Temperature and compression.
    pub facts: SessionFacts,
    /// The paper's weights; `None`: its linear fallback.
    pub paper: Option<PaperPredictor>,
}

impl ControllerSpec {
    /// Names that [`FromStr`] knows, without their parameters.
    pub const NAMES: [&str; 10] = [
        "off",
        "fixed",
        "confidence",
        "heuristic",
        "entropy",
        "ema",
        "expected-value",
        "adaptive-verification",
        "paper",
        "speckv",
    ];

    /// What each of [`NAMES`](Self::NAMES) may be followed by, and what it does: for help texts and
    /// reference tables.
    pub const PURPOSES: [(&str, &str); 10] = [
        ("", "never drafts: plain decoding"),
        (":N", "drafts N tokens in every step (default 4)"),
        (":P", "drafts until a token's probability is below P (llama.cpp, Hugging Face)"),
        ("", "2 tokens more after full acceptance, 1 fewer after a rejection (Hugging Face)"),
        (":svip[:H] or :adaedl", "drafts until the entropy says stop (SVIP, AdaEDL)"),
        ("", "moving average of accepted lengths (SGLang)"),
        ("", "depth with the best expected tokens per cost by moving averages (Ollama)"),
        ("", "confidence against measured cost (vLLM)"),
        ("", "the rule of the SpecKV paper, on the signals of the step before"),
        (
            "[:siblings=off]",
            "by what a token earns per second; chooses between draft model and look-up, and \
             verifies second choices of the draft unless siblings=off",
        ),
    ];

    /// Gamma of `fixed` where none is given.
    pub const FIXED_GAMMA: usize = 4;

    /// Whether it decides by measured costs.
    #[must_use]
    pub fn needs_costs(&self) -> bool {
        use ControllerKind::{AdaptiveVerification, ExpectedValue, Speckv};
        matches!(self.kind, ExpectedValue | AdaptiveVerification | Speckv(_))
    }

    /// Whether it may draft by look-up although there is a draft model.
    #[must_use]
    pub fn may_look_up(&self) -> bool {
        self.chain || matches!(self.kind, ControllerKind::Speckv(_))
    }

    /// The sources that it drafts with unless told otherwise: the model where there is one, and
    /// look-up too where it can choose.
    #[must_use]
    pub fn natural_drafting(&self, has_model: bool) -> Drafting {
        match (has_model, self.may_look_up()) {
            (false, _) => Drafting::Ngram,
            (true, false) => Drafting::Model,
            (true, true) => Drafting::Both,
        }
    }

    /// `gamma`, where this controller can have it.
    ///
    /// # Errors
    /// A gamma outside of 1 to [`MAX_GAMMA`]; any gamma for plain decoding and for rules that have
    /// gammas of their own; another one than the controller's name says.
    pub fn checked_gamma(&self, gamma: usize) -> Result<usize, SpecError> {
        match self.kind {
            ControllerKind::Off | ControllerKind::Ema | ControllerKind::Paper => {
                Err(SpecError::NoGamma { controller: self.to_string(), got: gamma })
            }
            ControllerKind::Fixed(Some(named)) if named != gamma => {
                Err(SpecError::OtherGamma { controller: self.to_string(), got: gamma })
            }
            _ => Ok(checked_gamma(gamma)?),
        }
    }

    /// A fresh controller for one sequence.
    #[must_use]
    pub fn build(&self, parts: &ControllerParts) -> Box<dyn Controller> {
        let gamma = |default: usize| parts.gamma.unwrap_or(default);
        let controller: Box<dyn Controller> = match self.kind {
            ControllerKind::Off => Box::new(Off),
            ControllerKind::Fixed(length) => {
                Box::new(Fixed::new(length.unwrap_or_else(|| gamma(Self::FIXED_GAMMA))))
            }
            ControllerKind::Confidence(threshold) => Box::new(Confidence::new(
                threshold.unwrap_or(Confidence::THRESHOLD),
                gamma(Confidence::GAMMA),
            )),
            ControllerKind::Heuristic => Box::new(Heuristic::new(gamma(Heuristic::GAMMA))),
            ControllerKind::Entropy(rule) => Box::new(Entropy::new(rule, gamma(Entropy::GAMMA))),
            ControllerKind::Ema => Box::new(Ema::default()),
            ControllerKind::ExpectedValue => {
                Box::new(ExpectedValue::new(parts.cost.clone(), gamma(ExpectedValue::GAMMA)))
            }
            ControllerKind::AdaptiveVerification => Box::new(AdaptiveVerification::new(
                parts.cost.clone(),
                gamma(AdaptiveVerification::GAMMA),
            )),
            ControllerKind::Paper => {
                let compression = if parts.facts.compression < 0.25 {
                    0
                } else if parts.facts.compression < 0.6 {
                    1
                } else {
                    2
                };
                Box::new(Paper::new(parts.paper.clone().unwrap_or_default(), compression))
            }
            ControllerKind::Speckv(siblings) => {
                let mut options = SpeckvOptions::default();
                options.max_gamma = gamma(options.max_gamma);
                options.siblings = siblings.unwrap_or(options.siblings);
                let predictor =
                    parts.predictor.clone().unwrap_or_else(|| Arc::new(Predictor::prior()));
                Box::new(Speckv::new(parts.cost.clone(), predictor, parts.facts, options))
            }
        };
        if self.chain { Box::new(Chain::new(controller)) } else { controller }
    }
}

impl fmt::Display for ControllerSpec {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.chain {
            out.write_str("chain+")?;
        }
        match self.kind {
            ControllerKind::Off => out.write_str("off"),
            ControllerKind::Fixed(None) => out.write_str("fixed"),
            ControllerKind::Fixed(Some(gamma)) => write!(out, "fixed:{gamma}"),
            ControllerKind::Confidence(None) => out.write_str("confidence"),
            ControllerKind::Confidence(Some(threshold)) => write!(out, "confidence:{threshold}"),
            ControllerKind::Heuristic => out.write_str("heuristic"),
            ControllerKind::Entropy(EntropyRule::AdaEdl) => out.write_str("entropy:adaedl"),
            ControllerKind::Entropy(EntropyRule::Svip { threshold }) => {
                write!(out, "entropy:svip:{threshold}")
            }
            ControllerKind::Ema => out.write_str("ema"),
            ControllerKind::ExpectedValue => out.write_str("expected-value"),
            ControllerKind::AdaptiveVerification => out.write_str("adaptive-verification"),
            ControllerKind::Paper => out.write_str("paper"),
            ControllerKind::Speckv(None) => out.write_str("speckv"),
            ControllerKind::Speckv(Some(true)) => out.write_str("speckv:siblings=on"),
            ControllerKind::Speckv(Some(false)) => out.write_str("speckv:siblings=off"),
        }
    }
}

/// What `fixed` takes.
const GAMMA_RANGE: &str = "a gamma from 1 to 64";
const _: () = assert!(MAX_GAMMA == 64, "GAMMA_RANGE says so");

/// Why a text names no controller, or a gamma does not fit one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A gamma outside its range.
    #[error(transparent)]
    Gamma(#[from] GammaError),
    /// The controller has no gamma to set.
    #[error("controller {controller} has no gamma to set, got {got}")]
    NoGamma {
        /// The controller.
        controller: String,
        /// The gamma.
        got: usize,
    },
    /// The controller's name says another gamma.
    #[error("gamma {got} contradicts controller {controller}")]
    OtherGamma {
        /// The controller.
        controller: String,
        /// The gamma.
        got: usize,
    },
    /// No controller has this name.
    #[error("expected one of {}, or chain+ before one of them, got \
        \"{got}\"", ControllerSpec::NAMES.join(", "))]
    UnknownName {
        /// The text.
        got: String,
    },
    /// The parameter after the colon does not fit.
    #[error("expected {expected} after \"{name}:\", got \"{got}\"")]
    BadParameter {
        /// The controller.
        name: String,
        /// What it takes.
        expected: &'static str,
        /// The text.
        got: String,
    },
}

impl FromStr for ControllerSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (chain, rest) = text.strip_prefix("chain+").map_or((false, text), |rest| (true, rest));
        // `fixed-4` is what the controller calls itself.
        let (name, parameter) = match (rest.split_once(':'), rest.strip_prefix("fixed-")) {
            (_, Some(gamma)) => ("fixed", Some(gamma)),
            (Some((name, parameter)), None) => (name, Some(parameter)),
            (None, None) => (rest, None),
        };
        let bad = |expected| SpecError::BadParameter {
            name: name.into(),
            expected,
            got: parameter.unwrap_or_default().into(),
        };
        let between = |text: &str, limit: f32| {
            text.parse().ok().filter(|value: &f32| (0.0..=limit).contains(value))
        };
        let kind = match (name, parameter) {
            ("off", None) => ControllerKind::Off,
            ("fixed", None) => ControllerKind::Fixed(None),
            ("fixed", Some(gamma)) => {
                let gamma = gamma.parse().ok().and_then(|gamma| checked_gamma(gamma).ok());
                ControllerKind::Fixed(Some(gamma.ok_or_else(|| bad(GAMMA_RANGE))?))
            }
            ("confidence", None) => ControllerKind::Confidence(None),
            ("confidence", Some(threshold)) => ControllerKind::Confidence(Some(
                between(threshold, 1.0).ok_or_else(|| bad("a threshold from 0 to 1"))?,
            )),
            ("heuristic", None) => ControllerKind::Heuristic,
            ("entropy", Some("adaedl")) => ControllerKind::Entropy(EntropyRule::AdaEdl),
            ("entropy", None | Some("svip")) => {
                ControllerKind::Entropy(EntropyRule::Svip { threshold: Entropy::SVIP_THRESHOLD })
            }
            ("entropy", Some(rule)) => {
                let threshold =
                    rule.strip_prefix("svip:").and_then(|threshold| between(threshold, 10.0));
                let threshold = threshold.ok_or_else(|| bad("svip, svip:THRESHOLD or adaedl"))?;
                ControllerKind::Entropy(EntropyRule::Svip { threshold })
            }
            ("ema", None) => ControllerKind::Ema,
            ("expected-value", None) => ControllerKind::ExpectedValue,
            ("adaptive-verification", None) => ControllerKind::AdaptiveVerification,
            ("paper", None) => ControllerKind::Paper,
            ("speckv", None) => ControllerKind::Speckv(None),
            ("speckv", Some("siblings=on")) => ControllerKind::Speckv(Some(true)),
            ("speckv", Some("siblings=off")) => ControllerKind::Speckv(Some(false)),
            ("speckv", Some(_)) => return Err(bad("siblings=on or siblings=off")),
            (known, Some(_)) if Self::NAMES.contains(&known) => return Err(bad("nothing")),
            _ => return Err(SpecError::UnknownName { got: text.into() }),
        };
        Ok(ControllerSpec { chain, kind })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_builds_and_comes_back() {
        let more = [
            "fixed:7",
            "confidence:0.4",
            "entropy:adaedl",
            "entropy:svip:0.3",
            "speckv:siblings=on",
            "speckv:siblings=off",
            "chain+speckv",
            "chain+fixed:2",
        ];
        for text in ControllerSpec::NAMES.iter().chain(&more) {
            let spec: ControllerSpec = text.parse().expect(text);
            assert_eq!(spec.to_string().parse::<ControllerSpec>().as_ref(), Ok(&spec), "{text}");
            let name = spec.build(&ControllerParts::default()).name();
            assert!(
                name.starts_with(text.split(':').next().unwrap_or(text)),
                "{text} calls itself {name}"
            );
        }
        let fixed: ControllerSpec = "fixed".parse().expect("known");
        assert_eq!(
            fixed.build(&ControllerParts { gamma: Some(9), ..ControllerParts::default() }).name(),
            "fixed-9"
        );
        assert_eq!("fixed-3".parse::<ControllerSpec>().expect("known").to_string(), "fixed:3");
    }

    #[test]
    fn a_gamma_is_done_or_refused() {
        let spec = |text: &str| text.parse::<ControllerSpec>().expect(text);
        for text in ControllerSpec::NAMES {
            let (spec, has_none) = (spec(text), ["off", "ema", "paper"].contains(&text));
            for gamma in [1, 16, 17, 33, 40, MAX_GAMMA] {
                assert_eq!(spec.checked_gamma(gamma).ok(), (!has_none).then_some(gamma), "{text}");
            }
            assert!(spec.checked_gamma(0).is_err() && spec.checked_gamma(65).is_err(), "{text}");
        }
        let message = |text: &str, gamma| spec(text).checked_gamma(gamma).unwrap_err().to_string();
        assert_eq!(message("speckv", 65), "expected a gamma from 1 to 64, got 65");
        assert_eq!(message("ema", 4), "controller ema has no gamma to set, got 4");
        assert_eq!(message("fixed:3", 4), "gamma 4 contradicts controller fixed:3");
        assert_eq!(spec("fixed:3").checked_gamma(3), Ok(3));
    }

    #[test]
    fn errors_say_expected_and_got() {
        for (text, message) in [
            ("fast", "expected one of off, fixed, confidence"),
            ("fixed:x", "expected a gamma from 1 to 64 after \"fixed:\", got \"x\""),
            ("fixed:0", "expected a gamma from 1 to 64 after \"fixed:\", got \"0\""),
            ("fixed:65", "expected a gamma from 1 to 64 after \"fixed:\", got \"65\""),
            ("confidence:2", "expected a threshold from 0 to 1"),
            ("ema:3", "expected nothing after \"ema:\", got \"3\""),
            ("speckv:fast", "expected siblings=on or siblings=off after \"speckv:\", got \"fast\""),
            ("entropy:foo", "svip, svip:THRESHOLD or adaedl"),
        ] {
            let error = text.parse::<ControllerSpec>().expect_err(text).to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
