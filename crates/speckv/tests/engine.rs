//! Ends, budgets, errors, rewinding, and what the records say.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use speckv::{
    conformance::decode_plainly,
    controller::{
        Controller, Fixed, MAX_GAMMA, Off, Plan, Situation, Speckv, SpeckvOptions, Verdict,
    },
    cost::{CostModel, Samples, TimeSample, VerifySample},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{
        Clock, Engine, EngineError, FinishReason, Prefill, Sequence, SequenceSettings, VirtualTime,
    },
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
    predictor::{Predictor, SessionFacts},
    record::{Last, StepRecord},
    sampling::SamplingSettings,
    signals::Signals,
    sim::{Difference, SimCache, SimCost, SimModel, SimSettings},
    token::Token,
};

const PROMPT: [Token; 3] = [1, 2, 3];

fn sim(context_length: usize) -> SimModel {
    SimModel::new(SimSettings { context_length, seed: 2, ..SimSettings::default() })
}

/// A perfect draft.
fn drafter(target: &SimModel) -> Box<dyn Drafter> {
    Box::new(ModelDrafter::new(Arc::new(target.draft(Difference::Blend { weight: 0.0 })), 32))
}

fn engine(target: &SimModel) -> Engine<SimModel> {
    Engine::new(Arc::new(target.clone()), drafter(target))
}

fn settings(
    max_tokens: usize,
    end_tokens: Vec<Token>,
    controller: impl Controller + 'static,
) -> SequenceSettings {
    let sampling = SamplingSettings::default();
    SequenceSettings {
        prompt: PROMPT.to_vec(),
        sampling,
        end_tokens,
        max_tokens,
        controller: Box::new(controller),
    }
}

fn finish<M: LanguageModel>(engine: &mut Engine<M>, sequence: &mut Sequence<M>) -> Vec<StepRecord> {
    let mut records = Vec::new();
    while sequence.finish_reason().is_none() {
        engine.step(&mut [&mut *sequence]).unwrap();
        records.push(sequence.record().clone());
    }
    records
}

#[test]
fn an_end_token_inside_an_accepted_draft_ends_the_text_there() {
    let target = sim(4096);
    let plain = decode_plainly(&target, &PROMPT, 12).unwrap();
    for at in 0..12 {
        let end = plain[at];
        let first = plain.iter().position(|&token| token == end).unwrap();
        for gamma in 0..=16 {
            let mut engine = engine(&target);
            let mut sequence =
                engine.sequence(settings(100, vec![end], Fixed::new(gamma))).unwrap();
            let records = finish(&mut engine, &mut sequence);
            assert_eq!(sequence.tokens()[3..], plain[..=first], "gamma {gamma}");
            assert_eq!(sequence.finish_reason(), Some(FinishReason::Stop));
            assert!(sequence.read() < sequence.tokens().len(), "the cache reaches past the text");
            let last = records.last().unwrap();
            if last.outcome.ended {
                assert_eq!(
                    (last.outcome.last, last.outcome.produced),
                    (Last::Accepted, last.outcome.accepted)
                );
                assert!(last.is_censored());
                assert_eq!(
                    last.outcome.label(last.outcome.produced),
                    None,
                    "nothing after an end token was seen"
                );
            }
            assert_eq!(records.iter().map(|record| record.tokens.len()).sum::<usize>(), first + 1);
        }
    }
}

#[test]
fn a_budget_is_met_exactly() {
    let target = sim(4096);
    for max_tokens in 0..20 {
        for gamma in [0, 1, 3, 16, 1000] {
            let mut engine = engine(&target);
            let mut sequence =
                engine.sequence(settings(max_tokens, vec![], Fixed::new(gamma))).unwrap();
            let records = finish(&mut engine, &mut sequence);
            assert_eq!(sequence.generated(), max_tokens, "gamma {gamma}");
            assert_eq!(sequence.finish_reason(), Some(FinishReason::Length));
            for record in records {
                assert!(record.drafted.len() <= record.before.gamma_limit);
                let clipped = gamma > record.before.gamma_limit;
                assert_eq!(record.is_clipped(), clipped, "{record:?}");
                let rejected = record.outcome.accepted < record.outcome.verified;
                assert_eq!(record.is_censored(), clipped && !rejected, "{record:?}");
            }
        }
    }
}

