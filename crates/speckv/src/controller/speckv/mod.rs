//! The default controller: gamma by what it earns per second, the renewal-reward rule.
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
//! Before a step the same value is computed for each source: the draft model with one token per
//! pass, with several tokens in one pass where it can do that, and look-up. The best one drafts if
//! it is worth more than nothing, which is what plain decoding is worth. `L` is what the
//! rule itself has been earning lately, in expected tokens and modelled seconds.
//!
//! | module | what it computes |
//! |---|---|
//! | `throughput` | `L` |
//! | `prices` | the price of a step's time, and what drafting further is worth |
//! | `beside` | what look-up is worth in a branch of the same pass |
//! | `siblings` | what the draft's second choice is worth there |
//! | `block` | how far a pass that proposes several tokens is right |
//! | `catch_up` | the price of what the draft model has not read |
//! | `offer` | what each source is worth in the step to come |
//! | `step` | the verdict on each drafted token, and what the step came to |
//! | `loss_budget` | what each source may lose |

mod beside;
mod block;
mod catch_up;
mod loss_budget;
mod offer;
mod options;
mod prices;
mod siblings;
mod step;
mod throughput;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use beside::Branches;
use block::Positions;
use catch_up::{CatchUp, Progress};
use loss_budget::{LossBudget, sustained_prior};
use offer::{Inputs, Offer};
pub use options::SpeckvOptions;
use prices::{Prices, plain_seconds};
use siblings::Siblings;
use step::Step;
use throughput::Throughput;

use super::{Beside, Controller, MAX_GAMMA, Plan, Situation, Verdict};
use crate::{
    cost::{CostModel, SharedPass},
    predictor::{OnlinePredictor, Predictor, SessionFacts},
    record::StepRecord,
    signals::Signals,
    source::{PerSource, Source},
};

/// The default controller. Does not allocate after construction.
#[derive(Debug, Clone)]
pub struct Speckv {
    options: SpeckvOptions,
    cost: CostModel,
    online: OnlinePredictor,
    siblings: Siblings,
    text: Text,
    pass: SharedPass,   // of the step under way
    context: usize,     // before the step under way
    step: Option<Step>, // the step under way, where it drafts
}

/// What was learned of the text alone.
#[derive(Debug, Clone, Copy)]
struct Text {
    budgets: PerSource<LossBudget>,
    positions: Positions,
    branches: Branches,
    throughput: Throughput,
    steps: usize,
    produced: usize,
    accepted: usize,
    unread_prompt: usize,
}

/// Tokens that a pass of several tokens reads along after a usual step.
const USUAL_BEHIND: usize = 2;
/// Tokens of a probe: enough to see whether a draft goes on after its first token.
const PROBE_GAMMA: usize = 4;

impl Text {
    fn new(options: &SpeckvOptions) -> Self {
        let budget = |sustained| LossBudget::new(options.credit, options.allowance, sustained);
        Text {
            budgets: PerSource::from_fn(|source| budget(sustained_prior(source))),
            positions: Positions::UNKNOWN,
            branches: Branches::new(),
            throughput: Throughput::UNKNOWN,
            steps: 0,
            produced: 0,
            accepted: 0,
            unread_prompt: 0,
        }
    }
}

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
            text: Text::new(&options),
            options,
            cost,
            online: OnlinePredictor::new(predictor, facts),
            siblings: Siblings::new(),
            pass: SharedPass::ALONE,
            context: 0,
            step: None,
        }
    }

    /// The cost model as refined so far.
    #[must_use]
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// Before a text's first step: shares what may be lost with the others of the pass, and guesses
    /// the throughput as that of the best constant depth.
    fn begin_text(&mut self, situation: &Situation) {
        let sequences = situation.pass.sequences;
        self.text.budgets.iter_mut().for_each(|(_, budget)| budget.share(sequences));
        let mut rate = 1.0;
        if situation.has_model {
            let first = f64::from(self.online.first(Source::MODEL, situation.context));
            let sustained = self.text.budgets[Source::MODEL].sustained;
            let limit = self.options.max_gamma;
            let prices = Prices::of(&self.cost, situation, Source::MODEL, 1.0, limit);
            rate = prices.best_constant_rate(first, sustained, limit);
        }
        if situation.parallel > 0 {
            rate = rate.max(self.parallel_rate(situation));
        }
        self.text.throughput = Throughput::guess(rate);
    }

    /// Tokens per plain step of the best constant number of tokens from one pass.
    fn parallel_rate(&self, situation: &Situation) -> f64 {
        let Situation { context, parallel, pass, .. } = *situation;
        let (source, limit) = (Source::PARALLEL, self.options.max_gamma.min(parallel));
        let first = f64::from(self.online.first(source, context));
        let prices = Prices::of(&self.cost, situation, source, 1.0, limit);
        let plain = plain_seconds(&self.cost, situation);
        let price = |count: usize| {
            // After a usual step two of the tokens are yet to be read.
            self.cost.shared_drafting_seconds(source, count, USUAL_BEHIND, context, pass) / plain
        };
        self.text.positions.best_rate(first, limit, &prices, price)
    }

    /// The price of the draft model's reading.
    fn catch_up(&self, situation: &Situation) -> CatchUp {
        let Text { unread_prompt, produced, .. } = self.text;
        let progress = Progress { unread_prompt, produced };
        CatchUp::of(&self.cost, situation, progress, self.options.prompt_weight)
    }

    /// Value of what may be verified beside a draft of the model, in tokens: one of the two.
    fn beside_value(&self, situation: &Situation) -> f64 {
        let branch = situation.lookup.map_or(0.0, |_| self.text.branches.value());
        branch.max(if self.options.siblings { self.siblings.value() } else { 0.0 })
    }

    /// What look-up and the draft model offer: look-up, one token per pass, all tokens in one.
    fn offers(&self, situation: &Situation, rate: f64) -> [Option<Offer>; 3] {
        let inputs = Inputs {
            options: &self.options,
            cost: &self.cost,
            online: &self.online,
            budgets: &self.text.budgets,
            situation,
            rate,
            catch_up: self.catch_up(situation),
            positions: &self.text.positions,
            beside: self.beside_value(situation),
            accepted: self.text.accepted,
            is_first: self.text.steps == 0,
        };
        let model = inputs.offer_model();
        let parallel = inputs.offer_parallel();
        let drafts = |offer: Option<Offer>| offer.is_some_and(|offer| offer.allowed);
        let lookup = inputs.offer_lookup(drafts(model) || drafts(parallel));
        [lookup, model, parallel]
    }

    /// Begins a step that drafts.
    fn begin(&mut self, situation: &Situation, rate: f64, offer: &Offer, probe: bool) -> Plan {
        let Offer { source, limit, .. } = *offer;
        let budget = &mut self.text.budgets[source];
        let gamma = if probe { limit.min(PROBE_GAMMA) } else { limit };
        if probe {
            budget.probed();
        } else {
            budget.chosen();
        }
        self.step = Some(Step::new(offer, gamma, probe, budget.sustained, rate));
        self.online.begin(source, situation.context);
        Plan { gamma, source }
    }
}

