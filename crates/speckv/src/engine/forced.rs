//! Tokens that a constraint forces: they enter the text without a draft and without a decision of
//! the target.

use super::Sequence;
use crate::{model::LanguageModel, token::Token};

impl<M: LanguageModel> Sequence<M> {
    /// The token that must come next, where forced tokens are taken: not under a controller that
    /// decodes plainly, and not where the likelihood of every token is asked for.
    fn forced(&mut self) -> Option<Token> {
        if !self.chain.is_constrained()
            || !self.stepper.controller().takes_forced()
            || self.likelihoods.are_wanted()
        {
            return None;
        }
        // A constraint that fails here fails again where the target's token is chosen.
        self.chain.forced(&self.tokens).unwrap_or(None)
    }

    /// Before the first step of an output. Leaves the step a token to make.
    pub(super) fn force_before(&mut self) {
        self.step.forced_before = 0;
        if self.generated > 0 {
            return;
        }
        while self.room() > 1 {
            let Some(token) = self.forced().filter(|&token| !self.ends_with(token)) else { break };
            self.tokens.push(token);
            self.generated += 1;
            self.step.forced_before += 1;
        }
        self.forced_unread += self.step.forced_before;
    }

    /// After a drafted token that was kept. They are accepted if it is.
    pub(super) fn force_between(&mut self) {
        loop {
            if self.tokens.len() - self.step.committed >= self.step.room - 1 {
                self.stepper.exhausted();
                return;
            }
            let Some(token) = self.forced() else { return };
            self.tokens.push(token);
            self.step.is_forced.push(true);
            self.stepper.force(token);
            if self.ends_with(token) {
                self.stepper.exhausted();
                return;
            }
        }
    }

    /// After the last token of a step. The target reads them in the next pass.
    pub(super) fn force_after(&mut self) {
        self.forced_unread = 0;
        while self.room() > 0 && !self.has_ended() {
            let Some(token) = self.forced() else { return };
            self.tokens.push(token);
            self.generated += 1;
            self.forced_unread += 1;
            self.stepper.force_after(token);
        }
    }

    /// Whether the last token is an end token.
    pub(super) fn has_ended(&self) -> bool {
        self.tokens.last().is_some_and(|&token| self.ends_with(token))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        controller::{Controller, Off, testing::every_controller},
        draft::{Both, ModelDrafter, NgramDrafter},
        engine::{Clock, Engine, SequenceSettings, VirtualTime},
        sampling::SamplingSettings,
        sim::{Difference, SimConstraint, SimModel, SimSettings},
        token::Token,
    };

    /// The tokens, and how many of them were forced.
    fn decode(controller: Box<dyn Controller>, seed: u64) -> (Vec<Token>, usize) {
        let target = SimModel::new(SimSettings { vocab_size: 30, seed, ..SimSettings::default() });
        let draft = target.draft(Difference::Share { agreement: 0.8 });
        let drafter = Both::new(NgramDrafter::default(), ModelDrafter::new(Arc::new(draft), 30));
        let mut engine = Engine::new(Arc::new(target), Box::new(drafter));
        engine.set_clock(Clock::Virtual(VirtualTime::new()));
        let mut sequence = engine
            .sequence(SequenceSettings {
                prompt: vec![1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![29],
                max_tokens: 90,
                controller,
            })
            .expect("a sequence");
        sequence.constrain(Some(Box::new(SimConstraint::new(30, seed).with_end(29))));
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).expect("a step");
        }
        (sequence.tokens().to_vec(), sequence.totals().forced)
    }

    #[test]
    fn every_controller_makes_the_tokens_of_plain_constrained_decoding() {
        for seed in [3, 4, 8] {
            let (expected, none) = decode(Box::new(Off), seed);
            assert_eq!(none, 0, "plain decoding decides every token");
            for controller in every_controller() {
                let (name, takes_forced) = (controller.name(), controller.takes_forced());
                let (tokens, forced) = decode(controller, seed);
                assert_eq!(tokens, expected, "{name}, seed {seed}");
                assert_eq!(forced > 0, takes_forced, "{name}, seed {seed}: {forced} forced");
            }
        }
    }
}
