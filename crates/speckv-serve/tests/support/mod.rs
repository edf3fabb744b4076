//! A server over simulated models, asked without a network.
#![allow(dead_code, reason = "every test program uses its own part of this")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use speckv::{
    cost::{CostModel, Samples, TimeSample, VerifySample},
    draft::{Both, Drafter, ModelDrafter, NgramDrafter, NoDrafter},
    engine::{Clock, Engine},
    logits::Logits,
    model::{Feed, LanguageModel, ModelError},
    sim::{Difference, SimCache, SimCost, SimModel, SimSettings},
    token::Token,
};
use speckv_local::controllers::ControllerParts;
use speckv_serve::{
    api::speculation::SpeculationDefaults,
    http::{App, Info, Limits, router},
    language::{Conversation, Decoder, Ending, Language, LanguageError, Said},
    metrics::Metrics,
    scheduler::{self, Handle, Rules},
};
use tower::ServiceExt;

/// Characters are tokens: a token is an ASCII code. `~` ends a turn.
#[derive(Default)]
pub struct Characters {
    /// How long it takes to encode a text.
    pub tokenizing: Duration,
    /// Texts encoded.
    pub encoded: Arc<AtomicU32>,
    /// The template writes messages in channels, and the vocabulary has their control tokens.
    pub channels: bool,
}

/// Control tokens of a vocabulary for channels: the token is the place.
pub const CHANNELS: [&str; 6] =
    ["", "<|start|>", "<|channel|>", "<|message|>", "<|constrain|>", "<|end|>"];

impl Characters {
    /// The spelling of a control token.
    fn spelling(&self, token: Token) -> Option<&'static str> {
        let spelling = CHANNELS.get(token as usize).copied();
        spelling.filter(|spelling| self.channels && !spelling.is_empty())
    }
}

pub const END: Token = b'~' as Token;
pub const VOCAB: usize = 128;

impl Language for Characters {
    fn vocab_size(&self) -> usize {
        VOCAB
    }

    fn encode(&self, text: &str, special: bool, _: bool) -> Result<Vec<Token>, LanguageError> {
        self.encoded.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(self.tokenizing);
        let mut text = text.to_owned();
        for (token, spelling) in CHANNELS.iter().enumerate().skip(1) {
            if special && self.channels {
                text = text.replace(spelling, &char::from(token as u8).to_string());
            }
        }
        let wrong = text.chars().find(|c| !c.is_ascii());
        match wrong {
            Some(c) => Err(LanguageError::Encode(format!("{c:?} is no token"))),
            None => Ok(text.bytes().map(Token::from).collect()),
        }
    }

    fn decode(&self, tokens: &[Token]) -> String {
        String::from_utf8(tokens.iter().flat_map(|&token| self.bytes(token)).collect())
            .expect("ASCII")
    }

    fn bytes(&self, token: Token) -> Vec<u8> {
        self.spelling(token).map_or(vec![token as u8], |spelling| spelling.as_bytes().to_vec())
    }

    fn is_control(&self, token: Token) -> bool {
        self.spelling(token).is_some()
    }

    fn longest_token(&self) -> usize {
        1
    }

    /// `role:content~` for each message, with what else it has as `field=value~`; control tokens
    /// in messages become `_` unless they are asked for.
    fn prompt(&self, conversation: &Conversation, _: usize) -> Result<Vec<Token>, LanguageError> {
        let mut text = String::new();
        for message in &conversation.messages {
            let field = |name: &str| message.get(name).and_then(Value::as_str).unwrap_or_default();
            let (role, content) = (field("role"), field("content"));
            if role == "unknown" {
                return Err(LanguageError::Template("role unknown is refused".into()));
            }
            assert!(content != "panic in the template", "told to");
            let content = if conversation.special_in_text {
                content.to_owned()
            } else {
                content.replace('~', "_")
            };
            let initial: String = role.chars().take(1).collect();
            text.push_str(&format!("{initial}:{content}~"));
            for (name, value) in
                message.iter().filter(|(name, _)| *name != "role" && *name != "content")
            {
                text.push_str(&format!("{name}={value}~"));
            }
        }
        for (name, value) in &conversation.variables {
            text.push_str(&format!("{name}={value}~"));
        }
        match conversation.ending {
            Ending::NewMessage if self.channels => text.push_str("<|start|>assistant"),
            Ending::NewMessage => text.push_str("a:"),
            Ending::Nothing => {}
            Ending::Continue => drop(text.pop()),
        }
        self.encode(&text, true, false)
    }

    fn template_reads(&self, name: &str) -> bool {
        let of_channels = ["channel", "analysis", "tools", "reasoning_effort", "thinking"];
        name == "tool_calls" || self.channels && of_channels.contains(&name)
    }

    fn end_tokens(&self) -> &[Token] {
        &[END]
    }

