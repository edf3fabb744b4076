//! Any controller over a trace, token for token, in modelled time.

use std::time::Duration;

use speckv::{
    controller::{Controller, Situation, Verdict},
    cost::{CostModel, SharedPass},
    record::{Before, Drafted, Last, Outcome, Source, StepRecord, Times},
    signals::Signals,
};

use crate::trace::{Trace, TraceError};

/// Replays a controller over a trace: the very steps that it would take live with these costs.
///
/// The draft's cache is followed as the engine keeps it: every step feeds one token, a rejected
/// draft is forgotten, and what the draft has not read is `draft_behind`, read at the price of
/// catching up when it drafts again. A plan that goes deeper than the recording is cut there: see
/// [`replay_counting`].
///
/// # Errors
/// [`TraceError`] if the trace does not fit together.
pub fn replay(
    controller: &mut dyn Controller,
    trace: &Trace,
    cost: &CostModel,
) -> Result<Vec<StepRecord>, TraceError> {
    Ok(replay_counting(controller, trace, cost)?.0)
}

/// As [`replay`], with the number of steps that would have gone deeper live: their controller
/// wanted another token where the recording's chain ends at its depth. 0 means that the replay is
/// exact.
///
/// # Errors
/// As [`replay`].
pub fn replay_counting(
    controller: &mut dyn Controller,
    trace: &Trace,
    cost: &CostModel,
) -> Result<(Vec<StepRecord>, usize), TraceError> {
    trace.check()?;
    let mut cut_steps = 0;
    let has_model = trace.has_model();
    let mut records = Vec::new();
    let mut signals: Vec<Signals> = Vec::new();
    // Output tokens; positions in the draft's cache: the prompt is read before decoding begins, as
    // in `speckv bench`.
    let (mut done, mut draft_read) = (0, trace.prompt_tokens - 1);
    while done < trace.tokens.len() {
        let context = trace.prompt_tokens + done;
        let gamma_limit = (trace.max_tokens - done - 1).min(trace.depths.gamma_limit);
        let draft_behind = if has_model { (context - 1).saturating_sub(draft_read) } else { 0 };
        let here = &trace.positions[done];
        let lookup = here.ngram.as_ref().map(|(lookup, _)| *lookup);
        let plan = controller.plan(&Situation {
            context,
            gamma_limit,
            remaining: trace.max_tokens - done,
            draft_behind,
            has_model,
            lookup,
            pass: SharedPass::ALONE,
        });
        let before = Before { step: records.len(), context, draft_behind, gamma_limit, plan };

        let mut drafted: Vec<Drafted> = Vec::new();
        let (mut verified, mut agreed) = (0, 0);
        if let Some(proposal) = here.proposal(plan.source) {
            agreed = proposal.agreed;
            signals.clear();
            let budget = plan.gamma.min(gamma_limit);
            let mut wants_more = budget > 0;
            for next in proposal.drafted.iter().take(budget) {
                drafted.push(*next);
                signals.push(next.signals);
                let verdict = controller.judge(&signals);
                verified += usize::from(verdict != Verdict::Drop);
                wants_more =
                    verdict == Verdict::Continue && !trace.end_tokens.contains(&next.token);
                if !wants_more {
                    break;
                }
            }
            // A chain that is shorter than the recording's depth ended by itself.
            cut_steps += usize::from(
                wants_more
                    && drafted.len() < budget
                    && drafted.len() >= trace.depths.of(plan.source),
            );
        }
        let accepted = agreed.min(verified);
        let left = trace.tokens.len() - done;
        let produced = (accepted + 1).min(left);
        let ended = produced <= accepted; // the end token itself was accepted
        let last = match verified {
            0 => Last::Plain,
            _ if ended => Last::Accepted,
            _ if accepted == verified => Last::Bonus,
            _ => Last::Recovered,
        };
        let times = times(cost, &before, drafted.len(), verified);
        if plan.source == Source::Model && !drafted.is_empty() {
            draft_read = (context + drafted.len() - 1).min(context + accepted);
        }
        let tokens = trace.tokens[done..done + produced].to_vec();
        let outcome = Outcome { verified, accepted, last, produced, ended };
        let record = StepRecord { before, drafted, outcome, times, tokens };
        controller.observe(&record);
        records.push(record);
        done += produced;
    }
    Ok((records, cut_steps))
}

fn times(cost: &CostModel, before: &Before, drafted: usize, verified: usize) -> Times {
    let per_token = match before.plan.source {
        Source::Model => cost.draft_seconds(before.context),
        Source::Ngram => cost.ngram_seconds(),
    };
    let reads = before.plan.source == Source::Model && drafted > 0;
    let catch_up = if reads { cost.catch_up_seconds(before.draft_behind) } else { 0.0 };
    let (catch_up, draft, verify) = (
        Duration::from_secs_f64(catch_up),
        Duration::from_secs_f64(per_token * drafted as f64),
        Duration::from_secs_f64(cost.verify_seconds(verified + 1, before.context)),
    );
    Times { catch_up, draft, verify, controller: Duration::ZERO, total: catch_up + draft + verify }
}

/// What a run amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    /// Tokens produced.
    pub tokens: usize,
    /// Seconds of all steps.
    pub seconds: f64,
    /// Steps.
    pub steps: usize,
    /// Draft tokens proposed.
    pub drafted: usize,
    /// Draft tokens accepted.
    pub accepted: usize,
}

impl Summary {
    /// Sums up steps.
    #[must_use]
    pub fn of(records: &[StepRecord]) -> Self {
        let mut summary = Summary::default();
        for record in records {
            summary += Summary {
                tokens: record.outcome.produced,
                seconds: record.times.total.as_secs_f64(),
                steps: 1,
                drafted: record.drafted.len(),
                accepted: record.outcome.accepted.min(record.outcome.produced),
            };
        }
        summary
    }

    /// Speed: tokens by seconds; 0 for nothing.
    #[must_use]
    pub fn tokens_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens as f64 / self.seconds } else { 0.0 }
    }

    /// Acceptance rate: accepted by drafted; 0 for nothing.
    #[must_use]
    pub fn acceptance_rate(&self) -> f64 {
        if self.drafted > 0 { self.accepted as f64 / self.drafted as f64 } else { 0.0 }
    }
}

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Summary) {
        self.tokens += other.tokens;
        self.seconds += other.seconds;
        self.steps += other.steps;
        self.drafted += other.drafted;
        self.accepted += other.accepted;
    }
}
