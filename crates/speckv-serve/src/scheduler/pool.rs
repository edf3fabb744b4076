//! Sequences that are kept between requests, with what they have read: the next turn of a chat
//! continues from there.

use speckv::{engine::Sequence, model::LanguageModel, token::Token};

/// Finished sequences, the longest unused first. How many there may be is the scheduler's to
/// decide.
pub struct Pool<M: LanguageModel> {
    resting: Vec<(u64, Sequence<M>)>, // with the scope that may continue it
}

/// Least share of a kept text that must be common for it to be continued. A common template or
/// system prompt is no reason to overwrite a long conversation of another client.
const WORTH: f64 = 0.5;

impl<M: LanguageModel> Default for Pool<M> {
    fn default() -> Self {
        Pool { resting: Vec::new() }
    }
}

impl<M: LanguageModel> Pool<M> {
    /// Number of sequences that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.resting.len()
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// Positions that they hold.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.resting.iter().map(|(_, sequence)| sequence.read()).sum()
    }

    /// The sequences of a scope.
    pub fn resting(&self, scope: u64) -> impl Iterator<Item = &Sequence<M>> {
        let of_scope = self.resting.iter().filter(move |(owner, _)| *owner == scope);
        of_scope.map(|(_, sequence)| sequence)
    }

    /// Keeps a sequence that has ended.
    pub fn rest(&mut self, scope: u64, mut sequence: Sequence<M>) {
        sequence.release();
        self.resting.push((scope, sequence));
    }

    /// The sequence to continue with `prompt`: of those of the scope the one with the longest
    /// common beginning, if most of it is common. If there is none and no `room` for a new
    /// sequence, the one that was unused for the longest.
    pub fn take(&mut self, scope: u64, prompt: &[Token], room: bool) -> Option<Sequence<M>> {
        let common = |sequence: &Sequence<M>| {
            let common = sequence.read_of(prompt);
            (common as f64 >= WORTH * sequence.tokens().len() as f64).then_some(common)
        };
        let worth = self
            .resting
            .iter()
            .enumerate()
            .filter(|(_, (owner, _))| *owner == scope)
            .filter_map(|(index, (_, sequence))| Some((common(sequence)?, index)));
        match worth.max() {
            Some((_, index)) => Some(self.resting.remove(index).1),
            None if room => None,
            None => self.take_oldest(scope),
        }
    }

    /// The sequence that was unused for the longest. One of another scope has forgotten its text
    /// but the first token, so that the new owner cannot find out what it was.
    pub fn take_oldest(&mut self, scope: u64) -> Option<Sequence<M>> {
        if self.resting.is_empty() {
            return None;
        }
        let (owner, mut sequence) = self.resting.remove(0);
        if owner != scope {
            sequence.rewind(1);
        }
        Some(sequence)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use speckv::{
        controller::Off,
        draft::NoDrafter,
        engine::{Engine, SequenceSettings},
        sampling::SamplingSettings,
        sim::{SimModel, SimSettings},
    };

    use super::*;

    const OWN: u64 = 7;

    fn pool(texts: &[&[Token]]) -> Pool<SimModel> {
        let mut engine = Engine::new(
            Arc::new(SimModel::new(SimSettings::default())),
            Box::new(NoDrafter::new()),
        );
        let mut pool = Pool::default();
        for text in texts {
            let settings = SequenceSettings {
                prompt: text.to_vec(),
                sampling: SamplingSettings::default(),
                end_tokens: vec![],
                max_tokens: 1,
                controller: Box::new(Off),
            };
            let mut sequence = engine.sequence(settings).expect("a sequence");
            engine.step(&mut [&mut sequence]).expect("a step");
            pool.rest(OWN, sequence);
        }
        pool
    }

    #[test]
    fn the_longest_common_beginning_wins() {
        let mut pool = pool(&[&[1, 2, 3, 4], &[1, 2, 3, 9, 9], &[1, 7, 7, 7]]);
        let taken = pool.take(OWN, &[1, 2, 3, 9, 9, 5], true).expect("one");
        assert_eq!(taken.tokens()[..5], [1, 2, 3, 9, 9]);
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn a_short_common_beginning_spares_the_resting_while_there_is_room() {
        let mut pool = pool(&[&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 1, 1, 1, 1, 1, 1, 1]]);
        let prompt = [1, 2, 9, 9, 9, 9, 9, 9];
        assert!(pool.take(OWN, &prompt, true).is_none());
        let oldest = pool.take(OWN, &prompt, false).expect("one");
        assert_eq!(oldest.tokens()[1], 2);
        assert!(pool.positions() >= 8);
    }

    #[test]
    fn a_short_prompt_with_the_same_template_leaves_a_long_conversation_where_it_is() {
        let mut long: Vec<Token> = vec![1, 2, 3, 4, 5, 6, 7, 8]; // a template and a system prompt, shared by all
        long.extend((0..40).map(|n| n % 20));
        let mut pool = pool(&[&long]);
        let stranger = [1, 2, 3, 4, 5, 6, 7, 8, 19];
        assert!(
            pool.take(OWN, &stranger, true).is_none(),
            "most of the stranger's prompt is common, but little of the conversation"
        );
        assert_eq!(pool.len(), 1);
        let next_turn: Vec<Token> = long.iter().copied().chain([9, 9, 9]).collect();
        assert_eq!(
            pool.take(OWN, &next_turn, true).expect("its own next turn").tokens()[..long.len()],
            long
        );
    }

    #[test]
    fn a_sequence_of_another_scope_is_not_continued_and_forgets_its_text() {
        let mut pool = pool(&[&[1, 2, 3, 4, 5]]);
        assert!(pool.take(OWN + 1, &[1, 2, 3, 4, 5], true).is_none());
        assert_eq!(pool.resting(OWN + 1).count(), 0);
        let taken = pool.take(OWN + 1, &[1, 2, 3, 4, 5], false).expect("the memory is used again");
        assert!(taken.read_of(&[1, 2, 3, 4, 5]) <= 1);
    }

    #[test]
    fn among_equal_beginnings_a_text_of_which_most_is_common_is_taken() {
        let mut pool = pool(&[&[1, 2, 3, 4], &[1, 2, 3, 9, 9, 9, 9, 9, 9, 9, 9, 9]]);
        let taken = pool.take(OWN, &[1, 2, 3, 5, 5, 5], true).expect("the short one");
        assert_eq!(taken.tokens()[3], 4);
    }
}
