//! Outcomes with what was known before them.

use speckv::{
    predictor::{FeatureState, Features, Question, SessionFacts},
    record::{Source, StepRecord},
};

/// One outcome with what was known before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// Which source drafted.
    pub source: Source,
    /// Which question it answers.
    pub question: Question,
    /// What was known.
    pub features: Features,
    /// What happened.
    pub accepted: bool,
}

/// All examples of one sequence's steps, in order. Positions after the first rejection, past an end
/// token or beyond what was verified make none: they were not seen.
#[must_use]
pub fn examples(records: &[StepRecord], facts: SessionFacts) -> Vec<Example> {
    let mut state = FeatureState::new(facts);
    let mut examples = Vec::new();
    for record in records {
        let source = record.before.plan.source;
        let mut add = |question, features, accepted| {
            examples.push(Example { source, question, features, accepted })
        };
        state.begin(source, record.before.context);
        let label = |position: usize| record.outcome.label(position);
        if !record.drafted.is_empty()
            && let Some(accepted) = label(0)
        {
            add(Question::First, state.start(), accepted);
        }
        for (position, drafted) in record.drafted.iter().enumerate() {
            let Some(accepted) = label(position) else { break };
            let features = state.push(&drafted.signals);
            add(Question::Accept, features, accepted);
            if accepted && let Some(next) = label(position + 1) {
                add(Question::Next, features, next);
            }
        }
        state.observe(record);
    }
    examples
}

#[cfg(test)]
mod tests {
    use speckv::{
        controller::{Fixed, Situation},
        predictor::{features::index, logit},
        record::{Drafted, Times},
        signals::Signals,
        step::{Ending, Stepper},
    };

    use super::*;

    /// A step that drafts tokens of these confidences, of which the target verifies some.
    fn step(confidences: &[f32], verified: usize, accepted: usize) -> StepRecord {
        let mut stepper = Stepper::new(Fixed::new(confidences.len()));
        stepper.plan(&Situation::alone(9, 9)).expect("no step is under way");
        for &confidence in confidences {
            let signals = Signals { confidence, ..Signals::default() };
            stepper.judge(Drafted::new(1, signals), false).expect("it wants more");
        }
        let ending = Ending { accepted, token: Some(1), verified: Some(verified), branch: 0 };
        stepper.finish(&ending, Times::default()).expect("a step").clone()
    }

    #[test]
    fn examples_are_what_was_seen_and_what_the_features_were_then() {
        let records = [step(&[0.9, 0.8, 0.7], 3, 1), step(&[], 0, 0), step(&[0.6, 0.2], 1, 1)];
        let got: Vec<(Question, bool, f32)> = examples(&records, SessionFacts::default())
            .iter()
            .map(|example| {
                (example.question, example.accepted, example.features[index::LOGIT_CONFIDENCE])
            })
            .collect();
        let expected = [
            (Question::First, true, 0.0),
            (Question::Accept, true, logit(0.9)),
            (Question::Next, false, logit(0.9)),
            (Question::Accept, false, logit(0.8)),
            (Question::First, true, 0.0),
            (Question::Accept, true, logit(0.6)),
            // The last step's second token was not verified: neither accepted nor next.
        ];
        assert_eq!(got, expected);
    }
}
