//! Server-sent events: one chunk per step, an error object where something fails, `[DONE]` at the
//! end.

use std::{collections::VecDeque, convert::Infallible, time::Duration};

use axum::response::{
    IntoResponse, Response, Sse,
    sse::{Event, KeepAlive},
};
use futures_util::stream;
use serde_json::Value;

use super::{
    make::Events,
    shape::{Frame, Shape},
};
use crate::scheduler::{Done, News};

/// A comment is sent after so long without an event: writing it shows whether the client is still
/// connected.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

struct Streaming<S> {
    events: Events,
    frame: Frame,
    shape: S,
    ready: VecDeque<Event>,
    done: Vec<(usize, Done)>,
    over: bool,
}

impl<S: Shape> Streaming<S> {
    fn push(&mut self, chunk: Option<Value>) {
        if let Some(chunk) = chunk {
            self.ready.push_back(Event::default().data(chunk.to_string()));
        }
    }

    /// Waits for the next event and makes chunks of it.
    async fn receive(&mut self) {
        let (choice, news) = match self.events.next().await {
            Ok(next) => next,
            Err(error) => {
                self.push(serde_json::to_value(error.into_body()).ok());
                self.over = true;
                return;
            }
        };
        let chunks = match &news {
            News::Started => self.shape.begun(&self.frame, choice).into_iter().collect(),
            News::Step(step) => self.shape.step(&self.frame, choice, step),
            News::Done(done) => self.shape.done(&self.frame, choice, done),
            News::Failed(_) => Vec::new(),
        };
        chunks.into_iter().for_each(|chunk| self.push(Some(chunk)));
        if let News::Done(done) = news {
            self.done.push((choice, *done));
            if self.done.len() == self.events.choices {
                let usage =
                    self.frame.usage_of(self.done.iter().map(|(choice, done)| (*choice, done)));
                let chunk = self.shape.usage(&self.frame, usage);
                self.push(chunk);
                self.ready.push_back(Event::default().data("[DONE]"));
                self.over = true;
            }
        }
    }
}

/// A streamed answer.
pub(super) fn respond(events: Events, frame: Frame, shape: impl Shape) -> Response {
    let (ready, done) = (VecDeque::new(), Vec::new());
    let state = Streaming { events, frame, shape, ready, done, over: false };
    let chunks = stream::unfold(state, |mut state| async move {
        loop {
            if let Some(event) = state.ready.pop_front() {
                return Some((Ok::<_, Infallible>(event), state));
            }
            if state.over {
                return None;
            }
            state.receive().await;
        }
    });
    Sse::new(chunks).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}
