//! A controller's side of a step, for engines that draft and verify themselves.

use super::{Controller, Plan, Situation, Verdict};
use crate::{
    cost::CostModel,
    record::{Before, Drafted, Last, Outcome, Source, StepRecord, Times},
    signals::Signals,
    token::Token,
};

/// A controller with the books that [`crate::engine::Engine`] keeps for it: what was planned,
/// drafted and kept, in the order that a step has.
///
/// [`plan`](Self::plan), then [`judge`](Self::judge) for each drafted token as long as it
/// [`wants_more`](Self::wants_more), then verification of [`kept`](Self::kept) by whoever has the
/// target, then [`observe`](Self::observe).
pub struct Stepper {
    controller: Box<dyn Controller>,
    record: StepRecord,
    signals: Vec<Signals>,
    kept: usize,
    budget: usize,
    steps: usize,
    under_way: bool,
    drafting: bool,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Ending {
    /// Draft tokens accepted.
    pub accepted: usize,
    /// The token after them; `None` where the last accepted one ended the text.
    pub token: Option<Token>,
    /// Draft tokens that the target looked at, where those are fewer than were kept.
    pub verified: Option<usize>,
    /// Where the time went; times of 0 teach nothing.
    pub times: Times,
}

/// Calls out of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A step was planned and not ended.
    #[error("expected the step under way to end before another begins")]
    UnderWay,
    /// No step was planned.
    #[error("expected a step under way, got none")]
    NotUnderWay,
    /// The step does not want another token.
    #[error("expected no more draft tokens in this step, got one after {drafted}")]
    WantsNoMore {
        /// Tokens drafted.
        drafted: usize,
    },
    /// Numbers that cannot be.
    #[error(
        "expected accepted <= verified <= kept = {kept}, got {accepted} accepted and {verified} verified"
    )]
    Counts {
        /// Tokens kept.
        kept: usize,
        /// Said to be verified.
        verified: usize,
        /// Said to be accepted.
        accepted: usize,
    },
    /// Neither an accepted token nor one after it.
    #[error("expected a token after 0 accepted ones, got none")]
    NothingProduced,
}

impl Stepper {
    /// A controller that has seen no step.
    #[must_use]
    pub fn new(controller: Box<dyn Controller>) -> Self {
        Stepper {
            controller,
            record: StepRecord::default(),
            signals: Vec::new(),
            kept: 0,
            budget: 0,
            steps: 0,
            under_way: false,
            drafting: false,
        }
    }

    /// The controller.
    #[must_use]
    pub fn controller(&self) -> &dyn Controller {
        self.controller.as_ref()
    }

    /// Lets somebody else keep the books for the length of a call: a replay. Forgets the step under
    /// way.
    pub fn lend<T>(&mut self, body: impl FnOnce(&mut dyn Controller) -> T) -> T {
        self.abandon();
        body(self.controller.as_mut())
    }

    /// Steps observed.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Whether a step was planned and not ended.
    #[must_use]
    pub fn under_way(&self) -> bool {
        self.under_way
    }

    /// Begins a step. The plan's gamma is within the situation's limit.
    ///
    /// # Errors
    /// [`StepError::UnderWay`].
    pub fn plan(&mut self, situation: &Situation) -> Result<Plan, StepError> {
        if self.under_way {
            return Err(StepError::UnderWay);
        }
        let plan = self.controller.plan(situation);
        let Situation { context, gamma_limit, draft_behind, .. } = *situation;
        self.record = StepRecord {
            before: Before { step: self.steps, context, draft_behind, gamma_limit, plan },
            ..StepRecord::default()
        };
        self.signals.clear();
        self.kept = 0;
        self.budget = plan.gamma.min(gamma_limit);
        self.under_way = true;
        self.drafting = self.budget > 0;
        Ok(Plan { gamma: self.budget, ..plan })
    }

