//! Web pages of other origins: whether browsers let them read answers.

use std::{fmt, str::FromStr, time::Duration};

use axum::http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, AllowPrivateNetwork, CorsLayer};

/// Origins of web pages that may use the server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// None: the server sends no headers about origins, and browsers keep other pages out.
    #[default]
    None,
    /// These, as browsers send them: `https://example.com`, `http://localhost:5173`.
    These(Vec<HeaderValue>),
    /// Every page.
    Any,
}

/// An origin that no browser sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an origin such as http://localhost:5173, `any` or `none`, got {0:?}")]
pub struct WrongOrigin(String);

impl Origins {
    /// Reads a list of origins, or `any` (or `*`), or `none`.
    ///
    /// # Errors
    /// A text that is no origin: scheme and host, with a port if it is not the scheme's own, and
    /// without a path.
    pub fn read<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Self, WrongOrigin> {
        let mut these = Vec::new();
        let mut any = false;
        for text in list {
            match text.trim() {
                "" | "none" => {}
                "any" | "*" => any = true,
                origin => these.push(value(origin)?),
            }
        }
        Ok(match (any, these.is_empty()) {
            (true, _) => Origins::Any,
            (false, true) => Origins::None,
            (false, false) => Origins::These(these),
        })
    }

    /// What answers preflight requests and adds headers to answers; `None` where nothing is
    /// allowed.
    pub(super) fn layer(&self) -> Option<CorsLayer> {
        let (origins, private) = match self {
            Origins::None => return None,
            Origins::These(these) => {
                (AllowOrigin::list(these.iter().cloned()), AllowPrivateNetwork::yes())
            }
            Origins::Any => (AllowOrigin::any(), AllowPrivateNetwork::yes()),
        };
        let exposed = [HeaderName::from_static("x-request-id"), header::RETRY_AFTER];
        Some(
            CorsLayer::new()
                .allow_origin(origins)
                .allow_private_network(private)
                .allow_methods([Method::GET, Method::HEAD, Method::POST])
                // OpenAI's client sends a dozen headers of its own.
                .allow_headers(AllowHeaders::mirror_request())
                .expose_headers(exposed)
                .max_age(Duration::from_secs(3600)),
        )
    }
}

/// An origin as browsers write it: in small letters, without a slash at the end.
fn value(text: &str) -> Result<HeaderValue, WrongOrigin> {
    let wrong = || WrongOrigin(text.to_owned());
    let origin = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let (scheme, host) = origin.split_once("://").ok_or_else(wrong)?;
    let is_good = !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        && !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"/?#@*".contains(&byte));
    if !is_good {
        return Err(wrong());
    }
    HeaderValue::from_str(&origin).map_err(|_| wrong())
}

impl FromStr for Origins {
    type Err = WrongOrigin;

    fn from_str(text: &str) -> Result<Self, WrongOrigin> {
        Self::read(text.split(','))
    }
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::None => f.write_str("none"),
            Origins::Any => f.write_str("any"),
            Origins::These(these) => {
                let names = these.iter().map(|origin| origin.to_str().unwrap_or_default());
                f.write_str(&names.collect::<Vec<_>>().join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_browsers_send_them() {
        let read = |text: &str| text.parse::<Origins>().map(|origins| origins.to_string());
        for (given, meant) in [
            ("", "none"),
            ("none", "none"),
            ("any", "any"),
            ("*", "any"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("HTTPS://Example.com/, http://a", "https://example.com,http://a"),
            ("app://obsidian.md,http://x", "app://obsidian.md,http://x"),
        ] {
            assert_eq!(read(given).as_deref(), Ok(meant), "{given}");
        }
        for wrong in ["localhost:5173", "http://", "http://a/b", "http://*.a", "http://a b", "://a"]
        {
            assert_eq!(read(wrong), Err(WrongOrigin(wrong.to_owned())));
        }
    }
}
