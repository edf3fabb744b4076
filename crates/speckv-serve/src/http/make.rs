//! From a checked request to jobs, and their events.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};

use axum::http::{Extensions, HeaderMap};
use speckv::{sampling::SamplingSettings, token::Token};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{
    App,
    constrain::Answering,
    guard::{Peer, RequestId, key},
    random, work,
};
use crate::{
    error::ApiError,
    scheduler::{Done, Event, Fault, Job, News, Place, Speculation, Spoken},
};

/// The client of a request, and the request's id.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The request's id.
    pub request: Arc<str>,
    /// Clients take turns.
    pub client: u64,
    /// Prompts are shared within a scope.
    pub scope: u64,
}

impl Asker {
    /// Of a request whose key, if keys are asked for, was checked. A key that is not checked makes
    /// no client: else everyone could be many.
    pub fn of(app: &App, headers: &HeaderMap, extensions: &Extensions) -> Self {
        let peer = extensions.get::<Peer>().copied().unwrap_or_default();
        let key = key(headers).filter(|_| !app.limits.api_keys.is_empty());
        let request =
            extensions.get::<RequestId>().map_or_else(|| "none".into(), |id| Arc::clone(&id.0));
        let scope = key.filter(|_| !app.limits.share_across_keys);
        Asker { request, client: hash(&(network(peer.0), key)), scope: scope_of(scope) }
    }
}

/// The scope of a key; `None`: of all requests, where keys are not told apart.
#[must_use]
pub fn scope_of(key: Option<&str>) -> u64 {
    hash(&key)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// The address of a client: of IPv6 the first 64 bits, since the others are the client's to choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// What all answers to a request have in common.
#[derive(Debug, Clone)]
pub struct Common {
    /// How tokens are chosen, without the seed.
    pub sampling: SamplingSettings,
    /// The first answer's seed; each further one has the next. Without one each has its own.
    pub seed: Option<u64>,
    /// Most tokens; `None` for as many as the context holds.
    pub max_tokens: Option<usize>,
    /// Texts that end an answer.
    pub stops: Vec<String>,
    /// Tokens that end it, besides those of the model.
    pub stop_tokens: Vec<Token>,
    /// What an answer is limited to, and how it is read.
    pub answering: Answering,
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
    /// What the answers will probably be.
    pub prediction: Option<Arc<[Token]>>,
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
    /// The next event.
    ///
    /// # Errors
    /// The answer's, or the scheduler's if it ended without an answer.
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
            let choice = number * common.choices + which;
            let seed = common.seed.map_or_else(random, |seed| seed.wrapping_add(choice as u64));
            app.handle.make(Job {
                request: Arc::clone(&asker.request),
                choice,
                client: asker.client,
                scope: asker.scope,
                prompt: Arc::clone(&prompt),
                sampling: SamplingSettings { seed, ..common.sampling.clone() },
                max_tokens: common.max_tokens.unwrap_or(room).min(room),
                stops: common.stops.clone(),
                stop_tokens: common.stop_tokens.clone(),
                constraints: common.answering.constraints.clone(),
                spells_control: common.answering.reader.is_some(),
                continues: common.continues,
                ignore_end: common.ignore_end,
                reuse: common.reuse,
                logprobs: common.logprobs,
                speculation: common.speculation,
                prediction: common.prediction.clone(),
                deadline: asked + app.limits.request_timeout,
                asked,
                events: sender.clone(),
                place,
            })?;
        }
    }
    Ok(Events { receiver, choices, stopping: app.handle.clone() })
}

/// The tokens of a predicted text. Control tokens that it spells are text, as in messages.
///
/// # Errors
/// A text that is longer than any that fits the context, or that the vocabulary cannot spell.
pub fn predicted(app: &App, text: Option<&str>) -> Result<Option<Arc<[Token]>>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    work::check_length(app, "prediction.content", text.len())?;
    let mut tokens = app.language.encode(text, false, false)?;
    tokens.truncate(app.info.context);
    Ok(Some(tokens.into()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let network = |text: &str| network(text.parse().expect("an address")).to_string();
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), network("2001:db8:1:2::9"));
        assert_ne!(network("2001:db8:1:2::9"), network("2001:db8:1:3::9"));
        assert_eq!(network("::ffff:10.0.0.1"), "10.0.0.1");
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("::1"), "::1");
    }
}
