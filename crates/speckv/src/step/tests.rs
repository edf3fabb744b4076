use std::sync::Arc;

use super::*;
use crate::{
    controller::{
        Beside, Confidence, Controller, Fixed, Plan, Situation, Verdict,
        testing::{every_controller, situation},
    },
    draft::{Drafter, ModelDrafter, READ_ALONG},
    engine::{Clock, Engine, SequenceSettings, VirtualTime},
    record::{Before, Drafted, Last, Source, Times},
    sampling::SamplingSettings,
    signals::Signals,
    sim::{Difference, SimModel, SimSettings},
    token::Token,
};

const PROMPT: [Token; 3] = [1, 2, 3];
const MAX_TOKENS: usize = 120;

fn stepper(controller: impl Controller + 'static) -> Stepper {
    Stepper::new(Box::new(controller))
}

fn drafted(token: Token, confidence: f32) -> Drafted {
    Drafted::new(token, Signals { confidence, ..Signals::default() })
}

fn ending(accepted: usize, token: Option<Token>) -> Ending {
    Ending { accepted, token, verified: None, branch: 0 }
}

#[test]
fn calls_out_of_order_are_refused_and_change_nothing() {
    let mut stepper = stepper(Fixed::new(2));
    assert_eq!(stepper.judge(drafted(1, 0.9), false), Err(StepError::NotUnderWay));
    assert_eq!(stepper.commit(&ending(0, Some(9))).err(), Some(StepError::NotUnderWay));
    assert_eq!(stepper.observe(Times::default()).err(), Some(StepError::NotUnderWay));
    assert_eq!(stepper.plan(&situation(8)).map(|plan| plan.gamma), Ok(2));
    assert_eq!(stepper.plan(&situation(8)), Err(StepError::UnderWay));
    assert_eq!(stepper.judge(drafted(1, 0.9), false), Ok(Verdict::Continue));
    assert!(stepper.wants_more());
    assert!(stepper.judge(drafted(2, 0.9), false).is_ok());
    assert_eq!(stepper.judge(drafted(3, 0.9), false), Err(StepError::WantsNoMore { drafted: 2 }));
    assert_eq!(stepper.observe(Times::default()).err(), Some(StepError::NotCommitted));
    for (accepted, verified) in [(3, None), (2, Some(1)), (0, Some(3))] {
        let wrong = Ending { accepted, token: Some(9), verified, branch: 0 };
        assert!(
            matches!(stepper.commit(&wrong), Err(StepError::Counts { kept: 2, .. })),
            "{wrong:?}"
        );
    }
    assert_eq!(stepper.commit(&ending(0, None)).err(), Some(StepError::NothingProduced));
    let record = stepper.commit(&ending(1, Some(9))).expect("a step");
    assert_eq!((record.tokens.as_slice(), record.outcome.last), (&[1, 9][..], Last::Recovered));
    assert_eq!(stepper.commit(&ending(1, Some(9))).err(), Some(StepError::Committed));
    assert_eq!((stepper.steps(), stepper.under_way()), (0, true));
    assert!(stepper.observe(Times::default()).is_ok());
    assert_eq!((stepper.steps(), stepper.under_way()), (1, false));
}

#[test]
fn a_dropped_token_is_recorded_and_not_kept_and_an_end_token_is_the_last() {
    let mut stepper = stepper(Confidence::new(0.5, 16));
    let _ = stepper.plan(&situation(8)).expect("a plan");
    let _ = stepper.judge(drafted(1, 0.9), false).expect("kept");
    assert_eq!(stepper.judge(drafted(2, 0.1), false), Ok(Verdict::Drop));
    assert_eq!((stepper.kept().len(), stepper.record().drafted.len()), (1, 2));
    assert!(!stepper.wants_more());
    let _ = stepper.finish(&ending(1, Some(5)), Times::default()).expect("a step");
    let _ = stepper.plan(&situation(8)).expect("a plan");
    let _ = stepper.judge(drafted(1, 0.9), true).expect("kept");
    assert!(!stepper.wants_more(), "nothing comes after an end token");
    let record = stepper.finish(&ending(1, None), Times::default()).expect("a step");
    assert!(record.outcome.ended && record.outcome.last == Last::Accepted && record.is_censored());
}

