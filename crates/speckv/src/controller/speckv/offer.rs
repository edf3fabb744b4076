//! What each source offers for a step: values that nothing but their inputs decides.

use super::{
    SpeckvOptions,
    catch_up::{CatchUp, lasting},
    loss_budget::LossBudget,
    prices::{Prices, plain_seconds},
};
use crate::{
    controller::Situation,
    cost::CostModel,
    predictor::OnlinePredictor,
    source::{PerSource, Source},
};

/// A source's offer for the step. All values are in tokens unless they say otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    /// Who would draft.
    pub source: Source,
    /// Most tokens that it would draft.
    pub limit: usize,
    /// Prices of the step's time.
    pub prices: Prices,
    /// What the model's reading costs in this step and later; [`CatchUp::NONE`] for look-up.
    pub catch_up: CatchUp,
    /// Value of drafting against plain decoding, by prices and predictor.
    pub predicted: f64,
    /// The same, corrected by what earlier steps earned.
    pub value: f64,
    /// Loss in plain steps if nothing is accepted.
    pub risk: f64,
    /// Whether drafting is allowed for what it is worth: it pays, or loses little enough, and the
    /// source has not lost what it may lose.
    pub allowed: bool,
}

/// What offers are made of.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a> {
    pub options: &'a SpeckvOptions,
    pub cost: &'a CostModel,
    pub online: &'a OnlinePredictor,
    pub budgets: &'a PerSource<LossBudget>,
    pub situation: &'a Situation,
    /// Tokens per plain step that time is priced at.
    pub rate: f64,
    /// Price of the draft model's reading.
    pub catch_up: CatchUp,
    /// Draft tokens accepted in this text.
    pub accepted: usize,
    /// Whether this is the text's first step.
    pub is_first: bool,
}

/// Tokens that the draft model may draft before any was accepted; each accepted one allows one
/// more.
pub(super) const UNPROVEN_GAMMA: usize = 4;
/// Tokens per plain step that a draft is taken to make less, times the share of its rounds that the
/// other sequences of the pass bear: not all of them draft in every round. From 2 to 16 sequences
/// in `tests/load.rs`, less lets crowds read prompts for drafts that never pay; more keeps two
/// sequences from what they could gain.
const ABSENT_SHARE: f64 = 0.15;
/// Least divisor of the expected length of a look-up's run, so that a run that seems never to end
/// counts as at most ten times its first token.
const LEAST_END: f64 = 0.1;

impl Inputs<'_> {
    /// The draft model's offer; `None` where it cannot draft.
    pub(super) fn offer_model(&self) -> Option<Offer> {
        let source = Source::MODEL;
        let limit = self.limit().min(UNPROVEN_GAMMA + self.accepted);
        if !self.situation.has_model || limit == 0 {
            return None;
        }
        // The first token does not wait for a draft model that reads the prompt too; and whether
        // reading pays is a question about the steps to come.
        let unread = self.catch_up.reads_prompt();
        if unread && self.is_first {
            return None;
        }
        let situation = &if unread { lasting(self.situation) } else { *self.situation };
        let budget = &self.budgets[source];
        let first = f64::from(self.online.first(source, situation.context));
        let prices = Prices::of(self.cost, situation, source, self.rate, limit);
        let predicted = if unread {
            // Without the draft every token of the answer takes a plain step, with it `1 / made` of
            // one.
            let absent = ABSENT_SHARE * (1.0 - 1.0 / situation.pass.sequences.max(1) as f64);
            let at_plain_speed = Prices::of(self.cost, situation, source, 1.0, limit);
            let made = at_plain_speed.best_constant_rate(first, budget.sustained, limit) - absent;
            made - 1.0 - made * self.catch_up.share
        } else {
            prices.ahead(0, 1.0, first, budget.sustained, limit) - self.rate * self.catch_up.share
        };
        // A step without the draft model is one token more that it has to read when it comes back,
        // if it has been there at all.
        let saved_reading =
            if unread || budget.is_away() { 0.0 } else { self.reading_price(situation) };
        let value = predicted + budget.surplus() + saved_reading;
        // No tolerance for a prompt that is yet to be read: nothing is lost by reading it later.
        let tolerance = if unread { 0.0 } else { budget.tolerance() };
        let risk = self.catch_up.text
            + self.catch_up.prompt
            + (prices.draft + prices.verify[1]) / self.rate;
        let allowed = value + tolerance > 0.0 && !budget.is_exhausted();
        let catch_up = self.catch_up;
        Some(Offer { source, limit, prices, catch_up, predicted, value, risk, allowed })
    }

    /// Look-up's offer; `None` where it found nothing. `model_drafts`: the draft model is at work
    /// in this text, and has to read later what look-up writes.
    pub(super) fn offer_lookup(&self, model_drafts: bool) -> Option<Offer> {
        let source = Source::NGRAM;
        let lookup = self.situation.lookup?;
        let limit = self.limit().min(lookup.available);
        if limit == 0 {
            return None;
        }
        let budget = &self.budgets[source];
        let judgement = self.online.preview(source, self.situation.context, &lookup.signals);
        let first = f64::from(judgement.accept);
        let prices = Prices::of(self.cost, self.situation, source, self.rate, limit);
        let mut predicted = prices.ahead(0, 1.0, first, budget.sustained, limit);
        if model_drafts {
            let run = first / (1.0 - first * budget.sustained).max(LEAST_END);
            predicted -= self.reading_price(self.situation) * (1.0 + run).min(limit as f64);
        }
        let value = predicted + budget.surplus();
        let risk = (prices.draft + prices.verify[1]) / self.rate;
        let allowed = value + budget.tolerance() > 0.0 && !budget.is_exhausted();
        let catch_up = CatchUp::NONE;
        Some(Offer { source, limit, prices, catch_up, predicted, value, risk, allowed })
    }

    /// Most tokens of a step from any source.
    fn limit(&self) -> usize {
        self.options.max_gamma.min(self.situation.gamma_limit)
    }

    /// Price of one token that the draft model has to read, in tokens.
    fn reading_price(&self, situation: &Situation) -> f64 {
        self.rate * self.cost.catch_up_seconds(1) / plain_seconds(self.cost, situation)
    }
}
