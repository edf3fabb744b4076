//! A request's body: bounded in size and in time, JSON by its header.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::Limits;
use crate::error::ApiError;

/// The bytes of a body.
pub async fn read(request: Request, limits: &Limits) -> Result<Bytes, ApiError> {
    let (parts, body) = request.into_parts();
    // A form's type would let any web page post here without asking first.
    if !is_json(&parts.headers) {
        return Err(ApiError::media_type());
    }
    let length = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.max_body as u64) {
        return Err(ApiError::too_large(limits.max_body));
    }
    match tokio::time::timeout(limits.body_timeout, collect(body, limits.max_body)).await {
        Ok(bytes) => bytes,
        Err(_) => Err(ApiError::slow_body()),
    }
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::too_large(limit)),
        Err(error) => Err(ApiError::invalid(format!("The body broke off: {error}."))),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok())
    else {
        return false;
    };
    let kind = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_json_types_are_json() {
        let json = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            is_json(&headers)
        };
        assert!(
            json("application/json")
                && json("Application/JSON; charset=utf-8")
                && json("application/x+json")
        );
        assert!(!json("text/plain") && !json("application/x-www-form-urlencoded") && !json(""));
        assert!(!is_json(&HeaderMap::new()));
    }
}
