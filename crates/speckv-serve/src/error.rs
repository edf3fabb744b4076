//! Answers to requests that cannot be served: OpenAI's error object, with a next step in the
//! message.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    language::LanguageError,
    scheduler::{Fault, Refusal},
};

/// An answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status.
    pub status: StatusCode,
    /// What a client sees.
    pub body: ErrorObject,
    /// Seconds after which it is worth trying again.
    pub retry_after: Option<u32>,
    /// Extra header of a 405: what would be allowed.
    pub allow: Option<&'static str>,
}

/// OpenAI's error object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorObject {
    /// What is wrong, and what to do.
    pub message: String,
    /// Class of the error, such as `invalid_request_error`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The field that is wrong, as a path into the request.
    pub param: Option<String>,
    /// A name for programs.
    pub code: Option<&'static str>,
}

/// The body of an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorObject,
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let body = ErrorObject { message: message.into(), kind, param: None, code };
        ApiError { status, body, retry_after: None, allow: None }
    }

    /// A request that is wrong in itself: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID, None, message)
    }

    /// A field that is wrong: 400.
    pub fn field(param: impl Into<String>, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, INVALID, Some("invalid_value"), message);
        ApiError { body: ErrorObject { param: Some(param.into()), ..error.body }, ..error }
    }

    /// Something that this server does not do: 400.
    pub fn unsupported(param: &str, message: impl Into<String>) -> Self {
        let error = Self::field(param, message);
        ApiError { body: ErrorObject { code: Some("unsupported"), ..error.body }, ..error }
    }

    /// A prompt that does not fit: 400, with the code that clients look for.
    #[must_use]
    pub fn context_length(param: &str, context: usize, got: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {context} tokens, the answer included; the \
             prompt has {got}. \
             Shorten the prompt, or start the server with a larger --ctx."
        );
        let error = Self::field(param, message);
        ApiError {
            body: ErrorObject { code: Some("context_length_exceeded"), ..error.body },
            ..error
        }
    }

    /// A text that cannot fit, however it is cut into tokens: 400.
    #[must_use]
    pub fn text_length(param: &str, context: usize, bytes: usize, most: usize) -> Self {
        let message = format!(
            "The text has {bytes} bytes; this model's context of {context} tokens holds at most \
             {most} bytes. Shorten the text, or start the server with a larger --ctx."
        );
        let error = Self::field(param, message);
        ApiError {
            body: ErrorObject { code: Some("context_length_exceeded"), ..error.body },
            ..error
        }
    }

    /// No or a wrong key: 401.
    #[must_use]
    pub fn key(given: bool) -> Self {
        let message = if given {
            "Incorrect API key provided. Give the key that the server was started with \
             (--api-key, SPECKV_API_KEY, or api-keys in its file)."
        } else {
            "You didn't provide an API key. Send it in the header `Authorization: Bearer KEY`."
        };
        Self::new(
            StatusCode::UNAUTHORIZED,
            "authentication_error",
            Some("invalid_api_key"),
            message,
        )
    }

    /// A request that seems to come from a web page of another host: 403.
    #[must_use]
    pub fn foreign_host(host: &str) -> Self {
        let message = format!(
            "This server does not answer requests for the host {host:?}. \
             Start it with --allow-host {host} to allow that."
        );
        Self::new(StatusCode::FORBIDDEN, "permission_error", Some("host_not_allowed"), message)
    }

    /// No such route: 404.
    #[must_use]
    pub fn not_found(method: &str, path: &str) -> Self {
        let message =
            format!("There is nothing at {method} {path}; /openapi.json lists what there is.");
        Self::new(StatusCode::NOT_FOUND, INVALID, Some("unknown_url"), message)
    }

    /// Another method: 405.
    #[must_use]
    pub fn method(method: &str, path: &str, allow: &'static str) -> Self {
        let message = format!("{path} answers {allow}, not {method}.");
        let error =
            Self::new(StatusCode::METHOD_NOT_ALLOWED, INVALID, Some("method_not_allowed"), message);
        ApiError { allow: Some(allow), ..error }
    }

    /// No such model: 404.
    #[must_use]
    pub fn model(name: &str, served: &str) -> Self {
        let message = format!(
            "The model {name:?} does not exist here; this server has {served:?} (see /v1/models)."
        );
        let error = Self::new(StatusCode::NOT_FOUND, INVALID, Some("model_not_found"), message);
        ApiError { body: ErrorObject { param: Some("model".into()), ..error.body }, ..error }
    }

    /// A body that is too large: 413.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let message =
            format!("The body is larger than {limit} bytes; the server's --max-body allows more.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, INVALID, Some("request_too_large"), message)
    }

    /// A body that did not come in time: 408.
    #[must_use]
    pub fn slow_body() -> Self {
        let message = "The request's body did not arrive in time.";
        Self::new(StatusCode::REQUEST_TIMEOUT, INVALID, Some("request_timeout"), message)
    }

    /// A body that is not JSON by its header: 415.
    #[must_use]
    pub fn media_type() -> Self {
        let message = "Send JSON with the header `Content-Type: application/json`.";
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            Some("unsupported_media_type"),
            message,
        )
    }

    /// A body that is packed in a way that this server does not read: 415.
    #[must_use]
    pub fn content_encoding(encoding: &str) -> Self {
        let message = format!(
            "The content encoding {encoding:?} is not supported; send the body as it is, \
             or with gzip, deflate or zstd."
        );
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            INVALID,
            Some("unsupported_content_encoding"),
            message,
        )
    }

    /// A real fault: 500.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, SERVER, Some("internal_error"), message)
    }

    /// Not now: 503.
    pub fn unavailable(message: impl Into<String>, retry_after: u32) -> Self {
        let error =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, SERVER, Some("unavailable"), message);
        ApiError { retry_after: Some(retry_after), ..error }
    }

    /// The error as it stands in a body or in a stream.
    #[must_use]
    pub fn into_body(self) -> ErrorBody {
        ErrorBody { error: self.body }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (retry_after, allow, status) = (self.retry_after, self.allow, self.status);
        let mut response = (status, Json(self.into_body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full { .. } => {
                let message = format!("The server is busy: {refusal}. Try again later.");
                let error = ApiError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    Some("queue_full"),
                    message,
                );
                ApiError { retry_after: Some(1), ..error }
            }
            Refusal::TooMany { .. } => {
                let message =
                    format!("{refusal}. Ask for fewer, or start the server with a larger --queue.");
                ApiError::field("n", message)
            }
            Refusal::Stopping => ApiError::unavailable("The server is stopping.", 10),
            Refusal::Gone => ApiError::unavailable(
                "The server's engine has ended; it has to be started again.",
                60,
            ),
        }
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Late => {
                let message = "The request took longer than the server's time limit \
                    (--request-timeout); the text so far is lost.";
                ApiError::new(StatusCode::GATEWAY_TIMEOUT, SERVER, Some("timeout"), message)
            }
            Fault::Stopping => ApiError::unavailable("The server is stopping.", 10),
            Fault::Memory(_) => ApiError::unavailable(format!("{fault}."), 5),
            Fault::Internal(_) => ApiError::internal(format!("{fault}.")),
        }
    }
}

impl From<LanguageError> for ApiError {
    fn from(error: LanguageError) -> Self {
        match error {
            LanguageError::Encode(_) => ApiError::invalid(format!("{error}.")),
            LanguageError::Template(_) => ApiError::field("messages", format!("{error}.")),
            LanguageError::TooLong { .. } => {
                let error = ApiError::field("messages", format!("{error}."));
                ApiError {
                    body: ErrorObject { code: Some("context_length_exceeded"), ..error.body },
                    ..error
                }
            }
        }
    }
}
