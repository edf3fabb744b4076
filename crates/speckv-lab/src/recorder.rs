//! Makes traces: the target's greedy text, and what every source would have proposed before each of
//! its tokens.
//!
//! The draft is asked with the drafters that decode live. Where its first token is the text's
//! own, its next chain is the old one without that token, since a model's logits do not depend on
//! how its reading was split over passes: one pass more completes it. Only a disagreement costs a
//! whole chain.

#![expect(clippy::disallowed_methods, reason = "a recording measures what its passes cost")]

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use speckv::{
    controller::{Lookup, Off},
    draft::{Ask, DraftError, Drafter, ModelDrafter, NgramDrafter, NgramSettings, NoDrafter, Slot},
    engine::{Engine, EngineError, SequenceSettings},
    model::LanguageModel,
    record::{Drafted, Source},
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};

pub use crate::trace::Depths;
use crate::trace::{Position, Proposal, Trace};

/// What is to be continued.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The prompt's id.
    pub prompt_id: &'a str,
    /// The prompt's task.
    pub task: &'a str,
    /// The prompt.
    pub prompt: &'a [Token],
    /// Most tokens of the text.
    pub max_tokens: usize,
    /// Tokens that end it.
    pub end_tokens: &'a [Token],
}

/// A trace with the seconds of its recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// What the models proposed.
    pub trace: Trace,
    /// Seconds of the plain decoding step that made each token, `[tokens]`.
    pub plain_seconds: Vec<f64>,
    /// Seconds of the pass that drafted each token of the draft model's chain,
    /// `[positions][chain]`; `None` where the token was known from the position before and no pass
    /// was needed.
    pub draft_seconds: Vec<Vec<Option<f64>>>,
}

