//! A language model as the draft.

use std::sync::Arc;

use super::{Ask, DraftError, Drafter, Proposal, READ_ALONG, Reading, Slot, Slots};
use crate::{
    model::{Best, Cache, Feed, LanguageModel, PassOutput},
    record::Source,
    recycle::recycle,
    token::Token,
};

/// Tokens per pass when there is more to catch up on.
const CHUNK: usize = 128;

/// Drafts with a language model, all sequences of a round in one pass.
///
/// Up to four missed tokens (one is usual: after full acceptance the draft has not read its own
/// last token) are read along with the first drafting pass of a step; more are read by
/// [`catch_up_all`](Drafter::catch_up_all), 128 per pass of all sequences together.
#[derive(Debug)]
pub struct ModelDrafter<M: LanguageModel> {
    model: Arc<M>,
    vocab_size: usize,
    slots: Slots<Option<M::Cache>>, // a cache is away only while a pass uses it
    output: M::Output,
    away: Vec<(usize, Slot, M::Cache)>, // index of the ask, its slot, its cache
    feeds: Vec<Feed<'static, M::Cache>>, // empty between passes
}

impl<M: LanguageModel> ModelDrafter<M> {
    /// Drafts with `model` for a target of `target_vocab_size` tokens.
    ///
    /// The sizes may differ where one vocabulary is padded: a token outside the target's is never
    /// proposed, and a text with a token outside the draft's is not continued.
    #[must_use]
    pub fn new(model: Arc<M>, target_vocab_size: usize) -> Self {
        let vocab_size = target_vocab_size.min(model.vocab_size());
        ModelDrafter {
            output: model.new_output(),
            model,
            vocab_size,
            slots: Slots::default(),
            away: Vec::new(),
            feeds: Vec::new(),
        }
    }

    /// The draft model.
    #[must_use]
    pub fn model(&self) -> &Arc<M> {
        &self.model
    }

    /// Whether the model can read these tokens: they fit its context, and it knows those that it
    /// has not read.
    fn can_read(&self, tokens: &[Token], held: usize) -> bool {
        let vocab_size = self.model.vocab_size();
        tokens.len() <= self.model.context_length()
            && tokens[held..].iter().all(|&token| (token as usize) < vocab_size)
    }

    /// Puts every cache back into its slot.
    fn put_back(&mut self) {
        for (_, slot, cache) in self.away.drain(..) {
            if let Ok(place) = self.slots.get_mut(slot) {
                *place = Some(cache);
            }
        }
    }

