//! The OpenAPI document, made from the types and handlers themselves.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use super::{
    chat, completions,
    dialects::{messages, ollama, responses},
    others,
};

#[derive(OpenApi)]
#[openapi(
    info(title = "SpecKV", description = "An OpenAI-compatible server with lossless speculative \
        decoding"),
    paths(
        chat::create,
        completions::create,
        responses::create,
        messages::create,
        messages::count_tokens,
        ollama::chat,
        ollama::generate,
        ollama::tags,
        ollama::show,
        ollama::version,
        others::models,
        others::model,
        others::tokenize,
        others::detokenize,
        others::health,
        others::metrics
    ),
    modifiers(&Keys)
)]
struct Document;

struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_with(Default::default);
        components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
        document.security = Some(vec![
            openapi::security::SecurityRequirement::default(),
            openapi::security::SecurityRequirement::new("api_key", Vec::<String>::new()),
        ]);
    }
}

/// The document.
#[must_use]
pub fn document() -> openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_and_every_type_that_it_names() {
        let document = serde_json::to_value(document()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        for path in [
            "/v1/chat/completions",
            "/v1/completions",
            "/v1/responses",
            "/v1/messages",
            "/v1/messages/count_tokens",
            "/api/chat",
            "/api/generate",
            "/api/tags",
            "/api/show",
            "/api/version",
            "/v1/models",
            "/tokenize",
            "/detokenize",
            "/health",
            "/metrics",
        ] {
            assert!(paths.contains_key(path), "{path}");
        }
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        let text = document.to_string();
        for part in text.split("\"#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap_or_default();
            assert!(schemas.contains_key(name), "{name} is named and not there");
        }
        let operations: Vec<&serde_json::Value> =
            paths.values().flat_map(|path| path.as_object().expect("methods").values()).collect();
        let ids: std::collections::BTreeSet<_> =
            operations.iter().filter_map(|operation| operation["operationId"].as_str()).collect();
        assert_eq!(ids.len(), operations.len(), "every operation has an id of its own");
        for field in [
            "speculation",
            "max_completion_tokens",
            "stream_options",
            "logprobs",
            "seed",
            "tools",
            "response_format",
            "prediction",
            "thinking_budget",
        ] {
            assert!(schemas["ChatRequest"]["properties"].get(field).is_some(), "{field}");
        }
    }
}
