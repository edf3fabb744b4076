//! `POST /v1/completions`.

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
    shape::{Frame, Text},
    stream,
};
use crate::{
    api::{
        self,
        answer::TextAnswer,
        completion::{self, CompletionRequest, OnePrompt},
        options,
    },
    error::{ApiError, ErrorBody},
};

/// Tokens of an answer where a request does not say: OpenAI's.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Continues a text.
#[utoipa::path(
    post, path = "/v1/completions", operation_id = "createCompletion", tag = "OpenAI", request_body = CompletionRequest,
    responses(
        (status = 200, description = "The text; in a stream, chunks of the same shape", content((TextAnswer = "application/json"), (TextAnswer = "text/event-stream"))),
        (status = "4XX", description = "A wrong request, a wrong key, a full queue (429)", body = ErrorBody),
        (status = "5XX", description = "A fault (500), not now (503), too late (504)", body = ErrorBody),
    )
)]
pub async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let asker = Asker::of(request.headers(), request.extensions());
    let bytes = body::read(request, &app.limits).await?;
    let request: CompletionRequest = api::read(&bytes)?;
    drop(bytes);
    make::check_model(&app, request.model.as_deref())?;
    request.check_supported()?;
    let choices = options::choices(request.n)?;
    let (speculation, details) = app.info.speculation.resolve(request.speculation.clone())?;
    let logprobs = request.alternatives()?;
    let echo = request.echo.unwrap_or(false);
    if echo && logprobs.is_some() {
        return Err(ApiError::unsupported("echo", "echo together with logprobs is not supported."));
    }
    let max_tokens = [
        ("max_tokens", request.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens),
    ];
    let common = Common {
        sampling: request.sampling().settings(random())?,
        max_tokens: options::max_tokens(max_tokens)?.or(Some(DEFAULT_MAX_TOKENS)),
        stops: options::stops(request.stop.clone())?,
        continues: true,
        ignore_end: request.ignore_eos.unwrap_or(false),
        reuse: request.cache_prompt.unwrap_or(true),
        logprobs,
        speculation,
        choices,
        prompt_field: "prompt",
    };
    let (streamed, include_usage) = (
        request.stream.unwrap_or(false),
        request.stream_options.and_then(|options| options.include_usage),
    );
    let prompts = request.prompt.each();
    completion::check_count(prompts.len(), choices)?;
    // The places first: what is refused costs no work.
    let places = app.handle.places(prompts.len() * choices)?;
    let language = Arc::clone(&app.language);
    let (prompts, echo) = make::aside(&app, move || {
        let mut texts = Vec::new();
        let mut tokens = Vec::new();
        for prompt in prompts {
            let (cut, text) = match prompt {
                OnePrompt::Text(text) => (language.encode(&text, true, true)?, text),
                OnePrompt::Tokens(tokens) => {
                    let text = if echo { language.decode(&tokens) } else { String::new() };
                    (tokens, text)
                }
            };
            tokens.push(cut);
            texts.push(if echo { text } else { String::new() });
        }
        Ok((tokens, texts))
    })
    .await?;
    let events = make::submit(&app, &asker, prompts, &common, places)?;
    let frame = Frame {
        id: format!("cmpl-{}", asker.request),
        created: now(),
        model: app.info.model.clone(),
        language: Arc::clone(&app.language),
        logprobs: logprobs.is_some(),
        choices_per_prompt: choices,
        echo,
        include_usage: include_usage.unwrap_or(false),
        details,
    };
    if streamed {
        return Ok(stream::respond(events, frame, Text));
    }
    let answers = make::collect(events).await?;
    Ok(Json(frame.text_answer(answers)).into_response())
}
