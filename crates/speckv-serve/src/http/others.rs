//! Models, tokens, health, metrics, the OpenAPI document, the page.

use speckv_local::controllers::ControllerSpec;
use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
};

use super::{App, body, make};
use crate::{
    api::{
        self,
        answer::{Health, ModelCard, ModelList},
        text::{DetokenizeAnswer, DetokenizeRequest, TokenizeAnswer, TokenizeRequest},
    },
    error::{ApiError, ErrorBody},
    metrics::Metrics,
};

const PAGE: &str = include_str!("../page/index.html");
/// The page may talk to its own server and load nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

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
        controllers: ControllerSpec::NAMES.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// The models: one.
#[utoipa::path(get, path = "/v1/models", operation_id = "listModels", tag = "OpenAI", responses((status = 200, body = ModelList)))]
pub async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    Json(ModelList { object: "list", data: vec![card(&app)] })
}

/// One model.
#[utoipa::path(
    get, path = "/v1/models/{id}", operation_id = "retrieveModel", tag = "OpenAI", params(("id" = String, Path, description = "The model's name")),
    responses((status = 200, body = ModelCard), (status = 404, body = ErrorBody))
)]
pub async fn model(
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
pub async fn tokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<TokenizeAnswer>, ApiError> {
    let bytes = body::read(request, &app.limits).await?;
    let request: TokenizeRequest = api::read(&bytes)?;
    let language = Arc::clone(&app.language);
    let max_model_len = app.info.context;
    let answer = make::aside(&app, move || {
        let tokens =
            language.encode(&request.content, request.parse_special, request.add_special)?;
        let text = |&token: &_| String::from_utf8_lossy(&language.bytes(token)).into_owned();
        let pieces = request.with_pieces.then(|| tokens.iter().map(text).collect());
        Ok(TokenizeAnswer { count: tokens.len(), tokens, max_model_len, pieces })
    });
    answer.await.map(Json)
}

/// Turns tokens into text.
#[utoipa::path(
    post, path = "/detokenize", tag = "Text", request_body = DetokenizeRequest,
    responses((status = 200, body = DetokenizeAnswer), (status = "4XX", body = ErrorBody))
)]
pub async fn detokenize(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<DetokenizeAnswer>, ApiError> {
    let bytes = body::read(request, &app.limits).await?;
    let request: DetokenizeRequest = api::read(&bytes)?;
    if let Some(token) =
        request.tokens.iter().find(|&&token| token as usize >= app.language.vocab_size())
    {
        let size = app.language.vocab_size();
        return Err(ApiError::field(
            "tokens",
            format!("Token {token} is outside the vocabulary of {size} tokens."),
        ));
    }
    let language = Arc::clone(&app.language);
    let content = make::aside(&app, move || Ok(language.decode(&request.tokens))).await?;
    Ok(Json(DetokenizeAnswer { prompt: content.clone(), content }))
}

/// Whether the server answers: 200, or 503 when it stops or its engine has ended.
#[utoipa::path(get, path = "/health", tag = "Operation", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub async fn health(State(app): State<Arc<App>>) -> Response {
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
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    let text = app
        .metrics
        .text()
        .map_err(|error| ApiError::internal(format!("The metrics cannot be written: {error}.")))?;
    Ok(([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response())
}

/// The OpenAPI document.
pub async fn openapi() -> Response {
    Json(super::document()).into_response()
}

/// The playground.
pub async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
