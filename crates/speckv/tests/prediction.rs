//! A predicted text is drafted from, and changes nothing but the time.

use std::sync::Arc;

use speckv::{
    conformance::{check_drafter, decode_plainly, joint_distribution, statistics::GoodnessOfFit},
    controller::{Controller, Fixed},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter},
    engine::{Engine, SequenceSettings, Totals},
    record::Source,
    sampling::{Randomness, SamplingSettings},
    sim::{Difference, SimModel, SimSettings},
    token::Token,
};

const PROMPT: [Token; 4] = [4, 1, 3, 2];

fn target(vocab_size: usize) -> SimModel {
    SimModel::new(SimSettings { vocab_size, seed: 5, ..SimSettings::default() })
}

fn lookup(gamma: usize) -> Box<dyn Controller> {
    Box::new(Fixed::from_source(gamma, Source::NGRAM))
}

/// The text after `PROMPT`, and what its steps did.
fn decode(
    engine: &mut Engine<SimModel>,
    prediction: &[Token],
    controller: Box<dyn Controller>,
) -> (Vec<Token>, Totals) {
    let settings = SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: 60,
        controller,
    };
    let mut sequence = engine.sequence(settings).expect("a sequence");
    engine.predict(&sequence, prediction);
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).expect("a step");
    }
    let outcome = (sequence.tokens()[PROMPT.len()..].to_vec(), sequence.totals().clone());
    engine.close(sequence);
    outcome
}

#[test]
fn greedy_output_is_plain_decodings_whatever_is_predicted() {
    let target = target(1000);
    let expected = decode_plainly(&target, &PROMPT, 60).expect("plain decoding");
    let mut changed = expected.clone();
    for place in [7, 20, 33, 34, 50] {
        changed[place] = 999;
    }
    let nonsense: Vec<Token> = (0..200).map(|number| number % 7).collect();
    let beyond = [expected.clone(), nonsense.clone()].concat();
    let model =
        || ModelDrafter::new(Arc::new(target.draft(Difference::Share { agreement: 0.6 })), 1000);
    for gamma in [1, 4, 9] {
        let drafters: [Box<dyn Drafter>; 2] = [
            Box::new(NgramDrafter::default()),
            Box::new(Both::new(NgramDrafter::default(), model())),
        ];
        for drafter in drafters {
            let mut engine = Engine::new(Arc::new(target.clone()), drafter);
            for prediction in [&expected, &changed, &nonsense, &beyond, &vec![]] {
                let (made, _) = decode(&mut engine, prediction, lookup(gamma));
                assert_eq!(made, expected, "gamma {gamma}, predicted {prediction:?}");
            }
        }
    }
}

#[test]
fn a_right_prediction_is_accepted_from_the_first_token_on() {
    let target = target(1000);
    let expected = decode_plainly(&target, &PROMPT, 60).expect("plain decoding");
    let mut engine = Engine::new(Arc::new(target), Box::new(NgramDrafter::default()));
    let (_, totals) = decode(&mut engine, &expected, lookup(9));
    assert_eq!((totals.accepted, totals.steps), (54, 6), "{totals:?}");
    let (_, without) = decode(&mut engine, &[], lookup(9));
    assert!(without.accepted < 10, "the slot is used again, without the prediction: {without:?}");
}

#[test]
fn a_prediction_belongs_to_one_sequence_until_it_is_renewed() {
    let target = target(1000);
    let expected = decode_plainly(&target, &PROMPT, 60).expect("plain decoding");
    let mut engine = Engine::new(Arc::new(target), Box::new(NgramDrafter::default()));
    let settings = || SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens: 30,
        controller: lookup(5),
    };
    let mut one = engine.sequence(settings()).expect("a sequence");
    let mut other = engine.sequence(settings()).expect("a sequence");
    engine.predict(&one, &expected);
    for _ in 0..3 {
        engine.step(&mut [&mut one, &mut other]).expect("a step");
    }
    assert_eq!((one.totals().accepted, other.totals().drafted), (15, 0));
    engine.renew(&mut one, settings()).expect("another text");
    engine.step(&mut [&mut one]).expect("a step");
    assert_eq!(one.totals().drafted, 0);
}

/// As in `sampling.rs`: 20,000 texts, a significance of 1e-6, a power of 0.99 for distances of
/// 0.05.
#[test]
fn samples_have_the_targets_distribution_with_a_prediction() {
    const VOCAB: usize = 5;
    let target = SimModel::new(SimSettings {
        vocab_size: VOCAB,
        order: 2,
        sharpness: 1.2,
        seed: 11,
        ..SimSettings::default()
    });
    let plain = SamplingSettings { temperature: 1.0, ..SamplingSettings::default() };
    for sampling in [
        plain.clone(),
        SamplingSettings { temperature: 1.4, top_p: 0.8, repetition_penalty: 1.3, ..plain },
    ] {
        for prediction in [[0, 1, 2, 3, 4, 0], [3, 3, 3, 3, 3, 3]] {
            let expected = joint_distribution(&target, &PROMPT, &sampling, 3).expect("a table");
            let mut engine =
                Engine::new(Arc::new(target.clone()), Box::new(NgramDrafter::default()));
            let mut sequence = engine
                .sequence(SequenceSettings {
                    prompt: PROMPT.to_vec(),
                    sampling: sampling.clone(),
                    end_tokens: vec![],
                    max_tokens: 9,
                    controller: lookup(3),
                })
                .expect("a sequence");
            engine.predict(&sequence, &prediction);
            let mut fit = GoodnessOfFit::new(expected);
            for seed in 0..20_000 {
                sequence.rewind(PROMPT.len());
                *sequence.randomness_mut() = Randomness::new(seed);
                while sequence.generated() < 3 {
                    engine.step(&mut [&mut sequence]).expect("a step");
                }
                let made = &sequence.tokens()[PROMPT.len()..PROMPT.len() + 3];
                fit.add(made.iter().fold(0, |cell, &token| cell * VOCAB + token as usize));
            }
            assert!(sequence.totals().drafted > 20_000, "{:?}", sequence.totals());
            assert!(fit.detectable_distance() < 0.05, "power: {}", fit.detectable_distance());
            fit.check().unwrap_or_else(|error| panic!("{prediction:?}, {sampling:?}: {error}"));
        }
    }
}

/// A prediction for every slot that is opened.
struct Predicting(NgramDrafter);

mod predicting {
    use speckv::{
        controller::Lookup,
        draft::{Ask, DraftError, Drafter, Slot},
        token::Token,
    };

    impl Drafter for super::Predicting {
        fn open(&mut self) -> Result<Slot, DraftError> {
            let slot = self.0.open()?;
            self.0.predict(slot, &[0, 1], &[2, 1, 0, 2, 2, 1, 1, 0, 0, 1, 2]);
            Ok(slot)
        }

        fn close(&mut self, slot: Slot) {
            self.0.close(slot);
        }

        fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
            self.0.lookup(slot, tokens)
        }

        fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
            self.0.propose(asks)
        }

        fn truncate(&mut self, slot: Slot, len: usize) {
            self.0.truncate(slot, len);
        }
    }
}

#[test]
fn look_up_with_a_prediction_is_a_drafter() {
    check_drafter(&mut Predicting(NgramDrafter::default()), 40).expect("a drafter");
}
