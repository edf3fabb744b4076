//! Constrained decoding: greedy output equals plain constrained decoding, and samples have the
//! target's distribution, renormalized over what is allowed.
//!
//! The chi-square tests draw 20,000 texts each, at a significance of 1e-6; any total variation
//! distance of 0.05 or more is found with probability at least 0.99 (asserted below). Broken
//! constraints fail the same tests.

use std::sync::Arc;

use proptest::prelude::*;
use speckv::{
    conformance::{check_constraint, statistics::GoodnessOfFit},
    controller::{Controller, Fixed, Off, Plan, Situation, Verdict},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Engine, FinishReason, ReadLimits, SequenceSettings},
    model::{Feed, LanguageModel, PassOutput},
    record::Source,
    sampling::{
        Chain, Constraint, ConstraintError, Distribution, Randomness, SamplingSettings, TokenSet,
    },
    signals::Signals,
    sim::{Difference, SimConstraint, SimModel, SimSettings},
    token::Token,
};

fn drafter(
    kind: usize,
    target: &SimModel,
    difference: Difference,
    vocab: usize,
) -> Box<dyn Drafter> {
    let model = || ModelDrafter::new(Arc::new(target.draft(difference)), vocab);
    match kind {
        0 => Box::new(NoDrafter::new()),
        1 => Box::new(NgramDrafter::default()),
        2 => Box::new(model()),
        _ => Box::new(Both::new(NgramDrafter::default(), model())),
    }
}

/// Plans and judges at random.
struct Whim(Randomness);

impl Controller for Whim {
    fn name(&self) -> String {
        "whim".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        let source = if self.0.uniform() < 0.5 { Source::MODEL } else { Source::NGRAM };
        Plan { gamma: (self.0.uniform() * 12.0) as usize, source }
    }

    fn judge(&mut self, _: &[Signals]) -> Verdict {
        match self.0.uniform() {
            u if u < 0.1 => Verdict::Drop,
            u if u < 0.2 => Verdict::Verify,
            _ => Verdict::Continue,
        }
    }
}