impl Text {
    /// Learns from a step that drafted; the tokens gained and the plain steps' worth of time lost
    /// against plain decoding.
    fn learn(&mut self, step: &Step, record: &StepRecord) -> (f64, f64) {
        let (source, drafted) = (record.before.plan.source, record.drafted.len());
        let gain = step.gain(drafted, &record.outcome);
        let branch = &record.branch;
        let sibling = match branch.sibling {
            true => branch.accepted as f64 - step.branch_time(record.outcome.verified, 1),
            false => 0.0,
        };
        let saved = record.outcome.accepted as f64 + sibling - gain.time;
        let budget = &mut self.budgets[source];
        budget.work(saved, record.outcome.produced, gain.value, step.predicted);
        if source == Source::PARALLEL {
            self.positions.learn(record);
        }
        for position in 1..drafted {
            let Some(accepted) = record.outcome.label(position) else { break };
            budget.learn_sustained(accepted);
        }
        if source.is_of_model() {
            self.unread_prompt = 0;
        }
        (gain.tokens, gain.time)
    }
}

impl Controller for Speckv {
    fn name(&self) -> String {
        "speckv".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        (self.pass, self.context, self.step) = (situation.pass, situation.context, None);
        if self.text.steps == 0 {
            self.text.unread_prompt = situation.draft_behind;
        }
        if self.text.throughput.is_unknown() {
            self.begin_text(situation);
        }
        let rate = self.text.throughput.rate();
        let offers = self.offers(situation, rate);
        let mut best: Option<&Offer> = None;
        for offer in offers.iter().flatten().filter(|offer| offer.allowed) {
            if best.is_none_or(|best| offer.value > best.value) {
                best = Some(offer);
            }
        }
        if let Some(offer) = best {
            return self.begin(situation, rate, offer, false);
        }
        let due = |offer: &&Offer| self.text.budgets[offer.source].may_probe(offer.risk);
        match offers.iter().flatten().find(due) {
            Some(offer) => self.begin(situation, rate, offer, true),
            None => Plan::OFF,
        }
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        let Some(newest) = signals.last() else { return Verdict::Continue };
        let Some(step) = &mut self.step else { return Verdict::Drop };
        let judgement = self.online.push(newest);
        step.judge(signals.len(), judgement)
    }

    fn beside(&mut self) -> usize {
        if self.step.is_some() { beside::MOST } else { 0 }
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        let Some(step) = &mut self.step else { return 0 };
        let judgement = self.online.preview(Source::NGRAM, self.context, &beside.signals);
        let (count, value) = self.text.branches.worth(beside, judgement.accept, step);
        step.set_beside(value);
        count
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let step = self.step.as_ref().filter(|_| self.options.siblings)?;
        self.siblings.worth(signals, step)
    }

    fn observe(&mut self, record: &StepRecord) {
        let produced = record.outcome.produced;
        self.text.steps += 1;
        self.text.produced += produced;
        self.text.accepted += record.outcome.accepted;
        let worked = self.step.as_ref().filter(|_| !record.drafted.is_empty());
        let gained = worked.map(|step| self.text.learn(step, record));
        for source in [Source::MODEL, Source::NGRAM, Source::PARALLEL] {
            if gained.is_none() || source != record.before.plan.source {
                self.text.budgets[source].rest(produced);
            }
        }
        self.text.branches.learn(record);
        self.siblings.learn(record);
        let (tokens, time) = gained.unwrap_or((0.0, 0.0));
        let branch = self.step.as_ref().map_or(0.0, |step| {
            step.branch_time(record.outcome.verified, record.branch.tokens.len())
        });
        let (tokens, time) = (tokens + record.branch.accepted as f64, time + branch);
        self.text.throughput.observe(1.0 + tokens, 1.0 + time, self.options.window);
        self.online.observe(record);
        if self.pass.is_alone() {
            self.cost.observe(record);
        }
    }

    fn next_text(&mut self) {
        self.online.next_text();
        self.text = Text::new(&self.options);
    }

    fn set_cost(&mut self, cost: &CostModel) {
        self.cost = cost.clone();
    }
}
