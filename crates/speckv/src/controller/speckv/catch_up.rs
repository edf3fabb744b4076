//! The price of what the draft model has not read.

use super::prices::plain_seconds;
use crate::{
    controller::Situation,
    cost::{CostModel, SharedPass},
};

/// Price of the draft model's reading in plain steps: in this step, and per step if it goes on
/// drafting for as long as the text is expected to go on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct CatchUp {
    /// Reading what was generated without the draft model.
    pub text: f64,
    /// Reading the prompt.
    pub prompt: f64,
    /// Both, spread over the steps that they serve.
    pub share: f64,
}

/// What a text is like so far, as far as the price of reading depends on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// Tokens of the prompt that the draft model has not read.
    pub unread_prompt: usize,
    /// Tokens of the answer.
    pub produced: usize,
}

/// Tokens that an answer is expected to have before it has begun, where its prompt is yet to be
/// read: a usual budget of chat answers.
const USUAL_ANSWER: usize = 256;
/// Fewest tokens that a text is expected to go on for where no prompt is at stake.
const LEAST_HORIZON: usize = 32;
/// Tokens that a step makes while the draft model works, as the divisor that turns expected tokens
/// into steps that share the price of reading generated text.
const TOKENS_PER_STEP: f64 = 3.0;
/// Missed tokens that any step may leave: reading them is a price of that step alone.
const USUAL_MISSED: usize = 2;
/// Tokens that other drafting sequences are taken to verify per step, where what they do now says
/// nothing about what they will do.
const USUAL_DRAFT: usize = 2;

impl CatchUp {
    /// Nothing to read, or nothing that counts.
    pub(super) const NONE: CatchUp = CatchUp { text: 0.0, prompt: 0.0, share: 0.0 };

    /// A text that has lasted for `n` tokens is taken to last for `n` more; one that has just
    /// begun, to be a usual answer; never longer than the budget. So the prompt of a short answer
    /// stays unread, and that of a long one is read late rather than never. `prompt_weight`: share
    /// of the prompt's reading that counts.
    pub(super) fn of(
        cost: &CostModel,
        situation: &Situation,
        progress: Progress,
        prompt_weight: f64,
    ) -> Self {
        let prompt = progress.unread_prompt.min(situation.draft_behind);
        let text = situation.draft_behind - prompt;
        let per_token = cost.catch_up_seconds(1) / plain_seconds(cost, &lasting(situation));
        let text_price = per_token * text as f64;
        let prompt_price = per_token * (prompt_weight * prompt as f64);
        let guess = progress.produced.max(if prompt > 0 { USUAL_ANSWER } else { LEAST_HORIZON });
        let horizon = guess.min(situation.remaining);
        // What is saved by reading a prompt is saved for every token that is to come; what is saved
        // by going on, in the steps that make them.
        let steps = match (prompt, text) {
            (1.., _) => horizon as f64,
            (0, ..=USUAL_MISSED) => 1.0,
            (0, _) => horizon as f64 / TOKENS_PER_STEP,
        };
        let share = (text_price + prompt_price) / steps.max(1.0);
        CatchUp { text: text_price, prompt: prompt_price, share }
    }

    /// Whether the prompt has to be read before anything can be drafted.
    pub(super) fn reads_prompt(&self) -> bool {
        self.prompt > 0.0
    }
}

/// The situation that a decision for the whole text looks at: no chunks of prompts in the pass, and
/// those who draft now, or have yet to decide whether they do, drafting as far as is usual. Where
/// one draft alone cannot pay for a round that two could share, two who begin together begin it,
/// and one who comes later joins.
pub(super) fn lasting(situation: &Situation) -> Situation {
    let SharedPass { sequences, drafting_beside, .. } = situation.pass;
    let pass = SharedPass {
        sequences,
        rows: sequences,
        drafted_beside: USUAL_DRAFT * drafting_beside,
        drafting_beside,
    };
    Situation { pass, ..*situation }
}
