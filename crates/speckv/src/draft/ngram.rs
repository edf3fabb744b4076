//! N-gram look-up: proposes what followed an earlier occurrence of the last tokens.

use std::collections::HashMap;

use super::{
    Ask, DraftError, Drafter, Proposal, Slot, Slots, TextMemory, automaton::GAP,
    continuations::signals, prediction::Prediction, text::Text,
};
use crate::{controller::Lookup, record::Source, signals::Signals, token::Token};

/// Settings of n-gram look-up.
///
/// | name | default | range | effect | when it misleads |
/// |---|---|---|---|---|
/// | `min_match` | 2 | 1 to `max_match` | fewest tokens at the end of the text that must stand elsewhere too | at 1 every frequent token "matches" |
/// | `max_match` | 8 | `min_match` to 64 | most tokens compared; among places with as many, the latest counts as the best | a long match leaves one place, whose confidence is then 1 |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NgramSettings {
    /// Fewest matching tokens.
    pub min_match: usize,
    /// Most matching tokens.
    pub max_match: usize,
}

impl Default for NgramSettings {
    fn default() -> Self {
        NgramSettings { min_match: 2, max_match: 8 }
    }
}

/// Proposes what followed the longest suffix of the text at its latest earlier occurrence, in
/// prompt and output alike.
///
/// Each sequence has a suffix automaton that grows with the text, so that a proposal takes the same
/// time whatever the text's length and however often it repeats itself. Tokens drafted in the step
/// take part in the match, so that a repeating text is continued past its own end. Nothing is drawn
/// at random.
///
/// Its signals are those of the empirical distribution of the tokens that follow at all places with
/// the longest match. Beyond the sixteen continuations that were seen last, each one counts as
/// different.
///
/// With a [memory](TextMemory) it also finds the texts that were finished earlier in the
/// sequence's scope. Of equally long matches the text's own count as the best.
///
/// What is [predicted](Drafter::predict) is followed where the text ends with at least as many
/// tokens of it as match elsewhere.
#[derive(Debug, Default)]
pub struct NgramDrafter {
    settings: NgramSettings,
    slots: Slots<Text>,
    memory: TextMemory,
    predictions: HashMap<Slot, Prediction>,
    counts: Vec<(Token, u32)>, // continuations of the look-up at hand
}

/// The best place found.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Place {
    token: Token,     // that follows there
    available: usize, // tokens from it on
    match_length: usize,
    signals: Signals,
}

/// Most tokens that a place is said to offer.
const MOST_AVAILABLE: usize = 64;

impl NgramDrafter {
    /// Look-up with these settings, each brought into its range.
    #[must_use]
    pub fn new(settings: NgramSettings) -> Self {
        let min_match = settings.min_match.clamp(1, 64);
        let settings =
            NgramSettings { min_match, max_match: settings.max_match.clamp(min_match, 64) };
        NgramDrafter { settings, ..Self::default() }
    }

    /// The longest match of the end of `tokens`, of which the last `drafted` are provisional.
    fn find(
        &mut self,
        slot: Slot,
        tokens: &[Token],
        drafted: usize,
    ) -> Result<Option<Place>, DraftError> {
        let NgramDrafter { settings: NgramSettings { min_match, max_match }, .. } = *self;
        let NgramDrafter { slots, memory, counts, .. } = self;
        let text = slots.get_mut(slot)?;
        let (written, drafted) = tokens.split_at(tokens.len() - drafted.min(tokens.len()));
        text.follow(written);
        let run = text.here(drafted);
        let own = text.own().followed(run, max_match);
        let earlier = text.scope().and_then(|scope| memory.scope(scope));
        let beside = earlier.map(|earlier| {
            let run = text.there(earlier, written, drafted, max_match);
            (earlier.0, earlier.0.followed(run, max_match), 0)
        });
        let longest = beside.map_or(0, |(_, run, _)| run.len()).max(own.len());
        if longest < min_match {
            return Ok(None);
        }
        counts.clear();
        // What was drafted stands behind the text, and is there to be copied too.
        let own = Some((text.own(), own, drafted.len()));
        let (mut total, mut place) = (0, None);
        for (texts, run, more) in [own, beside].into_iter().flatten() {
            if run.len() == longest {
                total += texts.count_next(run, counts);
                let found = || texts.next(run).map(|next| (&texts.tokens()[next..], more));
                place = place.or_else(found);
            }
        }
        let Some((rest, more)) = place else { return Ok(None) };
        let most = rest.iter().take(MOST_AVAILABLE);
        let available = most.take_while(|&&token| token != GAP).count() + more;
        Ok(Some(Place {
            token: rest[0],
            available: available.min(MOST_AVAILABLE),
            match_length: longest,
            signals: signals(counts, total, longest),
        }))
    }
}

