//! The step: decide -> draft -> verify -> accept -> commit -> observe.

use std::{sync::Arc, time::Duration};

use super::{
    Clock, EngineError, Generation, Pass, ReadLimits, Round, Sequence, SequenceSettings, Totals,
    accept::Buffers, home::Home, likelihood::Likelihoods, sequence::StepState,
};
use crate::{
    controller::{MAX_GAMMA, Situation},
    cost::SharedPass,
    draft::{Ask, DraftFailures, Drafter, GuardedDrafter, Proposal, Reading},
    logits::LogitsError,
    model::{Cache, Feed, LanguageModel, ModelError},
    recycle::recycle,
    sampling::{Chain, ConstraintError, Distribution, Randomness},
    step::Stepper,
    token::Token,
};

/// Steps sequences: the target, the drafter, and memory that steps reuse. A step allocates nothing
/// once its buffers have grown.
pub struct Engine<M: LanguageModel> {
    pub(super) target: Arc<M>,
    pub(super) drafter: GuardedDrafter,
    pub(super) clock: Clock,
    pub(super) home: Home,
    pub(super) output: M::Output, // of the target's last pass
    pub(super) last_pass: Pass,
    asks: Vec<Ask<'static>>,                        // empty between rounds
    proposals: Vec<Option<Proposal>>,               // [asks]
    pub(super) feeds: Vec<Feed<'static, M::Cache>>, // empty between passes
    pub(super) readings: Vec<Reading<'static>>,     // empty between passes
    pub(super) rounds: Vec<Round>,                  // of the last step
    buffers: Buffers,                               // of acceptance
    second: Distribution,                           // of what look-up says beside a draft
}

impl<M: LanguageModel> Engine<M> {
    /// An engine for a target and what drafts for it.
    #[must_use]
    pub fn new(target: Arc<M>, drafter: Box<dyn Drafter>) -> Self {
        Engine {
            output: target.new_output(),
            target,
            drafter: GuardedDrafter::new(drafter),
            clock: Clock::system(),
            home: Home::default(),
            last_pass: Pass::default(),
            asks: Vec::new(),
            proposals: Vec::new(),
            feeds: Vec::new(),
            readings: Vec::new(),
            rounds: Vec::new(),
            buffers: Buffers::default(),
            second: Distribution::new(),
        }
    }

    /// Another clock.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// The target.
    #[must_use]
    pub fn target(&self) -> &Arc<M> {
        &self.target
    }

    /// Failures of the drafter so far. A failed draft model's pass, or logits of it that make no
    /// token, end drafting for the sequence, never its answer: that goes on by plain decoding.
    #[must_use]
    pub fn draft_failures(&self) -> &DraftFailures {
        self.drafter.failures()
    }

    /// A new sequence of this engine. Its place in the drafter is free again after
    /// [`close`](Engine::close), or after it is dropped and the engine is used the next time.
    ///
    /// # Errors
    /// No prompt, a prompt longer than the context, a setting outside its range, or no memory for
    /// its state.
    pub fn sequence(&mut self, settings: SequenceSettings) -> Result<Sequence<M>, EngineError> {
        let SequenceSettings { prompt, sampling, end_tokens, max_tokens, controller } = settings;
        let context_length = self.target.context_length();
        if prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if prompt.len() > context_length {
            return Err(EngineError::PromptTooLong { context: context_length, got: prompt.len() });
        }
        let randomness = Randomness::new(sampling.seed);
        let mut chain = Chain::new(sampling)?;
        chain.begin(prompt.len(), &end_tokens);
        self.close_returned();
        let cache = self.target.new_cache()?;
        let place = self.home.place(self.drafter.open()?);
        let mut sequence = Sequence {
            tokens: prompt,
            cache,
            place,
            draft_keeps: None,
            chain,
            randomness,
            stepper: Stepper::new(controller),
            end_tokens,
            max_tokens,
            generated: 0,
            context_length,
            finish: None,
            totals: Totals::default(),
            forced_unread: 0,
            limits: ReadLimits::NONE,
            likelihoods: Likelihoods::default(),
            observing: Duration::ZERO,
            step: StepState::default(),
        };
        sequence.check_room();
        Ok(sequence)
    }

