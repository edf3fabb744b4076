//! A server whose models are on a GPU that fails: the answer ends with a clear error, the server
//! stays up, and what can still be answered is answered. On the first adapter of the machine, a
//! software one included.

mod support;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use speckv::{
    conformance::decode_plainly,
    draft::{Drafter, ModelDrafter, NoDrafter},
    engine::Engine,
    model::LanguageModel,
    token::Token,
};
use speckv_cpu::{model::CpuModel, pool::Pool};
use speckv_formats::{gguf::Gguf, tiny::Tiny};
use speckv_gpu::{
    device::{Adapter, Device},
    error::GpuError,
    model::{GpuModel, LoadOptions},
};
use speckv_local::controllers::ControllerParts;
use speckv_serve::{
    api::speculation::SpeculationDefaults,
    http::{App, Info, Limits, router},
    language::Language,
    metrics::Metrics,
    scheduler::{self, Handle, Rules},
};
use support::Characters;
use tower::ServiceExt;

const PROMPT: &str = "Hello";
const CONTEXT: usize = 1024;

fn file() -> Arc<Gguf> {
    let tiny = Tiny { context_length: CONTEXT, ..Tiny::default() };
    Arc::new(Gguf::from_bytes(tiny.to_bytes().expect("a file")).expect("a model"))
}

/// A device of the test's own, or nothing, which is said, where there is no adapter.
fn device() -> Option<Arc<Device>> {
    let adapter = Adapter::all().into_iter().next();
    if adapter.is_none() {
        eprintln!("skipped: no adapter (install mesa-vulkan-drivers and libvulkan1 for a test)");
    }
    Some(Device::open(adapter?).expect("the adapter opens"))
}

fn on_gpu(device: &Arc<Device>) -> Arc<GpuModel> {
    let options = LoadOptions::new(Arc::clone(device));
    Arc::new(GpuModel::load(file(), &options, &mut |_| {}).expect("a model"))
}

fn on_cpu() -> Arc<CpuModel> {
    let pool = Arc::new(Pool::new(NonZeroUsize::MIN).expect("a thread"));
    let options = speckv_cpu::model::LoadOptions::new(pool);
    Arc::new(CpuModel::load(file(), &options, &mut |_| {}).expect("a model"))
}

/// A server over these models, asked without a network.
fn serve<M>(target: &Arc<M>, drafter: Option<Box<dyn Drafter>>) -> Router
where
    M: LanguageModel + Send + Sync + 'static,
{
    let has_model = drafter.is_some();
    let drafter = drafter.unwrap_or_else(|| Box::new(NoDrafter::new()));
    let language: Arc<dyn Language> = Arc::new(Characters::default());
    let metrics = Arc::new(Metrics::new());
    let (handle, orders) = Handle::new(16);
    let rules = Rules {
        most_running: 4,
        most_sequences: 4,
        sequence_bytes: 1000,
        chunk: 8,
        chunk_alone: 64,
    };
    let engine = Engine::new(Arc::clone(target), drafter);
    let (speaker, counted) = (Arc::clone(&language), Arc::clone(&metrics));
    let parts = ControllerParts::default();
    scheduler::start(engine, speaker, parts, rules, counted, &handle, orders).expect("a thread");
    let info = Info {
        model: "target".into(),
        draft: has_model.then(|| "draft".into()),
        context: CONTEXT,
        vocab_size: target.vocab_size(),
        started: 1,
        speculation: SpeculationDefaults {
            controller: if has_model { "fixed:2" } else { "off" }.parse().expect("a controller"),
            gamma: None,
            has_model,
            has_lookup: false,
        },
        parse_special: false,
    };
    router(Arc::new(App::new(language, handle, metrics, info, Limits::default())))
}

fn request(max_tokens: usize, stream: bool) -> Request<Body> {
    let body = json!({"prompt": PROMPT, "max_tokens": max_tokens, "temperature": 0,
        "ignore_eos": true, "stream": stream});
    Request::post("/v1/completions")
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .expect("a request")
}

