//! Several sequences in one step: reading along, renewal, recovery, and what the controllers are
//! told.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use speckv::{
    conformance::decode_plainly,
    controller::{Controller, Fixed, Plan, Situation},
    cost::SharedPass,
    draft::{Both, Drafter, ModelDrafter, NgramDrafter},
    engine::{Engine, ReadLimits, Sequence, SequenceSettings},
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
    sampling::SamplingSettings,
    sim::{Difference, SimCache, SimModel, SimSettings},
    token::Token,
};

fn sim() -> SimModel {
    SimModel::new(SimSettings { context_length: 400, seed: 5, ..SimSettings::default() })
}

fn drafter(target: &SimModel) -> Box<dyn Drafter> {
    let draft = target.draft(Difference::Share { agreement: 0.7 });
    Box::new(Both::new(NgramDrafter::default(), ModelDrafter::new(Arc::new(draft), 32)))
}

fn settings(prompt: Vec<Token>, max_tokens: usize, gamma: usize) -> SequenceSettings {
    SequenceSettings {
        prompt,
        sampling: SamplingSettings::default(),
        end_tokens: vec![],
        max_tokens,
        controller: Box::new(Fixed::new(gamma)),
    }
}

fn prompt(seed: usize, len: usize) -> Vec<Token> {
    (0..len).map(|i| ((i * 7 + seed * 13 + i * i) % 32) as Token).collect()
}

#[test]
fn a_beginning_that_is_copied_is_as_one_that_was_read_for_target_and_draft() {
    let target = sim();
    let common = prompt(1, 60);
    for gamma in [0, 3] {
        let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
        let mut first = engine.sequence(settings(common.clone(), 8, 3)).unwrap();
        while first.finish_reason().is_none() {
            engine.step(&mut [&mut first]).unwrap();
        }
        let text: Vec<Token> = common.iter().copied().chain(prompt(2, 20)).collect();
        let mut second = engine.sequence(settings(text.clone(), 12, gamma)).unwrap();
        assert_eq!(engine.copy_read(&first, &mut second), 60);
        assert_eq!(engine.copy_read(&first, &mut second), 60, "there is no more to copy");
        engine.step(&mut [&mut second]).unwrap();
        assert_eq!(second.totals().prompt_tokens, 19, "only what is not common is read");
        assert_eq!(second.record().before.draft_behind, 19, "by the draft too");
        while second.finish_reason().is_none() {
            engine.step(&mut [&mut second]).unwrap();
        }
        assert_eq!(second.tokens()[80..], decode_plainly(&target, &text, 12).unwrap());
        assert_eq!(
            first.tokens()[60..],
            decode_plainly(&target, &common, 8).unwrap(),
            "what was copied from is as before"
        );
    }
}

#[test]
fn sequences_that_join_leave_and_read_in_chunks_say_what_they_say_alone() {
    let target = sim();
    for (target_limit, draft_limit) in [(1, 8), (3, 8), (7, 20), (64, 64)] {
        let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
        let mut waiting: Vec<(usize, usize)> =
            vec![(0, 3), (1, 90), (2, 17), (3, 1), (4, 60), (5, 8)];
        let mut running: Vec<(usize, usize, Sequence<SimModel>)> = Vec::new();
        let mut done = 0;
        for step in 0.. {
            if step % 4 == 0
                && let Some((seed, len)) = waiting.pop()
            {
                let mut sequence =
                    engine.sequence(settings(prompt(seed, len), 30 + seed, seed)).unwrap();
                sequence.set_read_limits(ReadLimits { target: target_limit, draft: draft_limit });
                running.push((seed, len, sequence));
            }
            let mut slice: Vec<&mut Sequence<SimModel>> =
                running.iter_mut().map(|(.., sequence)| sequence).collect();
            engine.step(&mut slice).unwrap();
            let pass = engine.last_pass();
            assert!(pass.reading <= pass.sequences * target_limit, "{pass:?}");
            running.retain(|(seed, len, sequence)| {
                assert_eq!(sequence.totals().prompt_tokens + sequence.unread(), len - 1);
                let finished = sequence.finish_reason().is_some();
                if finished {
                    let alone = decode_plainly(&target, &prompt(*seed, *len), 30 + seed).unwrap();
                    assert_eq!(
                        sequence.tokens()[*len..],
                        alone,
                        "prompt {seed}, limit {target_limit}"
                    );
                    done += 1;
                }
                !finished
            });
            if running.is_empty() && waiting.is_empty() {
                break;
            }
            assert!(step < 2000, "no end");
        }
        assert_eq!(done, 6);
    }
}

