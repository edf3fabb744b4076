//! Replays a controller over a trace: exact steps, modelled times.

use std::time::Duration;

use speckv::{
    controller::{Controller, Situation},
    cost::CostModel,
    draft::READ_ALONG_PARALLEL,
    record::{Branch, Source, StepRecord, Times},
    step::{Ending, Stepper},
    token::Token,
};

use crate::trace::{Position, Trace, TraceError};

/// Replays a controller over a trace: the steps that it would take live with these costs, through
/// the [`Stepper`] that the engine uses.
///
/// The draft's cache is followed as the engine keeps it: every step feeds one token, a rejected
/// draft is forgotten, and what the draft has not read is `draft_behind`, whose reading takes the
/// cost model's time when the model drafts again. A plan that goes deeper than the recording is cut
/// there: see [`replay_counting`].
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
    let mut stepper = Stepper::new(controller);
    let has_model = trace.has_model();
    let mut records = Vec::new();
    let mut cut_steps = 0;
    // Output tokens; positions in the draft's cache: the prompt is read before decoding begins, as
    // in `speckv bench`.
    let (mut done, mut draft_read) = (0, trace.prompt_tokens - 1);
    while done < trace.tokens.len() {
        let context = trace.prompt_tokens + done;
        let here = &trace.positions[done];
        let plan = stepper.plan(&Situation {
            gamma_limit: (trace.max_tokens - done - 1).min(trace.depths.gamma_limit),
            remaining: trace.max_tokens - done,
            draft_behind: if has_model { (context - 1).saturating_sub(draft_read) } else { 0 },
            has_model,
            parallel: trace.depths.block_max,
            lookup: here.ngram.as_ref().map(|(lookup, _)| *lookup),
            ..Situation::alone(context, 0)
        })?;
        let _ = stepper.read_ahead(usize::MAX);
        let proposal = here.proposal(plan.source);
        let mut proposed = proposal.map_or(&[][..], |proposal| &proposal.drafted).iter();
        while stepper.wants_more() {
            let Some(next) = proposed.next() else {
                // A chain that is shorter than the recording's depth ended by itself.
                let depth = trace.depths.of(plan.source);
                let drafted = stepper.record().drafted.len();
                cut_steps += usize::from(proposal.is_some() && drafted >= depth);
                stepper.exhausted();
                break;
            };
            stepper.judge(*next, trace.end_tokens.contains(&next.token))?;
        }
        let agreed = proposal.map_or(0, |proposal| proposal.agreed);
        let accepted = agreed.min(stepper.kept().len());
        let branch = branch(&mut stepper, here, accepted, trace.tokens.get(done + accepted))?;
        // None where the last accepted token ended the text.
        let token = trace.tokens.get(done + accepted + branch).copied();
        let record = stepper.commit(&Ending { accepted, token, verified: None, branch })?;
        let times = times(cost, record);
        let record = stepper.observe(times)?;
        if plan.source.is_of_model() && !record.drafted.is_empty() {
            // Masks are forgotten; of tokens that had a pass each, the last one is unread.
            let read = if record.before.block > 0 { 0 } else { record.drafted.len() - 1 };
            draft_read = context + read.min(accepted);
        }
        done += record.outcome.produced;
        records.push(record.clone());
    }
    Ok((records, cut_steps))
}

/// Lets look-up say what it says beside the draft, and the draft its second choice; the tokens of
/// the branch that are accepted, after `accepted` tokens of the draft, where the target says `next`.
fn branch(
    stepper: &mut Stepper<&mut dyn Controller>,
    here: &Position,
    accepted: usize,
    next: Option<&Token>,
) -> Result<usize, TraceError> {
    let most = stepper.beside();
    let said = here.ngram.as_ref().filter(|_| most > 0).map(|(_, said)| said);
    if let Some(said) = said {
        let count = most.min(said.drafted.len());
        stepper.branch(&said.drafted[..count], usize::MAX)?;
    }
    let Branch { at, sibling, tokens, .. } = stepper.sibling(usize::MAX)?;
    if accepted != *at {
        return Ok(0);
    }
    Ok(match (sibling, said) {
        (true, _) => usize::from(tokens.first().map(|second| &second.token) == next),
        (false, Some(said)) => (said.agreed - said.agreed.min(accepted)).min(tokens.len()),
        (false, None) => 0,
    })
}

/// What a step takes by the cost model.
fn times(cost: &CostModel, record: &StepRecord) -> Times {
    let before = &record.before;
    let drafted = record.drafted.len();
    let (source, behind) = (before.plan.source, before.draft_behind);
    // A pass that proposes several tokens reads a few missed ones along.
    let along = source == Source::PARALLEL && behind <= READ_ALONG_PARALLEL;
    let reads = source.is_of_model() && drafted > 0 && !along;
    let catch_up = if reads { cost.catch_up_seconds(behind) } else { 0.0 };
    let passed = if drafted > 0 { before.block } else { 0 };
    let tokens = if source == Source::PARALLEL { passed } else { drafted };
    let (catch_up, draft, verify) = (
        Duration::from_secs_f64(catch_up),
        Duration::from_secs_f64(cost.drafting_seconds(source, tokens, behind, before.context)),
        Duration::from_secs_f64(cost.verify_seconds(record.rows(), before.context)),
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
    /// Second choices of the draft that were verified beside it, among those proposed.
    #[serde(default)]
    pub siblings: usize,
    /// Those of them that were accepted.
    #[serde(default)]
    pub siblings_accepted: usize,
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
                drafted: record.drafted.len() + record.branch.tokens.len(),
                accepted: record.outcome.accepted + record.branch.accepted,
                siblings: usize::from(record.branch.sibling),
                siblings_accepted: if record.branch.sibling { record.branch.accepted } else { 0 },
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
        self.siblings += other.siblings;
        self.siblings_accepted += other.siblings_accepted;
    }
}
