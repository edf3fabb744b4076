//! Routes and what they share.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

mod body;
mod chat;
mod completions;
mod constrain;
mod cors;
mod dialects;
mod guard;
mod make;
mod openapi;
mod others;
mod page;
mod paths;
mod prompt_end;
mod shape;
mod stream;
mod work;

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware,
    routing::{get, post},
};
pub use cors::{Origins, WrongOrigin};
pub use guard::{Peer, RequestId};
pub use make::scope_of;
pub use openapi::document;
use tower::{Layer, util::MapRequestLayer};

use crate::{
    api::speculation::SpeculationDefaults, error::ApiError, grammars::GrammarStore,
    language::Language, metrics::Metrics, scheduler::Handle,
};

/// What every handler sees.
#[derive(Debug)]
pub struct App {
    /// The model's tokenizer and chat template.
    pub language: Arc<dyn Language>,
    /// The way to the scheduler.
    pub handle: Handle,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// What is served.
    pub info: Info,
    /// What is allowed.
    pub limits: Limits,
    /// Compiled grammars.
    pub grammars: GrammarStore,
    budget: body::Budget,
    permits: work::Permits,
}

impl App {
    /// What the handlers of one server share.
    #[must_use]
    pub fn new(
        language: Arc<dyn Language>,
        handle: Handle,
        metrics: Arc<Metrics>,
        info: Info,
        limits: Limits,
    ) -> Self {
        let budget = body::Budget::new(limits.max_body);
        let grammars = GrammarStore::new(Arc::clone(&language));
        let permits = work::Permits::default();
        App { language, handle, metrics, info, limits, grammars, budget, permits }
    }
}

impl std::fmt::Debug for dyn Language {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Language")
    }
}

/// What is served.
#[derive(Debug, Clone)]
pub struct Info {
    /// The model's name.
    pub model: String,
    /// What drafts: the draft model's name, `ngram`, or both.
    pub draft: Option<String>,
    /// Most tokens of prompt and answer.
    pub context: usize,
    /// Number of tokens of the target.
    pub vocab_size: usize,
    /// When the server started, in seconds since 1970.
    pub started: u64,
    /// Speculation of requests that do not choose.
    pub speculation: SpeculationDefaults,
    /// Control tokens spelled out in messages are control tokens, in requests that do not choose.
    pub parse_special: bool,
}

/// What is allowed.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Keys that are accepted; none means that no key is asked for.
    pub api_keys: Vec<String>,
    /// Only requests for localhost and `hosts` are answered, so that no web page of another host
    /// can reach a server on loopback by rebinding its name.
    pub localhost_only: bool,
    /// Further names in the header `Host` that are answered; `*.example.com` allows all below.
    pub hosts: Vec<String>,
    /// Web pages of other origins that may use the server.
    pub origins: Origins,
    /// A prompt may continue from what was read for another key. `cached_tokens` then tells what
    /// others have asked.
    pub share_across_keys: bool,
    /// Most bytes of a body.
    pub max_body: usize,
    /// Most time for a body to arrive.
    pub body_timeout: Duration,
    /// Most time from a request to its last token, queue included.
    pub request_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            api_keys: Vec::new(),
            localhost_only: true,
            hosts: Vec::new(),
            origins: Origins::None,
            share_across_keys: false,
            max_body: 4 << 20,
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(600),
        }
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    let cors = app.limits.origins.layer();
    let routes = Router::new()
        .route("/", get(page::page))
        .route("/health", get(others::health))
        .route("/metrics", get(others::metrics))
        .route("/openapi.json", get(others::openapi))
        .route("/v1/models", get(others::models))
        .route("/v1/models/{*id}", get(others::model))
        .route("/v1/chat/completions", post(chat::create))
        .route("/v1/completions", post(completions::create))
        .route("/v1/responses", post(dialects::responses::create))
        .route("/v1/messages", post(dialects::messages::create))
        .route("/v1/messages/count_tokens", post(dialects::messages::count_tokens))
        .route("/api/chat", post(dialects::ollama::chat))
        .route("/api/generate", post(dialects::ollama::generate))
        .route("/api/tags", get(dialects::ollama::tags))
        .route("/api/show", post(dialects::ollama::show))
        .route("/api/version", get(dialects::ollama::version))
        .route("/tokenize", post(others::tokenize))
        .route("/detokenize", post(others::detokenize))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::disable()) // body::receive has its own
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app);
    // Around the routes, so that a refusal has the headers too; preflight requests end here.
    let routes = match cors {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    // Outside, since layers of a router run after its routes were looked up.
    Router::new().fallback_service(MapRequestLayer::new(paths::normalize).layer(routes))
}

async fn nothing_here(request: Request) -> ApiError {
    ApiError::not_found(request.method().as_str(), request.uri().path())
}

async fn other_method(State(_): State<Arc<App>>, request: Request) -> ApiError {
    let path = request.uri().path();
    const POSTS: [&str; 10] = [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/api/chat",
        "/api/generate",
        "/api/show",
        "/tokenize",
        "/detokenize",
    ];
    let posts = POSTS.contains(&path);
    ApiError::method(request.method().as_str(), path, if posts { "POST" } else { "GET, HEAD" })
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A number that cannot be predicted.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Name and version of this program.
pub(crate) const FINGERPRINT: &str = concat!("speckv-", env!("CARGO_PKG_VERSION"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random(), random());
    }
}
