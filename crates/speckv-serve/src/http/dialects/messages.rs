//! `POST /v1/messages` and `POST /v1/messages/count_tokens`: Anthropic's interface.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::{
    answer, chat_request,
    described::MessageRequest,
    messages_answer::{MessageWriter, error_body},
    messages_request, object,
};
use crate::{
    error::ApiError,
    http::{App, body, chat, work},
};

/// An error in Anthropic's form.
fn refused(error: ApiError) -> Response {
    let body = error_body(&error);
    let mut response = error.into_response();
    let bytes = Json(body).into_response().into_body();
    response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
    *response.body_mut() = bytes;
    response
}

/// Answers a conversation in Anthropic's form.
#[utoipa::path(
    post,
    path = "/v1/messages",
    operation_id = "createMessage",
    tag = "Anthropic",
    request_body = MessageRequest,
    responses(
        (
            status = 200,
            description = "The message; streamed, its events",
            content((Object = "application/json"), (String = "text/event-stream"))
        ),
        (status = "4XX", description = "A wrong request, in this interface's form", body = Object),
        (status = "5XX", description = "A fault, or not now", body = Object),
    )
)]
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    let answered =
        answer(app, request, messages_request::translate, |app, asker, mut echo, reader| {
            echo.insert("model".into(), app.info.model.as_str().into());
            MessageWriter {
                id: format!("msg_{}", asker.request),
                echo,
                reader,
                block: None,
                blocks: 0,
            }
        });
    answered.await.unwrap_or_else(refused)
}

/// Counts the tokens of a conversation.
#[utoipa::path(
    post,
    path = "/v1/messages/count_tokens",
    operation_id = "countMessageTokens",
    tag = "Anthropic",
    request_body = MessageRequest,
    responses(
        (status = 200, description = "`input_tokens`", body = Object),
        (status = "4XX", description = "A wrong request, in this interface's form", body = Object),
        (status = "5XX", description = "A fault, or not now", body = Object),
    )
)]
pub(crate) async fn count_tokens(State(app): State<Arc<App>>, request: Request) -> Response {
    count(app, request).await.unwrap_or_else(refused)
}

async fn count(app: Arc<App>, request: Request) -> Result<Response, ApiError> {
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let tokens = work::on_body(&app, body, |app, bytes, wanted| {
        let mut request = object(bytes)?;
        request.entry("max_tokens").or_insert_with(|| 1.into());
        let translated = messages_request::translate(app, request)?;
        let planned = chat::plan_request(app, chat_request(translated.chat)?, wanted)?;
        Ok(planned.prompt.len())
    });
    let tokens = tokens.await?;
    Ok(Json(json!({"input_tokens": tokens})).into_response())
}