/// Greedy constrained decoding without engine, chain or masks: the likeliest allowed token, one
/// pass per token.
fn decode_constrained(
    model: &SimModel,
    prompt: &[Token],
    mut constraint: SimConstraint,
    end: Option<Token>,
    most: usize,
) -> Vec<Token> {
    let (mut cache, mut output) = (model.new_cache().unwrap(), model.new_output());
    let (mut text, mut read) = (prompt.to_vec(), 0);
    for _ in 0..most {
        model.forward(&mut [Feed::new(&mut cache, &text[read..], 1)], &mut output).unwrap();
        read = text.len();
        let logits = output.logits(0).unwrap();
        let mut best = constraint.choices()[0];
        for token in constraint.choices() {
            if logits[token as usize] > logits[best as usize] {
                best = token;
            }
        }
        text.push(best);
        constraint.advance(best).unwrap();
        if Some(best) == end {
            break;
        }
    }
    text.split_off(prompt.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn greedy_output_equals_plain_constrained_decoding(
        seed in 0_u64..1000,
        vocab in 2_usize..40,
        gamma in prop_oneof![(0_usize..=12).prop_map(Some), Just(Some(1000)), Just(None)],
        kind in 0_usize..4,
        agreement in 0.0..=1.0,
        prompt in prop::collection::vec(0_u32..1000, 1..12),
        max_tokens in 1_usize..50,
        ends in any::<bool>(),
        limited in any::<bool>(),
    ) {
        let target = SimModel::new(SimSettings { vocab_size: vocab, context_length: 60, seed, sharpness: 3.0, ..SimSettings::default() });
        let prompt: Vec<Token> = prompt.into_iter().map(|token| token % vocab as Token).collect();
        let end = ends.then_some(vocab as Token - 1);
        let mut constraint = SimConstraint::new(vocab, seed);
        if let Some(end) = end {
            constraint = constraint.with_end(end);
        }
        let room = max_tokens.min(60 - prompt.len());
        let expected = decode_constrained(&target, &prompt, constraint.clone(), end, room);
        let drafter = drafter(kind, &target, Difference::Share { agreement }, vocab);
        let mut engine = Engine::new(Arc::new(target), drafter);
        let controller: Box<dyn Controller> = match gamma {
            Some(0) => Box::new(Off),
            Some(gamma) => Box::new(Fixed::new(gamma)),
            None => Box::new(Whim(Randomness::new(seed))),
        };
        let mut sequence = engine.sequence(SequenceSettings {
            prompt: prompt.clone(),
            sampling: SamplingSettings::default(),
            end_tokens: end.into_iter().collect(),
            max_tokens,
            controller,
        }).unwrap();
        if limited {
            sequence.set_read_limits(ReadLimits { target: 3, draft: 40 });
        }
        sequence.constrain(Some(Box::new(constraint)));
        let mut recorded = Vec::new();
        while sequence.finish_reason().is_none() {
            let before = sequence.tokens().len();
            engine.step(&mut [&mut sequence]).unwrap();
            if sequence.tokens().len() > before {
                let record = sequence.record();
                prop_assert_eq!(&sequence.tokens()[before..], &record.tokens[..]);
                prop_assert_eq!(record.outcome.produced, record.tokens.len());
                let own = record.tokens.len() - record.forced.places.len();
                prop_assert!(own <= record.outcome.accepted + 1);
                recorded.extend_from_slice(&record.tokens);
            }
        }
        let got = &sequence.tokens()[prompt.len()..];
        prop_assert_eq!(got, &expected[..]);
        prop_assert_eq!(&recorded[..], &expected[..]);
        let stopped = end.is_some() && expected.last().copied() == end;
        prop_assert_eq!(sequence.finish_reason() == Some(FinishReason::Stop), stopped);
        prop_assert_eq!(sequence.generated(), expected.len());
        // A forced text longer than the read limit is read before a step decides, as a prompt is.
        let read = sequence.totals().prompt_tokens;
        let most = prompt.len() - 1 + if limited { sequence.totals().forced } else { 0 };
        prop_assert!((prompt.len() - 1..=most).contains(&read), "{read} of at most {most}");
        if gamma == Some(0) {
            prop_assert_eq!(sequence.totals().forced, 0);
            prop_assert_eq!(sequence.totals().steps, expected.len());
        }
    }
}

const SAMPLES: u64 = 20_000;
const VOCAB: usize = 5;
const PROMPT: [Token; 8] = [0, 1, 2, 0, 1, 3, 0, 1];

fn target() -> SimModel {
    SimModel::new(SimSettings {
        vocab_size: VOCAB,
        order: 2,
        sharpness: 1.2,
        seed: 11,
        ..SimSettings::default()
    })
}

/// The joint distribution of the next tokens: the unconstrained one, renormalized at each position
/// over what is allowed. Right for settings without filters.
fn joint(model: &SimModel, sampling: &SamplingSettings, depth: usize, seed: u64) -> Vec<f64> {
    let mut chain = Chain::new(sampling.clone()).unwrap();
    chain.begin(PROMPT.len(), &[]);
    let mut level = vec![(PROMPT.to_vec(), SimConstraint::new(VOCAB, seed), 1.0)];
    for _ in 0..depth {
        let mut next = Vec::new();
        for (text, constraint, weight) in level {
            let (mut distribution, mut output) = (Distribution::new(), model.new_output());
            let mut cache = model.new_cache().unwrap();
            model.forward(&mut [Feed::new(&mut cache, &text, 1)], &mut output).unwrap();
            chain.fill(output.logits(0).unwrap(), &text, &mut distribution).unwrap();
            let p = |token| f64::from(distribution.probability(token));
            let choices = constraint.choices();
            let allowed: f64 = choices.iter().map(|&token| p(token)).sum();
            for token in 0..VOCAB as Token {
                let longer = text.iter().copied().chain([token]).collect();
                let mut after = constraint.clone();
                let share = if after.advance(token).is_ok() { p(token) / allowed } else { 0.0 };
                next.push((longer, after, weight * share));
            }
        }
        level = next;
    }
    level.into_iter().map(|(_, _, weight)| weight).collect()
}

fn sample(
    drafter: Box<dyn Drafter>,
    controller: Box<dyn Controller>,
    sampling: &SamplingSettings,
    constraint: Box<dyn Constraint>,
    seed: u64,
) -> Result<GoodnessOfFit, String> {
    const DEPTH: usize = 4;
    let mut engine = Engine::new(Arc::new(target()), drafter);
    let mut sequence = engine
        .sequence(SequenceSettings {
            prompt: PROMPT.to_vec(),
            sampling: sampling.clone(),
            end_tokens: vec![],
            max_tokens: DEPTH + 6,
            controller,
        })
        .unwrap();
    sequence.constrain(Some(constraint));
    let mut fit = GoodnessOfFit::new(joint(&target(), sampling, DEPTH, seed));
    for seed in 0..SAMPLES {
        sequence.rewind(PROMPT.len());
        *sequence.randomness_mut() = Randomness::new(seed);
        while sequence.generated() < DEPTH {
            engine.step(&mut [&mut sequence]).map_err(|error| error.to_string())?;
        }
        let made = &sequence.tokens()[PROMPT.len()..PROMPT.len() + DEPTH];
        fit.add(made.iter().fold(0, |cell, &token| cell * VOCAB + token as usize));
    }
    Ok(fit)
}

fn settings() -> [SamplingSettings; 3] {
    let plain = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
    [
        plain.clone(),
        SamplingSettings { temperature: 0.7, repetition_penalty: 1.4, ..plain.clone() },
        SamplingSettings {
            frequency_penalty: 0.7,
            presence_penalty: -0.4,
            logit_bias: vec![(1, 0.8), (3, -1.0)],
            ..plain
        },
    ]
}

#[test]
fn samples_have_the_targets_distribution_over_what_is_allowed() {
    for sampling in settings() {
        for (kind, difference) in [
            (0, Difference::Opposed),
            (1, Difference::Opposed),
            (2, Difference::Blend { weight: 0.4 }),
            (2, Difference::Opposed),
            (3, Difference::Share { agreement: 0.5 }),
        ] {
            for (seed, gamma) in [(3, 3), (8, 0), (9, 1)] {
                let controller: Box<dyn Controller> = match (gamma, kind) {
                    (0, _) => Box::new(Whim(Randomness::new(1))),
                    (_, 1) => Box::new(Fixed::from_source(gamma, Source::NGRAM)),
                    _ => Box::new(Fixed::new(gamma)),
                };
                let drafter = drafter(kind, &target(), difference, VOCAB);
                let constraint = Box::new(SimConstraint::new(VOCAB, seed));
                let fit = sample(drafter, controller, &sampling, constraint, seed).unwrap();
                assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
                fit.check().unwrap_or_else(|error| {
                    panic!("drafter {kind}, {difference:?}, {gamma}, {sampling:?}: {error}")
                });
            }
        }
    }
}

/// A constraint with a mistake.
struct Broken(SimConstraint, Mistake);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mistake {
    Rollback,
    Forced,
    Set,
}

impl Constraint for Broken {
    fn advance(&mut self, token: Token) -> Result<(), ConstraintError> {
        self.0.advance(token)
    }

    fn rollback(&mut self, count: usize) -> Result<(), ConstraintError> {
        self.0.rollback(if self.1 == Mistake::Rollback { count.saturating_sub(1) } else { count })
    }

    fn is_allowed(&mut self, token: Token) -> Result<bool, ConstraintError> {
        self.0.is_allowed(token)
    }

    fn allowed(&mut self, set: &mut TokenSet) -> Result<bool, ConstraintError> {
        self.0.allowed(set)?;
        if self.1 == Mistake::Set {
            let choices = self.0.choices();
            let kept = choices.len().min(2);
            *set = choices[..kept].iter().copied().collect();
        }
        Ok(true)
    }

    fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
        let first = self.0.choices().first().copied();
        if self.1 == Mistake::Forced { Ok(first) } else { self.0.forced() }
    }
}