#[test]
fn a_gamma_up_to_the_limit_is_drafted_and_no_step_drafts_more() {
    let target = sim(4096);
    let cheap = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: 1e-6 }],
        verify: vec![VerifySample { rows: 1, context: 0, seconds: 1.0 }],
        catch_up: vec![TimeSample { tokens: 1, context: 0, seconds: 1e-8 }],
        ..Samples::default()
    };
    let cost = CostModel::from_samples(&cheap).unwrap();
    let speckv = |max_gamma| {
        let options = SpeckvOptions { max_gamma, ..SpeckvOptions::default() };
        Speckv::new(cost.clone(), Arc::new(Predictor::prior()), SessionFacts::default(), options)
    };
    let longest = |controller: Box<dyn Controller>| {
        let mut engine = engine(&target);
        engine.set_clock(Clock::Virtual(VirtualTime::new()));
        let settings = SequenceSettings { controller, ..settings(2_000, vec![], Off) };
        let mut sequence = engine.sequence(settings).unwrap();
        let records = finish(&mut engine, &mut sequence);
        records.iter().map(|record| record.drafted.len()).max().unwrap()
    };
    for gamma in [1, 16, 17, 33, 40, MAX_GAMMA] {
        assert_eq!(longest(Box::new(Fixed::new(gamma))), gamma);
        assert_eq!(longest(Box::new(speckv(gamma))), gamma, "the default controller");
    }
    assert_eq!(longest(Box::new(Fixed::new(1_000))), MAX_GAMMA);
}

#[test]
fn the_context_is_filled_exactly() {
    for context_length in 3..24 {
        let target = sim(context_length);
        for gamma in [0, 1, 5, 16] {
            let mut engine = engine(&target);
            let mut sequence = engine.sequence(settings(1000, vec![], Fixed::new(gamma))).unwrap();
            finish(&mut engine, &mut sequence);
            assert_eq!(sequence.tokens().len(), context_length);
            assert_eq!(sequence.finish_reason(), Some(FinishReason::Length));
            assert_eq!(
                sequence.tokens()[3..],
                decode_plainly(&target, &PROMPT, context_length - 3).unwrap()
            );
        }
    }
}

#[test]
fn a_draft_with_a_shorter_context_stops_drafting_and_nothing_else() {
    let target = sim(100);
    let small =
        SimModel::new(SimSettings { context_length: 20, seed: 2, ..SimSettings::default() });
    let mut engine =
        Engine::new(Arc::new(target.clone()), Box::new(ModelDrafter::new(Arc::new(small), 32)));
    let mut sequence = engine.sequence(settings(50, vec![], Fixed::new(4))).unwrap();
    let records = finish(&mut engine, &mut sequence);
    assert_eq!(sequence.tokens()[3..], decode_plainly(&target, &PROMPT, 50).unwrap());
    assert!(records[0].outcome.accepted == 4 && records.last().unwrap().drafted.is_empty());
}

#[test]
fn what_cannot_start_is_refused() {
    let target = sim(8);
    let mut engine = engine(&target);
    let with = |prompt: Vec<Token>| SequenceSettings { prompt, ..settings(5, vec![], Off) };
    assert!(matches!(engine.sequence(with(vec![])), Err(EngineError::EmptyPrompt)));
    assert!(matches!(
        engine.sequence(with(vec![1; 9])),
        Err(EngineError::PromptTooLong { context: 8, got: 9 })
    ));
    let hot = SequenceSettings {
        sampling: SamplingSettings { temperature: -1.0, ..Default::default() },
        ..with(vec![1])
    };
    assert!(
        matches!(engine.sequence(hot), Err(EngineError::Sampling(error)) if error.field == "temperature")
    );
    let mut full = engine.sequence(with(vec![1; 8])).unwrap();
    assert_eq!(full.finish_reason(), Some(FinishReason::Length));
    assert!(matches!(full.extend(&[1]), Err(EngineError::PromptTooLong { .. })));
    let mut unknown = engine.sequence(with(vec![1, 77, 2])).unwrap();
    assert!(matches!(
        engine.step(&mut [&mut unknown]),
        Err(EngineError::Model(ModelError::UnknownToken { token: 77, .. }))
    ));
}

/// Drops each draft token from the third on.
struct KeepsTwo;

impl Controller for KeepsTwo {
    fn name(&self) -> String {
        "keeps-two".into()
    }

    fn plan(&mut self, _: &Situation) -> Plan {
        Plan::model(1000)
    }

    fn judge(&mut self, signals: &[Signals]) -> Verdict {
        if signals.len() < 3 { Verdict::Continue } else { Verdict::Drop }
    }
}

