//! Greedy output equals plain decoding, token for token, whatever drafts and however far.

use std::sync::Arc;

use proptest::prelude::*;
use speckv::{
    conformance::decode_plainly,
    controller::{Beside, Controller, Fixed, Plan, Situation, Verdict},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Engine, FinishReason, SequenceSettings},
    record::{Last, Source},
    sampling::{Randomness, SamplingSettings},
    signals::Signals,
    sim::{Difference, SimModel, SimSettings},
    token::Token,
};

fn drafter(
    kind: usize,
    target: &SimModel,
    difference: Difference,
    vocab_size: usize,
) -> Box<dyn Drafter> {
    let model = || ModelDrafter::new(Arc::new(target.draft(difference)), vocab_size);
    let parallel = || {
        let draft = target.draft(difference).with_mask(0);
        ModelDrafter::new(Arc::new(draft), vocab_size).with_masks(vec![0]).unwrap()
    };
    match kind {
        0 => Box::new(NoDrafter::new()),
        1 => Box::new(NgramDrafter::default()),
        2 => Box::new(model()),
        4 => Box::new(parallel()),
        5 => Box::new(Both::new(NgramDrafter::default(), parallel())),
        _ => Box::new(Both::new(NgramDrafter::default(), model())),
    }
}

/// A constant gamma; of the kinds of drafters that can, from one pass.
fn fixed(gamma: usize, kind: usize) -> Box<dyn Controller> {
    match kind {
        4.. => Box::new(Fixed::from_source(gamma, Source::PARALLEL)),
        _ => Box::new(Fixed::new(gamma)),
    }
}

/// Plans and judges at random.
struct Whim(Randomness);

impl Controller for Whim {
    fn name(&self) -> String {
        "whim".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        let sources = [Source::MODEL, Source::NGRAM, Source::PARALLEL];
        let source = sources[(self.0.uniform() * 3.0) as usize];
        Plan { gamma: (self.0.uniform() * 20.0) as usize, source }
    }

    fn beside(&mut self) -> usize {
        (self.0.uniform() * 8.0) as usize
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        (self.0.uniform() * (beside.available + 1) as f64) as usize
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let place = (self.0.uniform() * (signals.len() + 1) as f64) as usize;
        Some(place) // of one more than there are: then there is none
    }

    fn judge(&mut self, _: &[Signals]) -> Verdict {
        match self.0.uniform() {
            u if u < 0.1 => Verdict::Drop,
            u if u < 0.2 => Verdict::Verify,
            _ => Verdict::Continue,
        }
    }
}

