//! Models, tokens, health, metrics, the OpenAPI document.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{App, body, make, work};
use crate::{
    api::{
        self,
        answer::{Health, ModelCard, ModelList},
        text::{DetokenizeAnswer, DetokenizeRequest, TokenizeAnswer, TokenizeRequest},
    },
    error::{ApiError, ErrorBody},
    metrics::Metrics,
};

fn card(app: &App) -> ModelCard {
    ModelCard {
        id: app.info.model.clone(),
        object: "model",
        created: app.info.started,
        owned_by: "speckv",
        max_model_len: app.info.context,
        draft: app.info.draft.clone(),
        drafters: app.info.speculation.drafters(),
        controller: app.info.speculation.controller.to_string(),
        controllers: app.info.speculation.controllers(),
    }
}

/// The models: one.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", tag = "OpenAI", responses((status = 200, body = ModelList)))]
pub(super) async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: vec![card(&app)] })
}

/// One model.
#[utoipa::path(
    get, path = "/v1/models/{id}", operation_id = "retrieveModel", tag = "OpenAI", params(("id" = String, Path, description = "The model's name")),
    responses((status = 200, body = ModelCard), (status = 404, body = ErrorBody))
)]
pub(super) async fn model(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<ModelCard>, ApiError> {
    let Path(id) = id.map_err(|error| {
        ApiError::field("model", format!("The model's name cannot be read: {error}."))
    })?;
    make::check_model(&app, Some(&id))?;
    Ok(Json(card(&app)))
}

/// Cuts a text into tokens.
#[utoipa::path(
    post, path = "/tokenize", tag = "Text", request_body = TokenizeRequest,
    responses((status = 200, body = TokenizeAnswer), (status = "4XX", body = ErrorBody))
)]
pub(super) async fn tokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<TokenizeAnswer>, ApiError> {
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let answer = work::on_body(&app, body, |app, bytes, wanted| {
        let request: TokenizeRequest = api::read(bytes)?;
        make::check_model(app, request.model.as_deref())?;
        work::check_length(app, "content", request.content.len())?;
        let _place = app.handle.places(1)?;
        wanted.check()?;
        let tokens =
            app.language.encode(&request.content, request.parse_special, request.add_special)?;
        let text = |&token: &_| String::from_utf8_lossy(&app.language.bytes(token)).into_owned();
        let pieces = request.with_pieces.then(|| tokens.iter().map(text).collect());
        let max_model_len = app.info.context;
        Ok(TokenizeAnswer { count: tokens.len(), tokens, max_model_len, pieces })
    });
    answer.await.map(Json)
}

/// Turns tokens into text.
#[utoipa::path(
    post, path = "/detokenize", tag = "Text", request_body = DetokenizeRequest,
    responses((status = 200, body = DetokenizeAnswer), (status = "4XX", body = ErrorBody))
)]
pub(super) async fn detokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<DetokenizeAnswer>, ApiError> {
    let body = body::receive(request, &app.limits, &app.budget).await?;
    let content = work::on_body(&app, body, |app, bytes, wanted| {
        let request: DetokenizeRequest = api::read(bytes)?;
        make::check_model(app, request.model.as_deref())?;
        let size = app.language.vocab_size();
        if let Some(token) = request.tokens.iter().find(|&&token| token as usize >= size) {
            let message = format!("Token {token} is outside the vocabulary of {size} tokens.");
            return Err(ApiError::field("tokens", message));
        }
        if request.tokens.len() > app.info.context {
            let (context, count) = (app.info.context, request.tokens.len());
            return Err(ApiError::context_length("tokens", context, count));
        }
        let _place = app.handle.places(1)?;
        wanted.check()?;
        Ok(app.language.decode(&request.tokens))
    });
    let content = content.await?;
    Ok(Json(DetokenizeAnswer { prompt: content.clone(), content }))
}

/// Whether the server answers: 200, or 503 when it stops or its engine has ended.
#[utoipa::path(get, path = "/health", tag = "Operation", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let (status, code) = match (app.handle.is_stopping(), app.handle.is_alive()) {
        (true, _) => ("stopping", StatusCode::SERVICE_UNAVAILABLE),
        (_, false) => ("failed", StatusCode::SERVICE_UNAVAILABLE),
        _ => ("ok", StatusCode::OK),
    };
    let (running, waiting) = (app.handle.running(), app.handle.waiting());
    (code, Json(Health { status, running, waiting, kv_cache_usage: app.metrics.kv_usage() }))
        .into_response()
}

/// Numbers for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "Operation", responses((status = 200, description = "OpenMetrics text", body = String)))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .text()
        .map_err(|error| ApiError::internal(format!("The metrics cannot be written: {error}.")))?;
    Ok(([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response())
}

/// The OpenAPI document.
pub(super) async fn openapi() -> Response {
    Json(super::document()).into_response()
}
