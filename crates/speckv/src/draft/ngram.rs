//! N-gram look-up: proposes what followed an earlier occurrence of the last tokens.

use std::collections::HashMap;

use super::{Ask, DraftError, Drafter, Proposal, Slot, Slots};
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
#[derive(Debug, Default)]
pub struct NgramDrafter {
    settings: NgramSettings,
    slots: Slots<Index>,
    counts: Vec<(Token, u32)>, // continuations of the look-up at hand
}

/// Where each n-gram of a text stands.
#[derive(Debug, Default)]
struct Index {
    tokens: Vec<Token>,
    latest: HashMap<u64, u32>, // hash of an n-gram -> position of its last token
    earlier: Vec<u32>,         // per position: the one before with the same hash; NONE at the first
}

const NONE: u32 = u32::MAX;

/// The best place found.
struct Place {
    next: usize, // position of the token that follows
    match_length: usize,
    signals: Signals,
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
        let NgramSettings { min_match, max_match, max_places } = self.settings;
        let index = self.slots.get_mut(slot)?;
        index.follow(&tokens[..tokens.len() - drafted], min_match);
        let Some(suffix) = tokens.len().checked_sub(min_match).map(|start| &tokens[start..]) else {
            return Ok(None);
        };
        let mut at = index.latest.get(&hash(suffix)).copied().unwrap_or(NONE);
        let (mut longest, mut next) = (0, 0);
        self.counts.clear();
        for _ in 0..max_places {
            if at == NONE {
                break;
            }
            let end = at as usize + 1; // the match ends before this position, the continuation stands at it
            at = index.earlier[at as usize];
            if end >= tokens.len() {
                continue; // the suffix itself
            }
            let limit = max_match.min(end);
            let matched = (0..limit)
                .take_while(|&back| tokens[end - 1 - back] == tokens[tokens.len() - 1 - back])
                .count();
            if matched < min_match || matched < longest {
                continue; // another n-gram with the same hash, or a worse place
            }
            if matched > longest {
                (longest, next) = (matched, end);
                self.counts.clear();
            }
            match self.counts.iter_mut().find(|(token, _)| *token == tokens[end]) {
                Some((_, count)) => *count += 1,
                None => self.counts.push((tokens[end], 1)),
            }
        }
        Ok((longest > 0).then(|| Place {
            next,
            match_length: longest,
            signals: signals(&self.counts, longest),
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

/// Multiply and mix; collisions are found by comparing the tokens.
fn hash(tokens: &[Token]) -> u64 {
    tokens.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &token| {
        let mixed = (hash ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    })
}

impl Index {
    /// Reads on to the end of `tokens`, of which it holds a prefix.
    fn follow(&mut self, tokens: &[Token], min_match: usize) {
        self.truncate(tokens.len(), min_match);
        for &token in &tokens[self.tokens.len()..] {
            self.tokens.push(token);
            let last = self.tokens.len() - 1;
            let before = match self.tokens.len().checked_sub(min_match) {
                Some(start) => {
                    self.latest.insert(hash(&self.tokens[start..]), last as u32).unwrap_or(NONE)
                }
                None => NONE,
            };
            self.earlier.push(before);
        }
    }

    /// Unreads from the end, so that each n-gram's latest place is again the one before.
    fn truncate(&mut self, len: usize, min_match: usize) {
        while self.tokens.len() > len {
            let before = self.earlier.pop().unwrap_or(NONE);
            if let Some(start) = self.tokens.len().checked_sub(min_match) {
                let key = hash(&self.tokens[start..]);
                if before == NONE {
                    self.latest.remove(&key);
                } else {
                    self.latest.insert(key, before);
                }
            }
            self.tokens.pop();
        }
    }
}

impl Drafter for NgramDrafter {
    fn open(&mut self) -> Result<Slot, DraftError> {
        Ok(self.slots.open(Index::default()))
    }

    fn close(&mut self, slot: Slot) {
        self.slots.close(slot);
    }

    fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
        let place = self.find(slot, tokens, 0).ok()??;
        Some(Lookup {
            match_length: place.match_length,
            available: tokens.len() - place.next,
            signals: place.signals,
        })
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        for ask in asks.iter_mut().filter(|ask| ask.source == Source::NGRAM) {
            ask.proposal = self.find(ask.slot, ask.tokens, ask.drafted)?.map(|place| {
                let token = ask.tokens[place.next];
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
        if let Ok(index) = self.slots.get_mut(slot) {
            index.truncate(len, min_match);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(text: &[Token]) -> Option<(Token, Lookup)> {
        let mut drafter = NgramDrafter::default();
        let slot = drafter.open().unwrap();
        let next = drafter.find(slot, text, 0).unwrap().map(|place| text[place.next]);
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
            text.push(text[place.next]);
        }
        assert!(text.iter().enumerate().all(|(i, &token)| token == [5, 6, 7][i % 3]), "{text:?}");
    }

    #[test]
    fn an_index_that_was_cut_equals_a_fresh_one() {
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        let (mut index, mut text) = (Index::default(), Vec::new());
        for _ in 0..300 {
            if random(3) == 0 {
                text.truncate(text.len() - random(text.len() as u64 + 1) as usize);
                index.truncate(text.len(), 2);
            } else {
                (0..random(9)).for_each(|_| text.push(random(4) as Token));
            }
            index.follow(&text, 2);
            let mut fresh = Index::default();
            fresh.follow(&text, 2);
            assert_eq!(
                (&index.tokens, &index.latest, &index.earlier),
                (&fresh.tokens, &fresh.latest, &fresh.earlier)
            );
        }
    }
}