    /// Whether the step wants one more draft token.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.drafting
    }

    /// The source has nothing more to say in this step.
    pub fn exhausted(&mut self) {
        self.drafting = false;
    }

    /// Who drafts in the step under way.
    #[must_use]
    pub fn source(&self) -> Source {
        self.record.before.plan.source
    }

    /// Takes a draft token in; `ends`: nothing after it can be kept.
    ///
    /// # Errors
    /// [`StepError::NotUnderWay`], [`StepError::WantsNoMore`].
    pub fn judge(&mut self, drafted: Drafted, ends: bool) -> Result<Verdict, StepError> {
        if !self.under_way {
            return Err(StepError::NotUnderWay);
        }
        if !self.drafting {
            return Err(StepError::WantsNoMore { drafted: self.record.drafted.len() });
        }
        self.record.drafted.push(drafted);
        self.signals.push(drafted.signals);
        let verdict = self.controller.judge(&self.signals);
        self.kept += usize::from(verdict != Verdict::Drop);
        self.drafting = verdict == Verdict::Continue && self.kept < self.budget && !ends;
        Ok(verdict)
    }

    /// Draft tokens to verify.
    #[must_use]
    pub fn kept(&self) -> &[Drafted] {
        &self.record.drafted[..self.kept]
    }

    /// Ends the step and lets the controller learn from it.
    ///
    /// # Errors
    /// [`StepError`]; then the step is still under way.
    pub fn observe(&mut self, ending: &Ending) -> Result<&StepRecord, StepError> {
        if !self.under_way {
            return Err(StepError::NotUnderWay);
        }
        let Ending { accepted, token, times, .. } = *ending;
        let (kept, verified) = (self.kept, ending.verified.unwrap_or(self.kept));
        if accepted > verified || verified > kept {
            return Err(StepError::Counts { kept, verified, accepted });
        }
        let ended = token.is_none();
        if ended && accepted == 0 {
            return Err(StepError::NothingProduced);
        }
        let last = match verified {
            0 => Last::Plain,
            _ if ended => Last::Accepted,
            _ if accepted == verified => Last::Bonus,
            _ => Last::Recovered,
        };
        self.record
            .tokens
            .extend(self.record.drafted[..accepted].iter().map(|drafted| drafted.token));
        self.record.tokens.extend(token);
        self.record.outcome =
            Outcome { verified, accepted, last, produced: self.record.tokens.len(), ended };
        self.record.times = times;
        (self.under_way, self.drafting) = (false, false);
        self.steps += 1;
        self.controller.observe(&self.record);
        Ok(&self.record)
    }

    /// The step just ended, or the one under way as far as it got.
    #[must_use]
    pub fn record(&self) -> &StepRecord {
        &self.record
    }

    /// Forgets the step under way, as the engine does where a pass failed; does nothing if there is
    /// none.
    pub fn abandon(&mut self) {
        if self.under_way {
            self.record = StepRecord::default();
            self.signals.clear();
            (self.under_way, self.drafting, self.kept) = (false, false, 0);
        }
    }

    /// The text was changed from outside. Forgets the step under way.
    pub fn next_text(&mut self) {
        self.abandon();
        self.controller.next_text();
    }

    /// Decides by these costs from the next step on.
    pub fn set_cost(&mut self, cost: &CostModel) {
        self.controller.set_cost(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ControllerParts, ControllerSpec, testing::situation},
        *,
    };
    use crate::{
        draft::{Drafter, ModelDrafter},
        engine::{Engine, SequenceSettings},
        sampling::SamplingSettings,
        sim::{Difference, SimModel, SimSettings},
    };
    use std::sync::Arc;

    fn stepper(name: &str) -> Stepper {
        let spec: ControllerSpec = name.parse().expect(name);
        Stepper::new(spec.build(&ControllerParts::default()))
    }

    fn drafted(token: Token, confidence: f32) -> Drafted {
        Drafted { token, signals: Signals { confidence, ..Signals::default() } }
    }

    #[test]
    fn calls_out_of_order_are_refused_and_change_nothing() {
        let mut stepper = stepper("fixed:2");
        assert_eq!(stepper.judge(drafted(1, 0.9), false), Err(StepError::NotUnderWay));
        assert_eq!(stepper.observe(&Ending::default()).err(), Some(StepError::NotUnderWay));
        assert_eq!(stepper.plan(&situation(8)).map(|plan| plan.gamma), Ok(2));
        assert_eq!(stepper.plan(&situation(8)), Err(StepError::UnderWay));
        assert_eq!(stepper.judge(drafted(1, 0.9), false), Ok(Verdict::Continue));
        assert!(stepper.wants_more());
        assert!(stepper.judge(drafted(2, 0.9), false).is_ok());
        assert_eq!(
            stepper.judge(drafted(3, 0.9), false),
            Err(StepError::WantsNoMore { drafted: 2 })
        );
        let counts =
            |accepted, verified| Ending { accepted, token: Some(9), verified, ..Ending::default() };
        for wrong in [counts(3, None), counts(2, Some(1)), counts(0, Some(3))] {
            assert!(
                matches!(stepper.observe(&wrong), Err(StepError::Counts { kept: 2, .. })),
                "{wrong:?}"
            );
        }
        assert_eq!(stepper.observe(&Ending::default()).err(), Some(StepError::NothingProduced));
        let record = stepper.observe(&counts(1, None)).expect("a step");
        assert_eq!((record.tokens.as_slice(), record.outcome.last), (&[1, 9][..], Last::Recovered));
        assert_eq!((stepper.steps(), stepper.under_way()), (1, false));
    }

    #[test]
    fn a_dropped_token_is_recorded_and_not_kept_and_an_end_token_is_the_last() {
        let mut stepper = stepper("confidence:0.5");
        let _ = stepper.plan(&situation(8)).expect("a plan");
        let _ = stepper.judge(drafted(1, 0.9), false).expect("kept");
        let last = stepper.judge(drafted(2, 0.1), false).expect("judged");
        let kept = stepper.kept().len();
        assert_eq!(kept, if last == Verdict::Drop { 1 } else { 2 });
        assert!(!stepper.wants_more() && stepper.record().drafted.len() == 2);
        let _ = stepper
            .observe(&Ending { accepted: kept, token: Some(5), ..Ending::default() })
            .expect("a step");
        let _ = stepper.plan(&situation(8)).expect("a plan");
        let _ = stepper.judge(drafted(1, 0.9), true).expect("kept");
        assert!(!stepper.wants_more(), "nothing comes after an end token");
        let record = stepper.observe(&Ending { accepted: 1, ..Ending::default() }).expect("a step");
        assert!(
            record.outcome.ended && record.outcome.last == Last::Accepted && record.is_censored()
        );
    }

    #[test]
    fn an_abandoned_step_is_as_if_it_had_not_been() {
        let mut stepper = stepper("fixed:3");
        let _ = stepper.plan(&situation(8)).expect("a plan");
        let _ = stepper.judge(drafted(1, 0.9), false).expect("kept");
        stepper.abandon();
        assert_eq!((stepper.steps(), stepper.kept().len(), stepper.wants_more()), (0, 0, false));
        assert!(stepper.plan(&situation(8)).is_ok());
    }

    /// Every controller, driven by the records of an engine, plans and judges as it did inside the
    /// engine.
    #[test]
    fn a_stepper_takes_the_very_steps_of_the_engine() {
        for name in ControllerSpec::NAMES {
            let spec: ControllerSpec = name.parse().expect(name);
            let target =
                SimModel::new(SimSettings { vocab_size: 40, seed: 11, ..SimSettings::default() });
            let draft = target.draft(Difference::Share { agreement: 0.8 });
            let drafter: Box<dyn Drafter> = Box::new(ModelDrafter::new(Arc::new(draft), 40));
            let mut engine = Engine::new(Arc::new(target), drafter);
            let settings = SequenceSettings {
                prompt: vec![1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: 120,
                controller: spec.build(&ControllerParts::default()),
            };
            let mut sequence = engine.sequence(settings).expect("a sequence");
            let mut stepper = stepper(name);
            while sequence.finish_reason().is_none() {
                engine.step(&mut [&mut sequence]).expect("a step");
                let record = sequence.record();
                let Before { context, draft_behind, gamma_limit, plan, .. } = record.before;
                let here = Situation { draft_behind, context, ..situation(gamma_limit) };
                let planned = stepper.plan(&here).expect("a plan");
                assert_eq!(
                    (planned.gamma, planned.source),
                    (plan.gamma.min(gamma_limit), plan.source),
                    "{name}"
                );
                for next in &record.drafted {
                    let _ = stepper
                        .judge(*next, false)
                        .unwrap_or_else(|error| panic!("{name}: {error}"));
                }
                assert!(!stepper.wants_more(), "{name} would have gone on");
                assert_eq!(stepper.kept().len(), record.outcome.verified, "{name}");
                let token = record.tokens.last().copied();
                let accepted = record.outcome.accepted;
                let ending = Ending { accepted, token, verified: None, times: record.times };
                let mine = stepper.observe(&ending).expect("a step");
                assert_eq!(
                    (&mine.before, &mine.outcome, &mine.tokens),
                    (&record.before, &record.outcome, &record.tokens)
                );
            }
        }
    }
}
