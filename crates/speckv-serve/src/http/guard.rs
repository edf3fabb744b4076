//! Around every handler: request ids, keys, hosts, logs, and panics.

#![expect(clippy::disallowed_methods, reason = "requests have arrival times and deadlines")]

use std::{
    net::{IpAddr, Ipv4Addr},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Instant,
};

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use super::{App, random};
use crate::error::ApiError;

/// A request's id: the client's header `x-request-id` where that is harmless, else made up.
#[derive(Debug, Clone)]
pub struct RequestId(pub Arc<str>);

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl Default for Peer {
    fn default() -> Self {
        Peer(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
}

const REQUEST_ID: &str = "x-request-id";
const LONGEST_ID: usize = 64;

/// Routes that need no key: what is there to be looked at.
const OPEN: [&str; 3] = ["/", "/health", "/openapi.json"];

/// Wraps a handler.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let route =
        request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    request.extensions_mut().insert(RequestId(Arc::clone(&id)));
    let mut response = match check(&app, &request, &route) {
        Err(error) => error.into_response(),
        Ok(()) => match AssertUnwindSafe(next.run(request)).catch_unwind().await {
            Ok(response) => response,
            Err(_) => {
                app.metrics.panicked();
                tracing::error!(request = %id, %method, route, "a handler panicked");
                let message = format!(
                    "Internal error. Please report it with what the server has logged for {id}."
                );
                ApiError::internal(message).into_response()
            }
        },
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    let status = response.status().as_u16();
    app.metrics.answered(&route, status);
    let ms = start.elapsed().as_millis() as u64;
    if status >= 500 {
        tracing::warn!(request = %id, %method, route, status, ms, "request");
    } else if route == "/health" || route == "/metrics" {
        tracing::debug!(request = %id, %method, route, status, ms, "request");
    } else {
        tracing::info!(request = %id, %method, route, status, ms, "request");
    }
    response
}

fn check(app: &App, request: &Request, route: &str) -> Result<(), ApiError> {
    // RFC 9112: of two hosts it is not known which one a proxy in front has taken.
    if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
        return Err(ApiError::invalid("Expected one header `Host`, got several.".to_owned()));
    }
    if app.limits.localhost_only {
        let named = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
        let host = named.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
        let is_allowed = |host: &str| is_localhost(host) || is_among(host, &app.limits.hosts);
        if let Some(host) = host.filter(|host| !is_allowed(host)) {
            return Err(ApiError::foreign_host(host));
        }
    }
    if app.limits.api_keys.is_empty() || OPEN.contains(&route) {
        return Ok(());
    }
    let given = key(request.headers());
    let fits = given.is_some_and(|given| {
        // All are compared, each in a time that does not depend on where the difference is.
        app.limits
            .api_keys
            .iter()
            .fold(false, |found, key| found | same(key.as_bytes(), given.as_bytes()))
    });
    if fits { Ok(()) } else { Err(ApiError::key(given.is_some())) }
}

/// The key in `Authorization: Bearer KEY`, or in `x-api-key`, where Anthropic's clients send it.
pub(super) fn key(headers: &HeaderMap) -> Option<&str> {
    let plain = || headers.get("x-api-key")?.to_str().ok().map(str::trim);
    bearer(headers).or_else(plain)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

/// A host without its port and without the dot that may end a full name; an IPv6 address without
/// its brackets.
fn name_of(host: &str) -> &str {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        // Several colons without brackets are an address, not a port.
        None if host.matches(':').count() > 1 => host,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.strip_suffix('.').unwrap_or(name)
}

/// Whether a host is one of these names, or below one that begins with `*.`; with any port.
fn is_among(host: &str, names: &[String]) -> bool {
    let host = name_of(host);
    names.iter().any(|name| match name.strip_prefix("*.") {
        Some(domain) => {
            host.len() > domain.len() + 1
                && host.to_ascii_lowercase().ends_with(&format!(".{}", domain.to_ascii_lowercase()))
        }
        None => name == "*" || name_of(name).eq_ignore_ascii_case(host),
    })
}

fn is_localhost(host: &str) -> bool {
    let name = name_of(host);
    name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn request_id(headers: &HeaderMap) -> Arc<str> {
    let harmless = |text: &&str| {
        (1..=LONGEST_ID).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(harmless) {
        Some(given) => given.into(),
        None => format!("{:016x}", random()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allowed_hosts_are_matched_by_name_with_any_port() {
        let names = ["Box.lan", "*.example.com", "[2001:db8::1]"].map(str::to_owned);
        for host in [
            "box.lan",
            "BOX.lan:8080",
            "box.lan.",
            "a.example.com:1",
            "a.example.com.",
            "a.b.Example.com",
            "[2001:db8::1]:8",
        ] {
            assert!(is_among(host, &names), "{host}");
        }
        for host in ["example.com", "xexample.com", "box.lan.evil", "lan", "[2001:db8::2]", ""] {
            assert!(!is_among(host, &names), "{host}");
        }
        assert!(is_among("anything", &["*".to_owned()]));
    }

    #[test]
    fn localhost_is_known_by_all_its_names() {
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:80",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "::1",
            "app.localhost:1",
            "localhost.",
            "LocalHost.:80",
            "127.0.0.1.",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(is_localhost(host), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1:80",
            "[2001:db8::1]",
            "",
            "127.0.0.1.example.com",
            ".",
            "localhost..",
            "[::ffff:10.0.0.1]",
        ] {
            assert!(!is_localhost(host), "{host}");
        }
    }

    #[test]
    fn keys_are_compared_whole() {
        assert!(same(b"secret", b"secret"));
        assert!(!same(b"secret", b"secre") && !same(b"secret", b"secreT") && !same(b"", b"x"));
    }

    #[test]
    fn a_clients_request_id_is_taken_only_if_it_is_harmless() {
        let id = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            request_id(&headers).to_string()
        };
        assert_eq!(id("a-1_b.c"), "a-1_b.c");
        for bad in [
            "",
            "a b",
            "a\"b",
            "0123456789012345678901234567890123456789012345678901234567890123456789",
        ] {
            assert_ne!(id(bad), bad);
        }
    }
}
