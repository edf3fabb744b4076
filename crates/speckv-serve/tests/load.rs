//! Load, in simulated time: the more answers share the engine, the less each drafts, and their
//! tokens stay the same.

mod support;

use std::time::Duration;

use serde_json::json;
use speckv_serve::scheduler::Rules;
use support::{Server, Setup, plain};

/// Drafted tokens per step of `crowd` answers that are made together.
async fn gamma(crowd: usize) -> f64 {
    let rules = Rules {
        most_running: crowd,
        most_sequences: crowd,
        sequence_bytes: 1,
        chunk: 32,
        chunk_alone: 256,
    };
    // A moment of real time per pass, so that all are there before the first is done.
    let pass = Duration::from_millis(1);
    let server = Server::new(Setup {
        rules,
        pass,
        simulated_row: Some(6.0),
        draft: Some(0.85),
        ..Setup::default()
    });
    let asks = (0..crowd).map(|number| {
        let body = json!({
            "prompt": format!("{number} in a \
             crowd"), "max_tokens": 120, "temperature": 0, "ignore_eos": true,
            "speculation": {"controller": "speckv", "draft": "model"}
        });
        server.ask("/v1/completions", body)
    });
    let (mut drafted, mut steps) = (0, 0);
    for (number, reply) in futures_util::future::join_all(asks).await.iter().enumerate() {
        let answer = reply.ok();
        let expected = plain(&server.model, &format!("{number} in a crowd"), 120);
        assert_eq!(answer["choices"][0]["text"], expected.as_str());
        drafted += answer["timings"]["draft_n"].as_u64().expect("a number");
        steps += answer["timings"]["steps"].as_u64().expect("a number");
    }
    drafted as f64 / steps as f64
}

#[tokio::test]
async fn gamma_falls_as_the_crowd_grows() {
    let (alone, few, many) = (gamma(1).await, gamma(4).await, gamma(16).await);
    println!("drafted per step: {alone:.2} alone, {few:.2} among 4, {many:.2} among 16");
    assert!(alone > 1.5, "a lone request is drafted for: {alone:.2}");
    assert!(alone > few && few > many, "{alone:.2}, {few:.2}, {many:.2}");
    assert!(alone > 2.0 * many, "{alone:.2} against {many:.2}");
}
