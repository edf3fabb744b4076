//! A language model as the draft.

use std::sync::Arc;

use super::{
    Ask, DraftError, Drafter, Proposal, READ_ALONG, Reading, Slot, Slots,
    ahead::Ahead,
    block::{Block, choose, needs_logits},
    parallel_depth,
};
use crate::{
    model::{Cache, Feed, LanguageModel, ModelError, PassOutput},
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
///
/// A parallel draft (PARD, An et al. 2025, arXiv 2504.18583) also serves [`Source::PARALLEL`]: one
/// pass over what it has not read and `K - 1` mask tokens gives `K` rows, the last token's for the
/// next token and mask `j`'s for the token `j` positions after that. The masks are cut from the
/// cache again, so the tokens that are accepted are read in the next pass.
///
/// Where a model makes several tokens in one submission
/// ([`continue_greedily`](LanguageModel::continue_greedily)), greedy asks that allow it
/// ([`Ask::ahead`]) are answered together, and those after them from what was made. Proposals and
/// what is held of a text are the same as with a pass per token.
#[derive(Debug)]
pub struct ModelDrafter<M: LanguageModel> {
    model: Arc<M>,
    vocab_size: usize,
    masks: Vec<Token>, // one per position after the first, or one for all; none: not parallel
    depth: usize,      // most tokens of a parallel pass
    slots: Slots<State<M::Cache>>,
    output: M::Output,
    made: usize, // tokens of each sequence that the last pass has made
    away: Vec<Away<M::Cache>>,
    feeds: Vec<Feed<'static, M::Cache>>, // empty between passes
}

/// What is kept of a sequence.
#[derive(Debug)]
struct State<C> {
    cache: Option<C>, // away only while a pass uses it
    block: Block,
    ahead: Ahead,
    refused: bool, // the model has made no cache yet: it is asked again where one is needed
}

impl<C: Cache> State<C> {
    /// Positions that are held of the text.
    fn held(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| self.ahead.held(cache.len()))
    }
}

