//! Other interfaces over the same core: OpenAI's responses, Anthropic's messages, Ollama's chats.
//! Each turns its requests into chat requests and writes the parts of an answer in its own form.

mod described;
mod fields;
pub(super) mod messages;
mod messages_answer;
mod messages_request;
pub(super) mod ollama;
mod ollama_request;
pub(super) mod responses;
mod responses_answer;
mod responses_request;
mod time;
mod writer;

use std::sync::Arc;

use axum::{body::Bytes, extract::Request, response::Response};
use serde_json::{Map, Value};

use self::writer::Writer;
use super::{
    App, body, chat,
    make::{self, Asker, Whole},
    work,
};
use crate::{api, api::chat::ChatRequest, error::ApiError, tools::Reader};

/// A request in an interface's own form, as a chat request.
struct Translated {
    chat: Map<String, Value>,
    /// What the answer repeats of the request.
    echo: Map<String, Value>,
    stream: bool,
}

/// Reads a body and answers the chat that it means.
async fn answer<W: Writer>(
    app: Arc<App>,
    request: Request,
    translate: fn(&App, Map<String, Value>) -> Result<Translated, ApiError>,
    make_writer: impl FnOnce(&App, &Asker, Map<String, Value>, Reader) -> W,
) -> Result<Response, ApiError> {
    let asker = Asker::of(&app, request.headers(), request.extensions());
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let plan = move |app: &App, bytes: &Bytes, wanted: &work::Wanted| {
        let Translated { chat, echo, stream } = translate(app, object(bytes)?)?;
        let request = chat_request(chat)?;
        Ok((chat::plan_request(app, request, wanted)?, echo, stream))
    };
    let (planned, echo, stream) = work::on_body(&app, body, plan).await?;
    let chat::Planned { prompt, common, places, .. } = planned;
    let events = make::submit(&app, &asker, vec![prompt], &common, places)?;
    let reader = common.answering.reader.unwrap_or_else(Reader::plain);
    let parser = reader.parser();
    let writer = make_writer(&app, &asker, echo, reader);
    if stream {
        return Ok(writer::respond(events, writer, parser));
    }
    let mut answers = make::collect(events).await?;
    let Whole { text, done, .. } = answers.swap_remove(0);
    Ok(writer.whole(&text, &done))
}

/// The object that a body is.
fn object(bytes: &Bytes) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ApiError::invalid(format!("Cannot read the request: {error}.")))
}

fn chat_request(chat: Map<String, Value>) -> Result<ChatRequest, ApiError> {
    api::read(Value::Object(chat).to_string().as_bytes())
}
