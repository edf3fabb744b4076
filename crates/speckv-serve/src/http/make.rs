//! From a checked request to jobs, and their events.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    sync::Arc,
    time::Instant,
};

use axum::http::{Extensions, HeaderMap};
use speckv::{sampling::SamplingSettings, token::Token};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    App,
    guard::{Peer, RequestId, key},
};
use crate::{
    error::ApiError,
    scheduler::{Done, Event, Fault, Job, News, Place, Speculation, Spoken},
};

/// Who asks, and by which id.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The request's id.
    pub request: Arc<str>,
    /// Clients take turns.
    pub client: u64,
}

impl Asker {
    /// Of a request.
    pub fn of(headers: &HeaderMap, extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer>().copied().unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        (peer.0, key(headers)).hash(&mut hasher);
        let request =
            extensions.get::<RequestId>().map_or_else(|| "none".into(), |id| Arc::clone(&id.0));
        Asker { request, client: hasher.finish() }
    }
}

/// What all answers to a request have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// How tokens are chosen; each answer has its own seed, from this one on.
    pub sampling: SamplingSettings,
    /// Most tokens, if the request says so.
    pub max_tokens: Option<usize>,
    /// Texts that end an answer.
    pub stops: Vec<String>,
    /// Answers go on with the prompt's text.
    pub continues: bool,
    /// End tokens do not end it.
    pub ignore_end: bool,
    /// Prompts may go on from what was read for an earlier request.
    pub reuse: bool,
    /// Alternatives per token.
    pub logprobs: Option<usize>,
    /// How it speculates.
    pub speculation: Speculation,
    /// Answers per prompt.
    pub choices: usize,
    /// Name of the field that the prompt stood in.
    pub prompt_field: &'static str,
}

/// Events of all answers to one request; dropping it cancels them.
#[derive(Debug)]
pub struct Events {
    receiver: UnboundedReceiver<Event>,
    /// Answers in all.
    pub choices: usize,
    stopping: super::Handle,
}

impl Events {
    /// The next news.
    ///
    /// # Errors
    /// The answer's, or the scheduler's if it ended without a word.
    pub async fn next(&mut self) -> Result<(usize, News), ApiError> {
        match self.receiver.recv().await {
            Some(Event { news: News::Failed(fault), .. }) => Err(fault.into()),
            Some(Event { choice, news }) => Ok((choice, news)),
            None if self.stopping.is_stopping() => Err(Fault::Stopping.into()),
            None => Err(ApiError::internal("The engine has ended without an answer.")),
        }
    }
}

/// Checks prompts against the model and hands the jobs over.
///
/// # Errors
/// A prompt that is empty, too long, or has tokens that the model does not know; no scheduler.
pub fn submit(
    app: &App,
    asker: &Asker,
    prompts: Vec<Vec<Token>>,
    common: &Common,
    places: Vec<Place>,
) -> Result<Events, ApiError> {
    let (context, field) = (app.info.context, common.prompt_field);
    for prompt in &prompts {
        if prompt.is_empty() {
            return Err(ApiError::field(
                field,
                "The prompt has no tokens; give a prompt with some text.",
            ));
        }
        if prompt.len() >= context {
            return Err(ApiError::context_length(field, context, prompt.len()));
        }
        if let Some(&token) = prompt.iter().find(|&&token| token as usize >= app.info.vocab_size) {
            let message = format!(
                "Token {token} is outside the model's vocabulary of {} tokens.",
                app.info.vocab_size
            );
            return Err(ApiError::field(field, message));
        }
    }
    let (sender, receiver) = unbounded_channel();
    let asked = Instant::now();
    let choices = prompts.len() * common.choices;
    let mut places = places.into_iter();
    for (number, prompt) in prompts.into_iter().enumerate() {
        let prompt: Arc<[Token]> = prompt.into();
        for which in 0..common.choices {
            let Some(place) = places.next() else {
                return Err(ApiError::internal("There is no place for an answer."));
            };
            let room = context - prompt.len();
            let seed = common.sampling.seed.wrapping_add(which as u64);
            app.handle.make(Job {
                request: Arc::clone(&asker.request),
                choice: number * common.choices + which,
                client: asker.client,
                prompt: Arc::clone(&prompt),
                sampling: SamplingSettings { seed, ..common.sampling.clone() },
                max_tokens: common.max_tokens.unwrap_or(room).min(room),
                stops: common.stops.clone(),
                continues: common.continues,
                ignore_end: common.ignore_end,
                reuse: common.reuse,
                logprobs: common.logprobs,
                speculation: common.speculation,
                deadline: asked + app.limits.request_timeout,
                asked,
                events: sender.clone(),
                place,
            })?;
        }
    }
    Ok(Events { receiver, choices, stopping: app.handle.clone() })
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Whole {
    /// Its text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<Spoken>,
    /// Its sums.
    pub done: Done,
}

/// Waits for all answers.
///
/// # Errors
/// The first that fails; the others are cancelled.
pub async fn collect(mut events: Events) -> Result<Vec<Whole>, ApiError> {
    let mut texts = vec![(String::new(), Vec::new()); events.choices];
    let mut whole: Vec<Option<Whole>> = vec![None; events.choices];
    let mut left = events.choices;
    while left > 0 {
        let (choice, news) = events.next().await?;
        let (text, tokens) = &mut texts[choice];
        match news {
            News::Step(step) => {
                step.tokens.iter().for_each(|spoken| text.push_str(&spoken.text));
                tokens.extend(step.tokens);
            }
            News::Done(done) => {
                let (text, tokens) = (std::mem::take(text), std::mem::take(tokens));
                whole[choice] = Some(Whole { text, tokens, done: *done });
                left -= 1;
            }
            News::Started | News::Failed(_) => {}
        }
    }
    Ok(whole.into_iter().flatten().collect())
}

/// Work that would hold up other requests: templates and tokenizing.
///
/// # Errors
/// The work's, or a 500 if it panicked.
pub async fn aside<T: Send + 'static>(
    app: &App,
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            if error.is_panic() {
                app.metrics.panicked();
            }
            tracing::error!(%error, "work on a request broke down");
            Err(ApiError::internal("The text could not be worked on; please report it."))
        }
    }
}

/// Whether a request's model is the one that is served.
///
/// # Errors
/// 404 if it is another.
pub fn check_model(app: &App, asked: Option<&str>) -> Result<(), ApiError> {
    match asked {
        Some(name) if !name.is_empty() && name != app.info.model => {
            Err(ApiError::model(name, &app.info.model))
        }
        _ => Ok(()),
    }
}
