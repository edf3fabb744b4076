//! The state machine of a sequence's steps.

use super::{Expected, StepError};
use crate::{
    controller::{Beside, Controller, Plan, Situation, Verdict},
    cost::CostModel,
    draft::{READ_ALONG, READ_ALONG_PARALLEL},
    record::{Branch, Drafted, Last, Outcome, Source, StepRecord, Times},
    signals::Signals,
    token::Token,
};

/// A controller with the state of its step: what was planned, drafted, kept and accepted.
///
/// The calls of a step, in order:
///
/// 1. [`plan`](Self::plan): the controller decides how far to draft, and with which source.
/// 2. [`read_ahead`](Self::read_ahead): how much of the text the draft model reads first.
/// 3. [`judge`](Self::judge) for each drafted token, as long as it [`wants_more`](Self::wants_more);
///    [`exhausted`](Self::exhausted) where the source has nothing more to propose.
/// 4. Where look-up is to say something [`beside`](Self::beside) the draft: [`branch`](Self::branch).
///    Where the target takes branches: [`sibling`](Self::sibling). Then the target verifies
///    [`kept`](Self::kept), and the branch of the [`record`](Self::record) in the same pass.
/// 5. [`commit`](Self::commit): the outcome.
/// 6. [`observe`](Self::observe): the times, from which the controller learns.
///
/// [`finish`](Self::finish) is the last two in one call. [`abandon`](Self::abandon) takes a step
/// back at any point.
///
/// ```
/// use speckv::{
///     controller::{Fixed, Situation},
///     record::{Drafted, Last, Times},
///     signals::Signals,
///     step::{Ending, Stepper},
/// };
///
/// let mut stepper = Stepper::new(Box::new(Fixed::new(2)));
/// let plan = stepper.plan(&Situation::alone(100, 8))?;
/// assert_eq!(plan.gamma, 2);
/// for token in [11, 12] {
///     assert!(stepper.wants_more());
///     stepper.judge(Drafted::new(token, Signals::default()), false)?;
/// }
/// assert!(!stepper.wants_more());
/// // The target keeps the first token and has another one, 13, in place of the second.
/// let ending = Ending { accepted: 1, token: Some(13), ..Ending::default() };
/// let record = stepper.finish(&ending, Times::default())?;
/// assert_eq!(record.tokens, [11, 13]);
/// assert_eq!(record.outcome.last, Last::Recovered);
/// # Ok::<(), speckv::step::StepError>(())
/// ```
pub struct Stepper<C: Controller = Box<dyn Controller>> {
    controller: C,
    record: StepRecord,
    signals: Vec<Signals>,       // of each drafted token, [drafted]
    lookup: bool,                // look-up has found something in this step
    forced: Vec<(usize, Token)>, // forced tokens, with the number of drafted ones kept before them
    kept: usize,
    budget: usize, // most tokens that this step drafts
    phase: Phase,
    steps: usize,
    last: Expected, // of the last step that was observed
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No step is under way.
    Idle,
    /// The step takes draft tokens.
    Drafting,
    /// The step takes no further draft token and waits for its outcome.
    Drafted,
    /// The outcome is known and the times are not.
    Committed,
}

/// How a step ended, as the target's pass showed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ending {
    /// Draft tokens accepted.
    pub accepted: usize,
    /// The token after them; `None` where the last accepted one ended the text.
    pub token: Option<Token>,
    /// Draft tokens that the target verified, where those are fewer than were kept.
    pub verified: Option<usize>,
    /// Tokens of the branch beside the draft that were accepted.
    pub branch: usize,
}

impl<C: Controller> Stepper<C> {
    /// A controller before its first step.
    #[must_use]
    pub fn new(controller: C) -> Self {
        Stepper {
            controller,
            record: StepRecord::default(),
            signals: Vec::new(),
            lookup: false,
            forced: Vec::new(),
            kept: 0,
            budget: 0,
            phase: Phase::Idle,
            steps: 0,
            last: Expected { verifies: 0, drafts: true },
        }
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> &C {
        &self.controller
    }

    /// Another controller from the next step on. Forgets the step under way.
    pub fn set_controller(&mut self, controller: C) {
        self.abandon();
        self.controller = controller;
    }

    /// Lends the controller to a program that drives its steps itself, such as a replay. Forgets
    /// the step under way.
    pub fn lend<T>(&mut self, body: impl FnOnce(&mut C) -> T) -> T {
        self.abandon();
        body(&mut self.controller)
    }

    /// Steps observed.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Whether a step was planned and has not ended.
    #[must_use]
    pub fn under_way(&self) -> bool {
        self.phase != Phase::Idle
    }

    /// What other sequences expect of this one.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let drafts = if self.under_way() { self.drafts_with_model() } else { self.last.drafts };
        Expected { drafts, ..self.last }
    }

