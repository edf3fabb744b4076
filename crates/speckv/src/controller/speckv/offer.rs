//! What each source offers for a step: values that nothing but their inputs decides.

use super::{
    SpeckvOptions,
    block::Positions,
    catch_up::{CatchUp, lasting},
    loss_budget::LossBudget,
    prices::{Prices, plain_seconds},
};
use crate::{
    controller::Situation,
    cost::CostModel,
    gamma::READ_ALONG_PARALLEL,
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
    /// How far passes that propose several tokens are right.
    pub positions: &'a Positions,
    /// Value of what is verified beside a draft of the model, in tokens.
    pub beside: f64,
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
        if !self.situation.has_model {
            return None;
        }
        let limit = self.limit().min(UNPROVEN_GAMMA + self.accepted);
        let first = self.first(Source::MODEL);
        let sustained = self.budgets[Source::MODEL].sustained;
        let best = |situation: &Situation, rate: f64| {
            let prices = Prices::of(self.cost, situation, Source::MODEL, rate, limit);
            (limit, prices, prices.ahead(0, 1.0, first, sustained, limit))
        };
        let constant = |situation: &Situation| {
            let prices = Prices::of(self.cost, situation, Source::MODEL, 1.0, limit);
            prices.best_constant_rate(first, sustained, limit)
        };
        self.offer_reader(Source::MODEL, limit, self.catch_up, &best, &constant)
    }

    /// The offer of a draft model that proposes several tokens in one pass; `None` where it cannot
    /// draft. Its limit is the number of tokens that the pass is to propose.
    pub(super) fn offer_parallel(&self) -> Option<Offer> {
        let source = Source::PARALLEL;
        let Situation { context, parallel, draft_behind, pass, .. } = *self.situation;
        let limit = self.limit().min(UNPROVEN_GAMMA + self.accepted).min(parallel);
        let first = self.first(source);
        // The text that it has not read goes along in the same pass.
        let along = draft_behind <= READ_ALONG_PARALLEL;
        let catch_up = if along { CatchUp::NONE } else { self.catch_up };
        let of_pass = |count: usize, situation: &Situation, rate: f64| {
            let seconds =
                self.cost.shared_drafting_seconds(source, count, draft_behind, context, pass);
            rate * seconds / plain_seconds(self.cost, situation)
        };
        let best = |situation: &Situation, rate: f64| {
            let prices = Prices::of(self.cost, situation, source, rate, limit);
            let price = |count: usize| of_pass(count, situation, rate);
            let (count, value) =
                self.positions.best(first, limit, &prices, price).unwrap_or_default();
            (count, Prices { pass: price(count), ..prices }, value)
        };
        let constant = |situation: &Situation| {
            let prices = Prices::of(self.cost, situation, source, 1.0, limit);
            let price = |count: usize| of_pass(count, situation, 1.0);
            self.positions.best_rate(first, limit, &prices, price)
        };
        self.offer_reader(source, limit, catch_up, &best, &constant)
    }

    /// Probability that the first token of a source would be accepted.
    fn first(&self, source: Source) -> f64 {
        f64::from(self.online.first(source, self.situation.context))
    }

    /// The offer of a source that has to read the text. `best` gives, for a situation and the price
    /// of time, most tokens, prices and value of its best step; `constant` the tokens per plain
    /// step of its best constant depth.
    fn offer_reader(
        &self,
        source: Source,
        limit: usize,
        catch_up: CatchUp,
        best: &dyn Fn(&Situation, f64) -> (usize, Prices, f64),
        constant: &dyn Fn(&Situation) -> f64,
    ) -> Option<Offer> {
        if limit == 0 {
            return None;
        }
        // The first token does not wait for a draft model that reads the prompt too; and whether
        // reading pays is a question about the steps to come.
        let unread = catch_up.reads_prompt();
        if unread && self.is_first {
            return None;
        }
        let situation = &if unread { lasting(self.situation) } else { *self.situation };
        let budget = &self.budgets[source];
        let (limit, prices, value) = best(situation, self.rate);
        let predicted = if unread {
            // Without the draft every token of the answer takes a plain step, with it `1 / made` of
            // one.
            let absent = ABSENT_SHARE * (1.0 - 1.0 / situation.pass.sequences.max(1) as f64);
            let made = constant(situation) - absent;
            made - 1.0 - made * catch_up.share
        } else {
            value - self.rate * catch_up.share
        };
        // A step without the draft model is one token more that it has to read when it comes back,
        // if it has been there at all.
        let saved_reading =
            if unread || budget.is_away() { 0.0 } else { self.reading_price(situation) };
        let value = predicted + budget.surplus() + saved_reading + self.beside;
        // No tolerance for a prompt that is yet to be read: nothing is lost by reading it later.
        let tolerance = if unread { 0.0 } else { budget.tolerance() };
        let risk =
            catch_up.text + catch_up.prompt + (prices.drafting(1) + prices.verify[1]) / self.rate;
        let allowed = value + tolerance > 0.0 && !budget.is_exhausted();
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