/// A sequence's part in the pass under way.
#[derive(Debug)]
struct Away<C> {
    index: usize, // of the ask or the reading
    slot: Slot,
    cache: C,
    rows: usize,
    fed: Vec<Token>, // the unread text and the masks, where there are masks
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
            made: 1,
            masks: Vec::new(),
            depth: 0,
            slots: Slots::default(),
            away: Vec::new(),
            feeds: Vec::new(),
        }
    }

    /// Another drafter with the same model and nothing read.
    #[must_use]
    pub fn again(&self) -> Self {
        let drafter = ModelDrafter::new(Arc::clone(&self.model), self.vocab_size);
        ModelDrafter { masks: self.masks.clone(), depth: self.depth, ..drafter }
    }

    /// The same draft, parallel: `masks[j]` stands for the token `j + 1` positions after the last
    /// one that is known; a single mask token stands for all positions. A pass then proposes up to
    /// [`parallel_depth`] tokens. Without masks nothing changes.
    ///
    /// # Errors
    /// [`ModelError::UnknownToken`]: a mask token that the model does not have.
    pub fn with_masks(self, masks: Vec<Token>) -> Result<Self, ModelError> {
        let vocab_size = self.model.vocab_size();
        if let Some(&token) = masks.iter().find(|&&token| token as usize >= vocab_size) {
            return Err(ModelError::UnknownToken { token, vocab_size });
        }
        Ok(ModelDrafter { depth: parallel_depth(&masks), masks, ..self })
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

    /// Takes the cache out of a slot.
    fn take(&mut self, slot: Slot) -> Result<M::Cache, DraftError> {
        let State { cache, refused, ahead, .. } = self.slots.get_mut(slot)?;
        if let Some(mut cache) = cache.take() {
            cache.truncate(ahead.held(cache.len()));
            ahead.forget();
            return Ok(cache);
        }
        if !*refused {
            return Err(DraftError::Slot(slot));
        }
        let cache = self.model.new_cache()?;
        *refused = false;
        Ok(cache)
    }

    /// Puts every cache back into its slot.
    fn put_back(&mut self) {
        for Away { slot, cache, fed, .. } in self.away.drain(..) {
            if let Ok(state) = self.slots.get_mut(slot) {
                (state.cache, state.block.fed) = (Some(cache), fed);
            }
        }
    }

    /// Takes the caches of the texts that have more to read than goes along with drafting.
    fn take_out(&mut self, readings: &[Reading<'_>]) -> Result<(), DraftError> {
        for (index, Reading { slot, tokens }) in readings.iter().enumerate() {
            let Some(end) = tokens.len().checked_sub(1) else { continue };
            let mut cache = self.take(*slot)?;
            cache.truncate(end);
            let held = cache.len();
            if end - held > READ_ALONG && self.can_read(tokens, held) {
                let fed = Vec::new();
                self.away.push(Away { index, slot: *slot, cache, rows: 0, fed });
            } else {
                self.slots.get_mut(*slot)?.cache = Some(cache);
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
            for Away { index, cache, .. } in &mut self.away {
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

    /// Takes the caches of the asks that need a pass and can have one, and has them all read up to
    /// their last token, and the masks after it, in one pass.
    fn read(&mut self, asks: &[Ask<'_>]) -> Result<(), DraftError> {
        for (index, ask) in asks.iter().enumerate().filter(|(_, ask)| ask.source.is_of_model()) {
            let rows = self.rows(ask);
            let State { block, ahead, .. } = self.slots.get_mut(ask.slot)?;
            let is_answered = match ask.source {
                Source::PARALLEL => block.answers(ask),
                _ => ahead.has(ask.tokens) && !needs_logits(ask),
            };
            if rows == 0 || is_answered {
                continue;
            }
            let mut cache = self.take(ask.slot)?;
            cache.truncate(ask.tokens.len() - 1);
            let mut fed = std::mem::take(&mut self.slots.get_mut(ask.slot)?.block.fed);
            fed.clear();
            if rows > 1 {
                fed.extend_from_slice(&ask.tokens[cache.len()..]);
                fed.extend((0..rows - 1).map(|mask| self.masks[mask.min(self.masks.len() - 1)]));
            }
            if self.can_read(ask.tokens, cache.len()) {
                self.away.push(Away { index, slot: ask.slot, cache, rows, fed });
            } else if let Ok(State { cache: place, block, .. }) = self.slots.get_mut(ask.slot) {
                (*place, block.fed) = (Some(cache), fed);
            }
        }
        let count = self.ahead(asks);
        let mut feeds = recycle(std::mem::take(&mut self.feeds));
        for Away { index, cache, rows, fed, .. } in &mut self.away {
            let tokens = match fed.is_empty() {
                true => &asks[*index].tokens[cache.len()..],
                false => &fed[..],
            };
            feeds.push(Feed::new(cache, tokens, *rows));
        }
        self.made = 1;
        let outcome = match (feeds.is_empty(), count > 1) {
            (true, _) => Ok(()),
            (false, false) => self.model.forward(&mut feeds, &mut self.output),
            (false, true) => {
                let (vocab, output) = (self.vocab_size, &mut self.output);
                let made = self.model.continue_greedily(&mut feeds, count, vocab, output);
                made.map(|made| self.made = made)
            }
        };
        self.feeds = recycle(feeds);
        if self.made == 1 {
            self.cut(asks); // masks leave no keys that mean anything
        }
        Ok(outcome?)
    }

    /// Tokens to make of each sequence in the pass of the caches that are away: as many as every
    /// one of their asks allows to be made before the first is judged.
    fn ahead(&self, asks: &[Ask<'_>]) -> usize {
        let limit = self.model.continuation_limit(self.away.len().max(1));
        let allowed = self.away.iter().map(|away| match &asks[away.index] {
            ask if ask.source == Source::MODEL && !needs_logits(ask) => ask.ahead,
            _ => 1,
        });
        allowed.fold(limit, usize::min)
    }

    /// Cuts the caches that are away to the texts of their asks.
    fn cut(&mut self, asks: &[Ask<'_>]) {
        for Away { index, cache, .. } in &mut self.away {
            cache.truncate(asks[*index].tokens.len());
        }
    }

    /// Rows of the pass that answers an ask: 0 where the source has none.
    fn rows(&self, ask: &Ask<'_>) -> usize {
        match ask.source {
            Source::MODEL => 1,
            _ => {
                let room = (self.model.context_length() + 1).saturating_sub(ask.tokens.len());
                ask.more.max(1).min(self.depth).min(room)
            }
        }
    }

    /// Makes a proposal of each row that was read, and of rows of earlier passes.
    fn answer(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        let (mut row, sequences) = (0, self.away.len());
        for Away { index, slot, rows, .. } in &self.away {
            let ask = &mut asks[*index];
            if self.made > 1 {
                let mut best = |i| {
                    let best = self.output.best(row + i * sequences, self.vocab_size);
                    best.map(Proposal::from)
                };
                let first = best(0)?;
                // What makes no token later is an error of the ask that comes to it.
                let others = (1..self.made).map_while(|i| best(i).ok());
                let ahead = &mut self.slots.get_mut(*slot)?.ahead;
                ahead.take(ask.tokens.len(), std::iter::once(first).chain(others));
            } else if ask.source == Source::PARALLEL {
                let block = &mut self.slots.get_mut(*slot)?.block;
                block.take(&mut self.output, (row, *rows), self.vocab_size, ask)?;
                block.answer(ask, self.vocab_size)?;
            } else {
                let best = self.output.best(row, self.vocab_size)?.into();
                ask.proposal = Some(match needs_logits(ask) {
                    true => choose(ask, best, &self.output.logits(row)?[..self.vocab_size])?,
                    false => best,
                });
            }
            row += rows;
        }
        for ask in asks.iter_mut().filter(|ask| ask.proposal.is_none()) {
            if ask.source == Source::PARALLEL {
                let block = &self.slots.get_mut(ask.slot)?.block;
                if block.answers(ask) {
                    block.answer(ask, self.vocab_size)?;
                }
            } else if ask.source == Source::MODEL {
                ask.proposal = self.slots.get_mut(ask.slot)?.ahead.answer(ask.tokens);
            }
        }
        Ok(())
    }
}

impl<M: LanguageModel> Drafter for ModelDrafter<M> {
    fn open(&mut self) -> Result<Slot, DraftError> {
        let (cache, refused) = match self.model.new_cache() {
            Ok(cache) => (Some(cache), false),
            // Without memory for the draft, the sequence waits for some.
            Err(error @ ModelError::OutOfMemory { .. }) => return Err(error.into()),
            Err(_) => (None, true),
        };
        let (block, ahead) = (Block::default(), Ahead::default());
        Ok(self.slots.open(State { cache, block, ahead, refused }))
    }

    fn close(&mut self, slot: Slot) {
        self.slots.close(slot);
    }

    fn has_model(&self) -> bool {
        true
    }

    fn parallel(&self) -> usize {
        self.depth
    }

    fn behind(&self, slot: Slot, len: usize) -> usize {
        let held = self.slots.get(slot).map_or(0, State::held);
        len.saturating_sub(held + 1)
    }

    fn makes(&self, slot: Slot, tokens: &[Token], ahead: usize) -> usize {
        match self.slots.get(slot) {
            Some(state) if state.ahead.has(tokens) => 0,
            _ => ahead.min(self.model.continuation_limit(1)).max(1),
        }
    }

    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        let outcome = self.take_out(readings).and_then(|()| self.read_all(readings));
        self.put_back();
        outcome
    }

    fn copy(&mut self, from: Slot, to: Slot, len: usize) {
        let Ok(mut cache) = self.take(to) else { return };
        if let Some(state) = self.slots.get(from)
            && let Some(from) = &state.cache
        {
            let len = len.min(state.held());
            if len > cache.len() {
                let _ = cache.copy_from(from, len); // what cannot be copied is read
            }
        }
        if let Ok(state) = self.slots.get_mut(to) {
            state.cache = Some(cache);
        }
    }

    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
        let outcome = self.read(asks).and_then(|()| self.answer(asks));
        if outcome.is_err() {
            self.cut(asks);
            asks.iter_mut().for_each(|ask| ask.proposal = None);
        }
        self.put_back();
        outcome
    }

    fn truncate(&mut self, slot: Slot, len: usize) {
        self.put_back(); // none is away, unless a panic cut off the last pass
        if let Ok(State { cache: Some(cache), block, ahead, .. }) = self.slots.get_mut(slot) {
            cache.truncate(ahead.held(cache.len()).min(len));
            block.forget();
            ahead.forget();
        }
    }
}