    /// Decides: begins a step. The returned plan's gamma is within the situation's limit.
    ///
    /// # Errors
    /// [`StepError::UnderWay`].
    pub fn plan(&mut self, situation: &Situation) -> Result<Plan, StepError> {
        if self.under_way() {
            return Err(StepError::UnderWay);
        }
        let plan = self.controller.plan(situation);
        let Situation { context, gamma_limit, draft_behind, parallel, .. } = *situation;
        self.clear();
        let before = &mut self.record.before;
        (before.step, before.context, before.draft_behind) = (self.steps, context, draft_behind);
        (before.gamma_limit, before.plan) = (gamma_limit, plan);
        self.lookup = situation.lookup.is_some();
        self.budget = plan.gamma.min(gamma_limit);
        if plan.source == Source::PARALLEL {
            self.budget = self.budget.min(parallel);
            before.block = self.budget;
        }
        self.phase = if self.budget > 0 { Phase::Drafting } else { Phase::Drafted };
        Ok(Plan { gamma: self.budget, ..plan })
    }

    /// Tokens of the text that the draft model reads before it drafts in this step, from where it
    /// stands, at most `limit`. Where that leaves some unread, the step drafts nothing and the
    /// draft model reads on in the next one.
    ///
    /// A draft that is at most [`READ_ALONG`] tokens behind reads them whatever the limit, along
    /// with its first token. One that proposes several tokens in a pass reads up to
    /// [`READ_ALONG_PARALLEL`] along in that pass, and nothing before it.
    pub fn read_ahead(&mut self, limit: usize) -> usize {
        if self.phase != Phase::Drafting || !self.source().is_of_model() {
            return 0;
        }
        let behind = self.record.before.draft_behind;
        if self.source() == Source::PARALLEL && behind <= READ_ALONG_PARALLEL {
            return 0;
        }
        let now = if behind <= READ_ALONG { behind } else { behind.min(limit) };
        if now < behind {
            self.exhausted();
        }
        now
    }

