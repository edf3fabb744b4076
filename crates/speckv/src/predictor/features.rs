//! What a predictor may know, as numbers. Training, replay and decoding use the same code.
//!
//! A [`FeatureState`] is fed in the order of time: [`begin`](FeatureState::begin) a step,
//! [`push`](FeatureState::push) each drafted position, [`observe`](FeatureState::observe) the
//! finished step. What it has not been fed cannot be in a feature.

use super::logit;
use crate::{
    record::StepRecord,
    signals::Signals,
    source::{PerSource, Source},
};

/// Number of features.
pub const FEATURES: usize = 16;

/// One value per name in [`FEATURE_NAMES`].
pub type Features = [f32; FEATURES];

/// Names, in order.
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "bias",
    "logit_confidence",
    "entropy_bits",
    "margin",
    "log_position",
    "mean_logit",
    "lowest_logit",
    "logit_running",
    "recent_acceptance",
    "surprise",
    "last_step",
    "log_match",
    "temperature",
    "compression",
    "log_context",
    "uncertain_start",
];

/// Positions of the features that other modules name.
pub mod index {
    /// 1.
    pub const BIAS: usize = 0;
    /// Logit of the newest position's confidence; 0 before any.
    pub const LOGIT_CONFIDENCE: usize = 1;
    /// Its entropy in bits, at most 12.
    pub const ENTROPY_BITS: usize = 2;
    /// Its margin.
    pub const MARGIN: usize = 3;
    /// Natural logarithm of the number of drafted positions; 0 for the first.
    pub const LOG_POSITION: usize = 4;
    /// Mean logit of the confidence over the step's positions so far.
    pub const MEAN_LOGIT: usize = 5;
    /// Lowest logit of the confidence over the step's positions so far.
    pub const LOWEST_LOGIT: usize = 6;
    /// Logit of the sequence's running acceptance per token, over some 32 tokens of this source.
    pub const LOGIT_RUNNING: usize = 7;
    /// Running acceptance over some 6 tokens of this source.
    pub const RECENT_ACCEPTANCE: usize = 8;
    /// Running mean of outcome minus confidence: how much this pair's confidence is worth here.
    pub const SURPRISE: usize = 9;
    /// Last step: 1 all accepted, -1 the first one rejected, between by share; 0 if nothing was
    /// verified.
    pub const LAST_STEP: usize = 10;
    /// `ln(1 + match length)` for look-up.
    pub const LOG_MATCH: usize = 11;
    /// Sampling temperature; 0 is greedy.
    pub const TEMPERATURE: usize = 12;
    /// The compression's offset.
    pub const COMPRESSION: usize = 13;
    /// `ln(1 + context / 256)`.
    pub const LOG_CONTEXT: usize = 14;
    /// 1 at the first position if the sequence has fewer than four outcomes yet.
    pub const UNCERTAIN_START: usize = 15;
}

/// What stays the same over a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SessionFacts {
    /// Sampling temperature; 0 is greedy.
    pub temperature: f32,
    /// Bits that the target's compression removed from 16 per weight, divided by 16: 0 for FP16,
    /// 0.5 for INT8, 0.75 for 4 bits.
    pub compression: f32,
}

/// Outcomes of one source in this sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Running {
    slow: f32,
    recent: f32,
    surprise: f32,
    last_step: f32,
    /// Outcomes behind `slow`, at most the window; falls while nothing is seen.
    evidence: f32,
}

/// Outcomes that the running acceptance and the surprise remember: the length of a paragraph.
const SLOW_WINDOW: f32 = 32.0;
/// Outcomes that the recent acceptance remembers: a step or two.
const RECENT_WINDOW: f32 = 6.0;
/// Acceptance per token before anything was seen: of the draft model, of look-up.
const MODEL_PRIOR: f32 = 0.8;
const LOOKUP_PRIOR: f32 = 0.6;
/// Share of the evidence that is left after a step in which a source was not seen.
const UNSEEN: f32 = 0.97;
/// Outcomes below which a sequence counts as having just started.
const FEW_OUTCOMES: f32 = 4.0;
/// Outcomes that the prior acceptance is worth.
const PRIOR_EVIDENCE: f32 = 4.0;

impl Running {
    fn new(acceptance: f32) -> Self {
        Running {
            slow: acceptance,
            recent: acceptance,
            surprise: 0.0,
            last_step: 0.0,
            evidence: 0.0,
        }
    }

