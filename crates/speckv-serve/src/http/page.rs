//! The playground: one page made of the files in `page/`, which loads nothing from elsewhere.

use std::sync::LazyLock;

use axum::{
    http::{HeaderValue, header},
    response::{Html, IntoResponse, Response},
};

/// The page may talk to its own server and load nothing from anywhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SCRIPTS: [&str; 6] = [
    include_str!("../page/page.js"),
    include_str!("../page/markdown.js"),
    include_str!("../page/charts.js"),
    include_str!("../page/answer.js"),
    include_str!("../page/chats.js"),
    include_str!("../page/app.js"),
];

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("../page/index.html")
        .replace("/* style.css */", include_str!("../page/style.css"))
        .replace("/* scripts */", &SCRIPTS.concat())
});

/// The playground.
pub(super) async fn page() -> Response {
    let mut response = Html(PAGE.as_str()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_all_its_parts_and_names_nothing_elsewhere() {
        for part in ["#talk {", "class Markdown", "class Chart", "class Side", "function connect"] {
            assert!(PAGE.contains(part), "{part}");
        }
        assert!(!PAGE.contains("/* style.css */") && !PAGE.contains("/* scripts */"));
        assert_eq!(PAGE.matches("</script>").count(), 1, "no script ends the page's own");
        for line in
            PAGE.lines().filter(|line| line.contains("http://") || line.contains("https://"))
        {
            assert!(line.contains("www.w3.org"), "{line}");
        }
    }
}
