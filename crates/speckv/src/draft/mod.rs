//! Where proposals come from: a draft model, look-up of earlier text, or both.

mod ahead;
mod automaton;
mod block;
mod both;
mod continuations;
mod guarded;
mod memory;
mod model;
mod ngram;
mod none;
mod prediction;
mod reading;
mod slots;
mod text;

pub(crate) use block::needs_logits;
pub use both::Both;
pub use guarded::{DraftFailures, GuardedDrafter};
pub use memory::{MemoryUse, TextMemory};
pub use model::ModelDrafter;
pub use ngram::{NgramDrafter, NgramSettings};
pub use none::NoDrafter;
pub use reading::{Reading, TargetRead};
pub use slots::{Slot, Slots};

pub use crate::gamma::{PARALLEL_DEPTH, READ_ALONG_PARALLEL};

use crate::{
    controller::Lookup,
    logits::LogitsError,
    model::{Best, ModelError},
    record::{Drafted, Source},
    sampling::{Chain, Distribution},
    signals::Signals,
    token::Token,
};

/// Missed tokens that a draft model reads along with the first drafting pass of a step: one pass
/// over a few tokens takes less time than two passes.
pub const READ_ALONG: usize = 4;

/// Most tokens that a draft with these mask tokens proposes in a pass: one more than there are
/// masks; [`PARALLEL_DEPTH`] where a single one stands for all positions; 0 without masks.
#[must_use]
pub fn parallel_depth(masks: &[Token]) -> usize {
    match masks.len() {
        0 => 0,
        1 => PARALLEL_DEPTH,
        several => (several + 1).min(PARALLEL_DEPTH),
    }
}

/// Proposes tokens for several sequences, one token each per round, and keeps the state of each
/// sequence in a slot.
///
/// The engine's token list is the truth: what a drafter has read of a sequence is a prefix of it,
/// and `tokens` always means the whole list, the tokens drafted in this step included. A drafter
/// reads on from where it stands, and [`truncate`](Drafter::truncate) tells it of rejections.
///
/// The calls of a step come in this order: [`behind`](Drafter::behind) and
/// [`lookup`](Drafter::lookup) before the decision; [`catch_up`](Drafter::catch_up) where the model
/// is to draft and has missed more than [`READ_ALONG`] tokens; [`propose`](Drafter::propose) once
/// per round, for all sequences that still draft; [`truncate`](Drafter::truncate) after
/// verification, to all but the last token of the text.
/// [`check_drafter`](crate::conformance::check_drafter) tests an implementation.
///
/// Under sampling a drafter that draws its token leaves the distribution q that it drew from in
/// [`Ask::distribution`]; one that does not draw leaves a distribution that is certain of the
/// token. The output distribution is the target's for any q that is told truthfully.
///
/// A drafter that expects the last token again:
///
/// ```
/// use speckv::{
///     draft::{Ask, DraftError, Drafter, Proposal, Slot, Slots},
///     record::Source,
///     signals::Signals,
/// };
///
/// #[derive(Default)]
/// struct Again {
///     slots: Slots<()>, // nothing is kept per sequence
/// }
///
/// impl Drafter for Again {
///     fn open(&mut self) -> Result<Slot, DraftError> {
///         Ok(self.slots.open(()))
///     }
///
///     fn close(&mut self, slot: Slot) {
///         self.slots.close(slot);
///     }
///
///     fn has_model(&self) -> bool {
///         true
///     }
///
///     fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError> {
///         for ask in asks.iter_mut().filter(|ask| ask.source == Source::MODEL) {
///             let Some(&token) = ask.tokens.last() else { continue };
///             if !ask.chain.is_greedy() {
///                 ask.distribution.set_certain(token);
///             }
///             let signals = Signals { confidence: 0.5, ..Signals::default() };
///             ask.proposal = Some(Proposal { token, second: None, signals });
///         }
///         Ok(())
///     }
///
///     fn truncate(&mut self, _: Slot, _: usize) {}
/// }
/// ```
pub trait Drafter: Send {
    /// A slot for a new sequence, with nothing read.
    ///
    /// # Errors
    /// No memory for the state.
    fn open(&mut self) -> Result<Slot, DraftError>;

    /// Gives a slot back. Does nothing if it is not open.
    fn close(&mut self, slot: Slot);

    /// Whether [`Source::MODEL`] can propose.
    fn has_model(&self) -> bool {
        false
    }

    /// Most tokens that [`Source::PARALLEL`] proposes in one pass; 0 where there is no such source.
    ///
    /// The first ask of a step has the tokens of the step in [`Ask::more`]; the asks after it are
    /// answered from the same pass.
    fn parallel(&self) -> usize {
        0
    }

    /// Tokens that a draft model would have to read before it could draft after `len` tokens,
    /// beyond the one that every step feeds.
    fn behind(&self, slot: Slot, len: usize) -> usize {
        let _ = (slot, len);
        0
    }

    /// Tokens that the draft model would make for an ask of [`Source::MODEL`] after `tokens`, of
    /// which `ahead` may be made before the first is judged: 0 where they were made before.
    fn makes(&self, slot: Slot, tokens: &[Token], ahead: usize) -> usize {
        let _ = (slot, tokens, ahead);
        1
    }

    /// What n-gram look-up could offer after `tokens`, nothing of which is drafted.
    fn lookup(&mut self, slot: Slot, tokens: &[Token]) -> Option<Lookup> {
        let _ = (slot, tokens);
        None
    }

