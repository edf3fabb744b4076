//! Bodies of requests to a server over simulated models: never a panic, never a fault of the
//! server. The first byte says which route the rest is sent to.
#![no_main]

use std::cell::LazyCell;

use axum::{body::Body, http::Request};
use libfuzzer_sys::fuzz_target;

#[path = "../../../crates/speckv-serve/tests/support/mod.rs"]
mod support;

use support::{Server, Setup};

const ROUTES: [&str; 5] =
    ["/v1/chat/completions", "/v1/completions", "/tokenize", "/detokenize", "/v1/chat/completions"];

thread_local! {
    static SERVER: LazyCell<(tokio::runtime::Runtime, Server)> = const { LazyCell::new(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let server = {
            let _inside = runtime.enter();
            Server::new(Setup { context: 64, ..Setup::default() })
        };
        (runtime, server)
    }) };
}

fuzz_target!(|data: &[u8]| {
    let Some((&route, body)) = data.split_first() else { return };
    // Words by which the simulated server is told to fail.
    let told = |word: &[u8]| body.windows(word.len()).any(|part| part == word);
    if told(b"panic in the") || told(b"^^^") {
        return;
    }
    SERVER.with(|parts| {
        let (runtime, server) = &**parts;
        let request = Request::post(ROUTES[route as usize % ROUTES.len()])
            .header("content-type", "application/json")
            .body(Body::from(body.to_vec()))
            .expect("a request");
        let reply = runtime.block_on(server.send(request));
        assert!(reply.status.as_u16() < 500, "{reply:?}");
    });
});