#[test]
fn a_draft_that_is_far_behind_reads_a_part_per_step_and_drafts_when_it_is_there() {
    let target = sim();
    let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
    let mut sequence = engine.sequence(settings(prompt(1, 101), 20, 4)).unwrap();
    sequence.set_read_limits(ReadLimits { target: 1000, draft: 30 });
    let mut drafted = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
        drafted.push(sequence.record().drafted.len());
    }
    // 100 tokens behind, and one more with every plain step: 30, 60, 90, then the rest.
    assert_eq!(&drafted[..3], [0, 0, 0], "{drafted:?}");
    assert_eq!(drafted[3], 4, "{drafted:?}");
    assert_eq!(sequence.tokens()[101..], decode_plainly(&target, &prompt(1, 101), 20).unwrap());
}

#[test]
fn a_renewed_sequence_is_a_new_one_that_has_read_the_common_beginning() {
    let target = sim();
    let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
    let first = prompt(3, 40);
    let mut sequence = engine.sequence(settings(first.clone(), 10, 4)).unwrap();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
    }
    let mut second = first[..25].to_vec();
    second.extend([31, 30, 29, 28]);
    assert_eq!(sequence.read_of(&second), 25);
    assert_eq!(engine.renew(&mut sequence, settings(second.clone(), 15, 2)).unwrap(), 25);
    assert_eq!((sequence.generated(), sequence.totals().steps, sequence.unread()), (0, 0, 3));
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut sequence]).unwrap();
    }
    assert_eq!(sequence.tokens()[29..], decode_plainly(&target, &second, 15).unwrap());
    assert!(engine.renew(&mut sequence, settings(vec![], 15, 2)).is_err());
    assert_eq!(sequence.tokens().len(), 44, "a refused text changes nothing");
}

/// Panics once when it is told to, in the middle of a step.
struct Shaky {
    model: SimModel,
    panics: Arc<AtomicBool>,
}

impl LanguageModel for Shaky {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.model.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.model.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        self.model.new_cache()
    }

    fn new_output(&self) -> Logits {
        self.model.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        assert!(!self.panics.swap(false, Ordering::Relaxed), "told to");
        self.model.forward(feeds, logits)
    }
}

#[test]
fn a_step_that_panics_in_target_or_draft_can_be_taken_back_and_tried_again() {
    let sim = sim();
    for in_target in [true, false] {
        let panics = Arc::new(AtomicBool::new(false));
        let never = Arc::new(AtomicBool::new(false));
        let (a, b) = if in_target { (panics.clone(), never) } else { (never, panics.clone()) };
        let target = Shaky { model: sim.clone(), panics: a };
        let draft = Shaky { model: sim.draft(Difference::Share { agreement: 0.7 }), panics: b };
        let mut engine =
            Engine::new(Arc::new(target), Box::new(ModelDrafter::new(Arc::new(draft), 32)));
        let mut sequences: Vec<_> =
            (0..3).map(|seed| engine.sequence(settings(prompt(seed, 9), 40, 3)).unwrap()).collect();
        for step in 0..60 {
            panics.store(step % 5 == 3, Ordering::Relaxed);
            let mut slice: Vec<_> = sequences.iter_mut().collect();
            let outcome = catch_unwind(AssertUnwindSafe(|| engine.step(&mut slice)));
            if outcome.is_err() {
                let before: Vec<_> = slice.iter().map(|sequence| sequence.generated()).collect();
                engine.recover(&mut slice);
                for (sequence, before) in slice.iter().zip(before) {
                    assert_eq!(sequence.tokens().len(), 9 + before);
                    assert!(sequence.read() < sequence.tokens().len());
                }
            }
        }
        for (seed, sequence) in sequences.iter().enumerate() {
            assert_eq!(sequence.tokens()[9..], decode_plainly(&sim, &prompt(seed, 9), 40).unwrap());
        }
    }
}

