//! Requests made of anything: no panic, no 500, always JSON.

mod support;

use axum::{body::Body, http::Request};
use proptest::{prelude::*, strategy::ValueTree};
use serde_json::{Map, Value};
use speckv_serve::api::{
    self,
    chat::ChatRequest,
    completion::CompletionRequest,
    options,
    text::{DetokenizeRequest, TokenizeRequest},
};
use support::{Server, Setup};

/// Any JSON, a few levels deep.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_map(|x| serde_json::Number::from_f64(x).map_or(Value::Null, Value::Number)),
        ".{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("user"),
            Just("text"),
            Just("off"),
            Just("speckv"),
            Just("fixed:3"),
            Just("model"),
            Just("sim")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((field(), inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

const KNOWN: &[&str] = &[
    "model",
    "messages",
    "role",
    "content",
    "type",
    "text",
    "prompt",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "frequency_penalty",
    "seed",
    "n",
    "stop",
    "stream",
    "stream_options",
    "include_usage",
    "logprobs",
    "top_logprobs",
    "speculation",
    "controller",
    "gamma",
    "draft",
    "details",
    "tools",
    "functions",
    "response_format",
    "logit_bias",
    "echo",
    "suffix",
    "best_of",
    "tokens",
    "ignore_eos",
    "chat_template_kwargs",
    "continue_final_message",
    "add_generation_prompt",
    "parse_special",
    "reasoning_effort",
    "repeat_last_n",
    "tool_choice",
    "tool_calls",
    "tool_call_id",
    "name",
    "function",
    "arguments",
    "reasoning_content",
    "user",
    "min_tokens",
    "include_obfuscation",
    "json_schema",
    "grammar",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "structured_outputs",
    "thinking_budget",
    "stop_token_ids",
    "parallel_tool_calls",
    "input",
    "instructions",
    "system",
    "thinking",
    "options",
    "format",
    "think",
];

fn field() -> impl Strategy<Value = String> {
    prop_oneof![9 => proptest::sample::select(KNOWN).prop_map(str::to_owned), 1 => ".{0,6}"]
}

/// What each route needs.
const ROUTES: [(&str, &str); 8] = [
    ("/v1/responses", r#"{"input": "hi", "max_output_tokens": 3}"#),
    ("/v1/messages", r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}"#),
    ("/api/chat", r#"{"messages": [{"role": "user", "content": "hi"}], "stream": false}"#),
    ("/api/generate", r#"{"prompt": "hi", "options": {"num_predict": 3}}"#),
    (
        "/v1/chat/completions",
        r#"{"messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}"#,
    ),
    ("/v1/completions", r#"{"prompt": "hi", "max_tokens": 3}"#),
    ("/tokenize", r#"{"content": "x"}"#),
    ("/detokenize", r#"{"tokens": [5]}"#),
];

/// An object with fields of requests and values of any kind, beside parts that are right.
fn nearly(right: &str) -> impl Strategy<Value = Value> + use<> {
    let right: Map<String, Value> = serde_json::from_str(right).expect("an object");
    proptest::collection::vec((field(), anything()), 0..5).prop_map(move |pairs| {
        let mut object = right.clone();
        object.extend(pairs);
        Value::Object(object)
    })
}

fn nearly_a_request() -> impl Strategy<Value = Value> {
    prop_oneof![nearly(ROUTES[0].1), nearly(ROUTES[1].1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn bytes_are_read_or_refused_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = api::read::<ChatRequest>(&bytes);
        let _ = api::read::<CompletionRequest>(&bytes);
        let _ = api::read::<TokenizeRequest>(&bytes);
        let _ = api::read::<DetokenizeRequest>(&bytes);
    }

    #[test]
    fn json_is_read_or_refused_and_never_panics(value in nearly_a_request()) {
        let bytes = value.to_string().into_bytes();
        if let Ok(request) = api::read::<ChatRequest>(&bytes) {
            if let Ok(asked) = request.asked() {
                let _ = request.conversation(&support::Characters::default(), &asked, true);
            }
            let _ = (request.alternatives(), options::biases(request.logit_bias.as_ref(), 128));
            let _ = request.sampling().settings();
        }
        if let Ok(request) = api::read::<CompletionRequest>(&bytes) {
            let _ = (request.check_supported(), request.structured().resolve());
            let _ = (request.alternatives(), request.sampling().settings(), request.prompt.each());
        }
    }

    #[test]
    fn a_broken_request_is_refused(value in nearly_a_request(), cut in 0.0_f64..1.0, flip in any::<u8>()) {
        let mut bytes = value.to_string().into_bytes();
        let at = ((bytes.len() - 1) as f64 * cut) as usize;
        bytes[at] ^= flip;
        let _ = api::read::<ChatRequest>(&bytes);
        bytes.truncate(at);
        prop_assert!(api::read::<ChatRequest>(&bytes).is_err(), "half an object is none");
    }
}

#[test]
fn whatever_is_posted_the_answer_is_json_and_no_500() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let server = Server::new(Setup { context: 64, ..Setup::default() });
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut answered = 0;
    for case in 0..400_usize {
        let (path, right) = ROUTES[case % ROUTES.len()];
        let value = nearly(right).new_tree(&mut runner).expect("a value").current();
        let request = Request::post(path).header("content-type", "application/json");
        let reply = runtime
            .block_on(server.send(request.body(Body::from(value.to_string())).expect("a request")));
        if reply.status == 200 {
            answered += 1;
        } else {
            assert!((400..500).contains(&reply.status.as_u16()), "{value}: {reply:?}");
            match path.starts_with("/api") || path == "/v1/messages" {
                true => assert!(!reply.json()["error"].is_null(), "{reply:?}"),
                false => drop(reply.error(reply.status.as_u16())),
            }
        }
    }
    assert!(
        answered > 30,
        "{answered} were answered: the test should reach further than the first check"
    );
}
