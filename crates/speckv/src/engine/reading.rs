//! Reading along: how much of a prompt one step reads, what else is in its pass, and what happens
//! to a sequence that is used again.

use super::{Engine, EngineError, Sequence, SequenceSettings, Totals};
use crate::{
    cost::SharedPass,
    draft::{Ask, Drafter, TextMemory, needs_logits},
    model::{Cache, LanguageModel},
    record::Source,
    sampling::{Chain, Randomness},
    step::{Expected, LEAST_DRAFT_READING, Member, Stepper, shared_pass},
    token::Token,
};

/// Most tokens that one step reads of a text that was not read yet, so that a long prompt does not
/// hold up the others in the step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Tokens for the target, in the same pass as the verification of all sequences. A sequence that has
    /// more to read reads so many and makes no token in this step.
    pub target: usize,
    /// Tokens for the draft model. A sequence whose draft has more to catch up on decodes plainly
    /// in this step. At least [`LEAST_DRAFT_READING`].
    pub draft: usize,
}

impl ReadLimits {
    /// Everything at once, in passes of its own: for a sequence alone.
    pub const NONE: ReadLimits = ReadLimits { target: usize::MAX, draft: usize::MAX };
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self::NONE
    }
}

/// The target's last pass.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pass {
    /// Sequences in it.
    pub sequences: usize,
    /// Rows in it: tokens fed.
    pub rows: usize,
    /// Rows that were reading of prompts and nothing else.
    pub reading: usize,
    /// Mean tokens of the sequences before it.
    pub context: usize,
    /// How long it took.
    pub seconds: f64,
}

/// A drafting round of several sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    /// Rows that the draft model read: one for each proposed token, and what one had missed.
    pub rows: usize,
    /// Mean tokens of the sequences before it.
    pub context: usize,
    /// How long it took.
    pub seconds: f64,
}

impl Round {
    /// The round of these asks, before it is made; `None` where fewer than two are for a draft
    /// model, or it makes more than the tokens that are asked for.
    pub(super) fn of(asks: &[Ask<'_>], drafter: &dyn Drafter) -> Option<Self> {
        let len = |ask: &Ask<'_>| ask.tokens.len();
        // Rows that the draft model reads for an ask; none where the pass was made before.
        let makes = |ask: &Ask<'_>| {
            let ahead = if needs_logits(ask) { 1 } else { ask.ahead };
            drafter.makes(ask.slot, ask.tokens, ahead)
        };
        let of_model = |ask: &&Ask<'_>| ask.source == Source::MODEL;
        if asks.iter().filter(of_model).any(|ask| makes(ask) > 1) {
            return None; // several passes in one
        }
        let rows = |ask: &Ask<'_>| match ask.source {
            Source::MODEL if makes(ask) == 0 => 0,
            Source::MODEL => 1 + drafter.behind(ask.slot, len(ask)),
            Source::PARALLEL if ask.drafted == 0 => {
                ask.more.min(drafter.parallel()) + drafter.behind(ask.slot, len(ask))
            }
            _ => 0,
        };
        let of_model = || asks.iter().filter(|ask| rows(ask) > 0);
        let sequences = of_model().count();
        if sequences < 2 {
            return None;
        }
        let context = of_model().map(len).sum::<usize>() / sequences;
        let rows = of_model().map(rows).sum();
        Some(Round { rows, context, seconds: 0.0 })
    }
}

impl<M: LanguageModel> Sequence<M> {
    /// How much of its text a step reads at most.
    pub fn set_read_limits(&mut self, limits: ReadLimits) {
        self.limits = ReadLimits {
            target: limits.target.max(1),
            draft: limits.draft.max(LEAST_DRAFT_READING),
        };
    }

    /// Tokens that the target has to read before it can go on, beyond the one that every step
    /// feeds.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.tokens.len() - 1 - self.cache.len()
    }

    /// Of these, the ones that a pass of their own reads: forced tokens are read along with
    /// verification.
    pub(super) fn unread_text(&self) -> usize {
        self.unread().saturating_sub(self.forced_unread)
    }

    /// Tokens at the beginning of `tokens` that this sequence's target has read already.
    #[must_use]
    pub fn read_of(&self, tokens: &[crate::token::Token]) -> usize {
        let read = &self.tokens[..self.cache.len()];
        read.iter().zip(tokens).take_while(|(old, new)| old == new).count()
    }
}

impl<M: LanguageModel> Engine<M> {
    /// The pass of the step, as sequence `index` sees it.
    pub(super) fn pass_of(sequences: &[&mut Sequence<M>], index: usize) -> SharedPass {
        let members = sequences.iter().map(|sequence| {
            let step = &sequence.step;
            if step.active {
                let rows = 1 + sequence.unread();
                Some(Member { rows, expected: sequence.stepper.expected() })
            } else {
                let reads = step.reading > 0;
                reads.then_some(Member { rows: step.reading, expected: Expected::READING })
            }
        });
        shared_pass(members, index)
    }