    fn stop_strings(&self) -> Vec<String> {
        Vec::new()
    }

    fn decoder(&self, _: bool, stops: Vec<String>) -> Box<dyn Decoder> {
        assert!(stops.iter().all(|stop| stop != "panic in the decoder"), "told to");
        let controls = if self.channels { CHANNELS.len() } else { 0 };
        Box::new(Plain { stops, held: String::new(), controls: controls as Token })
    }
}

struct Plain {
    stops: Vec<String>,
    held: String,
    controls: Token, // tokens below it, but 0, are no text
}

impl Decoder for Plain {
    fn push(&mut self, token: Token) -> Said {
        if token == END || token > 0 && token < self.controls {
            return Said::default();
        }
        self.held.push(token as u8 as char);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min() {
            self.held.truncate(at);
            return Said { text: std::mem::take(&mut self.held), stopped: true, held: 0 };
        }
        let keep = (1..=self.held.len())
            .rev()
            .find(|&len| {
                self.stops.iter().any(|stop| stop.starts_with(&self.held[self.held.len() - len..]))
            })
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - keep);
        Said { text: std::mem::replace(&mut self.held, rest), stopped: false, held: keep }
    }

    fn finish(&mut self) -> Said {
        Said { text: std::mem::take(&mut self.held), stopped: false, held: 0 }
    }
}

/// A simulated model that takes real time, and that panics or fails when a text says so.
#[derive(Clone)]
pub struct Model {
    pub sim: SimModel,
    /// Sleep per pass.
    pub pass: Duration,
    /// Passes done.
    pub passes: Arc<AtomicU32>,
    /// The next pass panics.
    pub panics: Arc<AtomicBool>,
    /// The next cache panics.
    pub cache_panics: Arc<AtomicBool>,
}

/// A text with three of these makes a pass panic.
pub const POISON: Token = b'^' as Token;

impl LanguageModel for Model {
    type Cache = SimCache;
    type Output = Logits;

    fn vocab_size(&self) -> usize {
        self.sim.vocab_size()
    }

    fn context_length(&self) -> usize {
        self.sim.context_length()
    }

    fn new_cache(&self) -> Result<SimCache, ModelError> {
        assert!(!self.cache_panics.swap(false, Ordering::Relaxed), "told to");
        self.sim.new_cache()
    }

    fn new_output(&self) -> Logits {
        self.sim.new_output()
    }

    fn forward(
        &self,
        feeds: &mut [Feed<'_, SimCache>],
        logits: &mut Logits,
    ) -> Result<(), ModelError> {
        std::thread::sleep(self.pass);
        self.passes.fetch_add(1, Ordering::Relaxed);
        let poisoned =
            feeds.iter().any(|feed| feed.tokens.windows(3).any(|three| three == [POISON; 3]));
        assert!(!poisoned && !self.panics.swap(false, Ordering::Relaxed), "told to");
        self.sim.forward(feeds, logits)
    }
}

/// How a test's server is set up.
pub struct Setup {
    pub context: usize,
    pub rules: Rules,
    pub queue: usize,
    pub limits: Limits,
    pub pass: Duration,
    pub draft: Option<f64>,
    /// Tokens of earlier answers that look-up finds.
    pub memory: usize,
    pub controller: &'static str,
    /// How long it takes to encode a text.
    pub tokenizing: Duration,
    /// Messages are in channels.
    pub channels: bool,
    /// Time is simulated for the engine: a pass of the target over n rows takes 40 + `row` n
    /// milliseconds, of the draft a fifth of that.
    pub simulated_row: Option<f64>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup {
            context: 512,
            rules: Rules {
                most_running: 4,
                most_sequences: 6,
                sequence_bytes: 1000,
                chunk: 8,
                chunk_alone: 64,
            },
            queue: 64,
            limits: Limits::default(),
            pass: Duration::ZERO,
            draft: Some(0.8),
            memory: 0,
            controller: "speckv",
            tokenizing: Duration::ZERO,
            channels: false,
            simulated_row: None,
        }
    }
}

fn milliseconds(pass: f64, row: f64) -> SimCost {
    SimCost {
        pass: Duration::from_secs_f64(pass / 1000.0),
        token: Duration::from_secs_f64(row / 1000.0),
    }
}

fn costs(row: f64) -> CostModel {
    let verify = (1..=17).map(|n| VerifySample {
        rows: n,
        context: 0,
        seconds: (40.0 + row * n as f64) / 1000.0,
    });
    let samples = Samples {
        draft: vec![TimeSample { tokens: 1, context: 0, seconds: (8.0 + 0.2 * row) / 1000.0 }],
        verify: verify.collect(),
        catch_up: vec![TimeSample { tokens: 100, context: 0, seconds: 0.1 }],
        ..Samples::default()
    };
    CostModel::from_samples(&samples).expect("good samples")
}

