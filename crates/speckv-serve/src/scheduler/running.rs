//! An answer in the making.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use speckv::{
    engine::{FinishReason, Sequence},
    model::LanguageModel,
    token::Token,
};
use tokio::sync::mpsc::UnboundedSender;

use super::{
    job::{Done, Event, Fault, Job, Likelihood, News, Origin, Spoken, Step},
    predicted::PredictedTokens,
};
use crate::language::{Decoder, Language, Said};

/// What an answer needs to begin.
pub(super) struct Prepared<M: LanguageModel> {
    /// The engine's part.
    pub sequence: Sequence<M>,
    /// Tokens of the prompt that need not be read.
    pub cached: usize,
    /// Its way from tokens to text.
    pub decoder: Box<dyn Decoder>,
    /// Spells control tokens.
    pub speller: Option<Speller>,
}

/// Spells the control tokens of an answer that do not end it.
pub(super) struct Speller(pub Arc<dyn Language>);

impl Speller {
    fn spelling(&self, token: Token) -> Option<String> {
        let is_spelled = self.0.is_control(token) && !self.0.end_tokens().contains(&token);
        is_spelled.then(|| String::from_utf8_lossy(&self.0.bytes(token)).into_owned())
    }
}

/// What a token adds to the text. No stop string goes on over a control token that is spelled.
fn decode(decoder: &mut dyn Decoder, speller: Option<&Speller>, token: Token) -> Said {
    let Some(spelling) = speller.and_then(|speller| speller.spelling(token)) else {
        return decoder.push(token);
    };
    let before = decoder.finish();
    if before.stopped {
        return before;
    }
    let said = decoder.push(token);
    Said { text: before.text + &said.text + &spelling, ..said }
}

/// A sequence with the client that its answer goes to.
pub(super) struct Running<M: LanguageModel> {
    /// The engine's part.
    pub sequence: Sequence<M>,
    /// The request's id.
    pub request: Arc<str>,
    /// When it is given up.
    pub deadline: Instant,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Of these, tokens that need not be read.
    pub cached_tokens: usize,
    /// The scope within which its text is shared.
    pub scope: u64,
    /// It may go on from what others have read.
    pub reuses: bool,
    /// It takes no part in steps: another sequence reads its beginning for it.
    pub waits: bool,
    choice: usize,
    decoder: Box<dyn Decoder>,
    speller: Option<Speller>,
    events: UnboundedSender<Event>,
    asked: Instant,
    started: Instant,
    first: Option<Instant>,
    last: Instant,
    generated: usize, // by the sequence, as far as it was looked at
    tokens: usize,    // of the answer; a stop string leaves out those after it
    first_tokens: usize,
    offset: usize, // where the next token begins in the answer's text, in characters, what is held back included
    said: usize,   // characters said
    predicted: Option<PredictedTokens>,
}

/// What delivering a step found.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Delivered {
    /// Tokens of the answer in this step.
    pub tokens: usize,
    /// From the step before (or from the start) to this one.
    pub gap: Duration,
    /// It was the first one.
    pub is_first: bool,
    /// The answer's sums, if it is complete.
    pub done: Option<Done>,
}

impl<M: LanguageModel> Running<M> {
    /// Begins an answer: the job leaves its place in the queue.
    pub(super) fn begin(job: Job, prepared: Prepared<M>) -> Self {
        let Prepared { sequence, cached: cached_tokens, decoder, speller } = prepared;
        let now = Instant::now();
        let prediction = job.prediction.as_ref();
        let predicted = prediction.map(|text| PredictedTokens::new(&job.prompt, text));
        let running = Running {
            sequence,
            request: job.request,
            deadline: job.deadline,
            prompt_tokens: job.prompt.len(),
            cached_tokens,
            scope: job.scope,
            reuses: job.reuse,
            waits: false,
            choice: job.choice,
            decoder,
            speller,
            events: job.events,
            asked: job.asked,
            started: now,
            first: None,
            last: now,
            generated: 0,
            tokens: 0,
            first_tokens: 0,
            offset: 0,
            said: 0,
            predicted,
        };
        running.send(News::Started);
        running
    }

    /// Whether the client has left.
    #[must_use]
    pub(super) fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    /// When it left the queue.
    #[must_use]
    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Time in the queue.
    #[must_use]
    pub(super) fn waited(&self) -> Duration {
        self.started - self.asked
    }

    /// Time since it was asked for.
    #[must_use]
    pub(super) fn age(&self) -> Duration {
        self.asked.elapsed()
    }

    /// Sends the client the reason why there is no answer.
    pub(super) fn fail(&self, fault: Fault) {
        self.send(News::Failed(fault));
    }

