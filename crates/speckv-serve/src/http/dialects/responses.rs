//! `POST /v1/responses`: OpenAI's newer interface, without kept state.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{answer, responses_answer::ResponseWriter, responses_request};
use crate::{
    error::ApiError,
    http::{App, now},
};

/// Answers in the form of a response.
pub async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    answer(app, request, responses_request::translate, |app, asker, echo, reader| ResponseWriter {
        id: format!("resp_{}", asker.request),
        model: app.info.model.clone(),
        created: now(),
        echo,
        reader,
        output: Vec::new(),
        is_open: false,
        sequence: 0,
    })
    .await
}