fn difference() -> impl Strategy<Value = Difference> {
    prop_oneof![
        (0.0..=1.0).prop_map(|agreement| Difference::Share { agreement }),
        Just(Difference::Share { agreement: 1.0 }),
        (0.0_f32..=1.0).prop_map(|weight| Difference::Blend { weight }),
        Just(Difference::Opposed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn greedy_output_equals_plain_decoding(
        seed in 0_u64..1000,
        vocab_size in 1_usize..40,
        order in prop_oneof![Just(1), Just(2), Just(usize::MAX)],
        gamma in prop_oneof![(0_usize..=16).prop_map(Some), Just(Some(1000)), Just(None)],
        kind in 0_usize..6,
        difference in difference(),
        prompt in prop::collection::vec(0_u32..1000, 1..20),
        max_tokens in 1_usize..60,
    ) {
        let target = SimModel::new(SimSettings { vocab_size, context_length: 70, order, seed, sharpness: 3.0 });
        let prompt: Vec<Token> = prompt.into_iter().map(|token| token % vocab_size as Token).collect();
        let room = max_tokens.min(70 - prompt.len());
        let expected = decode_plainly(&target, &prompt, room).unwrap();
        let mut engine = Engine::new(Arc::new(target.clone()), drafter(kind, &target, difference, vocab_size));
        let controller: Box<dyn Controller> = match gamma {
            Some(gamma) => fixed(gamma, kind),
            None => Box::new(Whim(Randomness::new(seed))),
        };
        let sampling = SamplingSettings::default();
        let mut sequence = engine.sequence(SequenceSettings { prompt, sampling, end_tokens: vec![], max_tokens, controller }).unwrap();
        let got: Vec<Token> = engine.generate(&mut sequence).map(Result::unwrap).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(sequence.finish_reason(), Some(FinishReason::Length));
        prop_assert_eq!(sequence.totals().produced, room);
    }

    #[test]
    fn with_a_repetition_penalty_greedy_output_is_still_that_of_plain_decoding(
        seed in 0_u64..1000,
        penalty in 0.7_f32..2.0,
        window in prop_oneof![Just(0_usize), 1_usize..12],
        gamma in 1_usize..=16,
        kind in 1_usize..6,
    ) {
        let target = SimModel::new(SimSettings { vocab_size: 10, order: 2, seed, ..SimSettings::default() });
        let sampling = SamplingSettings { repetition_penalty: penalty, repetition_window: window, ..SamplingSettings::default() };
        let run = |gamma: usize, kind: usize| {
            let drafter = drafter(kind, &target, Difference::Share { agreement: 0.8 }, 10);
            let mut engine = Engine::new(Arc::new(target.clone()), drafter);
            let controller = fixed(gamma, kind);
            let settings = SequenceSettings { prompt: vec![1, 2, 3], sampling: sampling.clone(), end_tokens: vec![], max_tokens: 60, controller };
            let mut sequence = engine.sequence(settings).unwrap();
            engine.generate(&mut sequence).map(Result::unwrap).collect::<Vec<Token>>()
        };
        prop_assert_eq!(run(gamma, kind), run(0, 0));
    }

    #[test]
    fn sequences_stepped_together_say_what_each_says_alone(seed in 0_u64..1000, kind in 0_usize..6, gammas in prop::collection::vec(0_usize..6, 4)) {
        let target = SimModel::new(SimSettings { vocab_size: 16, order: 3, seed, ..SimSettings::default() });
        for temperature in [0.0, 0.9] {
            let settings = |index: usize| SequenceSettings {
                prompt: (0..=index as Token * 3).map(|i| (i * 7 + index as Token) % 16).collect(),
                sampling: SamplingSettings { temperature, seed: index as u64, ..SamplingSettings::default() },
                end_tokens: vec![5],
                max_tokens: 20 + 5 * index,
                controller: fixed(gammas[index], if index == 0 { 2 } else { kind }),
            };
            let engine = || Engine::new(Arc::new(target.clone()), drafter(kind, &target, Difference::Share { agreement: 0.7 }, 16));
            let alone: Vec<_> = (0..4).map(|index| {
                let mut engine = engine();
                let mut sequence = engine.sequence(settings(index)).unwrap();
                while sequence.finish_reason().is_none() {
                    engine.step(&mut [&mut sequence]).unwrap();
                }
                (sequence.tokens().to_vec(), sequence.finish_reason(), sequence.totals().steps, sequence.totals().accepted)
            }).collect();
            let mut engine = engine();
            let mut sequences: Vec<_> = (0..4).map(|index| engine.sequence(settings(index)).unwrap()).collect();
            while sequences.iter().any(|sequence| sequence.finish_reason().is_none()) {
                engine.step(&mut sequences.iter_mut().collect::<Vec<_>>()).unwrap();
            }
            let together: Vec<_> = sequences.iter()
                .map(|s| (s.tokens().to_vec(), s.finish_reason(), s.totals().steps, s.totals().accepted)).collect();
            prop_assert_eq!(together, alone);
        }
    }
}

/// Drafts with the model, and has look-up say up to five tokens beside it.
struct WithBranch(usize);

impl Controller for WithBranch {
    fn name(&self) -> String {
        "with-branch".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::model(self.0)
    }

    fn beside(&mut self) -> usize {
        5
    }

    fn branch(&mut self, beside: &Beside) -> usize {
        assert!(beside.at <= beside.kept && beside.available > 0);
        beside.available
    }
}

#[test]
fn branches_are_accepted_where_look_up_knows_better_and_change_no_token() {
    let (mut beside, mut after) = (0, 0);
    for gamma in 1..=4 {
        let settings =
            SimSettings { vocab_size: 30, context_length: 300, order: 1, ..SimSettings::default() };
        let target = SimModel::new(settings);
        let expected = decode_plainly(&target, &[1, 2, 3], 200).unwrap();
        let drafter = drafter(3, &target, Difference::Share { agreement: 0.5 }, 30);
        let mut engine = Engine::new(Arc::new(target), drafter);
        let controller = Box::new(WithBranch(gamma));
        let mut sequence = engine
            .sequence(SequenceSettings {
                prompt: vec![1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: 200,
                controller,
            })
            .unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
            let record = sequence.record();
            let branch = &record.branch;
            assert_eq!(
                record.tokens.len(),
                record.outcome.accepted + branch.accepted + 1,
                "no token of it ends the text"
            );
            match branch.at == record.outcome.verified {
                true => after += branch.accepted,
                false => beside += branch.accepted,
            }
        }
        assert_eq!(&sequence.tokens()[3..], expected, "gamma {gamma}");
    }
    assert!(beside > 20 && after > 20, "{beside} beside, {after} after");
}

/// Drafts with the model, and has its second choice verified where it is least sure.
struct WithSibling(usize, Source);

impl Controller for WithSibling {
    fn name(&self) -> String {
        "with-sibling".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan { gamma: self.0, source: self.1 }
    }

    fn sibling(&mut self, signals: &[Signals]) -> Option<usize> {
        let margin = |place: &usize| signals[*place].margin;
        (0..signals.len()).min_by(|a, b| margin(a).total_cmp(&margin(b)))
    }
}

#[test]
fn siblings_are_accepted_where_the_draft_is_wrong_and_change_no_token() {
    let settings = SimSettings { vocab_size: 30, context_length: 300, ..SimSettings::default() };
    let target = SimModel::new(settings);
    let expected = decode_plainly(&target, &[1, 2, 3], 200).unwrap();
    for (kind, source) in [(2, Source::MODEL), (5, Source::PARALLEL)] {
        let (mut accepted, mut bonus) = (0, 0);
        for gamma in 1..=5 {
            let drafter = drafter(kind, &target, Difference::Blend { weight: 0.35 }, 30);
            let mut engine = Engine::new(Arc::new(target.clone()), drafter);
            let settings = SequenceSettings {
                prompt: vec![1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: 200,
                controller: Box::new(WithSibling(gamma, source)),
            };
            let mut sequence = engine.sequence(settings).unwrap();
            while sequence.finish_reason().is_none() {
                engine.step(&mut [&mut sequence]).unwrap();
                let record = sequence.record();
                let (branch, outcome) = (&record.branch, &record.outcome);
                assert_eq!(branch.tokens.len(), usize::from(outcome.verified > 0));
                assert_eq!(branch.sibling, outcome.verified > 0);
                assert_eq!(outcome.produced, outcome.accepted + branch.accepted + 1);
                if let Some(second) = branch.tokens.first() {
                    assert_eq!(Some(second.token), record.drafted[branch.at].second);
                }
                if outcome.accepted == outcome.verified && outcome.verified > 0 {
                    assert_eq!(outcome.last, Last::Bonus, "the sibling is not needed");
                    bonus += 1;
                }
            }
            assert_eq!(&sequence.tokens()[3..], expected, "gamma {gamma}, {source}");
            let totals = sequence.totals();
            assert!(totals.siblings >= totals.siblings_accepted);
            accepted += totals.siblings_accepted;
        }
        assert!(accepted > 40 && bonus > 40, "{source}: {accepted} accepted, {bonus} not needed");
    }
}

#[test]
fn one_pass_of_a_parallel_draft_proposes_what_several_passes_of_it_do() {
    // The mask is no token of any text.
    let settings = SimSettings { vocab_size: 50, order: 4, ..SimSettings::default() };
    let target = SimModel::new(settings).without(50, 49);
    let run = |source: Source| {
        let draft = target.draft(Difference::Share { agreement: 0.8 }).with_mask(49);
        let model = ModelDrafter::new(Arc::new(draft), 50).with_masks(vec![49]).unwrap();
        let mut engine = Engine::new(Arc::new(target.clone()), Box::new(model));
        let mut sequence = engine
            .sequence(SequenceSettings {
                prompt: vec![1, 2, 3],
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: 200,
                controller: Box::new(Fixed::from_source(5, source)),
            })
            .unwrap();
        let mut drafted = Vec::new();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
            let block = sequence.record().before.block;
            assert_eq!(
                block > 0,
                source == Source::PARALLEL && !sequence.record().drafted.is_empty()
            );
            drafted.push(sequence.record().drafted.clone());
        }
        assert!(sequence.totals().acceptance_length().unwrap() > 2.5);
        drafted
    };
    let (one, several) = (run(Source::PARALLEL), run(Source::MODEL));
    let at = one.iter().zip(&several).take_while(|(one, several)| one == several).count();
    assert!(one == several, "step {at}: {:?}, {:?}", one.get(at), several.get(at));
}

#[test]
fn a_draft_that_agrees_is_accepted_and_one_that_does_not_is_not() {
    for (agreement, expected) in [(1.0, 1.0), (0.0, 0.0)] {
        let target = SimModel::new(SimSettings { vocab_size: 500, ..SimSettings::default() });
        let drafter = drafter(2, &target, Difference::Share { agreement }, 500);
        let mut engine = Engine::new(Arc::new(target), drafter);
        let controller = Box::new(Fixed::new(4));
        let sampling = SamplingSettings::default();
        let settings = SequenceSettings {
            prompt: vec![1],
            sampling,
            end_tokens: vec![],
            max_tokens: 200,
            controller,
        };
        let mut sequence = engine.sequence(settings).unwrap();
        assert_eq!(engine.generate(&mut sequence).count(), 200);
        let rate = sequence.totals().acceptance_rate().unwrap();
        assert!((rate - expected).abs() < 0.05, "acceptance rate {rate} at agreement {agreement}");
    }
}
