//! Gamma by what it earns per second: the renewal-reward rule.
//!
//! Decoding renews itself at every step, so the policy with the highest throughput `L` (tokens per
//! second) is the one that maximises expected tokens less `L` times seconds in every step. Time
//! therefore has a price of `L` tokens per second, and after each drafted token there are three
//! choices, with `S_i` the probability that all tokens so far are accepted:
//!
//! - go on, if the tokens to come are worth their drafting and verifying: `S_i * E[p_(i+1) + ...] >
//!   L * (draft + verify(i+2) - verify(i+1))`;
//! - verify, if the newest token is worth its own verification: `S_i > L * (verify(i+1) -
//!   verify(i))`;
//! - verify without it, otherwise.
//!
//! Before a step the same value is computed for the draft model and for look-up; the better one
//! drafts if it is worth more than nothing, which is what plain decoding is worth. `L` is what the
//! rule itself has been earning lately, in expected tokens and modelled seconds: both are free of
//! the noise of single outcomes and of the machine's stalls.

mod ledger;
mod lookahead;

use std::sync::Arc;

use ledger::Ledger;
use lookahead::Prices;

use super::{Controller, MAX_GAMMA, Plan, Situation, Verdict};
use crate::{
    cost::{CostModel, SharedPass},
    predictor::{OnlinePredictor, Predictor, SessionFacts},
    record::{Source, StepRecord},
    signals::Signals,
};

/// Options of [`Speckv`].
///
/// | option | default | range | effect |
/// |---|---|---|---|
/// | `max_gamma` | 16 | 0 to 64 | most tokens per step |
/// | `credit` | 5 | >= 0 | plain steps per source that may be lost on finding out that it is worthless; less where many sequences share a pass |
/// | `allowance` | 0.015 | 0 to 1 | share of plain decoding's time that probing a worthless source may cost after that |
/// | `window` | 48 | >= 1 | steps over which the throughput is averaged: shorter follows change, longer is steadier |
/// | `prompt_weight` | 1 | 0 to 1 | share of the draft's reading of the *prompt* that counts as a price of drafting. 1: a draft must be worth it within what the answer is expected to have left; 0: the prompt's reading belongs to the prompt |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpeckvOptions {
    /// See the table.
    pub max_gamma: usize,
    /// See the table.
    pub credit: f64,
    /// See the table.
    pub allowance: f64,
    /// See the table.
    pub window: f64,
    /// See the table.
    pub prompt_weight: f64,
}

impl Default for SpeckvOptions {
    fn default() -> Self {
        SpeckvOptions {
            max_gamma: 16,
            credit: 5.0,
            allowance: 0.015,
            window: 48.0,
            prompt_weight: 1.0,
        }
    }
}

/// The default controller. Does not allocate after construction.
#[derive(Debug, Clone)]
pub struct Speckv {
    options: SpeckvOptions,
    cost: CostModel,
    online: OnlinePredictor,
    ledgers: [Ledger; 2], // [source]
    throughput: Throughput,
    accepted: usize,
    produced: usize,
    steps: usize,
    unread_prompt: usize,
    step: Step,
}

/// What was decided for the step under way.
#[derive(Debug, Clone, Copy)]
struct Step {
    gamma: usize,
    probe: bool,
    pass: SharedPass,
    sustained: f64,
    prices: Prices,
    /// Tokens per plain step that time is priced at.
    throughput: f64,
    catch_up_tokens: usize,
    /// Price of catching up in this step, in plain steps: with the text, with the prompt.
    catch_up: f64,
    prompt: f64,
    /// Both, spread over the steps that they serve.
    catch_up_share: f64,
    predicted: f64,
    /// `S_i` of the newest position.
    survival: f64,
    /// Sum of `S_1 ..= S_i`, `[0..=MAX_GAMMA]`.
    expected: [f64; MAX_GAMMA + 1],
    judged: usize,
}

/// Tokens and plain steps' worth of time over the last window.
#[derive(Debug, Clone, Copy)]
struct Throughput {
    tokens: f64,
    time: f64,
}