async fn send(router: &Router, request: Request<Body>) -> (StatusCode, Value) {
    let response = router.clone().oneshot(request).await.expect("infallible");
    let (status, body) = (response.status(), response.into_body());
    let bytes = body.collect().await.expect("a body").to_bytes();
    (status, serde_json::from_slice(&bytes).expect("JSON"))
}

async fn healthy(router: &Router) -> bool {
    let health = Request::get("/health").body(Body::empty()).expect("a request");
    send(router, health).await.1["status"] == "ok"
}

/// The text of plain decoding, as the server's language writes it.
fn plain<M: LanguageModel>(model: &M, count: usize) -> String {
    let prompt: Vec<Token> = PROMPT.bytes().map(Token::from).collect();
    let tokens = decode_plainly(model, &prompt, count).expect("plain decoding");
    tokens.into_iter().filter(|&token| token != support::END).map(|x| x as u8 as char).collect()
}

/// Streams a long answer, has `fail` happen after its first words, and gives back the message of
/// the error that ends it.
async fn message_of_a_failure(router: &Router, fail: impl FnOnce()) -> String {
    let response = router.clone().oneshot(request(1000, true)).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let mut text = String::new();
    let mut fail = Some(fail);
    while let Some(frame) = body.frame().await {
        let data = frame.expect("a frame").into_data().expect("data");
        text.push_str(&String::from_utf8_lossy(&data));
        if text.contains("\"text\":\"")
            && let Some(fail) = fail.take()
        {
            fail();
        }
    }
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let errors: Vec<Value> = events
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter(|event| event.get("error").is_some())
        .collect();
    let [error] = errors.as_slice() else { panic!("one error in {text}") };
    error["error"]["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn a_fault_that_passes_ends_its_answer_and_the_next_one_is_whole() {
    let Some(device) = device() else { return };
    let model = on_gpu(&device);
    let expected = plain(&*model, 12);
    let router = serve(&model, None);
    let memory = || GpuError::OutOfMemory { what: "a pass".into(), bytes: 1 << 40 };
    let late = GpuError::TimedOut { limit: Duration::from_secs(60) };
    for (fault, words) in [(memory(), "memory"), (late, "did not end a pass within 60s")] {
        let message = message_of_a_failure(&router, || device.inject(fault)).await;
        assert!(message.contains(words), "{message}");
        assert!(healthy(&router).await);
        let (status, answer) = send(&router, request(12, false)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["choices"][0]["text"], expected);
    }
    // Where memory is short, an answer that begins takes that of one that rests.
    device.inject(memory());
    let (status, answer) = send(&router, request(12, false)).await;
    assert_eq!((status, answer["choices"][0]["text"].as_str()), (StatusCode::OK, Some(&*expected)));
    // Before its first pass, an answer ends with a status.
    device.inject(GpuError::TimedOut { limit: Duration::from_secs(60) });
    let (status, answer) = send(&router, request(12, false)).await;
    let message = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(status.is_server_error() && message.contains("60s"), "{status} {answer}");
    assert_eq!(send(&router, request(12, false)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_lost_device_ends_every_answer_by_name_and_the_server_stays_up() {
    let Some(device) = device() else { return };
    let model = on_gpu(&device);
    let router = serve(&model, None);
    let message = message_of_a_failure(&router, || device.give_up()).await;
    assert!(message.contains("the GPU was lost"), "{message}");
    for _ in 0..2 {
        assert!(healthy(&router).await);
        let (status, answer) = send(&router, request(12, false)).await;
        let message = answer["error"]["message"].as_str().expect("a message");
        assert!(status.is_server_error() && message.contains("the GPU was lost"), "{message}");
    }
}

#[tokio::test]
async fn a_target_on_the_processor_answers_on_when_the_device_of_its_draft_is_lost() {
    let Some(device) = device() else { return };
    let target = on_cpu();
    let drafter = ModelDrafter::new(on_gpu(&device), target.vocab_size());
    let router = serve(&target, Some(Box::new(drafter)));
    let expected = plain(&*target, 40);
    let text = async || {
        let (status, answer) = send(&router, request(40, false)).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["choices"][0]["text"].clone()
    };
    assert_eq!(text().await, expected);
    device.give_up();
    for _ in 0..2 {
        assert_eq!(text().await, expected);
    }
}
