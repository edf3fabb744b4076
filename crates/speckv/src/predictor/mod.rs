//! Signals -> probability that a draft token is accepted.
//!
//! For the draft model and for n-gram look-up, three heads answer a question each: is this token
//! accepted given that the ones before it were ([`Question::Accept`]), would the next one be
//! ([`Question::Next`]), and, before anything was drafted, would the first one be
//! ([`Question::First`])? Heads are trained offline (by `speckv-lab`) or start from
//! [`Predictor::prior`], and [`OnlinePredictor`] corrects them while decoding. Training, replay and
//! decoding use the same [`features`].

pub mod features;
pub mod metrics;

mod calibrator;
mod head;
mod online;
mod shipped;

pub use calibrator::Calibrator;
pub use features::{FEATURE_NAMES, FEATURES, FeatureState, Features, SessionFacts};
pub use head::{HIDDEN, Head, Mlp};
pub use metrics::Metrics;
pub use online::{Judgement, OnlinePredictor};
pub use shipped::ModelShape;

use std::collections::BTreeMap;

use crate::source::Source;

/// The question that a head answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// Is the newest token accepted, given that all before it in the step are? Knows its signals.
    Accept,
    /// Would the token after the newest one be accepted, given that the newest one is? Knows the
    /// newest one's signals.
    Next,
    /// Would the step's first token be accepted? Knows the steps before only.
    First,
}

impl Question {
    /// All questions.
    pub const ALL: [Question; 3] = [Question::Accept, Question::Next, Question::First];
}

/// The three heads of a source.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    /// Answers [`Question::Accept`].
    pub accept: Head,
    /// Answers [`Question::Next`].
    pub next: Head,
    /// Answers [`Question::First`].
    pub first: Head,
}

/// Weights for both sources: read-only, made by training or by the prior.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predictor {
    /// Names of the features in the order of the weights; a file made for other features is
    /// refused.
    features: Vec<String>,
    /// What the weights were trained on, in words; nothing for weights that were not trained.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Heads for the draft model.
    pub model: Heads,
    /// Heads for n-gram look-up.
    pub ngram: Heads,
    /// Heads for other sources.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub others: BTreeMap<Source, Heads>,
}

/// Why a text was refused as a predictor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PredictorError {
    /// Not JSON, or not of this shape.
    #[error("not a predictor: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Made by a version with other features.
    #[error("expected the features {expected:?}, got {got:?}")]
    OtherFeatures {
        /// This version's features.
        expected: Vec<String>,
        /// The file's features.
        got: Vec<String>,
    },
    /// A weight is infinite or not a number, or a layer has another size.
    #[error(
        "expected finite weights for {FEATURES} features and {HIDDEN} units in the {question:?} \
         head"
    )]
    BadWeights {
        /// The head.
        question: Question,
    },
}

impl Predictor {
    /// Puts trained heads together.
    #[must_use]
    pub fn new(model: Heads, ngram: Heads) -> Self {
        Predictor {
            features: FEATURE_NAMES.iter().map(|&name| name.into()).collect(),
            origin: None,
            model,
            ngram,
            others: BTreeMap::new(),
        }
    }

    /// Weights without any training: acceptance rises with the logit of the confidence and with the
    /// acceptance seen so far.
    ///
    /// The model's slope on the logit, about three quarters, is what instruct models of 0.5 to 3
    /// billion parameters show when they draft for a larger one of their family. Everything else is
    /// a guess that the online correction replaces.
    ///
    /// ```
    /// use speckv::predictor::Predictor;
    ///
    /// let prior = Predictor::prior();
    /// assert_eq!(Predictor::from_json(&prior.to_json()?)?, prior);
    /// # Ok::<(), speckv::predictor::PredictorError>(())
    /// ```
    #[must_use]
    pub fn prior() -> Self {
        let head = |weights: &[(usize, f32)]| {
            let mut all = [0.0; FEATURES];
            for &(feature, weight) in weights {
                all[feature] = weight;
            }
            Head::Logistic { weights: all.to_vec() }
        };
        use features::index::{BIAS, LAST_STEP, LOG_MATCH, LOGIT_CONFIDENCE, LOGIT_RUNNING};
        let model = Heads {
            accept: head(&[(BIAS, -0.2), (LOGIT_CONFIDENCE, 0.75), (LOGIT_RUNNING, 0.35)]),
            next: head(&[(LOGIT_CONFIDENCE, 0.25), (LOGIT_RUNNING, 0.7)]),
            first: head(&[(LOGIT_RUNNING, 0.9), (LAST_STEP, 0.15)]),
        };
        let ngram = Heads {
            accept: head(&[
                (BIAS, -1.2),
                (LOGIT_CONFIDENCE, 0.1),
                (LOGIT_RUNNING, 0.5),
                (LOG_MATCH, 0.7),
            ]),
            next: head(&[(BIAS, 0.4), (LOGIT_RUNNING, 0.5), (LOG_MATCH, 0.5)]),
            first: head(&[(LOGIT_RUNNING, 1.0)]),
        };
        Predictor::new(model, ngram)
    }

