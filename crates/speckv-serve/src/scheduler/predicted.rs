//! Draft tokens that a request has predicted.

use std::collections::HashSet;

use speckv::{
    record::{Source, StepRecord},
    token::Token,
};

/// Draft tokens that stand in the prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Predicted {
    /// Those that the target accepted.
    pub accepted: usize,
    /// The others.
    pub rejected: usize,
}

/// Tells which tokens of look-up's drafts a request has predicted: those that follow the same two
/// tokens in the prediction.
#[derive(Debug)]
pub(super) struct PredictedTokens {
    runs: HashSet<Run>,
    count: Predicted,
}

/// A token with those before it.
type Run = [Token; BEFORE + 1];

/// Tokens of context that look-up needs.
const BEFORE: usize = 2;

impl PredictedTokens {
    /// Of an answer to `prompt`.
    pub(super) fn new(prompt: &[Token], prediction: &[Token]) -> Self {
        let start = prompt.len().saturating_sub(BEFORE);
        let text: Vec<Token> = prompt[start..].iter().chain(prediction).copied().collect();
        let runs = text.windows(BEFORE + 1).filter_map(|run| Run::try_from(run).ok());
        PredictedTokens { runs: runs.collect(), count: Predicted::default() }
    }

    /// What was counted.
    pub(super) fn count(&self) -> Predicted {
        self.count
    }

    /// Counts a step. `tokens`: the text after it.
    pub(super) fn observe(&mut self, tokens: &[Token], record: &StepRecord) {
        let (before, made) = tokens.split_at(tokens.len() - record.tokens.len());
        if record.before.plan.source == Source::NGRAM {
            let accepted = record.outcome.accepted;
            // Accepted tokens stand in the text, with what a grammar forced between them.
            let is_forced = |place: &usize| record.forced.places.binary_search(place).is_ok();
            let mut drawn = (0..made.len()).filter(|place| !is_forced(place));
            for place in drawn.by_ref().take(accepted) {
                let text = &tokens[..before.len() + place];
                self.count.accepted += usize::from(self.has(text, made[place]));
            }
            let kept = before.len() + drawn.next().unwrap_or(made.len());
            self.count.rejected += self.following(&tokens[..kept], &record.drafted[accepted..]);
        }
        let branch = &record.branch;
        if !branch.tokens.is_empty() && !branch.sibling {
            let draft = record.drafted[..branch.at].iter().map(|drafted| drafted.token);
            let text: Vec<Token> = before.iter().copied().chain(draft).collect();
            let accepted = self.following(&text, &branch.tokens[..branch.accepted]);
            let all = self.following(&text, &branch.tokens);
            self.count.accepted += accepted;
            self.count.rejected += all - accepted;
        }
    }

    /// How many of the tokens that follow `text` were predicted.
    fn following(&self, text: &[Token], drafted: &[speckv::record::Drafted]) -> usize {
        let mut text = text[text.len().saturating_sub(BEFORE)..].to_vec();
        let mut count = 0;
        for drafted in drafted {
            count += usize::from(self.has(&text, drafted.token));
            text.push(drafted.token);
        }
        count
    }

    fn has(&self, text: &[Token], token: Token) -> bool {
        match text {
            [.., a, b] => self.runs.contains(&[*a, *b, token]),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use speckv::{
        controller::{Fixed, Situation},
        record::{Drafted, Times},
        signals::Signals,
        step::{Ending, Stepper},
    };

    use super::*;

    /// Counts a step that drafts these tokens after a text that ends with 2 and 3.
    fn count(source: Source, drafted: &[Token], accepted: usize, forced: bool) -> Predicted {
        let mut stepper = Stepper::new(Fixed::from_source(drafted.len(), source));
        let situation = Situation { has_model: true, ..Situation::alone(3, 9) };
        stepper.plan(&situation).expect("a plan");
        for &token in drafted {
            stepper.judge(Drafted::new(token, Signals::default()), false).expect("a verdict");
            if forced && token == drafted[0] {
                stepper.force(12);
            }
        }
        let ending = Ending { accepted, token: Some(50), verified: None, branch: 0 };
        let record = stepper.finish(&ending, Times::default()).expect("a record");
        let mut predicted = PredictedTokens::new(&[1, 2, 3], &[10, 11, 12, 13]);
        predicted.observe(&[&[1, 2, 3], record.tokens.as_slice()].concat(), record);
        predicted.count()
    }

    #[test]
    fn tokens_of_look_up_that_stand_in_the_prediction_are_counted() {
        let counted = |accepted, rejected| Predicted { accepted, rejected };
        assert_eq!(count(Source::NGRAM, &[10, 11, 12], 3, false), counted(3, 0));
        assert_eq!(count(Source::NGRAM, &[10, 11, 12], 1, false), counted(1, 2));
        assert_eq!(count(Source::NGRAM, &[10, 11, 99, 13], 2, false), counted(2, 0));
        assert_eq!(count(Source::NGRAM, &[77, 78], 0, false), counted(0, 0));
        assert_eq!(count(Source::MODEL, &[10, 11, 12], 3, false), counted(0, 0));
        // 12 is forced after the first: 11 and 13 do not follow their two tokens.
        assert_eq!(count(Source::NGRAM, &[10, 11, 13], 2, true), counted(1, 0));
    }
}
