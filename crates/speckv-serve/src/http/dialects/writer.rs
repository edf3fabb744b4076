//! Streams of other interfaces.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::{
    Json,
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde_json::Value;

use crate::{
    error::ApiError,
    http::make::Events,
    scheduler::{Done, News, Step},
    tools::{AnswerParser, Part},
};

/// Writes one answer in an interface's own form.
pub(super) trait Writer: Send + Sized + 'static {
    /// The media type of a stream.
    const MEDIA: &'static str;
    /// What is sent after a time without news, to see whether the client is still there.
    const QUIET: &'static str;

    /// The beginning of a stream.
    fn begin(&mut self) -> Vec<String>;

    /// More of the answer.
    fn part(&mut self, part: Part) -> Vec<String>;

    /// The end of a stream.
    fn end(&mut self, done: &Done, calls: usize) -> Vec<String>;

    /// An error within a stream.
    fn failed(&mut self, error: &ApiError) -> Vec<String>;

    /// A whole answer.
    fn whole(self, text: &str, done: &Done) -> Response;
}

/// An event of a stream of server-sent events.
pub(super) fn event(data: &Value) -> String {
    let name = data["type"].as_str().unwrap_or("message");
    format!("event: {name}\ndata: {data}\n\n")
}

/// A whole answer as JSON.
pub(super) fn json(value: Value) -> Response {
    Json(value).into_response()
}

const PATIENCE: Duration = Duration::from_secs(10);

struct Streaming<W> {
    events: Events,
    writer: W,
    parser: AnswerParser,
    ready: VecDeque<String>,
    over: bool,
}

impl<W: Writer> Streaming<W> {
    async fn receive(&mut self) {
        let Ok(next) = tokio::time::timeout(PATIENCE, self.events.next()).await else {
            self.ready.push_back(W::QUIET.to_owned());
            return;
        };
        match next {
            Ok((_, News::Started)) => {
                let begun = self.writer.begin();
                self.ready.extend(begun);
            }
            Ok((_, News::Step(Step { tokens, .. }))) => {
                let text: String = tokens.iter().map(|spoken| spoken.text.as_str()).collect();
                let parts = self.parser.push(&text);
                self.write(parts);
            }
            Ok((_, News::Done(done))) => {
                let parts = self.parser.finish();
                self.write(parts);
                let ended = self.writer.end(&done, self.parser.calls());
                self.ready.extend(ended);
                self.over = true;
            }
            Ok((_, News::Failed(fault))) => self.fail(&fault.into()),
            Err(error) => self.fail(&error),
        }
    }

    fn write(&mut self, parts: Vec<Part>) {
        for part in parts {
            let written = self.writer.part(part);
            self.ready.extend(written);
        }
    }

    fn fail(&mut self, error: &ApiError) {
        let failed = self.writer.failed(error);
        self.ready.extend(failed);
        self.over = true;
    }
}

/// A streamed answer, which `parser` reads.
pub(super) fn respond<W: Writer>(events: Events, writer: W, parser: AnswerParser) -> Response {
    let state = Streaming { events, writer, parser, ready: VecDeque::new(), over: false };
    let frames = stream::unfold(state, |mut state| async move {
        loop {
            if let Some(frame) = state.ready.pop_front().filter(|frame| !frame.is_empty()) {
                return Some((Ok::<_, Infallible>(Bytes::from(frame)), state));
            }
            if state.ready.is_empty() {
                if state.over {
                    return None;
                }
                state.receive().await;
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, W::MEDIA), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(frames)).into_response()
}