/// Has look-up say three tokens, and the second choice of a token verified.
struct WithSibling(Option<usize>);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::model(2)
    }

    fn beside(&mut self) -> usize {
        3
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        beside.available
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        assert_eq!(signals.len(), 2);
        self.0
    }
}

/// A step that has drafted tokens 1 and 2, with these second choices.
fn with_sibling(place: Option<usize>, seconds: [Option<Token>; 2]) -> Stepper {
    let mut stepper = stepper(WithSibling(place));
    assert_eq!(stepper.sibling(1), Err(StepError::NotUnderWay));
    let _ = stepper.plan(&situation(8)).expect("a plan");
    for (token, second) in [1, 2].into_iter().zip(seconds) {
        let _ = stepper.judge(Drafted { second, ..drafted(token, 0.5) }, false).expect("kept");
    }
    stepper
}

#[test]
fn a_sibling_takes_the_place_of_what_look_up_says() {
    let mut stepper = with_sibling(Some(1), [Some(7), Some(8)]);
    let said = [drafted(1, 0.9), drafted(9, 0.9), drafted(9, 0.9)];
    let branch = stepper.branch(&said, 9).expect("a branch");
    assert_eq!((branch.at, branch.sibling, branch.tokens.len()), (1, false, 2));
    let branch = stepper.sibling(1).expect("a sibling");
    assert_eq!((branch.at, branch.sibling), (1, true));
    assert_eq!(branch.tokens, [Drafted::new(8, drafted(2, 0.5).signals)]);
    let wrong = Ending { branch: 1, ..ending(0, Some(5)) };
    assert!(matches!(stepper.commit(&wrong), Err(StepError::Branch { at: 1, .. })));
    let right = Ending { branch: 1, ..ending(1, Some(5)) };
    let record = stepper.commit(&right).expect("an outcome");
    assert_eq!((record.tokens.as_slice(), record.outcome.last), (&[1, 8, 5][..], Last::Bonus));
    assert_eq!((record.branch.accepted, record.rows()), (1, 4));
    assert_eq!(stepper.sibling(1), Err(StepError::Committed));
}

#[test]
fn a_sibling_that_is_not_needed_or_not_right_is_no_rejection_of_the_draft() {
    for (accepted, last) in [(0, Last::Recovered), (1, Last::Recovered), (2, Last::Bonus)] {
        let mut stepper = with_sibling(Some(1), [Some(7), Some(8)]);
        assert!(stepper.sibling(1).expect("a sibling").sibling);
        let record = stepper.commit(&ending(accepted, Some(5))).expect("an outcome");
        assert_eq!((record.outcome.last, record.branch.accepted), (last, 0));
    }
}

#[test]
fn a_sibling_needs_a_second_choice_a_row_and_a_place_among_the_kept_tokens() {
    let count = |place, seconds, room| {
        let mut stepper = with_sibling(place, seconds);
        stepper.sibling(room).expect("asked in order").tokens.len()
    };
    let both = [Some(7), Some(8)];
    assert_eq!(count(Some(0), both, 1), 1);
    assert_eq!(count(None, both, 1), 0, "the controller wants none");
    assert_eq!(count(Some(2), both, 1), 0, "no such token");
    assert_eq!(count(Some(0), both, 0), 0, "no room");
    assert_eq!(count(Some(0), [Some(7), None], 1), 0, "a token without a second choice");
}

#[test]
fn an_abandoned_step_is_as_if_it_had_not_been() {
    let mut stepper = stepper(Fixed::new(3));
    for committed in [false, true] {
        let _ = stepper.plan(&situation(8)).expect("a plan");
        let _ = stepper.judge(drafted(1, 0.9), false).expect("kept");
        if committed {
            let _ = stepper.commit(&ending(1, Some(2))).expect("an outcome");
        }
        stepper.abandon();
        assert_eq!((stepper.steps(), stepper.kept().len(), stepper.wants_more()), (0, 0, false));
        assert_eq!(stepper.record(), &Default::default());
    }
    assert!(stepper.plan(&situation(8)).is_ok());
}