impl NgramDrafter {
    /// The best place in the texts or in the prediction.
    fn best(
        &mut self,
        slot: Slot,
        tokens: &[Token],
        drafted: usize,
    ) -> Result<Option<Place>, DraftError> {
        let place = self.find(slot, tokens, drafted)?;
        let NgramSettings { min_match, max_match } = self.settings;
        let (prediction, counts) = (self.predictions.get(&slot), &mut self.counts);
        let Some(found) = prediction.and_then(|it| it.find(tokens, min_match, counts)) else {
            return Ok(place);
        };
        let match_length = found.run.min(max_match);
        if place.as_ref().is_some_and(|place| place.match_length > match_length) {
            return Ok(place);
        }
        let match_length_told = u16::try_from(match_length).unwrap_or(u16::MAX);
        Ok(Some(Place {
            token: found.token,
            available: found.available.min(MOST_AVAILABLE),
            match_length,
            signals: Signals { match_length: match_length_told, ..found.signals },
        }))
    }
}

impl Drafter for NgramDrafter {
    fn open(&mut self) -> Result<Slot, DraftError> {
        Ok(self.slots.open(Text::default()))
    }

    fn close(&mut self, slot: Slot) {
        self.predictions.remove(&slot);
        self.slots.close(slot);
    }

    fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
        let place = self.best(slot, tokens, 0).ok()??;
        Some(Lookup {
            match_length: place.match_length,
            available: place.available,
            signals: place.signals,
        })
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        for ask in asks.iter_mut().filter(|ask| ask.source == Source::NGRAM) {
            ask.proposal = self.best(ask.slot, ask.tokens, ask.drafted)?.map(|place| {
                let token = place.token;
                if !ask.chain.is_greedy() {
                    ask.distribution.set_certain(token);
                }
                Proposal { token, second: None, signals: place.signals }
            });
        }
        Ok(())
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        if let Ok(text) = self.slots.get_mut(slot) {
            text.truncate(len);
        }
    }

    fn set_scope(&mut self, slot: Slot, scope: Option<u64>) {
        if let Ok(text) = self.slots.get_mut(slot) {
            text.set_scope(scope);
        }
    }

    fn remember(&mut self, slot: Slot, text: &[Token]) {
        if let Some(scope) = self.slots.get(slot).and_then(Text::scope) {
            self.memory.remember(scope, text);
        }
    }

    fn predict(&mut self, slot: Slot, text: &[Token], next: &[Token]) {
        self.predictions.remove(&slot);
        if !next.is_empty() && self.slots.get(slot).is_some() {
            self.predictions.insert(slot, Prediction::new(text, next));
        }
    }

    fn memory(&self) -> Option<&TextMemory> {
        Some(&self.memory)
    }

    fn memory_mut(&mut self) -> Option<&mut TextMemory> {
        Some(&mut self.memory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(text: &[Token]) -> Option<(Token, Lookup)> {
        let mut drafter = NgramDrafter::default();
        let slot = drafter.open().unwrap();
        let next = drafter.find(slot, text, 0).unwrap().map(|place| place.token);
        Some((next?, drafter.lookup(slot, text)?))
    }

    #[test]
    fn the_longest_match_wins_over_the_latest() {
        let text = [7, 1, 2, 3, 4, 9, 2, 3, 5, 1, 2, 3];
        let (next, found) = lookup(&text).unwrap();
        assert_eq!((next, found.match_length, found.available), (4, 3, 8));
    }

    #[test]
    fn of_equal_matches_the_latest_wins_and_the_signals_count_all() {
        let text = [1, 2, 3, 0, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2];
        let (next, found) = lookup(&text).unwrap();
        assert_eq!(next, 4);
        assert!((found.signals.confidence - 2.0 / 3.0).abs() < 1e-6);
        assert!((found.signals.margin - 1.0 / 3.0).abs() < 1e-6);
        assert!((found.signals.entropy_bits - 0.918_295_8).abs() < 1e-6);
        assert_eq!(found.signals.match_length, 2);
    }

    #[test]
    fn continuations_that_are_not_told_apart_count_as_different_ones() {
        let signals = signals(&[(1, 4), (2, 2)], 8, 3);
        assert_eq!((signals.confidence, signals.margin), (0.5, 0.25));
        // 1/2 at 1 bit, 1/4 at 2 bits, twice 1/8 at 3 bits.
        assert!((signals.entropy_bits - 1.75).abs() < 1e-6);
    }

    #[test]
    fn a_text_without_repetition_offers_nothing() {
        for len in 0..20 {
            assert_eq!(lookup(&(0..len).collect::<Vec<_>>()), None);
        }
    }

    #[test]
    fn a_repeating_text_is_continued_past_its_end() {
        let mut drafter = NgramDrafter::default();
        let slot = drafter.open().unwrap();
        let mut text = vec![5, 6, 7, 5, 6];
        for drafted in 0..20 {
            let place = drafter.find(slot, &text, drafted).unwrap().unwrap();
            text.push(place.token);
        }
        assert!(text.iter().enumerate().all(|(i, &token)| token == [5, 6, 7][i % 3]), "{text:?}");
    }

    #[test]
    fn earlier_texts_of_the_scope_are_found_and_the_texts_own_places_win() {
        let mut drafter = NgramDrafter::default();
        drafter.memory.set_limit(1000);
        let (one, other) = (drafter.open().unwrap(), drafter.open().unwrap());
        drafter.set_scope(one, Some(1));
        drafter.set_scope(other, Some(2));
        drafter.remember(one, &[1, 2, 3, 4, 5]);
        let next = |drafter: &mut NgramDrafter, slot, text: &[Token]| {
            drafter.truncate(slot, 0); // another text
            drafter.find(slot, text, 0).unwrap().map(|place| (place.token, place.available))
        };
        assert_eq!(next(&mut drafter, one, &[9, 1, 2]), Some((3, 3)));
        assert_eq!(next(&mut drafter, other, &[9, 1, 2]), None, "another scope's");
        assert_eq!(next(&mut drafter, one, &[1, 2, 7, 1, 2]), Some((7, 3)), "its own, as long");
        assert_eq!(next(&mut drafter, one, &[2, 3, 8, 1, 2, 3]), Some((4, 2)), "a longer match");
        assert_eq!(next(&mut drafter, one, &[9, 4, 5]), None, "nothing follows its end");
        drafter.set_scope(one, None);
        assert_eq!(next(&mut drafter, one, &[9, 1, 2]), None);
    }

    #[test]
    fn a_drafter_that_has_followed_a_text_finds_what_a_new_one_finds() {
        let mut state = 3_u64;
        let mut below = |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % most
        };
        let mut drafter = NgramDrafter::default();
        drafter.memory.set_limit(400);
        let slot = drafter.open().unwrap();
        drafter.set_scope(slot, Some(1));
        let (mut text, mut earlier) = (vec![0], Vec::new());
        for _ in 0..600 {
            match below(8) {
                0 => {
                    let len = below(text.len() as u64) as usize;
                    text.truncate(len);
                    drafter.truncate(slot, len);
                }
                1 if text.len() > 4 => {
                    drafter.remember(slot, &text);
                    earlier.push(text.clone());
                }
                _ => (0..=below(4)).for_each(|_| text.push(below(4) as Token)),
            }
            if text.is_empty() {
                text.push(below(4) as Token);
            }
            let mut fresh = NgramDrafter::default();
            fresh.memory.set_limit(400);
            let other = fresh.open().unwrap();
            fresh.set_scope(other, Some(1));
            earlier.iter().for_each(|text| fresh.remember(other, text));
            let written = text.len();
            for drafted in 0..below(6) as usize {
                let found = drafter.find(slot, &text, drafted).unwrap();
                assert_eq!(found, fresh.find(other, &text, drafted).unwrap(), "{text:?}");
                let next = found.map_or(0, |place| place.token);
                text.push(if below(5) == 0 { below(4) as Token } else { next });
            }
            text.truncate(written);
        }
    }
}
