//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};

use super::{
    App, body,
    make::{self, Asker, Common},
    now, random,
    shape::{Chat, Frame},
    stream,
};
use crate::{
    api::{
        self,
        answer::{ChatAnswer, ChatChunk},
        chat::ChatRequest,
        options,
    },
    error::{ApiError, ErrorBody},
};

/// Answers a conversation.
#[utoipa::path(
    post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "OpenAI", request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", content((ChatAnswer = "application/json"), (ChatChunk = "text/event-stream"))),
        (status = "4XX", description = "A wrong request, a wrong key, a full queue (429)", body = ErrorBody),
        (status = "5XX", description = "A fault (500), not now (503), too late (504)", body = ErrorBody),
    )
)]
pub async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let asker = Asker::of(request.headers(), request.extensions());
    let bytes = body::read(request, &app.limits).await?;
    let request: ChatRequest = api::read(&bytes)?;
    drop(bytes);
    make::check_model(&app, request.model.as_deref())?;
    request.check_supported()?;
    let turns = request.turns()?;
    let choices = options::choices(request.n)?;
    let (speculation, details) = app.info.speculation.resolve(request.speculation.clone())?;
    let max_tokens = [
        ("max_tokens", request.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens),
    ];
    let mut stops = options::stops(request.stop.clone())?;
    stops.extend(app.language.stop_strings());
    let logprobs = request.alternatives()?;
    let common = Common {
        sampling: request.sampling().settings(random())?,
        max_tokens: options::max_tokens(max_tokens)?,
        stops,
        continues: false,
        ignore_end: request.ignore_eos.unwrap_or(false),
        reuse: request.cache_prompt.unwrap_or(true),
        logprobs,
        speculation,
        choices,
        prompt_field: "messages",
    };
    // The place first: what is refused costs no work.
    let places = app.handle.places(choices)?;
    let language = Arc::clone(&app.language);
    let prompt =
        make::aside(&app, move || Ok(language.encode(&language.render(&turns)?, true, false)?))
            .await?;
    let events = make::submit(&app, &asker, vec![prompt], &common, places)?;
    let frame = Frame {
        id: format!("chatcmpl-{}", asker.request),
        created: now(),
        model: app.info.model.clone(),
        language: Arc::clone(&app.language),
        logprobs: logprobs.is_some(),
        choices_per_prompt: choices,
        echo: Vec::new(),
        include_usage: request
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        details,
    };
    if request.stream.unwrap_or(false) {
        return Ok(stream::respond(events, frame, Chat));
    }
    let answers = make::collect(events).await?;
    Ok(Json(frame.chat_answer(answers)).into_response())
}