    /// Takes the caches of the texts that have more to read than goes along with drafting.
    fn take_out(&mut self, readings: &[Reading<'_>]) -> Result<(), DraftError> {
        for (index, Reading { slot, tokens }) in readings.iter().enumerate() {
            let Some(end) = tokens.len().checked_sub(1) else { continue };
            let mut cache = self.slots.get_mut(*slot)?.take().ok_or(DraftError::Slot(*slot))?;
            cache.truncate(end);
            let held = cache.len();
            if end - held > READ_ALONG && self.can_read(tokens, held) {
                self.away.push((index, *slot, cache));
            } else if let Ok(place) = self.slots.get_mut(*slot) {
                *place = Some(cache);
            }
        }
        Ok(())
    }

    /// Reads all texts whose caches are away, but the last token of each, [`CHUNK`] tokens of all of
    /// them per pass.
    fn read_all(&mut self, readings: &[Reading<'_>]) -> Result<(), DraftError> {
        loop {
            let mut feeds = recycle(std::mem::take(&mut self.feeds));
            let mut room = CHUNK;
            for (index, _, cache) in &mut self.away {
                let ahead = &readings[*index].tokens[cache.len()..];
                let count = room.min(ahead.len() - 1);
                if count > 0 {
                    room -= count;
                    feeds.push(Feed::new(cache, &ahead[..count], 0));
                }
            }
            let outcome = match feeds.is_empty() {
                true => None,
                false => Some(self.model.forward(&mut feeds, &mut self.output)),
            };
            self.feeds = recycle(feeds);
            match outcome {
                None => return Ok(()),
                Some(outcome) => outcome?,
            }
        }
    }

    /// Takes the caches of the asks that the model can answer, and has them all read up to their
    /// last token in one pass.
    fn read(&mut self, asks: &[Ask<'_>]) -> Result<(), DraftError> {
        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.source == Source::MODEL) {
            let mut cache =
                self.slots.get_mut(ask.slot)?.take().ok_or(DraftError::Slot(ask.slot))?;
            cache.truncate(ask.tokens.len() - 1);
            if self.can_read(ask.tokens, cache.len()) {
                self.away.push((index, ask.slot, cache));
            } else if let Ok(place) = self.slots.get_mut(ask.slot) {
                *place = Some(cache);
            }
        }
        let mut feeds = recycle(std::mem::take(&mut self.feeds));
        for (index, _, cache) in &mut self.away {
            let tokens = &asks[*index].tokens[cache.len()..];
            feeds.push(Feed::new(cache, tokens, 1));
        }
        let outcome = if feeds.is_empty() {
            Ok(())
        } else {
            self.model.forward(&mut feeds, &mut self.output)
        };
        self.feeds = recycle(feeds);
        Ok(outcome?)
    }

    /// Makes a proposal of each row that was read.
    fn answer(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        for (row, &(index, ..)) in self.away.iter().enumerate() {
            let ask = &mut asks[index];
            let Best { token: likeliest, mut signals } = self.output.best(row, self.vocab_size)?;
            let allowed = ask.chain.allows(ask.tokens, likeliest)?;
            if !allowed {
                let logits = &self.output.logits(row)?[..self.vocab_size];
                signals = ask.chain.constrained_signals(logits, ask.tokens)?.unwrap_or(signals);
            }
            let token = if allowed && ask.chain.is_greedy() && !ask.chain.changes_logits() {
                likeliest
            } else {
                let logits = &self.output.logits(row)?[..self.vocab_size];
                if ask.chain.is_greedy() {
                    ask.chain.argmax(logits, ask.tokens)?
                } else {
                    ask.chain.fill(logits, ask.tokens, ask.distribution)?;
                    ask.distribution.draw(ask.uniform)
                }
            };
            ask.proposal = Some(Proposal { token, signals });
        }
        Ok(())
    }
}

impl<M: LanguageModel> Drafter for ModelDrafter<M> {
    fn open(&mut self) -> Result<Slot, DraftError> {
        let cache = self.model.new_cache()?;
        Ok(self.slots.open(Some(cache)))
    }

    fn close(&mut self, slot: Slot) {
        self.slots.close(slot);
    }

    fn has_model(&self) -> bool {
        true
    }

    fn behind(&self, slot: Slot, len: usize) -> usize {
        let held = self.slots.get(slot).and_then(Option::as_ref).map_or(0, Cache::len);
        len.saturating_sub(held + 1)
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        let outcome = self.take_out(readings).and_then(|()| self.read_all(readings));
        self.put_back();
        outcome
    }

    fn copy(&mut self, from: Slot, to: Slot, len: usize) {
        let Some(mut cache) = self.slots.get_mut(to).ok().and_then(Option::take) else { return };
        if let Some(from) = self.slots.get(from).and_then(Option::as_ref) {
            let len = len.min(from.len());
            if len > cache.len() {
                let _ = cache.copy_from(from, len); // what cannot be copied is read
            }
        }
        if let Ok(place) = self.slots.get_mut(to) {
            *place = Some(cache);
        }
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        let outcome = self.read(asks).and_then(|()| self.answer(asks));
        self.put_back();
        if outcome.is_err() {
            asks.iter_mut().for_each(|ask| ask.proposal = None);
        }
        outcome
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.put_back(); // none is away, unless a panic cut off the last pass
        if let Ok(Some(cache)) = self.slots.get_mut(slot) {
            cache.truncate(len);
        }
    }
}
