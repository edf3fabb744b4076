//! Sequences that rest between requests, with what they have read: the next turn of a chat goes on from there.

use speckv::{engine::Sequence, model::LanguageModel, token::Token};

/// Finished sequences, the longest unused first. How many there may be is the scheduler's to decide.
pub struct Pool<M: LanguageModel> {
    resting: Vec<Sequence<M>>,
}

/// Least share of a text that must be common for a sequence to be taken while there is memory for a new one: a few common tokens of a template are
/// no reason to lose a long conversation.
const WORTH: f64 = 0.5;

impl<M: LanguageModel> Default for Pool<M> {
    fn default() -> Self {
        Pool { resting: Vec::new() }
    }
}

impl<M: LanguageModel> Pool<M> {
    /// Sequences that rest.
    #[must_use]
    pub fn len(&self) -> usize {
        self.resting.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.resting.is_empty()
    }

    /// Positions that they hold.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.resting.iter().map(Sequence::read).sum()
    }

    /// Lays a sequence to rest.
    pub fn rest(&mut self, sequence: Sequence<M>) {
        self.resting.push(sequence);
    }

    /// The sequence to continue with `prompt`: the one with the longest common beginning, if that is worth it or if there is no `room` for a new
    /// one; where nothing is worth keeping, the one that was unused for the longest.
    pub fn take(&mut self, prompt: &[Token], room: bool) -> Option<Sequence<M>> {
        let common: Vec<usize> = self.resting.iter().map(|sequence| sequence.read_of(prompt)).collect();
        let best = (0..common.len()).max_by_key(|&index| (common[index], index))?;
        let shortest = self.resting[best].tokens().len().min(prompt.len());
        let worth = common[best] as f64 >= WORTH * shortest as f64;
        match (worth, room) {
            (true, _) => Some(self.resting.remove(best)),
            (false, true) => None,
            (false, false) => Some(self.resting.remove(0)),
        }
    }

    /// The sequence that was unused for the longest.
    pub fn take_oldest(&mut self) -> Option<Sequence<M>> {
        (!self.resting.is_empty()).then(|| self.resting.remove(0))
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

    fn pool(texts: &[&[Token]]) -> Pool<SimModel> {
        let mut engine = Engine::new(Arc::new(SimModel::new(SimSettings::default())), Box::new(NoDrafter::new()));
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
            pool.rest(sequence);
        }
        pool
    }

    #[test]
    fn the_longest_common_beginning_wins() {
        let mut pool = pool(&[&[1, 2, 3, 4], &[1, 2, 3, 9, 9], &[1, 7, 7, 7]]);
        let taken = pool.take(&[1, 2, 3, 9, 9, 5], true).expect("one");
        assert_eq!(taken.tokens()[..5], [1, 2, 3, 9, 9]);
        assert_eq!(pool.len(), 2);
    }

    #[test]
    fn a_short_common_beginning_spares_the_resting_while_there_is_room() {
        let mut pool = pool(&[&[1, 2, 3, 4, 5, 6, 7, 8], &[1, 1, 1, 1, 1, 1, 1, 1]]);
        let prompt = [1, 2, 9, 9, 9, 9, 9, 9];
        assert!(pool.take(&prompt, true).is_none());
        let oldest = pool.take(&prompt, false).expect("one");
        assert_eq!(oldest.tokens()[1], 2);
        assert!(pool.positions() >= 8);
    }
}