    /// Gives a sequence's place in the drafter back at once.
    pub fn close(&mut self, sequence: Sequence<M>) {
        drop(sequence);
        self.close_returned();
    }

    /// Closes the slots of sequences that were dropped.
    fn close_returned(&mut self) {
        while let Some(slot) = self.home.returned() {
            self.drafter.close(slot);
        }
    }

    /// Refuses sequences that another engine made.
    pub(super) fn check(&self, sequences: &[&mut Sequence<M>]) -> Result<(), EngineError> {
        match sequences.iter().position(|sequence| !self.home.owns(&sequence.place)) {
            Some(sequence) => Err(EngineError::ForeignSequence { sequence }),
            None => Ok(()),
        }
    }

    /// The tokens of a sequence, as an iterator.
    pub fn generate<'a>(&'a mut self, sequence: &'a mut Sequence<M>) -> Generation<'a, M> {
        Generation::new(self, sequence)
    }

    /// One step of each sequence that is not finished, with one target pass for all of them. A
    /// sequence that has more to read than its [`ReadLimits`] allow reads a part in that pass and
    /// makes no token.
    ///
    /// # Errors
    /// The target's, or a sequence of another engine. Then no sequence has moved,
    /// and every cache is a prefix of its tokens; random numbers drawn in the failed step stay
    /// drawn.
    pub fn step(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<(), EngineError> {
        self.check(sequences)?;
        self.close_returned();
        let start = self.clock.now();
        for sequence in sequences.iter_mut() {
            sequence.begin();
        }
        let outcome = self.advance(sequences);
        for sequence in sequences.iter_mut().filter(|sequence| sequence.step.active) {
            if outcome.is_ok() {
                sequence.commit();
            } else {
                sequence.roll_back();
            }
            // What the draft has read beyond its accepted tokens is not the text.
            let held =
                (sequence.tokens.len() - 1).min(sequence.step.committed + sequence.step.accepted);
            self.drafter.truncate(sequence.slot(), held);
        }
        if outcome.is_ok() {
            let total = self.clock.now() - start;
            for sequence in sequences.iter_mut().filter(|sequence| sequence.step.active) {
                sequence.observe(total, &self.clock)?;
            }
        }
        for sequence in sequences.iter_mut() {
            sequence.step.active = false;
        }
        outcome
    }

    /// Everything of a step that may fail.
    fn advance(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<(), EngineError> {
        self.read_ahead(sequences)?;
        for index in 0..sequences.len() {
            if sequences[index].step.active {
                let pass = Self::pass_of(sequences, index);
                self.decide(&mut *sequences[index], pass)?;
            }
        }
        self.catch_up(sequences)?;
        self.rounds.clear();
        while self.draft(sequences)? {}
        self.look_beside(sequences)?;
        self.verify(sequences)?;
        self.accept(sequences)
    }

    /// Asks the controller, and notes what the draft has to catch up on if it is to draft.
    fn decide(&mut self, sequence: &mut Sequence<M>, pass: SharedPass) -> Result<(), EngineError> {
        if let Some(len) = sequence.draft_keeps.take() {
            self.drafter.truncate(sequence.slot(), len);
        }
        let context = sequence.tokens.len();
        let remaining = sequence.room();
        sequence.step.room = remaining;
        let gamma_limit = (remaining - 1).min(MAX_GAMMA);
        let draft_behind = self.drafter.behind(sequence.slot(), context);
        let lookup = if gamma_limit > 0 {
            self.drafter.lookup(sequence.slot(), &sequence.tokens)
        } else {
            None
        };
        let has_model = self.drafter.has_model_for(sequence.slot());
        let parallel = if has_model { self.drafter.parallel() } else { 0 };
        let situation = Situation {
            context,
            gamma_limit,
            remaining,
            draft_behind,
            has_model,
            parallel,
            lookup,
            pass,
        };
        let start = self.clock.now();
        let _ = sequence.stepper.plan(&situation)?;
        sequence.note_forced();
        sequence.step.times.controller += self.clock.now() - start;
        let read = sequence.stepper.read_ahead(sequence.limits.draft);
        sequence.step.catches_up_to = (read > 0).then(|| context - (draft_behind - read));
        Ok(())
    }

    /// One round: a token for each sequence that still drafts. `false` if there was none.
    fn draft(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<bool, EngineError> {
        let mut asks = recycle(std::mem::take(&mut self.asks));
        asks.extend(
            sequences
                .iter_mut()
                .filter(|sequence| sequence.stepper.wants_more())
                .map(|sequence| sequence.ask()),
        );
        if asks.is_empty() {
            self.asks = recycle(asks);
            return Ok(false);
        }
        let round = Round::of(&asks, &self.drafter);
        let start = self.clock.now();
        let outcome = self.drafter.propose(&mut asks);
        let elapsed = self.clock.now() - start;
        self.rounds.extend(round.map(|round| Round { seconds: elapsed.as_secs_f64(), ..round }));
        self.proposals.clear();
        self.proposals.extend(asks.iter().map(|ask| ask.proposal));
        self.asks = recycle(asks);
        outcome?;
        let drafting = sequences.iter_mut().filter(|sequence| sequence.stepper.wants_more());
        for (sequence, proposal) in drafting.zip(&self.proposals) {
            sequence.step.times.draft += elapsed;
            sequence.take(*proposal, &self.clock)?;
        }
        Ok(true)
    }

    /// Asks look-up what it says beside each draft, where the controller wants to know, and the
    /// controller whether the draft's second choice is verified instead.
    fn look_beside(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<(), EngineError> {
        if self.drafter.wants_hidden() {
            return Ok(()); // whose rows are told in the order of a chain
        }
        let branches = self.target.takes_branches();
        for sequence in sequences.iter_mut().filter(|sequence| sequence.step.active) {
            if sequence.chain.is_constrained() {
                continue; // what is forced stands between drafted tokens
            }
            let start = self.clock.now();
            let most = sequence.stepper.beside();
            if most > 0 {
                sequence.say_beside(&mut self.drafter, most, &mut self.second)?;
                let Sequence { stepper, step, tokens, context_length, .. } = &mut **sequence;
                let said = &step.said[..];
                let at = stepper.kept().iter().zip(said).take_while(|(a, b)| a.token == b.token);
                // A draft that goes on needs no branch; each row of a branch needs a position.
                let fits = branches || at.count() == stepper.kept().len();
                let room = context_length.saturating_sub(tokens.len());
                stepper.branch(said, if fits { room } else { 0 })?;
            }
            if branches {
                let Sequence { stepper, tokens, context_length, .. } = &mut **sequence;
                stepper.sibling(context_length.saturating_sub(tokens.len()))?;
            }
            sequence.step.times.controller += self.clock.now() - start;
        }
        Ok(())
    }

    /// The target's pass over all sequences: each feeds what the target has not read, its kept
    /// draft at the end.
    fn verify(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<(), EngineError> {
        let mut feeds = recycle(std::mem::take(&mut self.feeds));
        let mut pass = Pass::default();
        let (wants_hidden, mut hidden_rows) = (self.drafter.wants_hidden(), 0);
        for sequence in sequences
            .iter_mut()
            .filter(|sequence| sequence.step.active || sequence.step.reading > 0)
        {
            let Sequence { cache, tokens, step, stepper, forced_unread, .. } = &mut **sequence;
            let held = cache.len();
            step.unread = if step.active { step.committed - 1 - held } else { 0 };
            step.parents.clear();
            let (end, rows) = if step.active {
                step.unread_forced = step.unread.min(*forced_unread);
                let between = step.is_forced.iter().filter(|&&forced| forced).count();
                stepper.set_forced_rows(step.unread_forced + between);
                append_branch(tokens, &mut step.parents, step.unread, stepper);
                (tokens.len(), tokens.len() - step.committed + 1)
            } else {
                (held + step.reading, 0)
            };
            pass.sequences += 1;
            pass.context += held;
            pass.rows += end - held;
            pass.reading += step.unread + step.reading;
            step.held = held;
            step.first_hidden = wants_hidden.then_some(hidden_rows);
            let hidden = if wants_hidden { end - held } else { 0 };
            hidden_rows += hidden;
            let feed = Feed::new(cache, &tokens[held..end], rows).with_hidden(hidden);
            feeds.push(feed.with_parents(&step.parents));
        }
        let start = self.clock.now();
        let outcome = if feeds.is_empty() {
            Ok(())
        } else {
            self.target.forward(&mut feeds, &mut self.output)
        };
        let elapsed = self.clock.now() - start;
        self.feeds = recycle(feeds);
        outcome?;
        for sequence in sequences.iter_mut().filter(|sequence| sequence.step.active) {
            let branch = sequence.stepper.record().branch.tokens.len();
            let trunk = sequence.tokens.len() - branch;
            sequence.tokens.truncate(trunk);
            sequence.step.times.verify = elapsed;
            // What was unread went along in the pass; the target has now read all but the token
            // that was just decided.
            sequence.totals.prompt_tokens += sequence.step.unread - sequence.step.unread_forced;
        }
        for sequence in sequences.iter_mut().filter(|sequence| sequence.step.reading > 0) {
            sequence.totals.prefill += elapsed;
            sequence.totals.prompt_tokens += sequence.step.reading;
        }
        pass.context /= pass.sequences.max(1);
        pass.seconds = elapsed.as_secs_f64();
        self.last_pass = pass;
        Ok(())
    }

    /// Decides how much of each draft stays, and which token follows it.
    fn accept(&mut self, sequences: &mut [&mut Sequence<M>]) -> Result<(), EngineError> {
        let mut first_row = 0;
        for (index, sequence) in
            sequences.iter_mut().enumerate().filter(|(_, sequence)| sequence.step.active)
        {
            let branch = sequence.stepper.record().branch.tokens.len();
            let rows = sequence.tokens.len() - sequence.step.committed + 1 + branch;
            let accepted = sequence.accept(&mut self.output, first_row, &mut self.buffers);
            let read = |step: &StepState| step.committed + step.accepted + step.branch_accepted;
            accepted.map_err(|error| match error {
                ModelError::Logits { source: LogitsError::Constraint, .. } => {
                    let failure = sequence.chain.failure().cloned();
                    let source = failure.unwrap_or_else(|| ConstraintError::new("it failed"));
                    EngineError::Constraint { sequence: index, source }
                }
                ModelError::Logits { source, .. } => {
                    EngineError::Logits { sequence: index, position: read(&sequence.step), source }
                }
                error => EngineError::Model(error),
            })?;
            sequence.keep_branch()?;
            self.tell_drafter(sequence, read(&sequence.step))?;
            sequence.stepper.commit(&sequence.ending())?;
            first_row += rows;
        }
        for sequence in sequences.iter().filter(|sequence| sequence.step.reading > 0) {
            self.tell_drafter(sequence, sequence.cache.len())?;
        }
        Ok(())
    }
}

/// Appends the branch of a step to its text, and says what each token of the feed follows, from the
/// first of `unread` ones on. Says nothing where the branch goes on at the draft's end: that is a
/// chain.
fn append_branch(
    tokens: &mut Vec<Token>,
    parents: &mut Vec<usize>,
    unread: usize,
    stepper: &Stepper,
) {
    let (kept, branch) = (stepper.kept().len(), &stepper.record().branch);
    tokens.extend(branch.tokens.iter().map(|token| token.token));
    if branch.tokens.is_empty() || branch.at == kept {
        return;
    }
    let trunk = unread + 1 + kept;
    parents.extend(0..trunk);
    parents.push(unread + 1 + branch.at);
    parents.extend(trunk + 1..trunk + branch.tokens.len());
}
