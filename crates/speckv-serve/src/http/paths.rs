//! Paths as clients write them: with doubled or trailing slashes, and without `/v1`.

use axum::{
    extract::Request,
    http::{Uri, uri::PathAndQuery},
};

/// Paths below `/v1`, by which a client whose base URL lacks it is understood.
const VERSIONED: [&str; 5] =
    ["/models", "/chat/completions", "/completions", "/responses", "/messages"];

/// Puts the path that the router knows in place of the one that was sent.
pub(super) fn normalize<B>(mut request: Request<B>) -> Request<B> {
    if let Some(path) = canonical(request.uri().path()) {
        let query = request.uri().query().map_or(String::new(), |query| format!("?{query}"));
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = format!("{path}{query}").parse::<PathAndQuery>().ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// The path that is meant, if it is written in another way.
fn canonical(path: &str) -> Option<String> {
    let mut clean = String::with_capacity(path.len() + 3);
    for part in path.split('/').filter(|part| !part.is_empty()) {
        clean.push('/');
        clean.push_str(part);
    }
    if clean.is_empty() {
        clean.push('/');
    }
    let below = |base: &str| {
        clean.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if VERSIONED.into_iter().any(below) {
        clean.insert_str(0, "/v1");
    }
    // A base URL that ends with /v1 for a route that stands beside it, as /v1/tokenize.
    for beside in ["/v1/tokenize", "/v1/detokenize", "/v1/health"] {
        if clean == beside {
            clean.drain(.."/v1".len());
        }
    }
    (clean != path).then_some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_and_a_missing_version_do_not_matter() {
        for (sent, meant) in [
            ("/v1/chat/completions/", "/v1/chat/completions"),
            ("//v1/chat/completions", "/v1/chat/completions"),
            ("/v1//chat///completions//", "/v1/chat/completions"),
            ("/chat/completions", "/v1/chat/completions"),
            ("/completions/", "/v1/completions"),
            ("/models", "/v1/models"),
            ("/models/org/name", "/v1/models/org/name"),
            ("//", "/"),
            ("/health/", "/health"),
            ("/v1/tokenize", "/tokenize"),
        ] {
            assert_eq!(canonical(sent).as_deref(), Some(meant), "{sent}");
        }
    }

    #[test]
    fn other_paths_stay_as_they_are() {
        for path in ["/", "/v1/models", "/modelsx", "/v1/models/a%2Fb", "/metrics", "/v2/models"] {
            assert_eq!(canonical(path), None, "{path}");
        }
    }

    #[test]
    fn the_query_stays() {
        let request = Request::builder().uri("/models/?x=1").body(()).expect("a request");
        assert_eq!(normalize(request).uri(), "/v1/models?x=1");
    }
}
