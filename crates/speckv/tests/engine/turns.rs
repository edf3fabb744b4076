//! Later turns, and prompts read ahead.

use super::*;

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