/// Writes down what it is told and drafts `gamma` tokens.
struct Listener(usize, Arc<Mutex<Vec<SharedPass>>>);

impl Controller for Listener {
    fn name(&self) -> String {
        "listener".into()
    }

    fn plan(&mut self, situation: &Situation) -> Plan {
        self.1.lock().unwrap().push(situation.pass);
        Plan::model(self.0)
    }
}

#[test]
fn controllers_are_told_who_shares_their_pass() {
    let target = sim();
    let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
    let heard: Vec<_> = (0..3).map(|_| Arc::new(Mutex::new(Vec::new()))).collect();
    let gammas = [3, 0, 0];
    let mut sequences: Vec<_> = heard
        .iter()
        .zip(gammas)
        .zip([5, 5, 60])
        .map(|((heard, gamma), len)| {
            let controller = Box::new(Listener(gamma, heard.clone()));
            engine
                .sequence(SequenceSettings { controller, ..settings(prompt(1, len), 50, 0) })
                .unwrap()
        })
        .collect();
    sequences.iter_mut().for_each(|s| s.set_read_limits(ReadLimits { target: 20, draft: 100 }));
    let mut slice: Vec<_> = sequences.iter_mut().collect();
    for _ in 0..2 {
        engine.step(&mut slice).unwrap();
    }
    let verified = 3;
    let of = |index: usize| heard[index].lock().unwrap().clone();
    // First step: two sequences decode and have 4 tokens each to read along, the third reads 20.
    let pass = |rows, drafted_beside, drafting_beside| SharedPass {
        sequences: 3,
        rows,
        drafted_beside,
        drafting_beside,
    };
    assert_eq!(of(0)[0], pass(2 + 8 + 20, 0, 2), "the others begin too");
    assert_eq!(of(1)[0], pass(2 + 8 + 20, 0, 2));
    assert_eq!(of(0)[1], pass(2 + 20, 0, 2), "and have drafted at most once");
    assert_eq!(of(1)[1], pass(2 + 20, verified, 2));
    assert!(of(2).is_empty(), "it only reads");
    // Third step: the third reads the rest of its prompt and begins.
    engine.step(&mut slice).unwrap();
    assert_eq!(
        of(0)[2],
        pass(3 + 19, 0, 1),
        "one that does not draft in its second step does not count any more"
    );
    assert_eq!(of(1)[2].drafting_beside, 2);
    assert_eq!(of(2)[0].drafting_beside, 1);
}

#[test]
fn likelihoods_come_with_every_token_and_are_the_targets() {
    let target = sim();
    for temperature in [0.0, 0.8] {
        let mut engine = Engine::new(Arc::new(target.clone()), drafter(&target));
        let sampling = SamplingSettings {
            temperature,
            repetition_penalty: 1.2,
            ..SamplingSettings::default()
        };
        let mut sequence = engine
            .sequence(SequenceSettings { sampling, ..settings(prompt(2, 6), 40, 4) })
            .unwrap();
        sequence.set_likelihoods(Some(2));
        while sequence.finish_reason().is_none() {
            let before = sequence.tokens().to_vec();
            engine.step(&mut [&mut sequence]).unwrap();
            let record = sequence.record().clone();
            assert_eq!(sequence.likelihoods().len(), record.tokens.len());
            for (index, (likelihood, &token)) in
                sequence.likelihoods().iter().zip(&record.tokens).enumerate()
            {
                let mut context = before.clone();
                context.extend(&record.tokens[..index]);
                let (mut cache, mut logits) = (target.new_cache().unwrap(), Logits::new());
                target.forward(&mut [Feed::new(&mut cache, &context, 1)], &mut logits).unwrap();
                let sum: f32 = logits.row(0).iter().map(|logit| logit.exp()).sum();
                let expected = logits.row(0)[token as usize] - sum.ln();
                assert!(
                    (likelihood.token - expected).abs() < 1e-3,
                    "{} instead of {expected}",
                    likelihood.token
                );
                assert_eq!(likelihood.top.len(), 2);
                assert!(
                    likelihood.top[0].1 >= likelihood.top[1].1
                        && likelihood.top[0].1 >= likelihood.token - 1e-6
                );
            }
        }
    }
}
