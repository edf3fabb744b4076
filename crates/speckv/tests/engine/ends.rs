//! Where a text ends: end tokens, budgets, limits of gamma and of the context.

use super::*;

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