    /// Reads weights as [`Predictor::to_json`] writes them.
    ///
    /// # Errors
    /// [`PredictorError`]: not JSON of this shape, other features, or weights that are not numbers.
    pub fn from_json(text: &str) -> Result<Self, PredictorError> {
        let predictor: Predictor = serde_json::from_str(text)?;
        if predictor.features != FEATURE_NAMES {
            let expected = FEATURE_NAMES.iter().map(|&name| name.into()).collect();
            return Err(PredictorError::OtherFeatures { expected, got: predictor.features });
        }
        let others = predictor.others.keys().copied();
        for source in [Source::MODEL, Source::NGRAM].into_iter().chain(others) {
            for question in Question::ALL {
                if !predictor.head(source, question).is_valid() {
                    return Err(PredictorError::BadWeights { question });
                }
            }
        }
        Ok(predictor)
    }

    /// The weights as JSON, for [`Predictor::from_json`].
    ///
    /// # Errors
    /// None for finite weights.
    pub fn to_json(&self) -> Result<String, PredictorError> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// The head for a source and a question. A source without heads of its own has those of the
    /// draft model.
    #[must_use]
    pub fn head(&self, source: Source, question: Question) -> &Head {
        let heads = match source {
            Source::NGRAM => &self.ngram,
            source => self.others.get(&source).unwrap_or(&self.model),
        };
        match question {
            Question::Accept => &heads.accept,
            Question::Next => &heads.next,
            Question::First => &heads.first,
        }
    }

    /// Replaces the head for a source and a question.
    pub fn set_head(&mut self, source: Source, question: Question, head: Head) {
        let heads = match source {
            Source::MODEL => &mut self.model,
            Source::NGRAM => &mut self.ngram,
            source => self.others.entry(source).or_insert_with(|| self.model.clone()),
        };
        match question {
            Question::Accept => heads.accept = head,
            Question::Next => heads.next = head,
            Question::First => heads.first = head,
        }
    }
}

/// `1 / (1 + exp(-z))`.
#[must_use]
pub fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// `ln(p / (1 - p))`, with `p` kept in [0.0005, 0.9995]: the logit stays within 7.6.
#[must_use]
pub fn logit(probability: f32) -> f32 {
    let p = if probability.is_nan() { 0.5 } else { probability.clamp(0.0005, 0.9995) };
    (p / (1.0 - p)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signals::Signals;

    fn accept_at(confidence: f32) -> f32 {
        let mut state = FeatureState::new(SessionFacts::default());
        state.begin(Source::MODEL, 100);
        let features = state.push(&Signals {
            confidence,
            entropy_bits: 1.0,
            margin: confidence / 2.0,
            match_length: 0,
        });
        sigmoid(Predictor::prior().head(Source::MODEL, Question::Accept).score(&features))
    }

    #[test]
    fn the_prior_rises_with_confidence_and_is_near_what_it_says() {
        let probabilities = [0.1, 0.3, 0.5, 0.7, 0.9, 0.99].map(accept_at);
        assert!(probabilities.windows(2).all(|pair| pair[0] < pair[1]), "{probabilities:?}");
        assert!((0.45..0.65).contains(&probabilities[2]), "{probabilities:?}");
        assert!((0.8..0.95).contains(&probabilities[4]), "{probabilities:?}");
        assert!(probabilities[5] > 0.95, "{probabilities:?}");
    }

    #[test]
    fn weights_come_back_from_json_and_foreign_ones_are_refused() {
        let prior = Predictor::prior();
        let text = prior.to_json().expect("writes");
        assert_eq!(Predictor::from_json(&text).expect("reads"), prior);
        let other = text.replacen("logit_confidence", "phase_of_the_moon", 1);
        assert!(matches!(Predictor::from_json(&other), Err(PredictorError::OtherFeatures { .. })));
        let short = text.replacen("-0.2,", "", 1);
        assert!(matches!(
            Predictor::from_json(&short),
            Err(PredictorError::BadWeights { question: Question::Accept })
        ));
        assert!(matches!(Predictor::from_json("{"), Err(PredictorError::Malformed(_))));
    }
}