    /// Whether the step takes one more draft token.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.phase == Phase::Drafting
    }

    /// The source has nothing more to propose in this step.
    pub fn exhausted(&mut self) {
        if self.phase == Phase::Drafting {
            self.phase = Phase::Drafted;
        }
    }

    /// The source that drafts in the step under way.
    #[must_use]
    pub fn source(&self) -> Source {
        self.record.before.plan.source
    }

    /// Whether the step under way drafts with the model, or would if the draft were not reading.
    fn drafts_with_model(&self) -> bool {
        self.budget > 0 && self.source().is_of_model()
    }

    /// Takes a draft token, and asks the controller whether to keep it and whether to go on.
    /// `ends`: it ends the text, so that nothing after it can be kept. That looks at the drawn
    /// token, but only to leave out tokens that would not be seen.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::WantsNoMore`].
    pub fn judge(&mut self, drafted: Drafted, ends: bool) -> Result<Verdict, StepError> {
        match self.phase {
            Phase::Idle => return Err(StepError::NotUnderWay),
            Phase::Drafted | Phase::Committed => {
                return Err(StepError::WantsNoMore { drafted: self.record.drafted.len() });
            }
            Phase::Drafting => {}
        }
        self.record.drafted.push(drafted);
        self.signals.push(drafted.signals);
        let verdict = self.controller.judge(&self.signals);
        self.kept += usize::from(verdict != Verdict::Drop);
        if verdict != Verdict::Continue || self.kept >= self.budget || ends {
            self.phase = Phase::Drafted;
        }
        Ok(verdict)
    }

    /// Most tokens that the step still drafts.
    #[must_use]
    pub fn room(&self) -> usize {
        if self.wants_more() { self.budget - self.kept } else { 0 }
    }

    /// Of these, the ones that may be drafted before the first of them is judged.
    #[must_use]
    pub fn ahead(&self) -> usize {
        self.room().min(self.controller.ahead().max(1))
    }

    /// Notes a token that a constraint forces where the step stands: before its first draft token,
    /// or after the last one kept. It counts as accepted if those before it are. Does nothing where
    /// no step takes its draft.
    pub fn force(&mut self, token: Token) {
        if matches!(self.phase, Phase::Drafting | Phase::Drafted) {
            self.forced.push((self.kept, token));
        }
    }

    /// Notes a token that a constraint forces after a committed step's last token. Does nothing
    /// where no step is committed.
    pub fn force_after(&mut self, token: Token) {
        if self.phase == Phase::Committed {
            let StepRecord { tokens, forced, outcome, .. } = &mut self.record;
            forced.places.push(tokens.len());
            tokens.push(token);
            outcome.produced = tokens.len();
        }
    }

    /// Rows of the target's pass that read forced tokens.
    pub fn set_forced_rows(&mut self, rows: usize) {
        self.record.forced.rows = rows;
    }

    /// Draft tokens to verify.
    #[must_use]
    pub fn kept(&self) -> &[Drafted] {
        &self.record.drafted[..self.kept]
    }

    /// Most tokens that look-up is to say from the text on, to be compared with the draft that is
    /// done; 0 where it is not asked.
    pub fn beside(&mut self) -> usize {
        let asks = self.phase == Phase::Drafted && self.lookup && self.source() != Source::NGRAM;
        let limit = self.record.before.gamma_limit;
        if asks && limit > 0 { self.controller.beside().min(limit) } else { 0 }
    }

    /// Takes what look-up says from the text on, and asks the controller how many of its tokens are
    /// verified in a branch. The branch is in the [`record`](Self::record). `room`: tokens that the
    /// branch may have at most.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::Committed`].
    pub fn branch(&mut self, said: &[Drafted], room: usize) -> Result<&Branch, StepError> {
        match self.phase {
            Phase::Idle => return Err(StepError::NotUnderWay),
            Phase::Committed => return Err(StepError::Committed),
            Phase::Drafting | Phase::Drafted => {}
        }
        let pairs = self.kept().iter().zip(said);
        let at = pairs.take_while(|(drafted, said)| drafted.token == said.token).count();
        let limit = self.record.before.gamma_limit.saturating_sub(at);
        let available = (said.len() - at).min(limit).min(room);
        let count = match said.get(at) {
            Some(next) if available > 0 => {
                let (kept, signals) = (self.kept, next.signals);
                let beside = Beside { kept, at, available, signals };
                self.controller.branch(&beside).min(available)
            }
            _ => 0,
        };
        let branch = &mut self.record.branch;
        (branch.at, branch.sibling) = (at, false);
        branch.tokens.clear();
        branch.tokens.extend_from_slice(&said[at..at + count]);
        Ok(&self.record.branch)
    }

    /// Asks the controller where the draft's second choice is verified too: that becomes the branch
    /// of the [`record`](Self::record), in place of look-up's. Where a kept token has no second
    /// choice, nothing is asked. `room`: tokens that the branch may have at most.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::Committed`].
    pub fn sibling(&mut self, room: usize) -> Result<&Branch, StepError> {
        match self.phase {
            Phase::Idle => return Err(StepError::NotUnderWay),
            Phase::Committed => return Err(StepError::Committed),
            Phase::Drafting | Phase::Drafted => {}
        }
        let kept = self.kept;
        let asks = kept > 0 && room > 0 && self.kept().iter().all(|token| token.second.is_some());
        let place = if asks { self.controller.sibling(&self.signals[..kept]) } else { None };
        let StepRecord { drafted, branch, .. } = &mut self.record;
        let at = place.filter(|&at| at < kept).map(|at| (at, drafted[at]));
        if let Some((at, Drafted { second: Some(token), signals, .. })) = at {
            (branch.at, branch.sibling) = (at, true);
            branch.tokens.clear();
            branch.tokens.push(Drafted::new(token, signals));
        }
        Ok(&self.record.branch)
    }

    /// Ends the drafting of the step with what the target made of it.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::Committed`], [`StepError::Counts`],
    /// [`StepError::NothingProduced`].
    pub fn commit(&mut self, ending: &Ending) -> Result<&StepRecord, StepError> {
        match self.phase {
            Phase::Idle => return Err(StepError::NotUnderWay),
            Phase::Committed => return Err(StepError::Committed),
            Phase::Drafting | Phase::Drafted => {}
        }
        let Ending { accepted, token, branch: beside, .. } = *ending;
        let (kept, verified) = (self.kept, ending.verified.unwrap_or(self.kept));
        if accepted > verified || verified > kept {
            return Err(StepError::Counts { kept, verified, accepted });
        }
        let Branch { at, tokens, .. } = &self.record.branch;
        let branch = tokens.len();
        if beside > branch || (beside > 0 && accepted != *at) {
            return Err(StepError::Branch { at: *at, branch, accepted, beside });
        }
        let ended = token.is_none();
        if ended && accepted + beside == 0 {
            return Err(StepError::NothingProduced);
        }
        let goes_on = branch > 0 && *at == verified; // after the whole draft
        let whole = if beside > 0 { beside == branch } else { accepted == verified && !goes_on };
        let last = match verified + branch {
            0 => Last::Plain,
            _ if ended => Last::Accepted,
            _ if whole => Last::Bonus,
            _ => Last::Recovered,
        };
        let StepRecord { drafted, branch, tokens, outcome, forced, .. } = &mut self.record;
        let mut runs = self.forced.iter().peekable();
        for position in 0..=accepted {
            while let Some((_, token)) = runs.next_if(|(after, _)| *after == position) {
                forced.places.push(tokens.len());
                tokens.push(*token);
            }
            tokens.extend(drafted[..accepted].get(position).map(|drafted| drafted.token));
        }
        branch.accepted = beside;
        tokens.extend(branch.tokens[..beside].iter().map(|drafted| drafted.token));
        tokens.extend(token);
        *outcome = Outcome { verified, accepted, last, produced: tokens.len(), ended };
        self.phase = Phase::Committed;
        Ok(&self.record)
    }

    /// Closes a committed step and lets the controller learn from it. Times of 0 teach nothing.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::NotCommitted`].
    pub fn observe(&mut self, times: Times) -> Result<&StepRecord, StepError> {
        match self.phase {
            Phase::Idle => return Err(StepError::NotUnderWay),
            Phase::Drafting | Phase::Drafted => return Err(StepError::NotCommitted),
            Phase::Committed => {}
        }
        self.record.times = times;
        self.phase = Phase::Idle;
        self.steps += 1;
        let verifies = self.record.outcome.verified + self.record.branch.tokens.len();
        self.last = Expected { verifies, drafts: self.record.expects_drafting() };
        self.controller.observe(&self.record);
        Ok(&self.record)
    }

    /// [`commit`](Self::commit) and [`observe`](Self::observe).
    ///
    /// # Errors
    /// As these.
    pub fn finish(&mut self, ending: &Ending, times: Times) -> Result<&StepRecord, StepError> {
        self.commit(ending)?;
        self.observe(times)
    }

    /// The step that ended last, or the one under way as far as it got.
    #[must_use]
    pub fn record(&self) -> &StepRecord {
        &self.record
    }

    /// Forgets the step under way; does nothing where there is none. The controller is not told:
    /// its next plan begins the step again.
    pub fn abandon(&mut self) {
        if self.under_way() {
            self.clear();
            self.phase = Phase::Idle;
        }
    }

    /// The text was changed by its owner: the next turn of a chat, or another prompt. Forgets the
    /// step under way.
    pub fn next_text(&mut self) {
        self.abandon();
        self.controller.next_text();
    }

    /// Decides by these costs from the next step on.
    pub fn set_cost(&mut self, cost: &CostModel) {
        self.controller.set_cost(cost);
    }

    /// Empties the record and keeps its memory.
    fn clear(&mut self) {
        let StepRecord { before, drafted, branch, outcome, forced, times, tokens } =
            &mut self.record;
        (*before, *outcome, *times) = Default::default();
        (branch.at, branch.sibling, branch.accepted) = (0, false, 0);
        branch.tokens.clear();
        drafted.clear();
        tokens.clear();
        forced.rows = 0;
        forced.places.clear();
        self.signals.clear();
        self.forced.clear();
        (self.kept, self.budget) = (0, 0);
    }
}
