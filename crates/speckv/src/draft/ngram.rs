//! N-gram look-up: proposes what followed an earlier occurrence of the last tokens.

use std::collections::HashMap;

use super::{
    Ask, DraftError, Drafter, MemoryUse, Proposal, Slot, Slots, TextMemory,
    index::Index,
    memory::{GAP, places},
    prediction::Prediction,
};
use crate::{controller::Lookup, record::Source, signals::Signals, token::Token};

/// Settings of n-gram look-up.
///
/// | name | default | range | effect | when it misleads |
/// |---|---|---|---|---|
/// | `min_match` | 2 | 1 to `max_match` | fewest tokens at the end of the text that must stand elsewhere too | at 1 every frequent token "matches" |
/// | `max_match` | 8 | `min_match` to 64 | most tokens compared; among places with as many, the latest counts as the best | a long match leaves one place, whose confidence is then 1 |
/// | `max_places` | 256 | at least 1 | places compared per look-up, latest first | in long texts of few different tokens, older places are not seen |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NgramSettings {
    /// Fewest matching tokens.
    pub min_match: usize,
    /// Most matching tokens.
    pub max_match: usize,
    /// Most places compared.
    pub max_places: usize,
}

impl Default for NgramSettings {
    fn default() -> Self {
        NgramSettings { min_match: 2, max_match: 8, max_places: 256 }
    }
}

/// Proposes what followed the longest suffix of the text at its latest earlier occurrence, in
/// prompt and output alike.
///
/// Each sequence has an index of its `min_match`-grams that grows with the text; a proposal
/// compares the places that share the last `min_match` tokens, so that its time does not depend on
/// the length of the text. Tokens drafted in the step take part in the match, so that a repeating
/// text is continued past its own end. Nothing is drawn at random.
///
/// Its signals are those of the empirical distribution of the tokens that follow at the places with
/// the longest match.
///
/// With a [memory](Drafter::set_memory) it also finds the texts that were finished earlier in the
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

/// What is kept of a sequence.
#[derive(Debug, Default)]
struct Text {
    index: Index,
    scope: Option<u64>, // of the earlier texts that it may find
}

/// The best place found.
struct Place {
    token: Token,     // that follows there
    available: usize, // tokens from it on
    match_length: usize,
    signals: Signals,
}

/// Most tokens that an earlier text is said to offer.
const MOST_AVAILABLE: usize = 64;

/// A look-up under way: the longest match so far.
struct Search<'a> {
    tokens: &'a [Token],
    settings: NgramSettings,
    counts: &'a mut Vec<(Token, u32)>,
    longest: usize,
    token: Token,
    available: usize,
}

impl Search<'_> {
    /// Compares the place before `end` of `text` with the end of the tokens.
    fn consider(&mut self, text: &[Token], end: usize) {
        let NgramSettings { min_match, max_match, .. } = self.settings;
        let Some(&next) = text.get(end).filter(|&&next| next != GAP) else { return };
        let ours = self.tokens;
        let limit = max_match.min(end).min(ours.len());
        let matched = (0..limit)
            .take_while(|&back| text[end - 1 - back] == ours[ours.len() - 1 - back])
            .count();
        if matched < min_match || matched < self.longest {
            return; // another n-gram with the same hash, or a worse place
        }
        if matched > self.longest {
            (self.longest, self.token) = (matched, next);
            let rest = text[end..].iter().take_while(|&&token| token != GAP);
            self.available = rest.take(MOST_AVAILABLE).count();
            self.counts.clear();
        }
        match self.counts.iter_mut().find(|(token, _)| *token == next) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((next, 1)),
        }
    }
}

impl NgramDrafter {
    /// Look-up with these settings, each brought into its range.
    #[must_use]
    pub fn new(settings: NgramSettings) -> Self {
        let min_match = settings.min_match.clamp(1, 64);
        let settings = NgramSettings {
            min_match,
            max_match: settings.max_match.clamp(min_match, 64),
            max_places: settings.max_places.max(1),
        };
        NgramDrafter { settings, ..Self::default() }
    }

    /// The longest match of the end of `tokens`, of which the last `drafted` are provisional.
    fn find(
        &mut self,
        slot: Slot,
        tokens: &[Token],
        drafted: usize,
    ) -> Result<Option<Place>, DraftError> {
        let NgramDrafter { settings, slots, memory, counts, .. } = self;
        let NgramSettings { min_match, max_places, .. } = *settings;
        let Text { index, scope } = slots.get_mut(slot)?;
        index.follow(&tokens[..tokens.len() - drafted], min_match);
        let Some(suffix) = tokens.len().checked_sub(min_match).map(|start| &tokens[start..]) else {
            return Ok(None);
        };
        counts.clear();
        let (longest, token, available) = (0, 0, 0);
        let mut search = Search { tokens, settings: *settings, counts, longest, token, available };
        for end in places(index, suffix).take(max_places) {
            search.consider(tokens, end); // there is nothing after the suffix itself
        }
        if let Some(index) = scope.and_then(|scope| memory.scope(scope)) {
            for end in places(index, suffix).take(max_places) {
                search.consider(&index.tokens, end);
            }
        }
        let Search { longest, token, available, .. } = search;
        Ok((longest > 0).then(|| Place {
            token,
            available,
            match_length: longest,
            signals: signals(&self.counts, longest),
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
        let NgramSettings { min_match, max_match, .. } = self.settings;
        let prediction = self.predictions.get(&slot);
        let Some(found) = prediction.and_then(|it| it.find(tokens, min_match)) else {
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

/// Signals of the empirical distribution.
fn signals(counts: &[(Token, u32)], match_length: usize) -> Signals {
    let total: u32 = counts.iter().map(|&(_, count)| count).sum();
    let share = |count: u32| f64::from(count) / f64::from(total);
    let (mut most, mut second, mut entropy) = (0, 0, 0.0);
    for &(_, count) in counts {
        entropy -= share(count) * share(count).log2();
        second = second.max(count.min(most));
        most = most.max(count);
    }
    Signals {
        entropy_bits: entropy.max(0.0) as f32,
        confidence: share(most) as f32,
        margin: share(most - second) as f32,
        match_length: u16::try_from(match_length).unwrap_or(u16::MAX),
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
                Proposal { token, signals: place.signals }
            });
        }
        Ok(())
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        let min_match = self.settings.min_match;
        if let Ok(text) = self.slots.get_mut(slot) {
            text.index.truncate(len, min_match);
        }
    }

    fn set_scope(&mut self, slot: Slot, scope: Option<u64>) {
        if let Ok(text) = self.slots.get_mut(slot) {
            text.scope = scope;
        }
    }

    fn remember(&mut self, slot: Slot, text: &[Token]) {
        if let Some(scope) = self.slots.get(slot).and_then(|text| text.scope) {
            self.memory.remember(scope, text);
        }
    }

    fn predict(&mut self, slot: Slot, text: &[Token], next: &[Token]) {
        self.predictions.remove(&slot);
        if !next.is_empty() && self.slots.get(slot).is_some() {
            self.predictions.insert(slot, Prediction::new(text, next));
        }
    }

    fn set_memory(&mut self, limit: usize) {
        self.memory = TextMemory::new(limit, self.settings.min_match);
    }

    fn memory(&self) -> MemoryUse {
        self.memory.usage()
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
        drafter.set_memory(1000);
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
}
