//! `POST /v1/completions`.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use speckv::{sampling::SamplingSettings, token::Token};

use super::{
    App, body,
    constrain::Answering,
    make::{self, Asker, Common},
    now,
    shape::{Frame, Text},
    stream,
    work::{self, Wanted},
};
use crate::{
    api::{
        self,
        answer::TextAnswer,
        completion::{self, CompletionRequest, OnePrompt},
        options::{self, Length, StreamOptions},
        prediction::Prediction,
    },
    constraints::Constraints,
    error::{ApiError, ErrorBody},
    scheduler::Place,
};

/// Tokens of an answer where a request gives no number: OpenAI's.
const DEFAULT_MAX_TOKENS: usize = 16;

/// Continues a text.
#[utoipa::path(
    post, path = "/v1/completions", operation_id = "createCompletion", tag = "OpenAI", request_body = CompletionRequest,
    responses(
        (status = 200, description = "The text; in a stream, chunks of the same \
            shape", content((TextAnswer = "application/json"), (TextAnswer = "text/event-stream"))),
        (status = "4XX", description = "A wrong request, a wrong key, a full queue \
            (429)", body = ErrorBody),
        (status = "5XX", description = "A fault (500), not now (503), too late \
            (504)", body = ErrorBody),
    )
)]
pub(super) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    let asker = Asker::of(&app, request.headers(), request.extensions());
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let Planned { prompts, echo, common, places, include_usage, details, stream } =
        work::on_body(&app, body, plan).await?;
    let events = make::submit(&app, &asker, prompts, &common, places)?;
    let frame = Frame {
        id: format!("cmpl-{}", asker.request),
        created: now(),
        model: app.info.model.clone(),
        language: Arc::clone(&app.language),
        logprobs: common.logprobs.is_some(),
        choices_per_prompt: common.choices,
        echo,
        include_usage,
        details,
    };
    if stream {
        return Ok(stream::respond(events, frame, Text));
    }
    let answers = make::collect(events).await?;
    Ok(Json(frame.text_answer(answers)).into_response())
}

/// A request that was read and checked.
struct Planned {
    prompts: Vec<Vec<Token>>,
    echo: Vec<String>,
    common: Common,
    places: Vec<Place>,
    include_usage: bool,
    details: bool,
    stream: bool,
}

fn plan(app: &App, bytes: &Bytes, wanted: &Wanted) -> Result<Planned, ApiError> {
    let request: CompletionRequest = api::read(bytes)?;
    make::check_model(app, request.model.as_deref())?;
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
    let sampling = request.sampling();
    let vocab_size = app.info.vocab_size;
    let structured = request.structured().resolve()?;
    if structured.is_some() {
        options::check_with_constraint(request.ignore_eos.unwrap_or(false), request.min_tokens)?;
    }
    let mut common = Common {
        sampling: SamplingSettings {
            logit_bias: options::biases(request.logit_bias.as_ref(), vocab_size)?,
            min_tokens: request.min_tokens.unwrap_or(0) as usize,
            ..sampling.settings()?
        },
        seed: sampling.seed(),
        max_tokens: match options::max_tokens(max_tokens)? {
            Length::Default => Some(DEFAULT_MAX_TOKENS),
            Length::Rest => None,
            Length::Tokens(tokens) => Some(tokens),
        },
        stops: options::stops(request.stop.clone())?,
        stop_tokens: options::stop_tokens(request.stop_token_ids.clone(), vocab_size)?,
        answering: Answering::default(),
        continues: true,
        ignore_end: request.ignore_eos.unwrap_or(false),
        reuse: request.cache_prompt.unwrap_or(true),
        logprobs,
        speculation,
        prediction: None,
        choices,
        prompt_field: "prompt",
    };
    let include_usage = StreamOptions::usage(request.stream_options)?;
    let (stream, special) =
        (request.stream.unwrap_or(false), request.parse_special.unwrap_or(true));
    let prediction = request.prediction.as_ref().map(Prediction::text).transpose()?;
    let prompts = request.prompt.each();
    completion::check_count(prompts.len(), choices)?;
    for prompt in &prompts {
        match prompt {
            OnePrompt::Text(text) => work::check_length(app, "prompt", text.len())?,
            OnePrompt::Tokens(tokens) if tokens.len() >= app.info.context => {
                return Err(ApiError::context_length("prompt", app.info.context, tokens.len()));
            }
            OnePrompt::Tokens(_) => {}
        }
    }
    // The places first: what is refused costs no work.
    let places = app.handle.places(prompts.len() * choices)?;
    if let Some(prediction) = &prediction {
        wanted.check()?;
        common.prediction = make::predicted(app, Some(prediction))?;
    }
    if let Some(structured) = structured {
        wanted.check()?;
        let grammar = app.grammars.compile(&structured.field, &structured.source)?;
        common.answering.constraints = Some(Constraints::new(move || grammar.constraint()));
    }
    let mut planned = Planned {
        prompts: Vec::with_capacity(prompts.len()),
        echo: Vec::with_capacity(prompts.len()),
        common,
        places,
        include_usage,
        details,
        stream,
    };
    for prompt in prompts {
        wanted.check()?;
        let (tokens, text) = match prompt {
            OnePrompt::Text(text) => (app.language.encode(&text, special, true)?, text),
            OnePrompt::Tokens(tokens) => {
                let text = if echo { app.language.decode(&tokens) } else { String::new() };
                (tokens, text)
            }
        };
        planned.prompts.push(tokens);
        planned.echo.push(if echo { text } else { String::new() });
    }
    Ok(planned)
}
