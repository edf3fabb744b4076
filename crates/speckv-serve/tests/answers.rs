//! Answers: what OpenAI's clients expect, and the same tokens as plain decoding, however many share
//! the engine.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use speckv_serve::scheduler::Rules;
use support::{END, Server, Setup, plain};

fn chat(text: &str) -> Value {
    json!({"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 20, "ignore_eos": true})
}

fn with(mut body: Value, more: Value) -> Value {
    let (Some(object), Value::Object(more)) = (body.as_object_mut(), more) else {
        panic!("objects")
    };
    object.extend(more);
    body
}

#[tokio::test]
async fn a_chat_is_answered_as_openai_does() {
    let server = Server::new(Setup::default());
    let reply = server.ask("/v1/chat/completions", chat("hello")).await;
    let answer = reply.ok();
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["id"].as_str().is_some_and(|id| id.starts_with("chatcmpl-")));
    assert_eq!(answer["model"], "sim");
    let choice = &answer["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    assert_eq!(choice["message"]["content"], plain(&server.model, "u:hello~a:", 20).as_str());
    assert_eq!(choice["finish_reason"], "length");
    let usage = &answer["usage"];
    assert_eq!(
        (usage["prompt_tokens"].as_u64(), usage["completion_tokens"].as_u64()),
        (Some(10), Some(20))
    );
    assert_eq!(usage["total_tokens"], 30);
    let (drafted, accepted) =
        (usage["drafted_tokens"].as_u64().unwrap(), usage["accepted_tokens"].as_u64().unwrap());
    assert!(drafted >= accepted && accepted > 0, "{usage}");
    let nothing = json!({"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0});
    assert_eq!(usage["completion_tokens_details"], nothing, "the request predicts nothing");
    let timings = &answer["timings"];
    assert_eq!(
        (timings["prompt_n"].as_u64(), timings["predicted_n"].as_u64()),
        (Some(10), Some(20))
    );
    assert_eq!(
        (timings["draft_n"].as_u64(), timings["draft_n_accepted"].as_u64()),
        (Some(drafted), Some(accepted))
    );
    assert_eq!(timings["controller"], "speckv");
    assert!(reply.headers.contains_key("x-request-id"));
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_answer() {
    let server = Server::new(Setup::default());
    let whole = server.ask("/v1/chat/completions", chat("stream me")).await.ok();
    let more = json!({"stream": true, "stream_options": {"include_usage": true}, "speculation": {"details": true}});
    let events = server.ask("/v1/chat/completions", with(chat("stream me"), more)).await.events();
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    let said: String = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str())
        .collect();
    assert_eq!(said, whole["choices"][0]["message"]["content"].as_str().unwrap());
    let last = events.last().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 20);
    assert!(events[..events.len() - 1].iter().all(|event| event["usage"].is_null()));
    let end = &events[events.len() - 2];
    assert_eq!(end["choices"][0]["finish_reason"], "length");
    assert_eq!(end["timings"]["predicted_n"], 20);
    // The details account for every token and its origin.
    let steps: Vec<&Value> =
        events.iter().map(|event| &event["speckv"]).filter(|details| details.is_object()).collect();
    let tokens: Vec<&Value> =
        steps.iter().flat_map(|step| step["tokens"].as_array().unwrap()).collect();
    assert_eq!(tokens.iter().filter(|token| token["id"].is_u64()).count(), 20);
    let accepted = tokens.iter().filter(|token| token["origin"] == "accepted").count() as u64;
    assert_eq!(last["usage"]["accepted_tokens"], accepted);
    let gammas: u64 = steps.iter().map(|step| step["gamma"].as_u64().unwrap()).sum();
    assert_eq!(last["usage"]["drafted_tokens"], gammas);
}

#[tokio::test]
async fn without_being_asked_a_stream_has_openais_fields_only() {
    let server = Server::new(Setup::default());
    let events =
        server.ask("/v1/chat/completions", with(chat("x"), json!({"stream": true}))).await.events();
    assert!(
        events.iter().all(|event| event.get("speckv").is_none() && event.get("usage").is_none())
    );
}

#[tokio::test]
async fn every_controller_and_off_say_the_same() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "u:same~a:", 20);
    let mut drafted = Vec::new();
    for speculation in [
        json!("off"),
        json!(false),
        json!({"controller": "fixed", "gamma": 4}),
        json!({"controller": "fixed:3", "draft": "ngram"}),
        json!({"controller": "entropy", "draft": "model"}),
        json!("chain+fixed"),
        json!("expected-value"),
        json!("speckv"),
    ] {
        let answer = server
            .ask("/v1/chat/completions", with(chat("same"), json!({"speculation": speculation})))
            .await
            .ok();
        assert_eq!(answer["choices"][0]["message"]["content"], expected.as_str(), "{speculation}");
        drafted.push(answer["usage"]["drafted_tokens"].as_u64().unwrap());
    }
    assert_eq!(drafted[..2], [0, 0]);
    assert!(drafted[2] > 0 && drafted[4] > 0, "{drafted:?}");
}

#[tokio::test]
async fn greedy_answers_under_concurrency_are_those_of_the_same_requests_alone() {
    // Prompts of many lengths join at different moments, four run together, some are repeated, some
    // extend others.
    let setup = Setup { pass: Duration::from_micros(300), ..Setup::default() };
    let server = Server::new(setup);
    let mut requests = Vec::new();
    for number in 0..24_usize {
        let prompt = format!("{}:{}", number % 7, "abc xyz ".repeat(number % 9 + number / 12));
        requests.push((
            prompt,
            10 + number * 3 % 40,
            ["speckv", "fixed:4", "off", "chain+ema"][number % 4],
        ));
    }
    let ask = |(prompt, max_tokens, controller): &(String, usize, &str)| {
        let body = json!({
            "prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true, "speculation": controller
        });
        server.ask("/v1/completions", body)
    };
    let replies = futures_util::future::join_all(requests.iter().map(ask)).await;
    for ((prompt, max_tokens, _), reply) in requests.iter().zip(replies) {
        let answer = reply.ok();
        let expected = plain(&server.model, prompt, *max_tokens);
        assert_eq!(answer["choices"][0]["text"], expected.as_str(), "{prompt}");
        assert_eq!(answer["usage"]["completion_tokens"], *max_tokens);
    }
    assert!(server.metric("n_decode_total").await > 0.0);
    let shared = server.get("/metrics").await.text;
    let count = |le: &str| {
        let line = shared
            .lines()
            .find(|line| line.contains("busy_slots_per_decode_bucket") && line.contains(le))
            .unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(count("le=\"4.0\"") > count("le=\"1.0\""), "passes were shared");
}

#[tokio::test]
async fn the_next_turn_reads_only_what_is_new() {
    let server = Server::new(Setup::default());
    let first =
        server.ask("/v1/chat/completions", chat("first question that is rather long")).await.ok();
    let said = first["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let more = json!({"messages": [
        {"role": "user", "content": "first question that is rather long"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "second"},
    ]});
    let second = server.ask("/v1/chat/completions", with(chat(""), more)).await.ok();
    let cached = second["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert!(cached >= 39, "{cached} of {}", second["usage"]["prompt_tokens"]);
    let prompt = format!("u:first question that is rather long~a:{said}~u:second~a:");
    assert_eq!(
        second["choices"][0]["message"]["content"],
        plain(&server.model, &prompt, 20).as_str()
    );
    assert_eq!(second["timings"]["cache_n"], cached);
    let anew = server.ask(
        "/v1/chat/completions",
        with(chat("first question that is rather long"), json!({"cache_prompt": false})),
    );
    assert!(anew.await.ok()["timings"]["cache_n"].as_u64().unwrap() <= 1, "asked to read it all");
}

#[tokio::test]
async fn a_long_prompt_does_not_stall_the_others() {
    let rules =
        Rules { most_running: 4, most_sequences: 4, sequence_bytes: 1, chunk: 8, chunk_alone: 64 };
    let server = Server::new(Setup {
        rules,
        context: 2048,
        draft: None,
        pass: Duration::from_millis(1),
        ..Setup::default()
    });
    let talking = server.ask(
        "/v1/completions",
        json!({"prompt": "talk", "max_tokens": 60, "temperature": 0, "ignore_eos": true}),
    );
    let long = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        server.complete(&"long ".repeat(300), 1).await
    };
    let (talking, _) = tokio::join!(talking, long);
    talking.ok();
    // 1500 tokens in chunks of 8 beside the talker: no pass had more than 9 rows while both were
    // there, and the talker was never left out.
    let text = server.get("/metrics").await.text;
    let bucket = |le: &str| {
        let line =
            text.lines().find(|l| l.contains("iteration_tokens_bucket") && l.contains(le)).unwrap();
        line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    assert!(bucket("le=\"12.0\"") >= 50, "{text}");
}

#[tokio::test]
async fn several_answers_to_one_prompt_have_their_own_seeds_and_count_the_prompt_once() {
    let server = Server::new(Setup::default());
    let body = json!({"messages": [{"role": "user", "content": "many"}], "n": 6, "seed": 5, "max_tokens": 12, "ignore_eos": true});
    let answer = server.ask("/v1/chat/completions", body.clone()).await.ok();
    let texts: Vec<&str> = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["message"]["content"].as_str().unwrap())
        .collect();
    assert_eq!(texts.len(), 6);
    assert!(texts.windows(2).any(|pair| pair[0] != pair[1]));
    assert_eq!(answer["usage"]["prompt_tokens"], 9);
    assert_eq!(answer["usage"]["completion_tokens"], 72);
    let indices: Vec<u64> = answer["choices"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["index"].as_u64().unwrap())
        .collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn answers_to_one_prompt_read_it_once_and_are_those_of_the_prompt_alone() {
    let server = Server::new(Setup { pass: Duration::from_micros(200), ..Setup::default() });
    let prompt = "a prompt that is rather long, ".repeat(10);
    for controller in ["off", "fixed:4", "speckv"] {
        let before = server.metric("iteration_tokens_sum").await;
        let prompt = format!("{controller}: {prompt}");
        let expected = plain(&server.model, &prompt, 20);
        let body = json!({
            "prompt": prompt, "n": 4, "max_tokens": 20, "temperature": 0, "ignore_eos": true, "speculation": controller
        });
        let answer = server.ask("/v1/completions", body).await.ok();
        for choice in answer["choices"].as_array().unwrap() {
            assert_eq!(choice["text"], expected.as_str(), "{controller}");
        }
        if controller == "off" {
            let rows = server.metric("iteration_tokens_sum").await - before;
            assert_eq!(
                rows,
                prompt.len() as f64 + 4.0 * 20.0 - 1.0,
                "one reads, each request feeds its own last token"
            );
        }
    }
    let hits = server.metric("prefix_cache_hits_total").await;
    assert!(hits >= 9.0 * prompt.len() as f64, "{hits}");
}

#[tokio::test]
async fn a_common_beginning_is_copied_and_the_long_conversation_stays() {
    let server = Server::new(Setup::default());
    let system = "you are a helpful and rather verbose assistant. ".repeat(4);
    let turns = |text: &str, more: usize| {
        json!({"messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
               "temperature": 0, "max_tokens": more, "ignore_eos": true})
    };
    let question = "tell me everything about it, and then some more; ".repeat(5);
    let long = server.ask("/v1/chat/completions", turns(&question, 10)).await.ok();
    let said = long["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
    let stranger = server.ask("/v1/chat/completions", turns("hi", 5)).await.ok();
    assert!(
        stranger["timings"]["cache_n"].as_u64().unwrap() >= system.len() as u64,
        "{}",
        stranger["timings"]
    );
    let text = plain(&server.model, &format!("s:{system}~u:hi~a:"), 5);
    assert_eq!(stranger["choices"][0]["message"]["content"], text.as_str());
    let mut next = turns(&question, 5);
    next["messages"].as_array_mut().unwrap().extend([
        json!({"role": "assistant", "content": said}),
        json!({"role": "user", "content": "more"}),
    ]);
    let next = server.ask("/v1/chat/completions", next).await.ok();
    assert!(
        next["timings"]["cache_n"].as_u64().unwrap() as usize >= system.len() + question.len(),
        "{}",
        next["timings"]
    );
}

#[tokio::test]
async fn a_seed_repeats_an_answer_with_the_same_controller() {
    let server = Server::new(Setup::default());
    let body = json!({"prompt": "seeded", "seed": 11, "max_tokens": 30, "temperature": 1.3, "speculation": "fixed:3", "ignore_eos": true});
    let first = server.ask("/v1/completions", body.clone()).await.ok();
    let again = server.ask("/v1/completions", body.clone()).await.ok();
    assert_eq!(first["choices"][0]["text"], again["choices"][0]["text"]);
    let other = server.ask("/v1/completions", with(body, json!({"seed": 12}))).await.ok();
    assert_ne!(first["choices"][0]["text"], other["choices"][0]["text"]);
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_and_is_not_part_of_it() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "stop here", 30);
    let stop = &expected[10..13];
    let at = expected.find(stop).unwrap();
    for stream in [false, true] {
        let body = json!({"prompt": "stop here", "max_tokens": 30, "temperature": 0, "ignore_eos": true, "stop": [stop, "never so"], "stream": stream});
        let reply = server.ask("/v1/completions", body).await;
        let (text, reason) = if stream {
            let events = reply.events();
            let text: String =
                events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
            (text, events.last().unwrap()["choices"][0]["finish_reason"].clone())
        } else {
            let answer = reply.ok();
            assert_eq!(
                answer["usage"]["completion_tokens"],
                at + 3,
                "tokens after the stop string are not counted"
            );
            (
                answer["choices"][0]["text"].as_str().unwrap().to_owned(),
                answer["choices"][0]["finish_reason"].clone(),
            )
        };
        assert_eq!((text.as_str(), reason), (&expected[..at], json!("stop")));
    }
}

#[tokio::test]
async fn an_end_token_ends_the_answer() {
    let server = Server::new(Setup { context: 4000, ..Setup::default() });
    let body = json!({"prompt": "until the end", "max_tokens": 3900, "temperature": 0});
    let answer = server.ask("/v1/completions", body).await.ok();
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let tokens = answer["usage"]["completion_tokens"].as_u64().unwrap() as usize;
    let text = answer["choices"][0]["text"].as_str().unwrap();
    assert_eq!(text.len() + 1, tokens, "the end token counts and has no text");
    assert!(!text.contains(END as u8 as char));
}

#[tokio::test]
async fn likelihoods_are_told_in_both_forms() {
    let server = Server::new(Setup::default());
    let body = with(chat("how sure"), json!({"logprobs": true, "top_logprobs": 3}));
    let answer = server.ask("/v1/chat/completions", body.clone()).await.ok();
    let content = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(content.len(), 20);
    let said: String = content.iter().map(|entry| entry["token"].as_str().unwrap()).collect();
    assert_eq!(said.replace('~', ""), answer["choices"][0]["message"]["content"].as_str().unwrap());
    for entry in content {
        let top = entry["top_logprobs"].as_array().unwrap();
        assert_eq!(top.len(), 3);
        assert_eq!(top[0]["token"], entry["token"], "greedy takes the likeliest");
        assert!(entry["logprob"].as_f64().unwrap() <= 0.0);
    }
    let streamed =
        server.ask("/v1/chat/completions", with(body, json!({"stream": true}))).await.events();
    let entries: usize = streamed
        .iter()
        .filter_map(|e| Some(e["choices"][0]["logprobs"]["content"].as_array()?.len()))
        .sum();
    assert_eq!(entries, 20);

    let body = json!({"prompt": [[97, 98], [99, 100]], "max_tokens": 5, "temperature": 0, "logprobs": 2, "ignore_eos": true});
    let answer = server.ask("/v1/completions", body).await.ok();
    assert_eq!(answer["choices"].as_array().unwrap().len(), 2);
    let logprobs = &answer["choices"][1]["logprobs"];
    assert_eq!(logprobs["text_offset"], json!([0, 1, 2, 3, 4]));
    assert_eq!(logprobs["tokens"].as_array().unwrap().len(), 5);
    assert!(logprobs["top_logprobs"][0].as_object().unwrap().len() <= 2);
    assert_eq!(answer["choices"][1]["text"], plain(&server.model, "cd", 5).as_str());
}

#[tokio::test]
async fn offsets_do_not_lag_behind_text_that_is_held_back() {
    let server = Server::new(Setup::default());
    let expected = plain(&server.model, "held", 12);
    // Never found, and all but its last character is what is said: everything is held back until
    // the end.
    let stop = format!("{expected}\u{1}");
    for (stream, controller) in [(false, "off"), (true, "off"), (true, "fixed:4")] {
        let body = json!({
            "prompt": "held", "max_tokens": 12, "temperature": 0, "ignore_eos": true, "logprobs": 1, "stop": [stop],
            "stream": stream, "speculation": controller
        });
        let reply = server.ask("/v1/completions", body).await;
        let answers = if stream { reply.events() } else { vec![reply.ok()] };
        let offsets: Vec<Value> = answers
            .iter()
            .filter_map(|answer| answer["choices"][0]["logprobs"]["text_offset"].as_array())
            .flatten()
            .cloned()
            .collect();
        assert_eq!(
            json!(offsets),
            json!((0..12).collect::<Vec<usize>>()),
            "stream {stream}, {controller}"
        );
    }
}

#[tokio::test]
async fn echo_puts_the_prompt_first() {
    let server = Server::new(Setup::default());
    let expected = format!("say{}", plain(&server.model, "say", 6));
    let body = json!({"prompt": "say", "max_tokens": 6, "temperature": 0, "echo": true, "ignore_eos": true});
    assert_eq!(
        server.ask("/v1/completions", body.clone()).await.ok()["choices"][0]["text"],
        expected.as_str()
    );
    let events = server.ask("/v1/completions", with(body, json!({"stream": true}))).await.events();
    let text: String =
        events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!(text, expected);
}

#[tokio::test]
async fn models_tokens_health_and_documents() {
    let server = Server::new(Setup::default());
    let models = server.get("/v1/models").await.ok();
    assert_eq!(
        (models["object"].as_str(), models["data"][0]["id"].as_str()),
        (Some("list"), Some("sim"))
    );
    assert_eq!(server.get("/v1/models/sim").await.ok()["max_model_len"], 512);
    assert_eq!(server.get("/v1/models/org/other").await.error(404)["code"], "model_not_found");
    let tokens = server.ask("/tokenize", json!({"content": "abc", "with_pieces": true})).await.ok();
    assert_eq!(
        (&tokens["tokens"], &tokens["pieces"]),
        (&json!([97, 98, 99]), &json!(["a", "b", "c"]))
    );
    assert_eq!(server.ask("/tokenize", json!({"prompt": "abc"})).await.ok()["count"], 3);
    assert_eq!(server.ask("/detokenize", json!({"tokens": [97, 98]})).await.ok()["content"], "ab");
    assert_eq!(
        server.ask("/detokenize", json!({"tokens": [97, 500]})).await.error(400)["param"],
        "tokens"
    );
    assert_eq!(server.get("/health").await.ok()["status"], "ok");
    let page = server.get("/").await;
    assert!(
        page.text.contains("<html")
            && page.headers["content-security-policy"].to_str().unwrap().contains("'none'")
    );
    assert!(server.get("/openapi.json").await.ok()["openapi"].as_str().unwrap().starts_with('3'));
}
