//! The automaton against a scan of its texts.

use super::*;

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % most
    }
}

/// What a scan of texts finds.
struct Scanned {
    longest: usize,            // tokens of the longest match that a token follows
    places: Vec<usize>,        // of these tokens, ascending
    counts: Vec<(Token, u32)>, // of these tokens, sorted
}

/// What a scan of `texts` finds for the end of `text`, of which at most `most` tokens are compared.
fn scanned(texts: &[Token], text: &[Token], most: usize) -> Option<Scanned> {
    let ends = || (1..texts.len()).filter(|&end| texts[end] != GAP);
    let matched = |end: usize| {
        let pairs = texts[..end].iter().rev().zip(text.iter().rev());
        pairs.take(most).take_while(|(a, b)| a == b).count()
    };
    let longest = ends().map(matched).max().filter(|&length| length > 0)?;
    let places: Vec<usize> = ends().filter(|&end| matched(end) == longest).collect();
    let mut counts: Vec<(Token, u32)> = Vec::new();
    for &place in &places {
        match counts.iter_mut().find(|(token, _)| *token == texts[place]) {
            Some((_, count)) => *count += 1,
            None => counts.push((texts[place], 1)),
        }
    }
    counts.sort_unstable();
    Some(Scanned { longest, places, counts })
}

fn sorted_counts(automaton: &Automaton, run: Run) -> (Vec<(Token, u32)>, u32) {
    let mut counts = Vec::new();
    let total = automaton.count_next(run, &mut counts);
    counts.sort_unstable();
    (counts, total)
}

#[test]
fn the_end_of_a_text_is_found_as_by_a_scan() {
    let mut numbers = Numbers(1);
    for round in 0..60 {
        let (mut automaton, most) = (Automaton::default(), [1, 3, 8, 1000][round % 4]);
        for _ in 0..150 {
            automaton.push(numbers.below(3 + round as u64 / 20) as Token);
            let text = automaton.tokens();
            let run = automaton.followed(automaton.end(), most);
            // What stands at the text's end is followed by nothing: a scan finds no place there.
            let Some(Scanned { longest, places, counts }) = scanned(text, text, most) else {
                assert_eq!(run.len(), 0, "{text:?}");
                continue;
            };
            assert_eq!(run.len(), longest, "{text:?}");
            assert_eq!(automaton.next(run), places.last().copied(), "{text:?}");
            let total = counts.iter().map(|(_, count)| count).sum();
            assert_eq!(sorted_counts(&automaton, run), (counts, total), "{text:?}");
        }
    }
}

#[test]
fn another_text_is_followed_token_by_token_while_texts_are_added() {
    let mut numbers = Numbers(2);
    for round in 0..40 {
        let (mut automaton, mut text, mut run) = (Automaton::default(), Vec::new(), Run::default());
        for _ in 0..300 {
            let token = numbers.below(3) as Token;
            if numbers.below(4) > 0 {
                text.push(token);
                run = automaton.extend(run, token);
            } else {
                // As long as texts do not end here, what is added makes no match longer that does
                // not end in it.
                automaton.push(if numbers.below(12) == 0 { GAP } else { token });
                run = text.iter().fold(Run::default(), |run, &token| automaton.extend(run, token));
            }
            let found = automaton.followed(run, 6);
            let Some(Scanned { longest, places, counts }) = scanned(automaton.tokens(), &text, 6)
            else {
                assert_eq!(found.len(), 0, "round {round}");
                continue;
            };
            assert_eq!(found.len(), longest, "{:?} {text:?}", automaton.tokens());
            let next = automaton.next(found).expect("something follows");
            assert!(places.contains(&next), "{next} of {places:?}");
            assert_eq!(sorted_counts(&automaton, found).0, counts);
        }
    }
}

#[test]
fn a_run_stays_valid_while_its_state_is_split() {
    let mut automaton = Automaton::default();
    for token in [1, 2, 3, GAP] {
        automaton.push(token);
    }
    let run = [2, 3].iter().fold(Run::default(), |run, &token| automaton.extend(run, token));
    // 2 3 now stands where 1 2 3 does not, and is followed there.
    for token in [5, 2, 3, 7, GAP] {
        automaton.push(token);
    }
    let found = automaton.followed(run, 8);
    assert_eq!((found.len(), automaton.next(found)), (2, Some(7)));
    assert_eq!(automaton.extend(run, 7).len(), 3);
}

#[test]
fn a_text_of_one_token_takes_linear_time_and_is_continued() {
    let mut automaton = Automaton::default();
    for _ in 0..200_000 {
        automaton.push(7);
    }
    let run = automaton.followed(automaton.end(), usize::MAX);
    assert_eq!((run.len(), automaton.next(run)), (199_999, Some(199_999)));
    assert!(automaton.states.len() <= 2 * 200_000 && automaton.edges.len() < 10);
}

#[test]
fn a_cleared_automaton_equals_a_new_one() {
    let mut automaton = Automaton::default();
    (0..50).for_each(|token| automaton.push(token % 7));
    automaton.clear();
    let mut fresh = Automaton::default();
    for token in [1, 2, 1, 2, 3, 1, 2] {
        automaton.push(token);
        fresh.push(token);
        let (run, other) = (automaton.end(), fresh.end());
        assert_eq!(run, other);
        assert_eq!(
            automaton.next(automaton.followed(run, 9)),
            fresh.next(fresh.followed(other, 9))
        );
    }
    assert!(automaton.bytes() >= fresh.bytes());
}