    fn learn(&mut self, accepted: bool, confidence: f32) {
        let outcome = f32::from(u8::from(accepted));
        self.slow +=
            (outcome - self.slow) / (PRIOR_EVIDENCE + self.evidence + 1.0).min(SLOW_WINDOW);
        self.recent += (outcome - self.recent) / RECENT_WINDOW;
        self.surprise += (outcome - confidence - self.surprise)
            / (PRIOR_EVIDENCE + self.evidence + 1.0).min(SLOW_WINDOW);
        self.evidence = (self.evidence + 1.0).min(SLOW_WINDOW);
    }
}

/// Everything that features are made of, fed in the order of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureState {
    facts: SessionFacts,
    running: PerSource<Running>,
    source: Source,
    context: usize,
    positions: usize,
    sum_logit: f32,
    lowest_logit: f32,
}

impl FeatureState {
    /// The state before a sequence's first step.
    #[must_use]
    pub fn new(facts: SessionFacts) -> Self {
        FeatureState {
            facts,
            running: PerSource::from_fn(|source| {
                Running::new(if source == Source::NGRAM { LOOKUP_PRIOR } else { MODEL_PRIOR })
            }),
            source: Source::MODEL,
            context: 0,
            positions: 0,
            sum_logit: 0.0,
            lowest_logit: 0.0,
        }
    }

    /// What it was made with.
    #[must_use]
    pub fn facts(&self) -> SessionFacts {
        self.facts
    }

    /// Begins a step that `source` drafts for, with `context` tokens in the sequence.
    pub fn begin(&mut self, source: Source, context: usize) {
        self.source = source;
        self.context = context;
        self.positions = 0;
        self.sum_logit = 0.0;
        self.lowest_logit = f32::INFINITY;
    }

    /// Features before anything was drafted: those of signals are 0.
    #[must_use]
    pub fn start(&self) -> Features {
        self.history()
    }

    /// Takes the next drafted position in and returns its features.
    pub fn push(&mut self, signals: &Signals) -> Features {
        let logit_confidence = logit(signals.confidence);
        self.positions += 1;
        self.sum_logit += logit_confidence;
        self.lowest_logit = self.lowest_logit.min(logit_confidence);
        let running = self.running();
        let mut features = self.history();
        features[index::LOGIT_CONFIDENCE] = logit_confidence;
        features[index::ENTROPY_BITS] = finite(signals.entropy_bits).clamp(0.0, 12.0);
        features[index::MARGIN] = finite(signals.margin).clamp(0.0, 1.0);
        features[index::LOG_POSITION] = (self.positions as f32).ln();
        features[index::MEAN_LOGIT] = self.sum_logit / self.positions as f32;
        features[index::LOWEST_LOGIT] = self.lowest_logit;
        features[index::LOG_MATCH] = f32::from(signals.match_length).ln_1p();
        features[index::UNCERTAIN_START] =
            f32::from(u8::from(self.positions == 1 && running.evidence < FEW_OUTCOMES));
        features
    }

    /// Positions taken in since the step began.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Running acceptance per token of a source in this sequence, in [0, 1].
    #[must_use]
    pub fn running_acceptance(&self, source: Source) -> f32 {
        self.running[source].slow
    }

    /// Learns from a finished step: only outcomes that were seen.
    pub fn observe(&mut self, record: &StepRecord) {
        let source = record.before.plan.source;
        let running = &mut self.running[source];
        for (position, drafted) in record.drafted.iter().enumerate() {
            match record.outcome.label(position) {
                Some(accepted) => {
                    running.learn(accepted, drafted.signals.confidence.clamp(0.0, 1.0))
                }
                None => break,
            }
        }
        let verified = record.outcome.verified;
        running.last_step = if verified == 0 {
            0.0
        } else {
            2.0 * record.outcome.accepted as f32 / verified as f32 - 1.0
        };
        // What was not seen for long may have changed: the next outcomes count for more. Look-up
        // finds nothing in many texts, and keeps its evidence while others draft.
        for (other, running) in self.running.iter_mut() {
            if verified == 0 || (other != source && other != Source::NGRAM) {
                running.evidence *= UNSEEN;
            }
        }
    }

    fn running(&self) -> &Running {
        &self.running[self.source]
    }