impl Throughput {
    /// Tokens per plain step, never below the 1 that plain decoding gives.
    fn rate(self) -> f64 {
        (self.tokens / self.time).max(1.0)
    }

    fn observe(&mut self, tokens: f64, time: f64, window: f64) {
        let keep = 1.0 - 1.0 / window.max(1.0);
        self.tokens = self.tokens * keep + tokens;
        self.time = self.time * keep + time;
    }
}

/// Steps that the first guess of the throughput is worth.
const FIRST_GUESS: f64 = 8.0;
/// Tokens drafted at once before the source has shown anything.
const UNPROVEN_GAMMA: usize = 4;
const PROBE_GAMMA: usize = 4;
/// Tokens that an answer is expected to have before it has begun.
const USUAL_ANSWER: usize = 256;
/// Tokens that others who draft are taken to verify per step, where what they do now says nothing
/// about what they will do.
const USUAL_DRAFT: usize = 2;
/// Tokens per plain step that a draft is taken to make less, times the share of its rounds that is
/// the others' to bear: not everybody drafts in every round. From 2 to 16 sequences in
/// `tests/load.rs`, less lets crowds read prompts for drafts that never pay; more keeps two
/// sequences from what they could gain.
const ABSENT: f64 = 0.15;

impl Speckv {
    /// A controller for one sequence.
    #[must_use]
    pub fn new(
        cost: CostModel,
        predictor: Arc<Predictor>,
        facts: SessionFacts,
        options: SpeckvOptions,
    ) -> Self {
        let options = SpeckvOptions { max_gamma: options.max_gamma.min(MAX_GAMMA), ..options };
        Speckv {
            ledgers: Self::fresh_ledgers(&options),
            options,
            cost,
            online: OnlinePredictor::new(predictor, facts),
            throughput: Throughput { tokens: 0.0, time: 0.0 },
            accepted: 0,
            produced: 0,
            steps: 0,
            unread_prompt: 0,
            step: Step {
                gamma: 0,
                probe: false,
                pass: SharedPass::ALONE,
                sustained: 0.0,
                prices: Prices { draft: 0.0, verify: [0.0; MAX_GAMMA + 1] },
                throughput: 1.0,
                catch_up_tokens: 0,
                catch_up: 0.0,
                prompt: 0.0,
                catch_up_share: 0.0,
                predicted: 0.0,
                survival: 1.0,
                expected: [0.0; MAX_GAMMA + 1],
                judged: 0,
            },
        }
    }

    fn fresh_ledgers(options: &SpeckvOptions) -> [Ledger; 2] {
        [0.8, 0.85].map(|sustained| Ledger::new(options.credit, options.allowance, sustained))
    }

    /// Begins another text with the costs and corrections learned so far.
    fn begin_text(&mut self) {
        self.online.next_text();
        self.ledgers = Self::fresh_ledgers(&self.options);
        self.throughput = Throughput { tokens: 0.0, time: 0.0 };
        (self.accepted, self.produced, self.steps, self.unread_prompt) = (0, 0, 0, 0);
    }

    /// The cost model as refined so far.
    #[must_use]
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    fn ledger(&mut self, source: Source) -> &mut Ledger {
        &mut self.ledgers[source as usize]
    }

    /// Seconds of plain decoding that this sequence bears.
    fn plain_seconds(&self, situation: &Situation) -> f64 {
        let overhead = self.cost.overhead_seconds() / situation.pass.sequences.max(1) as f64;
        self.cost.shared_plain_seconds(situation.context, situation.pass) + overhead
    }

    /// Prices at a throughput of `rate` tokens per plain step. Of a shared pass this sequence bears
    /// its share of what everybody needs, and all of what its own draft adds, since everybody waits
    /// for that: see [`crate::cost::SharedPass`].
    fn prices(&self, situation: &Situation, source: Source, rate: f64, limit: usize) -> Prices {
        let plain = self.plain_seconds(situation);
        let Situation { context, pass, .. } = *situation;
        let draft = match source {
            Source::Model => self.cost.shared_draft_seconds(context, pass),
            Source::Ngram => self.cost.ngram_seconds(),
        };
        let alone = self.cost.shared_plain_seconds(context, pass);
        let mut verify = [0.0; MAX_GAMMA + 1];
        for (count, price) in verify.iter_mut().enumerate().take(limit + 1).skip(1) {
            *price =
                rate * (self.cost.shared_verify_seconds(count + 1, context, pass) - alone) / plain;
        }
        Prices { draft: rate * draft / plain, verify }
    }