#[test]
fn a_dropped_token_is_recorded_and_not_verified() {
    let target = sim(4096);
    let mut engine = engine(&target);
    let mut sequence = engine.sequence(settings(9, vec![], KeepsTwo)).unwrap();
    for record in finish(&mut engine, &mut sequence) {
        assert_eq!(
            (record.drafted.len(), record.outcome.verified, record.outcome.accepted),
            (3, 2, 2)
        );
        assert_eq!((record.outcome.last, record.tokens.len()), (Last::Bonus, 3));
        assert_eq!(
            [0, 1, 2].map(|position| record.outcome.label(position)),
            [Some(true), Some(true), None]
        );
        if record.before.step == 1 {
            break; // the budget clips the third
        }
    }
}

#[test]
fn later_turns_and_other_texts_keep_what_was_read() {
    let target = sim(4096);
    let say = |text: &[Token], count| decode_plainly(&target, text, count).unwrap();
    for gamma in [0, 4] {
        let mut engine = engine(&target);
        let mut sequence = engine.sequence(settings(10, vec![], Fixed::new(gamma))).unwrap();
        finish(&mut engine, &mut sequence);
        let first = [&PROMPT[..], &say(&PROMPT, 10)].concat();
        assert_eq!(sequence.tokens(), first);

        sequence.extend(&[7, 8, 9]).unwrap();
        assert_eq!(sequence.read(), first.len() - 1, "the first turn stays read");
        finish(&mut engine, &mut sequence);
        let turn = [&first[..], &[7, 8, 9]].concat();
        let second = [&turn[..], &say(&turn, 10)].concat();
        assert_eq!(sequence.tokens(), second);

        sequence.rewind(turn.len() - 2);
        finish(&mut engine, &mut sequence);
        assert_eq!(sequence.tokens()[turn.len() - 2..], say(&turn[..turn.len() - 2], 10));

        let other = [&first[..6], &[30, 31]].concat();
        sequence.set_tokens(&other).unwrap();
        assert_eq!(sequence.read(), 6, "the common beginning stays read");
        finish(&mut engine, &mut sequence);
        assert_eq!(sequence.tokens()[other.len()..], say(&other, 10));

        sequence.set_tokens(&other[..1]).unwrap();
        assert_eq!(sequence.read(), 0, "the last token is always fed anew");
        finish(&mut engine, &mut sequence);
        assert_eq!(sequence.tokens()[1..], say(&other[..1], 10));
        engine.close(sequence);
    }
}