    fn history(&self) -> Features {
        let running = self.running();
        let mut features = [0.0; FEATURES];
        features[index::BIAS] = 1.0;
        features[index::LOGIT_RUNNING] = logit(running.slow.clamp(0.02, 0.98));
        features[index::RECENT_ACCEPTANCE] = running.recent;
        features[index::SURPRISE] = running.surprise;
        features[index::LAST_STEP] = running.last_step;
        features[index::TEMPERATURE] = finite(self.facts.temperature).clamp(0.0, 5.0);
        features[index::COMPRESSION] = finite(self.facts.compression).clamp(0.0, 1.0);
        features[index::LOG_CONTEXT] = (self.context as f32 / 256.0).ln_1p();
        features
    }
}

fn finite(value: f32) -> f32 {
    if value.is_finite() { value } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        controller::Plan,
        record::{Before, Drafted, Last, Outcome, Times},
    };

    fn signals(confidence: f32) -> Signals {
        Signals { confidence, entropy_bits: 1.5, margin: 0.25, match_length: 3 }
    }

    fn record(source: Source, confidences: &[f32], accepted: usize) -> StepRecord {
        let last = if accepted == confidences.len() { Last::Bonus } else { Last::Recovered };
        StepRecord {
            before: Before {
                step: 0,
                context: 10,
                draft_behind: 0,
                block: 0,
                gamma_limit: 9,
                plan: Plan { gamma: 9, source },
            },
            drafted: confidences.iter().map(|&c| Drafted::new(0, signals(c))).collect(),
            branch: Default::default(),
            outcome: Outcome {
                verified: confidences.len(),
                accepted,
                last,
                produced: accepted + 1,
                ended: false,
            },
            forced: Default::default(),
            times: Times::default(),
            tokens: vec![0; accepted + 1],
        }
    }

    #[test]
    fn features_are_what_their_names_say() {
        let mut state = FeatureState::new(SessionFacts { temperature: 0.7, compression: 0.75 });
        state.begin(Source::MODEL, 256);
        let _ = state.push(&signals(0.9));
        let features = state.push(&signals(0.5));
        let close = |at: usize, expected: f32| {
            assert!(
                (features[at] - expected).abs() < 1e-4,
                "{}: {}",
                FEATURE_NAMES[at],
                features[at]
            )
        };
        close(index::BIAS, 1.0);
        close(index::LOGIT_CONFIDENCE, 0.0);
        close(index::ENTROPY_BITS, 1.5);
        close(index::MARGIN, 0.25);
        close(index::LOG_POSITION, 2.0_f32.ln());
        close(index::MEAN_LOGIT, 9.0_f32.ln() / 2.0);
        close(index::LOWEST_LOGIT, 0.0);
        close(index::LOG_MATCH, 4.0_f32.ln());
        close(index::TEMPERATURE, 0.7);
        close(index::COMPRESSION, 0.75);
        close(index::LOG_CONTEXT, 2.0_f32.ln());
        close(index::UNCERTAIN_START, 0.0);
    }

    #[test]
    fn only_seen_outcomes_are_learned() {
        let mut clipped = FeatureState::new(SessionFacts::default());
        let mut whole = clipped;
        clipped.observe(&record(Source::MODEL, &[0.9, 0.8], 1));
        whole.observe(&record(Source::MODEL, &[0.9, 0.8, 0.7, 0.1], 1)); // two more after the rejection: not seen
        let of_model = |state: &FeatureState| {
            let Running { slow, surprise, .. } = state.running[Source::MODEL];
            (slow, surprise)
        };
        assert_eq!(of_model(&clipped), of_model(&whole));
        // prior 0.8 worth 4; outcomes 1 and 0: 0.8 + 0.2/5 = 0.84; 0.84 - 0.84/6 = 0.7
        assert!((clipped.running_acceptance(Source::MODEL) - 0.7).abs() < 1e-6);
        assert_eq!(clipped.running_acceptance(Source::NGRAM), 0.6);
    }

    #[test]
    fn broken_signals_make_finite_features() {
        let mut state =
            FeatureState::new(SessionFacts { temperature: f32::NAN, compression: f32::INFINITY });
        state.begin(Source::NGRAM, usize::MAX);
        let broken = Signals {
            entropy_bits: f32::NAN,
            confidence: f32::NAN,
            margin: f32::INFINITY,
            match_length: u16::MAX,
        };
        assert!(state.push(&broken).iter().all(|value| value.is_finite()));
        assert!(state.start().iter().all(|value| value.is_finite()));
    }
}