/// A running server, asked without a network.
pub struct Server {
    pub router: Router,
    pub handle: Handle,
    pub model: Model,
    pub app: Arc<App>,
    /// Texts encoded.
    pub encoded: Arc<AtomicU32>,
    pub thread: Option<std::thread::JoinHandle<Option<Engine<Model>>>>,
}

impl Server {
    pub fn new(setup: Setup) -> Self {
        let settings = SimSettings {
            vocab_size: VOCAB,
            context_length: setup.context,
            seed: 3,
            sharpness: 4.0,
            ..Default::default()
        };
        // Control characters would make texts hard to read, and END would come at random moments;
        // both stay possible elsewhere.
        let mut sim = SimModel::new(settings);
        if let Some(row) = setup.simulated_row {
            sim = sim.costing(milliseconds(40.0, row));
        }
        let model = Model {
            sim: sim.clone(),
            pass: setup.pass,
            passes: Arc::default(),
            panics: Arc::default(),
            cache_panics: Arc::default(),
        };
        let drafter: Box<dyn Drafter> = match setup.draft {
            Some(agreement) => {
                let mut draft = sim.draft(Difference::Share { agreement });
                if let Some(row) = setup.simulated_row {
                    draft = draft.costing(milliseconds(8.0, 0.2 * row));
                }
                Box::new(Both::new(
                    NgramDrafter::default(),
                    ModelDrafter::new(Arc::new(draft), VOCAB),
                ))
            }
            None => Box::new(NoDrafter::new()),
        };
        let mut engine = Engine::new(Arc::new(model.clone()), drafter);
        let memory = engine.lookup_memory_mut();
        memory.into_iter().for_each(|memory| memory.set_limit(setup.memory));
        let encoded = Arc::<AtomicU32>::default();
        let characters = Characters {
            tokenizing: setup.tokenizing,
            encoded: Arc::clone(&encoded),
            channels: setup.channels,
        };
        let language: Arc<dyn Language> = Arc::new(characters);
        let metrics = Arc::new(Metrics::new());
        let (handle, orders) = Handle::new(setup.queue);
        let mut parts = ControllerParts::default();
        if let Some(row) = setup.simulated_row {
            engine.set_clock(Clock::Virtual(sim.time().clone()));
            parts.cost = costs(row);
        }
        let thread = scheduler::start(
            engine,
            Arc::clone(&language),
            parts,
            setup.rules,
            Arc::clone(&metrics),
            &handle,
            orders,
        )
        .expect("a thread");
        let has = setup.draft.is_some();
        let info = Info {
            model: "sim".into(),
            draft: has.then(|| "sim-draft".into()),
            context: setup.context,
            vocab_size: VOCAB,
            started: 1,
            speculation: SpeculationDefaults {
                controller: setup.controller.parse().expect("a controller"),
                gamma: None,
                has_model: has,
                has_lookup: has,
            },
            parse_special: false,
        };
        let app = Arc::new(App::new(language, handle.clone(), metrics, info, setup.limits));
        Server {
            router: router(Arc::clone(&app)),
            handle,
            model,
            app,
            encoded,
            thread: Some(thread),
        }
    }

    pub fn post(&self, path: &str, body: &Value) -> Request<Body> {
        Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request")
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    pub async fn ask(&self, path: &str, body: Value) -> Reply {
        self.send(self.post(path, &body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// A greedy completion's text.
    pub async fn complete(&self, prompt: &str, max_tokens: usize) -> String {
        let body = json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true});
        let reply = self.ask("/v1/completions", body).await.ok();
        reply["choices"][0]["text"].as_str().expect("a text").to_owned()
    }

    pub async fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").await.text;
        let line = text.lines().find(|line| line.starts_with(&format!("speckv:{name} ")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{name} in\n{text}"))
    }
}

#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn ok(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    /// An error object in OpenAI's form with this status; returns it.
    pub fn error(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        let body = self.json();
        let error = &body["error"];
        assert!(error["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
        assert!(
            error["type"].is_string()
                && error.get("param").is_some()
                && error.get("code").is_some(),
            "{body}"
        );
        error.clone()
    }

    /// The data of server-sent events; `[DONE]` must be the last and is left out.
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let mut data: Vec<&str> =
            self.text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.text);
        data.into_iter().map(|text| serde_json::from_str(text).expect("JSON")).collect()
    }
}

/// What a target says alone, by plain decoding.
pub fn plain(model: &Model, prompt: &str, count: usize) -> String {
    let prompt: Vec<Token> = prompt.bytes().map(Token::from).collect();
    let tokens =
        speckv::conformance::decode_plainly(&model.sim, &prompt, count).expect("plain decoding");
    tokens.into_iter().filter(|&token| token != END).map(|token| token as u8 as char).collect()
}
