//! One text in the making.

use std::time::Duration;

use super::{
    EngineError, ReadLimits, Totals,
    home::Place,
    likelihood::{Likelihood, Likelihoods},
};
use crate::{
    controller::Controller,
    draft::Slot,
    model::{Cache, LanguageModel},
    record::{Drafted, StepRecord, Times},
    sampling::{Chain, Constraint, Distribution, Randomness, SamplingSettings},
    step::Stepper,
    token::Token,
};

/// What a sequence starts from.
pub struct SequenceSettings {
    /// Tokens to continue, at least one.
    pub prompt: Vec<Token>,
    /// How tokens are chosen.
    pub sampling: SamplingSettings,
    /// Tokens that end the text. They are kept in it.
    pub end_tokens: Vec<Token>,
    /// Most tokens to generate; the context may allow fewer.
    pub max_tokens: usize,
    /// Decides how far to draft.
    pub controller: Box<dyn Controller>,
}

/// Why a sequence went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// The model made an end token.
    Stop,
    /// The token budget is spent or the context is full.
    Length,
}

/// A text and all the state that belongs to it alone. Made by
/// [`Engine::sequence`](super::Engine::sequence), grown by [`Engine::step`](super::Engine::step),
/// given back with [`Engine::close`](super::Engine::close) or by dropping it.
///
/// Its token list is the truth; the caches of target and draft hold prefixes of it. Prompt and
/// output together never exceed the target's context.
pub struct Sequence<M: LanguageModel> {
    pub(super) tokens: Vec<Token>, // the text; inside a step also the draft, from `committed` on
    pub(super) cache: M::Cache,
    pub(super) place: Place,
    pub(super) draft_keeps: Option<usize>, // set when the text was changed: what the drafter read from here on is void
    pub(super) chain: Chain,
    pub(super) randomness: Randomness,
    pub(super) stepper: Stepper,
    pub(super) end_tokens: Vec<Token>,
    pub(super) max_tokens: usize,
    pub(super) generated: usize, // since the text was last given from outside
    pub(super) context_length: usize,
    pub(super) finish: Option<FinishReason>,
    pub(super) totals: Totals,
    pub(super) forced_unread: usize, // forced tokens at the end that the target has not read
    pub(super) limits: ReadLimits,
    pub(super) likelihoods: Likelihoods,
    pub(super) observing: Duration, // what observing the last record took; booked on the next
    pub(super) step: StepState,
}

/// What one step keeps between its phases; all of it is set anew in every step.
#[derive(Debug, Default)]
pub(super) struct StepState {
    pub active: bool,
    pub reading: usize, // tokens that it reads in this step, and nothing else
    pub start: usize,   // tokens in the text before the step, forced ones apart
    pub generated_before: usize,
    pub forced_before: usize, // forced tokens at the end of `committed`
    pub room: usize,          // tokens that the step may make
    pub unread: usize,        // of the text before the step, read in its pass
    pub unread_forced: usize, // forced tokens of these
    pub catches_up_to: Option<usize>, // end of the text that the draft reads before it drafts
    pub ahead: usize,         // tokens that the target read of it in a pass before that
    pub held: usize,          // positions in the cache before the target's pass
    pub first_hidden: Option<usize>, // the first of its hidden states in the pass, if wanted
    pub committed: usize,     // tokens in the text before the step
    pub times: Times,
    pub distributions: Vec<Distribution>, // q of each drafted token, [most ever drafted]
    pub is_forced: Vec<bool>,             // of each token after `committed`
    pub accepted: usize, // tokens after `committed` that stay, forced ones included
    pub accepted_drafts: usize,
    pub said: Vec<Drafted>,  // what look-up says beside the draft
    pub parents: Vec<usize>, // of the feed's tokens, where it has a branch
    pub path: Vec<usize>,    // of the feed's tokens, those that stay where the branch does
    pub branch_accepted: usize,
    pub last_token: Option<Token>,
    pub rest_was_empty: bool,
}

impl<M: LanguageModel> Sequence<M> {
    /// Its slot in the drafter.
    pub(super) fn slot(&self) -> Slot {
        self.place.slot()
    }

    /// The text so far, prompt and output.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Tokens generated since the prompt, or since the text was last changed from outside.
    #[must_use]
    pub fn generated(&self) -> usize {
        self.generated
    }

    /// Why the text goes no further; `None` while it does.
    #[must_use]
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// The last step. Before the first step, an empty record.
    #[must_use]
    pub fn record(&self) -> &StepRecord {
        self.stepper.record()
    }

    /// How likely the target found the last step's tokens, one entry per token; empty unless
    /// [`set_likelihoods`](Self::set_likelihoods) asked for them.
    #[must_use]
    pub fn likelihoods(&self) -> &[Likelihood] {
        self.likelihoods.positions()
    }