    /// Reads what a draft model has missed of `tokens`, the last one excepted. Up to [`READ_ALONG`]
    /// missed tokens may be left to the first [`propose`](Drafter::propose), which reads them in
    /// the same pass.
    ///
    /// # Errors
    /// The draft model's, with what was read so far kept.
    fn catch_up(&mut self, slot: Slot, tokens: &[Token]) -> Result<(), DraftError> {
        self.catch_up_all(&mut [Reading { slot, tokens }])
    }

    /// [`catch_up`](Drafter::catch_up) of several sequences, in common passes. The slots of
    /// `readings` are unspecified afterwards.
    ///
    /// # Errors
    /// The draft model's, with what was read so far kept.
    fn catch_up_all(&mut self, readings: &mut [Reading<'_>]) -> Result<(), DraftError> {
        let _ = readings;
        Ok(())
    }

    /// Whether [`target_read`](Drafter::target_read) needs the target's hidden states. A target
    /// that does not have them then fails in its first pass.
    fn wants_hidden(&self) -> bool {
        false
    }

    /// Is called after each pass of the target, for each sequence in it, with what the target has
    /// read and keeps: the text and, if wanted, the hidden states of the positions of this pass.
    /// Called before [`truncate`](Drafter::truncate) tells of rejections.
    ///
    /// # Errors
    /// The drafter's; the step then fails and nothing of it is kept.
    fn target_read(&mut self, slot: Slot, read: &mut TargetRead<'_>) -> Result<(), DraftError> {
        let _ = (slot, read);
        Ok(())
    }

    /// Copies to `to` what was read for `from`, up to position `len`, where that is more than was
    /// read for `to`. May do nothing: what is missing is read later.
    fn copy(&mut self, from: Slot, to: Slot, len: usize) {
        let _ = (from, to, len);
    }

    /// Says which earlier texts look-up may find for a sequence, by the scope that they were
    /// [remembered](Drafter::remember) in; `None`: none.
    fn set_scope(&mut self, slot: Slot, scope: Option<u64>) {
        let _ = (slot, scope);
    }

    /// Remembers a finished text in the scope of its sequence, for look-up in later ones.
    fn remember(&mut self, slot: Slot, text: &[Token]) {
        let _ = (slot, text);
    }

    /// Says what probably follows `text`, the sequence's own: look-up drafts from it beside the
    /// text. It replaces what was said before; an empty `next` predicts nothing.
    fn predict(&mut self, slot: Slot, text: &[Token], next: &[Token]) {
        let _ = (slot, text, next);
    }

    /// The memory of finished texts, which remembers nothing until it gets a limit; `None` where
    /// there is none.
    fn memory(&self) -> Option<&TextMemory> {
        None
    }

    /// The same, to be changed.
    fn memory_mut(&mut self) -> Option<&mut TextMemory> {
        None
    }

    /// Answers every ask whose source it serves, in one pass, and leaves the others as they are.
    ///
    /// # Errors
    /// The draft model's; then no ask has a proposal.
    fn propose(&mut self, asks: &mut [Ask<'_>]) -> Result<(), DraftError>;

    /// Forgets everything read from position `len` on; does nothing if there is less.
    fn truncate(&mut self, slot: Slot, len: usize);
}

/// One sequence's request for one more draft token.
#[derive(Debug)]
pub struct Ask<'a> {
    /// The sequence.
    pub slot: Slot,
    /// The source that is asked.
    pub source: Source,
    /// The sequence's tokens, the drafted ones at the end, at least one.
    pub tokens: &'a [Token],
    /// How many of `tokens` were drafted in this step and may be taken back.
    pub drafted: usize,
    /// Tokens that the step may still draft, this one included.
    pub more: usize,
    /// Of these, the ones that may be drafted before the first of them is judged, at least 1: a
    /// model that makes several tokens in one submission may go so far ahead. Each token is asked
    /// for all the same.
    pub ahead: usize,
    /// How the token is to be chosen.
    pub chain: &'a mut Chain,
    /// Uniform in [0, 1), for a drafter that draws its token.
    pub uniform: f64,
    /// Out: the distribution q that the token was drawn from; certain of it where nothing was
    /// drawn. Not used where the chain is greedy.
    pub distribution: &'a mut Distribution,
    /// Out: the proposal, or `None` where the source has none.
    pub proposal: Option<Proposal>,
}

/// A proposed token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// The token.
    pub token: Token,
    /// The source's second choice: the likeliest token but the proposed one, by the distribution
    /// that the signals are of. `None` where there is none, or the source does not say.
    pub second: Option<Token>,
    /// What the source's distribution looked like.
    pub signals: Signals,
}

impl From<Best> for Proposal {
    fn from(Best { token, second, signals }: Best) -> Self {
        Proposal { token, second, signals }
    }
}

impl From<Proposal> for Drafted {
    fn from(Proposal { token, second, signals }: Proposal) -> Self {
        Drafted { token, second, signals }
    }
}

/// Why a drafter could not draft.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// The slot was closed or belongs to another drafter.
    #[error("expected an open slot, got {0:?}")]
    Slot(Slot),
    /// The draft model's pass failed.
    #[error("the draft model failed")]
    Model(#[source] ModelError),
    /// The draft model's logits make no token.
    #[error("the draft model's logits make no token")]
    Logits(#[from] LogitsError),
}

impl From<ModelError> for DraftError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Logits { source, .. } => DraftError::Logits(source),
            error => DraftError::Model(error),
        }
    }
}