#[test]
fn reading_ahead_can_be_watched_and_stopped_and_changes_nothing() {
    let target = sim(4096);
    let prompt: Vec<Token> = (0..100).map(|i| i * 7 % 32).collect();
    let mut engine = engine(&target);
    let mut sequence = engine
        .sequence(SequenceSettings {
            prompt: prompt.clone(),
            ..settings(10, vec![], Fixed::new(3))
        })
        .unwrap();
    let mut seen = Vec::new();
    let stopped = engine.prefill(&mut sequence, 16, |Prefill { done, total }| {
        seen.push((done, total));
        if done >= 48 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(stopped.unwrap().is_break());
    assert_eq!(seen, [(16, 99), (32, 99), (48, 99)]);
    assert_eq!(sequence.read(), 48);
    assert!(
        engine.prefill(&mut sequence, 1000, |_| ControlFlow::Continue(())).unwrap().is_continue()
    );
    assert_eq!((sequence.read(), sequence.totals().prompt_tokens), (99, 99));
    finish(&mut engine, &mut sequence);
    assert_eq!(sequence.tokens()[100..], decode_plainly(&target, &prompt, 10).unwrap());
}

/// Fails in chosen passes, before or after the numbers are made.
struct Flaky {
    inner: SimModel,
    passes: AtomicUsize,
    refuses: fn(usize) -> bool,
    spoils: fn(usize) -> bool,
}

impl LanguageModel for Flaky {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.inner.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.inner.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        self.inner.new_cache()
    }

    fn new_output(&self) -> Logits {
        self.inner.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        let pass = self.passes.fetch_add(1, Ordering::Relaxed);
        if (self.refuses)(pass) {
            return Err(ModelError::Backend("refused".into()));
        }
        self.inner.forward(feeds, logits)?;
        if (self.spoils)(pass) && logits.rows() > 0 {
            logits.row_mut(logits.rows() - 1)[0] = f32::NAN;
        }
        Ok(())
    }
}

/// Numbers without a period that could fall in step with the engine's passes.
fn scatter(pass: usize) -> u64 {
    (pass as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
}

#[test]
fn after_an_error_the_step_can_be_repeated_as_if_nothing_had_happened() {
    let target = sim(4096);
    let flaky = |salt: usize, refuses: fn(usize) -> bool, spoils: fn(usize) -> bool| {
        Arc::new(Flaky { inner: target.clone(), passes: AtomicUsize::new(salt), refuses, spoils })
    };
    let never = |_| false;
    let often: fn(usize) -> bool = |pass| scatter(pass) % 100 < 12;
    let seldom: fn(usize) -> bool = |pass| scatter(pass) / 100 % 100 < 5;
    let mut total = 0;
    for salt in 0..12 {
        let salt = 1_000 * salt;
        for (target_model, draft_model) in [
            (flaky(salt, often, seldom), flaky(0, never, never)),
            (flaky(0, never, never), flaky(salt, often, seldom)),
            (flaky(salt, seldom, often), flaky(salt, seldom, seldom)),
        ] {
            let mut engine =
                Engine::new(target_model, Box::new(ModelDrafter::new(draft_model, 32)));
            let mut first = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
            let mut second = engine.sequence(settings(25, vec![], Fixed::new(1))).unwrap();
            let mut errors = 0;
            while first.finish_reason().is_none() || second.finish_reason().is_none() {
                let before = [first.tokens().to_vec(), second.tokens().to_vec()];
                if engine.step(&mut [&mut first, &mut second]).is_err() {
                    errors += 1;
                    assert!(errors < 200);
                    assert_eq!([first.tokens(), second.tokens()], [&before[0][..], &before[1][..]]);
                }
                assert!(
                    first.read() < first.tokens().len() && second.read() < second.tokens().len()
                );
            }
            total += errors;
            let expected = decode_plainly(&target, &PROMPT, 25).unwrap();
            assert_eq!(
                [&first.tokens()[3..], &second.tokens()[3..]],
                [&expected[..], &expected[..]]
            );
        }
    }
    assert!(total > 30, "only {total} errors: this test tested little");
}

#[test]
fn a_failing_draft_ends_drafting_and_not_the_answer() {
    let target = sim(4096);
    let expected = decode_plainly(&target, &PROMPT, 25).unwrap();
    let never = |_| false;
    type When = fn(usize) -> bool;
    let cases: [(When, When); 4] = [
        (|pass| pass == 7, never),
        (never, |pass| pass == 7),
        (|_| true, never),
        (never, |_| true),
    ];
    for (refuses, spoils) in cases {
        let draft = Flaky { inner: target.clone(), passes: AtomicUsize::new(0), refuses, spoils };
        let drafter = Both::new(NgramDrafter::default(), ModelDrafter::new(Arc::new(draft), 32));
        let mut engine = Engine::new(Arc::new(target.clone()), Box::new(drafter));
        let mut first = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
        let mut second = engine.sequence(settings(25, vec![], Fixed::new(3))).unwrap();
        while first.finish_reason().is_none() || second.finish_reason().is_none() {
            engine.step(&mut [&mut first, &mut second]).unwrap();
        }
        assert_eq!([&first.tokens()[3..], &second.tokens()[3..]], [&expected[..], &expected[..]]);
        let failures = engine.draft_failures();
        // A pass that fails once is tried again for each sequence alone: drafting goes on.
        let always = refuses(0) || spoils(0);
        assert_eq!(failures.count, if always { 2 } else { 0 });
        assert_eq!(failures.count > 0, failures.last.is_some());
        let drafted = first.totals().drafted + second.totals().drafted;
        // Look-up goes on where the model has failed, and finds less to draft.
        assert_eq!(drafted < 20, always, "{drafted} drafted");
    }
}

#[test]
fn broken_logits_end_the_iterator_with_an_error() {
    let flaky = Flaky {
        inner: sim(4096),
        passes: AtomicUsize::new(0),
        refuses: |_| false,
        spoils: |pass| pass == 4,
    };
    let mut engine = Engine::new(Arc::new(flaky), Box::new(NoDrafter::new()));
    let mut sequence = engine.sequence(settings(25, vec![], Off)).unwrap();
    let got: Vec<_> = engine.generate(&mut sequence).collect();
    assert_eq!(got.iter().filter(|token| token.is_ok()).count() + 1, got.len());
    assert!(matches!(got.last(), Some(Err(EngineError::Logits { sequence: 0, .. }))));
}

#[test]
fn with_a_virtual_clock_the_record_has_the_set_costs() {
    let ms = Duration::from_millis;
    let target = sim(4096).costing(SimCost { pass: ms(40), token: ms(5) });
    let draft = target
        .draft(Difference::Blend { weight: 0.0 })
        .costing(SimCost { pass: ms(8), token: ms(1) });
    let mut engine =
        Engine::new(Arc::new(target.clone()), Box::new(ModelDrafter::new(Arc::new(draft), 32)));
    engine.set_clock(Clock::Virtual(target.time().clone()));
    let mut sequence = engine.sequence(settings(100, vec![], Fixed::new(4))).unwrap();
    engine.step(&mut [&mut sequence]).unwrap();
    engine.step(&mut [&mut sequence]).unwrap();
    let times = sequence.record().times;
    assert_eq!(
        sequence.record().before.draft_behind,
        1,
        "the draft has not read its own last token"
    );
    assert_eq!(times.draft, ms(4 * 8 + 5), "which is read along with the first pass");
    assert_eq!(times.verify, ms(40 + 5 * 5));
    assert_eq!(
        (times.catch_up, times.controller, times.total),
        (ms(0), ms(0), times.draft + times.verify)
    );
    let totals = sequence.totals();
    assert_eq!((totals.steps, totals.produced, totals.drafted, totals.accepted), (2, 10, 8, 8));
    assert_eq!(totals.gamma_histogram, [0, 0, 0, 0, 2]);
    assert_eq!((totals.acceptance_rate(), totals.acceptance_length()), (Some(1.0), Some(5.0)));
    assert_eq!((totals.prompt_tokens, totals.prefill), (2, ms(50)));
}

#[test]
fn drafting_costs_nothing_where_it_is_off() {
    let ms = Duration::from_millis;
    let target = sim(4096).costing(SimCost { pass: ms(40), token: ms(5) });
    let mut engine = engine(&target);
    engine.set_clock(Clock::Virtual(target.time().clone()));
    let mut sequence = engine.sequence(settings(10, vec![], Off)).unwrap();
    for record in finish(&mut engine, &mut sequence) {
        assert_eq!(
            (record.times.draft, record.times.catch_up, record.times.verify),
            (ms(0), ms(0), ms(45))
        );
        assert_eq!((record.outcome.last, record.outcome.produced), (Last::Plain, 1));
    }
}

#[test]
fn look_up_continues_a_repeating_text_at_once() {
    let target = SimModel::new(SimSettings { vocab_size: 6, order: 1, ..SimSettings::default() });
    let mut engine = Engine::new(Arc::new(target), Box::new(NgramDrafter::default()));
    let mut sequence = engine.sequence(settings(200, vec![], Fixed::new(8))).unwrap();
    finish(&mut engine, &mut sequence);
    // An order of one over six tokens repeats after six at most; look-up has seen it after a dozen.
    assert!(sequence.totals().acceptance_length().unwrap() > 5.0, "{:?}", sequence.totals());
}

#[test]
fn a_closed_sequence_gives_its_place_back() {
    let target = sim(64);
    let mut engine = engine(&target);
    for round in 0..50 {
        let mut sequence = engine.sequence(settings(8, vec![], Fixed::new(3))).unwrap();
        finish(&mut engine, &mut sequence);
        assert_eq!(
            sequence.tokens()[3..],
            decode_plainly(&target, &PROMPT, 8).unwrap(),
            "round {round}"
        );
        engine.close(sequence);
    }
}

#[test]
fn a_draft_that_has_read_the_prompt_pays_nothing_for_it_later() {
    let cost =
        |pass| SimCost { pass: Duration::from_millis(pass), token: Duration::from_millis(1) };
    let target = sim(4096).costing(cost(30));
    let prompt: Vec<Token> = (0..200).map(|i| i * 7 % 32).collect();
    let first_step = |ahead: bool| {
        let mut engine = engine(&target);
        engine.set_clock(Clock::Virtual(target.time().clone()));
        let mut sequence = engine
            .sequence(SequenceSettings {
                prompt: prompt.clone(),
                ..settings(20, vec![], Fixed::new(3))
            })
            .unwrap();
        assert!(
            engine.prefill(&mut sequence, 64, |_| ControlFlow::Continue(())).unwrap().is_continue()
        );
        if ahead {
            engine.prefill_draft(&mut sequence).unwrap();
        }
        engine.step(&mut [&mut sequence]).unwrap();
        let first = sequence.record().clone();
        finish(&mut engine, &mut sequence);
        // Back to the prompt: nothing of it is read again.
        sequence.rewind(prompt.len());
        engine.step(&mut [&mut sequence]).unwrap();
        assert_eq!(
            (sequence.record().before.draft_behind, sequence.record().times.catch_up),
            (0, Duration::ZERO)
        );
        assert_eq!(sequence.record().tokens, first.tokens);
        first
    };
    let (read_ahead, read_late) = (first_step(true), first_step(false));
    assert_eq!((read_ahead.before.draft_behind, read_ahead.times.catch_up), (0, Duration::ZERO));
    assert!(
        read_late.before.draft_behind == 199
            && read_late.times.catch_up > Duration::from_millis(199)
    );
    assert_eq!(read_ahead.tokens, read_late.tokens);
}