#[test]
fn every_broken_constraint_fails_the_same_test_and_the_conformance_suite() {
    for mistake in [Mistake::Rollback, Mistake::Forced, Mistake::Set] {
        let broken = move || Box::new(Broken(SimConstraint::new(VOCAB, 8), mistake));
        let drafter = drafter(2, &target(), Difference::Opposed, VOCAB);
        let fit = sample(drafter, Box::new(Fixed::new(3)), &settings()[0], broken(), 8);
        assert!(fit.and_then(|fit| fit.check()).is_err(), "{mistake:?} was not seen");
        let make = move || broken() as Box<dyn Constraint>;
        let checked = (0..20).try_for_each(|seed| check_constraint(&make, VOCAB, &[], seed, 60));
        assert!(checked.is_err(), "{mistake:?} passed the conformance suite");
    }
}

#[test]
fn a_simulated_constraint_is_one() {
    for seed in 0..50 {
        let make = || Box::new(SimConstraint::new(20, seed).with_end(19)) as Box<dyn Constraint>;
        check_constraint(&make, 20, &[19], seed, 100).unwrap();
    }
}

#[test]
fn a_constraint_that_fails_ends_its_own_sequence_only() {
    struct Fails;
    impl Constraint for Fails {
        fn advance(&mut self, _: Token) -> Result<(), ConstraintError> {
            Ok(())
        }
        fn rollback(&mut self, _: usize) -> Result<(), ConstraintError> {
            Ok(())
        }
        fn is_allowed(&mut self, _: Token) -> Result<bool, ConstraintError> {
            Err(ConstraintError::new("too complex"))
        }
        fn allowed(&mut self, _: &mut TokenSet) -> Result<bool, ConstraintError> {
            Err(ConstraintError::new("too complex"))
        }
        fn forced(&mut self) -> Result<Option<Token>, ConstraintError> {
            Ok(None)
        }
    }
    let drafter = drafter(2, &target(), Difference::Opposed, VOCAB);
    let mut engine = Engine::new(Arc::new(target()), drafter);
    let settings = || SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: 8,
        controller: Box::new(Fixed::new(2)),
    };
    let (mut good, mut bad) =
        (engine.sequence(settings()).unwrap(), engine.sequence(settings()).unwrap());
    bad.constrain(Some(Box::new(Fails)));
    let error = engine.step(&mut [&mut good, &mut bad]).unwrap_err();
    assert!(error.to_string().contains("sequence 1 of the step"), "{error}");
    assert_eq!(good.tokens(), PROMPT);
    engine.step(&mut [&mut good]).unwrap();
    assert!(good.generated() > 0);
}