    /// Sends the client what the last step made; `None` if it made nothing, since the sequence only
    /// read. Where that ends the answer, [`complete`](Self::complete) is still to be called.
    pub(super) fn deliver(&mut self, sequences: usize) -> Option<Delivered> {
        if self.sequence.generated() == self.generated {
            return None;
        }
        let now = Instant::now();
        let gap = now - std::mem::replace(&mut self.last, now);
        let is_first = self.first.is_none();
        self.first.get_or_insert(now);
        self.generated = self.sequence.generated();
        if let Some(predicted) = &mut self.predicted {
            predicted.observe(self.sequence.tokens(), self.sequence.record());
        }
        let (step, stopped) = self.speak(gap, sequences);
        let tokens = step.tokens.iter().filter(|spoken| spoken.token.is_some()).count();
        self.tokens += tokens;
        if is_first {
            self.first_tokens = tokens;
        }
        let reason = if stopped { Some(FinishReason::Stop) } else { self.sequence.finish_reason() };
        self.send(News::Step(step));
        let done = reason.map(|reason| self.done(reason, stopped));
        Some(Delivered { tokens, gap, is_first, done })
    }

    /// Tells the client that its answer is complete.
    pub(super) fn complete(&self, done: Done) {
        self.send(News::Done(Box::new(done)));
    }

    /// The last step's tokens as text, and whether a stop string ended the answer.
    fn speak(&mut self, time: Duration, sequences: usize) -> (Step, bool) {
        let record = self.sequence.record();
        let accepted = record.outcome.accepted + record.branch.accepted;
        let likelihoods = self.sequence.likelihoods();
        let mut step = Step {
            tokens: Vec::with_capacity(record.tokens.len() + 1),
            drafted: record.drafted.len() + record.branch.tokens.len(),
            accepted,
            source: (!record.drafted.is_empty()).then_some(record.before.plan.source),
            time,
            sequences,
        };
        let mut stopped = false;
        let mut drafted = 0; // tokens before this one that no grammar forced
        for (index, &token) in record.tokens.iter().enumerate() {
            let origin = if record.forced.places.binary_search(&index).is_ok() {
                Origin::Forced
            } else {
                drafted += 1;
                if drafted <= accepted { Origin::Accepted } else { record.outcome.last.into() }
            };
            let said = decode(&mut *self.decoder, self.speller.as_ref(), token);
            let likelihood = likelihoods
                .get(index)
                .map(|known| Likelihood { token: known.token, top: known.top.clone() });
            self.said += said.text.chars().count();
            let offset = std::mem::replace(&mut self.offset, self.said + said.held);
            step.tokens.push(Spoken {
                token: Some(token),
                text: said.text,
                offset,
                origin,
                likelihood,
            });
            stopped = said.stopped;
            if stopped {
                break;
            }
        }
        if !stopped && self.sequence.finish_reason().is_some() {
            let rest = self.decoder.finish();
            stopped = rest.stopped;
            if !rest.text.is_empty() {
                let origin = step.tokens.last().map_or(Origin::Plain, |spoken| spoken.origin);
                let offset = std::mem::replace(&mut self.said, self.offset);
                step.tokens.push(Spoken {
                    token: None,
                    text: rest.text,
                    offset,
                    origin,
                    likelihood: None,
                });
            }
        }
        (step, stopped)
    }

    fn done(&self, reason: FinishReason, by_stop_string: bool) -> Done {
        let totals = self.sequence.totals();
        let first = self.first.unwrap_or(self.last);
        Done {
            reason,
            by_stop_string,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            tokens: self.tokens,
            first_tokens: self.first_tokens,
            drafted: totals.drafted,
            accepted: totals.accepted,
            predicted: self.predicted.as_ref().map(PredictedTokens::count).unwrap_or_default(),
            forced: totals.forced,
            steps: totals.steps,
            gamma_histogram: totals.gamma_histogram.clone(),
            controller: self.sequence.controller().name(),
            waited: self.waited(),
            reading: first - self.started,
            speaking: self.last - first,
        }
    }

    // A client that has left is found by `is_abandoned`.
    fn send(&self, news: News) {
        let _ = self.events.send(Event { choice: self.choice, news });
    }
}

/// Sends a client the reason why its job did not begin.
pub(super) fn refuse(job: &Job, fault: Fault) {
    let _ = job.events.send(Event { choice: job.choice, news: News::Failed(fault) });
}

/// The tokens that end a job's answer.
#[must_use]
pub(super) fn end_tokens(job: &Job, language: &Arc<dyn Language>) -> Vec<Token> {
    let model: &[Token] = if job.ignore_end { &[] } else { language.end_tokens() };
    [model, &job.stop_tokens].concat()
}