    /// The target's last pass of a step.
    #[must_use]
    pub fn last_pass(&self) -> Pass {
        self.last_pass
    }

    /// The drafting rounds of the last step in which a draft model drafted for several sequences.
    #[must_use]
    pub fn last_rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// Makes a sequence a new one that keeps its memory and what was read of the common beginning
    /// of both texts; what was predicted is forgotten. Returns the number of tokens that the target
    /// need not read again.
    ///
    /// # Errors
    /// As [`Engine::sequence`]; then nothing has changed.
    pub fn renew(
        &mut self,
        sequence: &mut Sequence<M>,
        settings: SequenceSettings,
    ) -> Result<usize, EngineError> {
        self.check(&[&mut *sequence])?;
        let SequenceSettings { prompt, sampling, end_tokens, max_tokens, controller } = settings;
        let randomness = Randomness::new(sampling.seed);
        let chain = Chain::new(sampling)?;
        sequence.set_tokens(&prompt)?;
        (sequence.chain, sequence.randomness) = (chain, randomness);
        sequence.stepper = Stepper::new(controller);
        (sequence.end_tokens, sequence.max_tokens) = (end_tokens, max_tokens);
        sequence.chain.begin(sequence.tokens.len(), &sequence.end_tokens);
        sequence.limits = ReadLimits::NONE;
        sequence.likelihoods.set_wanted(None);
        sequence.totals = Totals::default();
        sequence.observing = std::time::Duration::ZERO;
        sequence.finish = None;
        sequence.check_room();
        self.drafter.predict(sequence.slot(), &[], &[]);
        Ok(sequence.cache.len())
    }

    /// Copies to `to` what target and draft have read for `from` of the beginning that both texts
    /// share, where that is more than they have read for `to`. Returns the number of tokens that
    /// the target need not read; it is as before where the model's caches cannot be copied.
    pub fn copy_read(&mut self, from: &Sequence<M>, to: &mut Sequence<M>) -> usize {
        let common = from.read_of(&to.tokens).min(to.tokens.len() - 1);
        let ours = self.home.owns(&from.place) && self.home.owns(&to.place);
        if ours && common > to.cache.len() && to.cache.copy_from(&from.cache, common) {
            if let Some(len) = to.draft_keeps.take() {
                self.drafter.truncate(to.slot(), len);
            }
            let draft = from.draft_keeps.map_or(common, |keeps| keeps.min(common));
            self.drafter.copy(from.slot(), to.slot(), draft);
        }
        to.cache.len()
    }

    /// Says which earlier texts look-up may find for a sequence: see
    /// [`Drafter::set_scope`](crate::draft::Drafter::set_scope). Does nothing to a sequence of
    /// another engine.
    pub fn set_scope(&mut self, sequence: &Sequence<M>, scope: Option<u64>) {
        if self.home.owns(&sequence.place) {
            self.drafter.set_scope(sequence.slot(), scope);
        }
    }

    /// Says what a sequence will probably go on with, for look-up; it replaces what was said
    /// before, and an empty `next` predicts nothing. The text stays as it would be without it. Does
    /// nothing to a sequence of another engine.
    pub fn predict(&mut self, sequence: &Sequence<M>, next: &[Token]) {
        if self.home.owns(&sequence.place) {
            self.drafter.predict(sequence.slot(), &sequence.tokens, next);
        }
    }

    /// Has look-up remember what was generated, in the sequence's scope, for later texts.
    pub fn remember(&mut self, sequence: &Sequence<M>) {
        if self.home.owns(&sequence.place) {
            let start = sequence.tokens.len() - sequence.generated;
            self.drafter.remember(sequence.slot(), &sequence.tokens[start..]);
        }
    }

    /// Look-up's memory of finished texts, which remembers nothing until it gets a
    /// [limit](TextMemory::set_limit); `None` without look-up.
    #[must_use]
    pub fn lookup_memory(&self) -> Option<&TextMemory> {
        self.drafter.memory()
    }

    /// The same, to be changed.
    pub fn lookup_memory_mut(&mut self) -> Option<&mut TextMemory> {
        self.drafter.memory_mut()
    }

    /// Takes back a step that was cut off by a panic: every sequence is as it was before it, and
    /// the step may be tried again. The sequences are those that were given to
    /// [`step`](Engine::step); does nothing to one that was not in the middle of a step.
    pub fn recover(&mut self, sequences: &mut [&mut Sequence<M>]) {
        for sequence in sequences.iter_mut() {
            sequence.step.reading = 0;
            if std::mem::take(&mut sequence.step.active) && self.home.owns(&sequence.place) {
                sequence.roll_back();
                let held = sequence.tokens.len() - 1;
                self.drafter.truncate(sequence.slot(), held);
            }
        }
    }
}