    /// The throughput of the best constant depth up to `limit` by the prior: where the fixed point
    /// starts.
    fn first_guess(&self, situation: &Situation, first: f64, sustained: f64, limit: usize) -> f64 {
        let prices = self.prices(situation, Source::Model, 1.0, limit);
        let (mut best, mut tokens, mut more) = (1.0_f64, 1.0, first);
        for count in 1..=limit {
            tokens += more;
            more *= sustained;
            best = best.max(tokens / (1.0 + count as f64 * prices.draft + prices.verify[count]));
        }
        best
    }
}

/// The situation that a decision for the whole text has to look at: no chunks of prompts in the
/// pass, and those who draft now, or have yet to decide whether they do, drafting as far as is
/// usual. Where one draft alone cannot pay for a round that two could share, two who begin together
/// begin it, and one who comes later joins.
fn lasting(situation: &Situation) -> Situation {
    let SharedPass { sequences, drafting_beside, .. } = situation.pass;
    let pass = SharedPass {
        sequences,
        rows: sequences,
        drafted_beside: USUAL_DRAFT * drafting_beside,
        drafting_beside,
    };
    Situation { pass, ..*situation }
}

/// A source's offer for the step.
#[derive(Clone, Copy)]
struct Offer {
    source: Source,
    limit: usize,
    prices: Prices,
    predicted: f64,
    value: f64,
    /// Loss in plain steps if nothing is accepted.
    risk: f64,
}

impl Speckv {
    fn offer_model(&mut self, situation: &Situation, rate: f64) -> Option<Offer> {
        let proven = UNPROVEN_GAMMA + self.accepted;
        let limit = self.options.max_gamma.min(situation.gamma_limit).min(proven);
        if !situation.has_model || limit == 0 {
            return None;
        }
        // Nobody waits for the first token while the draft reads the prompt too; and whether
        // reading pays is a question about the steps to come.
        let unread = self.step.prompt > 0.0;
        if unread && self.steps == 0 {
            return None;
        }
        let situation = &if unread { lasting(situation) } else { *situation };
        let first = f64::from(self.online.begin(Source::Model, situation.context));
        let prices = self.prices(situation, Source::Model, rate, limit);
        let ledger = &self.ledgers[Source::Model as usize];
        let predicted = if unread {
            // Without the draft every token of the answer takes a plain step, with it `1 / made` of
            // one.
            let absent = ABSENT * (1.0 - 1.0 / situation.pass.sequences.max(1) as f64);
            let made = self.first_guess(situation, first, ledger.sustained, limit) - absent;
            made - 1.0 - made * self.step.catch_up_share
        } else {
            prices.ahead(0, 1.0, first, ledger.sustained, limit) - rate * self.step.catch_up_share
        };
        let risk = self.step.catch_up + self.step.prompt + (prices.draft + prices.verify[1]) / rate;
        // A step without the draft model is one token more that it has to read when it comes back,
        // if it has been there at all.
        let reading = rate * self.cost.catch_up_seconds(1) / self.plain_seconds(situation);
        let arrears = if unread || ledger.is_away() { 0.0 } else { reading };
        Some(Offer {
            source: Source::Model,
            limit,
            prices,
            predicted,
            value: predicted + ledger.surplus() + arrears,
            risk,
        })
    }