#[test]
fn a_draft_that_has_more_to_read_than_the_limit_drafts_in_a_later_step() {
    let read = |behind, limit| {
        let mut stepper = stepper(Fixed::new(3));
        let _ = stepper.plan(&Situation { draft_behind: behind, ..situation(8) }).expect("a plan");
        (stepper.read_ahead(limit), stepper.wants_more())
    };
    assert_eq!(read(0, 8), (0, true));
    assert_eq!(read(READ_ALONG, 0), (READ_ALONG, true), "read along with the first token");
    assert_eq!(read(100, 8), (8, false));
    assert_eq!(read(100, usize::MAX), (100, true));
    let mut lookup = stepper(Fixed::from_source(3, Source::NGRAM));
    let _ = lookup.plan(&Situation { draft_behind: 100, ..situation(8) }).expect("a plan");
    assert_eq!((lookup.read_ahead(8), lookup.wants_more()), (0, true), "the model does not draft");
}

#[test]
fn a_sequence_is_expected_to_do_what_it_did_unless_it_has_decided() {
    let mut stepper = stepper(Fixed::new(3));
    assert_eq!(stepper.expected(), Expected { verifies: 0, drafts: true }, "before the first step");
    let _ = stepper.plan(&situation(0)).expect("a plan");
    assert!(!stepper.expected().drafts, "it has decided not to");
    let _ = stepper.finish(&ending(0, Some(1)), Times::default()).expect("a step");
    let _ = stepper.plan(&situation(8)).expect("a plan");
    for token in 0..3 {
        let _ = stepper.judge(drafted(token, 0.9), false).expect("kept");
    }
    let _ = stepper.finish(&ending(0, Some(1)), Times::default()).expect("a step");
    assert_eq!(stepper.expected(), Expected { verifies: 3, drafts: true });
    let member = |rows, expected| Some(Member { rows, expected });
    let members = [member(1, stepper.expected()), None, member(40, Expected::READING)].into_iter();
    let pass = shared_pass(members.clone(), 2);
    assert_eq!((pass.sequences, pass.rows), (2, 41));
    assert_eq!((pass.drafted_beside, pass.drafting_beside), (3, 1));
    let pass = shared_pass(members, 0);
    assert_eq!((pass.drafted_beside, pass.drafting_beside), (0, 1));
}

/// Every controller, driven by the records of an engine, plans and judges as it did inside the
/// engine: what a caller does with [`Stepper`] is what the engine does with it.
#[test]
fn a_stepper_takes_the_very_steps_of_the_engine() {
    for (controller, twin) in every_controller().into_iter().zip(every_controller()) {
        let name = controller.name();
        let target =
            SimModel::new(SimSettings { vocab_size: 40, seed: 11, ..SimSettings::default() });
        let draft = target.draft(Difference::Share { agreement: 0.8 });
        let drafter: Box<dyn Drafter> = Box::new(ModelDrafter::new(Arc::new(draft), 40));
        let mut engine = Engine::new(Arc::new(target), drafter);
        engine.set_clock(Clock::Virtual(VirtualTime::new())); // stands still
        let settings = SequenceSettings {
            prompt: PROMPT.to_vec(),
            sampling: SamplingSettings::default(),
            end_tokens: vec![],
            max_tokens: MAX_TOKENS,
            controller,
        };
        let mut sequence = engine.sequence(settings).expect("a sequence");
        let mut stepper = Stepper::new(twin);
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).expect("a step");
            let record = sequence.record();
            let Before { context, draft_behind, gamma_limit, plan, .. } = record.before;
            let remaining = MAX_TOKENS + PROMPT.len() - context;
            let here = Situation { draft_behind, context, remaining, ..situation(gamma_limit) };
            let planned = stepper.plan(&here).expect("a plan");
            assert_eq!(
                (planned.gamma, planned.source),
                (plan.gamma.min(gamma_limit), plan.source),
                "{name}"
            );
            for next in &record.drafted {
                let _ =
                    stepper.judge(*next, false).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            assert!(!stepper.wants_more(), "{name} would have gone on");
            assert_eq!(stepper.kept().len(), record.outcome.verified, "{name}");
            let branch = stepper.sibling(1).expect("a step under way");
            assert_eq!(branch.tokens, record.branch.tokens, "{name}");
            let end = ending(record.outcome.accepted, record.tokens.last().copied());
            let end = Ending { branch: record.branch.accepted, ..end };
            let mine = stepper.finish(&end, record.times).expect("a step");
            assert_eq!(mine, record, "{name}");
        }
    }
}
