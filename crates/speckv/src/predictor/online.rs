//! A predictor on one sequence: features, heads and their online corrections together.

use std::sync::Arc;

use super::{Calibrator, FeatureState, Predictor, Question, SessionFacts};
use crate::{
    gamma::{MAX_GAMMA, PARALLEL_DEPTH},
    record::StepRecord,
    signals::Signals,
    source::{PerSource, Source},
};

/// Probabilities at the newest drafted position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// Probability that it is accepted, given that all before it are.
    pub accept: f32,
    /// Probability that the one after it would be accepted, given that it is itself.
    pub next: f32,
}

/// Most positions of a step that are learned from: all that a step may have.
const POSITIONS: usize = MAX_GAMMA;

/// [`Predictor`], [`FeatureState`] and [`Calibrator`]s, one per source and question, and one per
/// position of a pass that proposes several tokens. Does not allocate after construction.
///
/// ```
/// use std::sync::Arc;
/// use speckv::{
///     predictor::{OnlinePredictor, Predictor, SessionFacts},
///     record::Source,
///     signals::Signals,
/// };
///
/// let prior = Arc::new(Predictor::prior());
/// let mut online = OnlinePredictor::new(prior, SessionFacts::default());
/// online.begin(Source::MODEL, 100);
/// let sure = online.push(&Signals { confidence: 0.99, ..Signals::default() });
/// let unsure = online.push(&Signals { confidence: 0.3, ..Signals::default() });
/// assert!(sure.accept > 0.9 && unsure.accept < 0.6);
/// ```
#[derive(Debug, Clone)]
pub struct OnlinePredictor {
    weights: Arc<Predictor>,
    state: FeatureState,
    calibrators: PerSource<[Calibrator; 3]>, // of each question
    /// Of [`Question::Accept`], for each position of a pass that proposes several tokens.
    positions: [Calibrator; PARALLEL_DEPTH],
    first_score: f32,
    accept_scores: [f32; POSITIONS],
    next_scores: [f32; POSITIONS],
    source: Source,
}

impl OnlinePredictor {
    /// A predictor before a sequence's first step.
    #[must_use]
    pub fn new(weights: Arc<Predictor>, facts: SessionFacts) -> Self {
        OnlinePredictor {
            weights,
            state: FeatureState::new(facts),
            calibrators: PerSource::from_fn(|_| {
                [Calibrator::default(), Calibrator::damped(), Calibrator::damped()]
            }),
            positions: [Calibrator::default(); PARALLEL_DEPTH],
            first_score: 0.0,
            accept_scores: [0.0; POSITIONS],
            next_scores: [0.0; POSITIONS],
            source: Source::MODEL,
        }
    }

    /// Probability that the first token of `source` would be accepted in a step after `context`
    /// tokens. Changes nothing.
    #[must_use]
    pub fn first(&self, source: Source, context: usize) -> f32 {
        let score = self.first_score(&self.begun(source, context), source);
        self.calibrator(source, Question::First).probability(score)
    }

    /// What [`push`](Self::push) would say of a step's first position, had `source` begun the step
    /// after `context` tokens: for look-up, whose first signals are known before the step. Changes
    /// nothing.
    #[must_use]
    pub fn preview(&self, source: Source, context: usize, signals: &Signals) -> Judgement {
        let features = self.begun(source, context).push(signals);
        let probability = |question| {
            let score = self.weights.head(source, question).score(&features);
            self.calibrator(source, question).probability(score)
        };
        Judgement { accept: probability(Question::Accept), next: probability(Question::Next) }
    }

    /// Begins a step that `source` drafts for; the probability of [`first`](Self::first).
    pub fn begin(&mut self, source: Source, context: usize) -> f32 {
        self.source = source;
        self.state = self.begun(source, context);
        self.first_score = self.first_score(&self.state, source);
        self.calibrator(source, Question::First).probability(self.first_score)
    }

    /// The feature state at the beginning of a step.
    fn begun(&self, source: Source, context: usize) -> FeatureState {
        let mut state = self.state;
        state.begin(source, context);
        state
    }

    fn first_score(&self, state: &FeatureState, source: Source) -> f32 {
        self.weights.head(source, Question::First).score(&state.start())
    }

    /// Takes the next drafted position in.
    pub fn push(&mut self, signals: &Signals) -> Judgement {
        let features = self.state.push(signals);
        let position = self.state.positions() - 1;
        let accept_score = self.weights.head(self.source, Question::Accept).score(&features);
        let next_score = self.weights.head(self.source, Question::Next).score(&features);
        if position < POSITIONS {
            self.accept_scores[position] = accept_score;
            self.next_scores[position] = next_score;
        }
        let accept = match self.source {
            Source::PARALLEL => &self.positions[position.min(PARALLEL_DEPTH - 1)],
            source => self.calibrator(source, Question::Accept),
        };
        Judgement {
            accept: accept.probability(accept_score),
            next: self.calibrator(self.source, Question::Next).probability(next_score),
        }
    }

    /// Learns from a finished step. Positions that were drafted but not pushed are pushed first, so
    /// that replay and live agree.
    pub fn observe(&mut self, record: &StepRecord) {
        if record.drafted.is_empty() || record.before.plan.source != self.source {
            let _ = self.begin(record.before.plan.source, record.before.context);
        }
        for drafted in record.drafted.iter().skip(self.state.positions()) {
            let _ = self.push(&drafted.signals);
        }
        let source = self.source;
        let label = |position: usize| record.outcome.label(position);
        let mut learned = false;
        if !record.drafted.is_empty()
            && let Some(accepted) = label(0)
        {
            self.calibrators[source][Question::First as usize].observe(self.first_score, accepted);
        }
        for position in 0..record.drafted.len().min(POSITIONS) {
            let Some(accepted) = label(position) else { break };
            learned = true;
            let accept = match source {
                Source::PARALLEL => &mut self.positions[position.min(PARALLEL_DEPTH - 1)],
                source => &mut self.calibrators[source][Question::Accept as usize],
            };
            accept.observe(self.accept_scores[position], accepted);
            if accepted && let Some(next) = label(position + 1) {
                self.calibrators[source][Question::Next as usize]
                    .observe(self.next_scores[position], next);
            }
        }
        for (other, calibrators) in self.calibrators.iter_mut() {
            if !(learned && other == source) {
                calibrators.iter_mut().for_each(Calibrator::idle);
            }
        }
        self.state.observe(record);
    }

    /// Starts another text with the facts and the corrections of this one.
    pub fn next_text(&mut self) {
        self.state = FeatureState::new(self.state.facts());
    }

    /// The feature state.
    #[must_use]
    pub fn state(&self) -> &FeatureState {
        &self.state
    }

    fn calibrator(&self, source: Source, question: Question) -> &Calibrator {
        &self.calibrators[source][question as usize]
    }
}