    fn offer_ngram(
        &mut self,
        situation: &Situation,
        rate: f64,
        model_lives: bool,
    ) -> Option<Offer> {
        let lookup = situation.lookup?;
        let limit = self.options.max_gamma.min(situation.gamma_limit).min(lookup.available);
        if limit == 0 {
            return None;
        }
        let _ = self.online.begin(Source::Ngram, situation.context);
        let first = f64::from(self.online.preview(&lookup.signals).accept);
        let prices = self.prices(situation, Source::Ngram, rate, limit);
        let ledger = &self.ledgers[Source::Ngram as usize];
        let mut predicted = prices.ahead(0, 1.0, first, ledger.sustained, limit);
        if model_lives {
            // Whatever look-up writes, the draft model has to read later.
            let per_token = rate * self.cost.catch_up_seconds(1) / self.plain_seconds(situation);
            predicted -= per_token
                * (1.0 + first / (1.0 - first * ledger.sustained).max(0.1)).min(limit as f64);
        }
        let risk = (prices.draft + prices.verify[1]) / rate;
        Some(Offer {
            source: Source::Ngram,
            limit,
            prices,
            predicted,
            value: predicted + ledger.surplus(),
            risk,
        })
    }

    /// What the draft model's arrears cost: at once, and per step if it goes on drafting for as
    /// long as the text is expected to go on.
    ///
    /// A text that has lasted for `n` tokens is taken to last for `n` more; one that has just
    /// begun, to be a usual answer; never longer than the budget. So the prompt of a short answer
    /// stays unread, and that of a long one is read late rather than never.
    fn price_catch_up(&mut self, situation: &Situation) {
        if self.steps == 0 {
            self.unread_prompt = situation.draft_behind;
        }
        let prompt = self.unread_prompt.min(situation.draft_behind);
        let text = situation.draft_behind - prompt;
        let charged_prompt = self.options.prompt_weight * prompt as f64;
        let per_token = self.cost.catch_up_seconds(1) / self.plain_seconds(&lasting(situation));
        self.step.catch_up_tokens = situation.draft_behind;
        self.step.catch_up = per_token * text as f64;
        self.step.prompt = per_token * charged_prompt;
        let guess = self.produced.max(if prompt > 0 { USUAL_ANSWER } else { 32 });
        let horizon = guess.min(situation.remaining);
        // What is saved by reading a prompt is saved for every token that is to come; what is saved
        // by going on, in the steps that make them.
        let steps = match (prompt, text) {
            (1.., _) => horizon as f64,
            (0, ..=2) => 1.0,
            (0, _) => horizon as f64 / 3.0,
        };
        let steps = steps.max(1.0);
        self.step.catch_up_share = (self.step.catch_up + self.step.prompt) / steps;
    }

    /// Loss per step that is put up with. None for a prompt that is yet to be read: nothing is lost
    /// by reading it later.
    fn patience(&self, source: Source) -> f64 {
        let reads_prompt = source == Source::Model && self.step.prompt > 0.0;
        if reads_prompt { 0.0 } else { self.ledgers[source as usize].patience() }
    }

    fn start(
        &mut self,
        situation: &Situation,
        rate: f64,
        offer: &Offer,
        gamma: usize,
        probe: bool,
    ) -> Plan {
        let sustained = self.ledgers[offer.source as usize].sustained;
        let _ = self.online.begin(offer.source, situation.context);
        if offer.source == Source::Ngram {
            (self.step.catch_up, self.step.prompt, self.step.catch_up_share) = (0.0, 0.0, 0.0);
        }
        self.step = Step {
            gamma,
            probe,
            sustained,
            prices: offer.prices,
            throughput: rate,
            predicted: offer.predicted,
            ..self.step
        };
        Plan { gamma, source: offer.source }
    }
}