#[test]
fn no_end_token_comes_before_min_tokens_and_biases_count() {
    let model = target();
    let run = |sampling: SamplingSettings, end: Vec<Token>| {
        let mut engine = Engine::new(Arc::new(model.clone()), Box::new(NgramDrafter::default()));
        let mut sequence = engine
            .sequence(SequenceSettings {
                prompt: PROMPT.to_vec(),
                sampling,
                end_tokens: end,
                max_tokens: 12,
                controller: Box::new(Fixed::from_source(3, Source::NGRAM)),
            })
            .unwrap();
        while sequence.finish_reason().is_none() {
            engine.step(&mut [&mut sequence]).unwrap();
        }
        sequence.tokens()[PROMPT.len()..].to_vec()
    };
    let free = run(SamplingSettings::default(), vec![]);
    let first = free[0];
    assert_eq!(run(SamplingSettings::default(), vec![first]), [first]);
    let late = run(SamplingSettings { min_tokens: 4, ..Default::default() }, vec![first]);
    assert!(late.len() >= 4 && !late[..4].contains(&first), "{late:?}");
    let never = vec![(first, -100.0)];
    let without = run(SamplingSettings { logit_bias: never, ..Default::default() }, vec![]);
    assert!(!without.contains(&first), "{without:?}");
}