    /// From the next step on, notes how likely the target found each token and the `top` likeliest
    /// ones; `None` for not at all.
    pub fn set_likelihoods(&mut self, top: Option<usize>) {
        self.likelihoods.set_wanted(top);
    }

    /// Sums over all steps.
    #[must_use]
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Starts the sums anew, for the next turn of a chat.
    pub fn reset_totals(&mut self) {
        self.totals = Totals::default();
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> &dyn Controller {
        self.stepper.controller().as_ref()
    }

    /// Another controller from the next step on.
    pub fn set_controller(&mut self, controller: Box<dyn Controller>) {
        self.stepper.set_controller(controller);
    }

    /// Puts what is generated from here on under a constraint, or under none. The constraint begins
    /// anew wherever the text is changed from outside.
    ///
    /// Tokens that it forces are proposed without a draft and accepted without a decision of the
    /// target; see [`Controller::takes_forced`].
    pub fn constrain(&mut self, constraint: Option<Box<dyn Constraint>>) {
        self.chain.constrain(constraint);
        self.chain.begin(self.tokens.len(), &self.end_tokens);
    }

    /// The random numbers, to start them anew or to save them.
    pub fn randomness_mut(&mut self) -> &mut Randomness {
        &mut self.randomness
    }

    /// Another token budget, counted from the last change of the text from outside.
    pub fn set_max_tokens(&mut self, max_tokens: usize) {
        self.max_tokens = max_tokens;
        if self.finish != Some(FinishReason::Stop) {
            self.check_room();
        }
    }

    /// Tokens of the text that the target has read.
    #[must_use]
    pub fn read(&self) -> usize {
        self.cache.len()
    }

    /// Appends tokens from outside, such as the next turn of a chat, and starts the token budget
    /// anew. What was read stays read.
    ///
    /// # Errors
    /// The context has no room; the text is unchanged.
    pub fn extend(&mut self, tokens: &[Token]) -> Result<(), EngineError> {
        let got = self.tokens.len() + tokens.len();
        if got > self.context_length {
            return Err(EngineError::PromptTooLong { context: self.context_length, got });
        }
        self.tokens.extend_from_slice(tokens);
        self.start_anew();
        Ok(())
    }

    /// Forgets every token from `len` on (at least one stays), and starts the token budget anew.
    pub fn rewind(&mut self, len: usize) {
        let len = len.clamp(1, self.tokens.len());
        self.tokens.truncate(len);
        self.forget_from(len);
        self.start_anew();
    }

    /// Has the drafter forget what it read, so that it reads all of the text again when it next
    /// drafts.
    pub fn forget_draft(&mut self) {
        self.draft_keeps = Some(0);
    }

    /// Gives back the memory that only steps need, above all the distributions of drafted tokens:
    /// after sampling `[gamma, vocab]` numbers. For a sequence that rests; the next step takes it
    /// again.
    pub fn release(&mut self) {
        self.step = StepState::default();
        self.chain.release();
    }

    /// Becomes another text, keeping what was read of the common beginning, and starts the token
    /// budget anew.
    ///
    /// # Errors
    /// No tokens, or more than the context holds; the text is unchanged.
    pub fn set_tokens(&mut self, tokens: &[Token]) -> Result<(), EngineError> {
        if tokens.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if tokens.len() > self.context_length {
            return Err(EngineError::PromptTooLong {
                context: self.context_length,
                got: tokens.len(),
            });
        }
        let common = self.tokens.iter().zip(tokens).take_while(|(old, new)| old == new).count();
        self.tokens.truncate(common);
        self.tokens.extend_from_slice(&tokens[common..]);
        self.forget_from(common);
        self.start_anew();
        Ok(())
    }

    /// Makes the caches prefixes of the first `len` tokens, and short of the whole text, whose last
    /// token every step feeds.
    fn forget_from(&mut self, len: usize) {
        let len = len.min(self.tokens.len() - 1);
        self.cache.truncate(len);
        self.draft_keeps = Some(self.draft_keeps.map_or(len, |keeps| keeps.min(len)));
    }

    fn start_anew(&mut self) {
        self.stepper.next_text();
        self.chain.begin(self.tokens.len(), &self.end_tokens);
        (self.generated, self.forced_unread) = (0, 0);
        self.finish = None;
        self.check_room();
    }

    /// Tokens that budget and context still allow.
    pub(super) fn room(&self) -> usize {
        self.max_tokens
            .saturating_sub(self.generated)
            .min(self.context_length.saturating_sub(self.tokens.len()))
    }

    pub(super) fn check_room(&mut self) {
        self.finish = (self.room() == 0).then_some(FinishReason::Length);
    }

    pub(super) fn ends_with(&self, token: Token) -> bool {
        self.end_tokens.contains(&token)
    }
}