impl Controller for Speckv {
    fn name(&self) -> String {
        "speckv".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.price_catch_up(situation);
        if self.throughput.time == 0.0 {
            self.ledgers.iter_mut().for_each(|ledger| ledger.share(situation.pass.sequences));
            let mut guess = 1.0;
            if situation.has_model {
                let first = f64::from(self.online.begin(Source::Model, situation.context));
                let sustained = self.ledgers[Source::Model as usize].sustained;
                guess = self.first_guess(situation, first, sustained, self.options.max_gamma);
            }
            self.throughput = Throughput { tokens: guess * FIRST_GUESS, time: FIRST_GUESS };
        }
        let rate = self.throughput.rate();
        self.step = Step {
            gamma: 0,
            probe: false,
            pass: situation.pass,
            throughput: rate,
            survival: 1.0,
            judged: 0,
            ..self.step
        };
        let model = self.offer_model(situation, rate);
        let ledger = self.ledgers[Source::Model as usize];
        let lives = model.is_some_and(|offer| offer.value + self.patience(offer.source) > 0.0)
            && !ledger.is_exhausted();
        let ngram = self.offer_ngram(situation, rate, lives);
        let mut best: Option<Offer> = None;
        for offer in [ngram, model].into_iter().flatten() {
            let patience = self.patience(offer.source);
            let allowed = offer.value + patience > 0.0 && !self.ledger(offer.source).is_exhausted();
            if allowed && best.is_none_or(|best| offer.value > best.value) {
                best = Some(offer);
            }
        }
        if let Some(offer) = best {
            self.ledger(offer.source).chosen();
            return self.start(situation, rate, &offer, offer.limit, false);
        }
        for offer in [ngram, model].into_iter().flatten() {
            if self.ledger(offer.source).may_probe(offer.risk) {
                self.ledger(offer.source).probed();
                return self.start(situation, rate, &offer, offer.limit.min(PROBE_GAMMA), true);
            }
        }
        Plan::OFF
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let Some(newest) = signals.last() else { return Verdict::Continue };
        let position = signals.len();
        if position > MAX_GAMMA {
            return Verdict::Drop;
        }
        let judgement = self.online.push(newest);
        let step = &mut self.step;
        step.survival *= f64::from(judgement.accept);
        step.expected[position] = step.expected[position - 1] + step.survival;
        step.judged = position;
        let budget = step.gamma.saturating_sub(position);
        let kept = step.survival - step.prices.marginal_verify(position);
        let ahead = step.prices.ahead(
            position,
            step.survival,
            f64::from(judgement.next),
            step.sustained,
            budget,
        );
        if ahead > 0.0 && kept + ahead > 0.0 {
            Verdict::Continue
        } else if kept > 0.0 || (step.probe && position == 1) {
            Verdict::Verify
        } else {
            Verdict::Drop
        }
    }

    fn observe(&mut self, record: &StepRecord) {
        let source = record.before.plan.source;
        let (drafted, verified) = (record.drafted.len(), record.outcome.verified);
        let (accepted, produced) = (record.outcome.accepted, record.outcome.produced);
        self.steps += 1;
        self.produced += produced;
        self.accepted += accepted;
        let mut tokens = 1.0;
        let mut time = 1.0;
        let other = if source == Source::Model { Source::Ngram } else { Source::Model };
        if drafted == 0 {
            self.ledger(source).rest(produced);
        } else {
            let step = &self.step;
            let expected = if step.judged >= verified {
                step.expected[verified.min(MAX_GAMMA)]
            } else {
                accepted as f64
            };
            // Expected and realised together: the former is steadier, the latter cannot be wrong.
            let gained = 0.5 * (expected + accepted as f64);
            let worked = (drafted as f64 * step.prices.draft
                + step.prices.verify[verified.min(MAX_GAMMA)])
                / step.throughput;
            let value = gained - step.throughput * (worked + step.catch_up_share);
            let predicted = step.predicted;
            // The prompt's reading was decided for the whole text, not for this step: it is in the
            // plan's value, and no loss of the draft's.
            let lost = worked + step.catch_up;
            tokens += gained;
            time += lost;
            self.ledger(source).work(accepted as f64 - lost, produced, value, predicted);
            for position in 1..drafted {
                let Some(accepted) = record.outcome.label(position) else { break };
                self.ledger(source).learn_sustained(accepted);
            }
            if source == Source::Model {
                self.unread_prompt = 0;
            }
        }
        self.ledger(other).rest(produced);
        self.throughput.observe(tokens, time, self.options.window);
        self.online.observe(record);
        if self.step.pass.is_alone() {
            self.cost.observe(record);
        }
    }

    fn next_text(&mut self) {
        self.begin_text();
    }

    fn set_cost(&mut self, cost: &CostModel) {
        self.cost = cost.clone();
    }
}

#[cfg(test)]
mod tests;
