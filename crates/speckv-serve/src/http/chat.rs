//! `POST /v1/chat/completions`.

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
    shape::{Chat, Frame},
    stream,
    work::{self, Wanted},
};
use crate::{
    api::{
        self,
        answer::{ChatAnswer, ChatChunk},
        chat::ChatRequest,
        options::{self, Length, StreamOptions},
        prediction::Prediction,
    },
    error::{ApiError, ErrorBody},
    language::Ending,
    scheduler::Place,
};

/// Answers a conversation.
#[utoipa::path(
    post, path = "/v1/chat/completions", operation_id = "createChatCompletion", tag = "OpenAI", request_body = ChatRequest,
    responses(
        (status = 200, description = "The answer", content((ChatAnswer = "application/json"), (ChatChunk = "text/event-stream"))),
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
    let Planned { prompt, common, places, include_usage, details, stream } =
        work::on_body(&app, body, plan).await?;
    let events = make::submit(&app, &asker, vec![prompt], &common, places)?;
    let frame = Frame {
        id: format!("chatcmpl-{}", asker.request),
        created: now(),
        model: app.info.model.clone(),
        language: Arc::clone(&app.language),
        logprobs: common.logprobs.is_some(),
        choices_per_prompt: common.choices,
        echo: Vec::new(),
        include_usage,
        details,
    };
    let reader = common.answering.reader;
    if stream {
        return Ok(stream::respond(events, frame, Chat::new(reader)));
    }
    let answers = make::collect(events).await?;
    Ok(Json(frame.chat_answer(answers, reader.as_ref())).into_response())
}

/// A request that was read and checked.
pub(super) struct Planned {
    pub prompt: Vec<Token>,
    pub common: Common,
    pub places: Vec<Place>,
    pub include_usage: bool,
    pub details: bool,
    pub stream: bool,
}

fn plan(app: &App, bytes: &Bytes, wanted: &Wanted) -> Result<Planned, ApiError> {
    plan_request(app, api::read(bytes)?, wanted)
}

/// Checks a request, takes places in the queue and makes the prompt.
///
/// # Errors
/// What is wrong with the request, or a full queue.
pub(super) fn plan_request(
    app: &App,
    request: ChatRequest,
    wanted: &Wanted,
) -> Result<Planned, ApiError> {
    make::check_model(app, request.model.as_deref())?;
    let asked = request.asked()?;
    let conversation = request.conversation(&*app.language, &asked, app.info.parse_special)?;
    let choices = options::choices(request.n)?;
    let (speculation, details) = app.info.speculation.resolve(request.speculation.clone())?;
    let max_tokens = [
        ("max_tokens", request.max_tokens),
        ("max_completion_tokens", request.max_completion_tokens),
    ];
    let mut stops = options::stops(request.stop.clone())?;
    stops.extend(app.language.stop_strings());
    let sampling = request.sampling();
    let vocab_size = app.info.vocab_size;
    let mut common = Common {
        sampling: SamplingSettings {
            logit_bias: options::biases(request.logit_bias.as_ref(), vocab_size)?,
            min_tokens: request.min_tokens.unwrap_or(0) as usize,
            ..sampling.settings()?
        },
        seed: sampling.seed(),
        max_tokens: match options::max_tokens(max_tokens)? {
            Length::Default | Length::Rest => None,
            Length::Tokens(tokens) => Some(tokens),
        },
        stops,
        stop_tokens: options::stop_tokens(request.stop_token_ids.clone(), vocab_size)?,
        answering: Answering::default(),
        continues: conversation.ending == Ending::Continue,
        ignore_end: request.ignore_eos.unwrap_or(false),
        reuse: request.cache_prompt.unwrap_or(true),
        logprobs: request.alternatives()?,
        speculation,
        prediction: None,
        choices,
        prompt_field: "messages",
    };
    let include_usage = StreamOptions::usage(request.stream_options)?;
    let stream = request.stream.unwrap_or(false);
    let min_tokens = request.min_tokens;
    let prediction = request.prediction.as_ref().map(Prediction::text).transpose()?;
    // What is left is in the conversation; the request's text would only take memory.
    drop(request);
    let texts = conversation.messages.iter().filter_map(|message| message["content"].as_str());
    work::check_length(app, "messages", texts.map(str::len).sum())?;
    // The place first: what is refused costs no work.
    let places = app.handle.places(choices)?;
    wanted.check()?;
    let prompt = app.language.prompt(&conversation, work::most_bytes(app))?;
    common.prediction = make::predicted(app, prediction.as_deref())?;
    common.answering = Answering::to(&asked, app, &prompt)?;
    if common.answering.constraints.is_some() {
        options::check_with_constraint(common.ignore_end, min_tokens)?;
    }
    Ok(Planned { prompt, common, places, include_usage, details, stream })
}