/// Why nothing could be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Prompt and text do not fit into the target's context.
    #[error("{prompt_id}: expected a context of at least {needed} tokens, got {context}")]
    Context {
        /// The prompt.
        prompt_id: String,
        /// Tokens of prompt and text.
        needed: usize,
        /// The target's context.
        context: usize,
    },
    /// The target failed.
    #[error("the target failed")]
    Target(#[from] EngineError),
    /// The draft failed.
    #[error("the draft failed")]
    Draft(#[from] DraftError),
}

/// Records with a target `T` and a draft model `D`.
pub struct Recorder<T: LanguageModel, D: LanguageModel> {
    target: Engine<T>,
    context: usize,
    draft: Option<ModelDrafter<D>>,
    parallel: Option<ModelDrafter<D>>, // the same model, where one pass proposes several tokens
    ngram: NgramDrafter,
    depths: Depths,
    greedy: Chain,
    distribution: Distribution,
}

/// Depth of look-up's chain in recordings: as deep as the default controller drafts.
pub const LOOKUP_DEPTH: usize = 16;

/// Tokens per pass over the prompt: how often the caller may stop the recording.
const PREFILL_CHUNK: usize = 128;

impl<T: LanguageModel, D: LanguageModel> Recorder<T, D> {
    /// A recorder; without a draft model it records look-up only.
    ///
    /// # Errors
    /// None for greedy sampling settings, which these are.
    pub fn new(
        target: Arc<T>,
        draft: Option<Arc<D>>,
        ngram: NgramSettings,
        depths: Depths,
    ) -> Result<Self, RecordingError> {
        let (context, vocab_size) = (target.context_length(), target.vocab_size());
        let greedy = Chain::new(SamplingSettings::default()).map_err(EngineError::from)?;
        Ok(Recorder {
            target: Engine::new(target, Box::new(NoDrafter::default())),
            context,
            parallel: None,
            draft: draft.map(|draft| ModelDrafter::new(draft, vocab_size)),
            ngram: NgramDrafter::new(ngram),
            depths,
            greedy,
            distribution: Distribution::new(),
        })
    }

    /// The same recorder, which also records what one pass proposes of a draft model with these mask
    /// tokens, to the depth [`Depths::block_max`].
    ///
    /// # Errors
    /// A mask token that the draft model does not have.
    pub fn with_masks(mut self, masks: Vec<Token>) -> Result<Self, RecordingError> {
        let draft = self.draft.as_ref().filter(|_| !masks.is_empty());
        self.parallel = draft
            .map(|draft| draft.again().with_masks(masks))
            .transpose()
            .map_err(DraftError::from)?;
        Ok(self)
    }

    /// Records one prompt. `go_on` gets the progress, from 0 to `2 * max_tokens` (the text,
    /// then the drafting over it; a text that ends early jumps), and may break it off: then nothing
    /// comes back.
    ///
    /// # Errors
    /// [`RecordingError`].
    pub fn record(
        &mut self,
        task: &Task<'_>,
        go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<Recording>, RecordingError> {
        let needed = task.prompt.len() + task.max_tokens;
        if needed > self.context {
            return Err(RecordingError::Context {
                prompt_id: task.prompt_id.into(),
                needed,
                context: self.context,
            });
        }
        let Some((tokens, plain_seconds)) = self.greedy_text(task, go_on)? else { return Ok(None) };
        let Some((models, draft_seconds)) = self.model_chains(task, &tokens, go_on)? else {
            return Ok(None);
        };
        let mut positions = self.lookups(task, &tokens)?;
        self.blocks(task, &tokens, &mut positions)?;
        for (position, model) in positions.iter_mut().zip(models) {
            position.model = model;
        }
        let trace = Trace {
            prompt_id: task.prompt_id.into(),
            task: task.task.into(),
            prompt_tokens: task.prompt.len(),
            max_tokens: task.max_tokens,
            end_tokens: task.end_tokens.to_vec(),
            depths: self.depths,
            tokens,
            positions,
        };
        Ok(Some(Recording { trace, plain_seconds, draft_seconds }))
    }

    #[allow(clippy::type_complexity, reason = "tokens and their seconds, or broken off")]
    fn greedy_text(
        &mut self,
        task: &Task<'_>,
        go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<(Vec<Token>, Vec<f64>)>, RecordingError> {
        let mut sequence = self.target.sequence(SequenceSettings {
            prompt: task.prompt.to_vec(),
            sampling: SamplingSettings::default(),
            end_tokens: task.end_tokens.to_vec(),
            max_tokens: task.max_tokens,
            controller: Box::new(Off),
        })?;
        let mut seconds = Vec::with_capacity(task.max_tokens);
        let mut broken_off =
            self.target.prefill(&mut sequence, PREFILL_CHUNK, |_| go_on(0))?.is_break();
        while !broken_off && sequence.finish_reason().is_none() {
            self.target.step(&mut [&mut sequence])?;
            seconds.push(sequence.record().times.verify.as_secs_f64());
            broken_off = go_on(seconds.len()).is_break();
        }
        let tokens = sequence.tokens()[task.prompt.len()..].to_vec();
        self.target.close(sequence);
        Ok((!broken_off).then_some((tokens, seconds)))
    }

    #[allow(clippy::type_complexity, reason = "chains and their seconds, or broken off")]
    fn model_chains(
        &mut self,
        task: &Task<'_>,
        tokens: &[Token],
        go_on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Option<(Vec<Proposal>, Vec<Vec<Option<f64>>>)>, RecordingError> {
        let mut proposals = vec![Proposal::default(); tokens.len()];
        let mut all_seconds = vec![Vec::new(); tokens.len()];
        let Some(mut drafter) = self.draft.take() else {
            return Ok(Some((proposals, all_seconds)));
        };
        let slot = drafter.open()?;
        let outcome = (|| -> Result<ControlFlow<()>, DraftError> {
            drafter.catch_up(slot, task.prompt)?;
            let mut text = task.prompt.to_vec(); // the true text before the position, then the chain
            let mut chain: Vec<(Drafted, Option<f64>)> = Vec::new();
            for position in 0..tokens.len() {
                if let Some(truth) = position.checked_sub(1).map(|before| tokens[before]) {
                    let before = task.prompt.len() + position - 1;
                    if chain.first().is_some_and(|(drafted, _)| drafted.token == truth) {
                        chain.remove(0);
                        chain.iter_mut().for_each(|(_, seconds)| *seconds = None);
                    } else {
                        chain.clear();
                        text.truncate(before);
                        text.push(truth);
                        drafter.truncate(slot, before);
                    }
                }
                let depth = self.depths.gamma_max.min(task.max_tokens - position - 1);
                while chain.len() < depth && !ends(task, chain.last().map(|(drafted, _)| drafted)) {
                    let start = Instant::now();
                    let (chosen, distribution) = (&mut self.greedy, &mut self.distribution);
                    let ask = (slot, Source::MODEL, chain.len(), 1);
                    let Some(drafted) = propose(&mut drafter, ask, &text, chosen, distribution)?
                    else {
                        break;
                    };
                    chain.push((drafted, Some(start.elapsed().as_secs_f64())));
                    text.push(drafted.token);
                }
                let drafted: Vec<Drafted> =
                    chain.iter().take(depth).map(|(drafted, _)| *drafted).collect();
                proposals[position] =
                    Proposal { agreed: agreed(&drafted, &tokens[position..]), drafted };
                all_seconds[position] =
                    chain.iter().take(depth).map(|(_, seconds)| *seconds).collect();
                if go_on(task.max_tokens + position + 1).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })();
        drafter.close(slot);
        self.draft = Some(drafter);
        Ok(outcome?.is_continue().then_some((proposals, all_seconds)))
    }

    /// What one pass of the draft model proposes before each token.
    fn blocks(
        &mut self,
        task: &Task<'_>,
        tokens: &[Token],
        positions: &mut [Position],
    ) -> Result<(), RecordingError> {
        let Some(drafter) = &mut self.parallel else { return Ok(()) };
        let slot = drafter.open()?;
        drafter.catch_up(slot, task.prompt)?;
        let mut text = task.prompt.to_vec();
        for (position, &token) in tokens.iter().enumerate() {
            let context = text.len();
            let depth = self.depths.block_max.min(task.max_tokens - position - 1);
            let mut drafted: Vec<Drafted> = Vec::new();
            while drafted.len() < depth && !ends(task, drafted.last()) {
                let (chain, distribution) = (&mut self.greedy, &mut self.distribution);
                let ask = (slot, Source::PARALLEL, drafted.len(), depth - drafted.len());
                let Some(next) = propose(drafter, ask, &text, chain, distribution)? else { break };
                drafted.push(next);
                text.push(next.token);
            }
            text.truncate(context);
            drafter.truncate(slot, context);
            let agreed = agreed(&drafted, &tokens[position..]);
            positions[position].parallel = Proposal { drafted, agreed };
            text.push(token);
        }
        drafter.close(slot);
        Ok(())
    }

    fn lookups(
        &mut self,
        task: &Task<'_>,
        tokens: &[Token],
    ) -> Result<Vec<Position>, RecordingError> {
        let slot = self.ngram.open()?;
        let found = record_lookups(&mut self.ngram, slot, task, tokens, self.depths.ngram_max);
        self.ngram.close(slot);
        let position = |ngram| Position { ngram, ..Position::default() };
        Ok(found?.into_iter().map(position).collect())
    }
}

/// What look-up offers and proposes before each of `tokens`, the text after a task's prompt, up to
/// `depth` tokens deep. `slot` has read nothing.
///
/// # Errors
/// The drafter's.
pub fn record_lookups(
    drafter: &mut NgramDrafter,
    slot: Slot,
    task: &Task<'_>,
    tokens: &[Token],
    depth: usize,
) -> Result<Vec<Option<(Lookup, Proposal)>>, RecordingError> {
    let mut greedy = Chain::new(SamplingSettings::default()).map_err(EngineError::from)?;
    let mut distribution = Distribution::new();
    let mut text = task.prompt.to_vec();
    let mut positions = Vec::with_capacity(tokens.len());
    for (position, &token) in tokens.iter().enumerate() {
        let depth = depth.min(task.max_tokens - position - 1);
        let lookup = if depth > 0 { drafter.lookup(slot, &text) } else { None };
        let context = text.len();
        let mut drafted: Vec<Drafted> = Vec::new();
        while lookup.is_some() && drafted.len() < depth && !ends(task, drafted.last()) {
            let ask = (slot, Source::NGRAM, drafted.len(), 1);
            let Some(next) = propose(drafter, ask, &text, &mut greedy, &mut distribution)? else {
                break;
            };
            drafted.push(next);
            text.push(next.token);
        }
        text.truncate(context);
        positions.push(lookup.map(|lookup| {
            (lookup, Proposal { agreed: agreed(&drafted, &tokens[position..]), drafted })
        }));
        text.push(token);
    }
    Ok(positions)
}

fn propose(
    drafter: &mut dyn Drafter,
    (slot, source, drafted, more): (Slot, Source, usize, usize),
    text: &[Token],
    chain: &mut Chain,
    distribution: &mut Distribution,
) -> Result<Option<Drafted>, DraftError> {
    let mut asks = [Ask {
        slot,
        source,
        tokens: text,
        drafted,
        more,
        ahead: 1,
        chain,
        uniform: 0.0,
        distribution,
        proposal: None,
    }];
    drafter.propose(&mut asks)?;
    let [ask] = asks;
    Ok(ask.proposal.map(Drafted::from))
}

/// Nothing is drafted after an end token.
fn ends(task: &Task<'_>, last: Option<&Drafted>) -> bool {
    last.is_some_and(|drafted| task.end_tokens.contains(&drafted.token))
}

fn agreed(drafted: &[Drafted], text: &[Token]) -> usize {
    drafted.iter().zip(text).take_while(|(drafted, token)| drafted.token == **token).count()
}
