//! What the records say of time, and which sources cost none.

use super::*;

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
