//! `POST /v1/responses`: OpenAI's newer interface, without kept state.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};

use super::{
    answer, described::ResponseRequest, responses_answer::ResponseWriter, responses_request,
};
use crate::{
    error::{ApiError, ErrorBody},
    http::{App, now},
};

/// Answers in the form of a response.
#[utoipa::path(
    post,
    path = "/v1/responses",
    operation_id = "createResponse",
    tag = "OpenAI",
    request_body = ResponseRequest,
    responses(
        (
            status = 200,
            description = "The response; streamed, its events",
            content((Object = "application/json"), (String = "text/event-stream"))
        ),
        (status = "4XX", description = "A wrong request or key, a full queue", body = ErrorBody),
        (status = "5XX", description = "A fault, not now, or too late", body = ErrorBody),
    )
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
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
