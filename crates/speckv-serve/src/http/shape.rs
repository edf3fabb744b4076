//! The two shapes of answers: of a chat, of a completion. Each makes whole answers and chunks of a
//! stream out of the same events.

use std::sync::Arc;

use serde_json::{Map, Value};
use speckv::{engine::FinishReason, token::Token};

use super::FINGERPRINT;
use crate::{
    api::answer::{
        AssistantMessage, ChatAnswer, ChatChoice, ChatChunk, ChatChunkChoice, ChatLogprobs, Delta,
        Details, TextAnswer, TextChoice, TextLogprobs, Timings, TokenLogprob, TopLogprob, Usage,
    },
    api::finish_reason,
    language::Language,
    scheduler::{Done, Spoken, Step},
    tools::{AnswerParser, FunctionDelta, Part, Read, Reader, ToolCallDelta},
};

use super::make::Whole;

/// What every answer to a request has.
pub(super) struct Frame {
    /// The answer's id.
    pub id: String,
    /// When, in seconds since 1970.
    pub created: u64,
    /// The model's name.
    pub model: String,
    /// For the texts of tokens.
    pub language: Arc<dyn Language>,
    /// Likelihoods were asked for.
    pub logprobs: bool,
    /// Answers per prompt.
    pub choices_per_prompt: usize,
    /// Texts to put before answers, by prompt; empty for none.
    pub echo: Vec<String>,
    /// Chunks carry usage (null until the last one).
    pub include_usage: bool,
    /// Chunks carry details.
    pub details: bool,
}

/// `null` until the last chunk, absent where it was not asked for.
type ChunkUsage = Option<Option<Usage>>;

/// Makes chunks of a stream out of events; `None` for an event without a chunk.
pub(super) trait Shape: Send + 'static {
    /// The answer has begun.
    fn begun(&mut self, frame: &Frame, choice: usize) -> Option<Value>;
    /// A step made tokens.
    fn step(&mut self, frame: &Frame, choice: usize, step: &Step) -> Vec<Value>;
    /// The answer is complete.
    fn done(&mut self, frame: &Frame, choice: usize, done: &Done) -> Vec<Value>;
    /// All answers are complete.
    fn usage(&mut self, frame: &Frame, usage: Usage) -> Option<Value>;
}

/// Chunks of a chat.
#[derive(Debug, Default)]
pub(super) struct Chat {
    /// Reads the answers; `None` where all of them is content.
    pub reader: Option<Reader>,
    parsers: Vec<AnswerParser>, // by choice
}

impl Chat {
    /// With this reader.
    pub(super) fn new(reader: Option<Reader>) -> Self {
        Chat { reader, parsers: Vec::new() }
    }

    /// What is new of an answer.
    fn deltas(&mut self, choice: usize, text: &str, ends: bool) -> Vec<Delta> {
        let Some(reader) = &self.reader else { return Vec::new() };
        while self.parsers.len() <= choice {
            self.parsers.push(reader.parser());
        }
        let parser = &mut self.parsers[choice];
        let parts = if ends { parser.finish() } else { parser.push(text) };
        parts.into_iter().map(|part| delta_of(reader, part)).collect()
    }

    fn calls(&self, choice: usize) -> usize {
        self.parsers.get(choice).map_or(0, AnswerParser::calls)
    }
}

/// A part as a delta.
fn delta_of(reader: &Reader, part: Part) -> Delta {
    let call = |index: usize, begins: bool, function: FunctionDelta| {
        if reader.legacy {
            return Delta { function_call: Some(function), ..Delta::default() };
        }
        let call = ToolCallDelta {
            index,
            id: begins.then(|| reader.call_id()),
            kind: begins.then_some("function"),
            function,
        };
        Delta { tool_calls: Some(vec![call]), ..Delta::default() }
    };
    match part {
        Part::Content(text) => Delta { content: Some(text), ..Delta::default() },
        Part::Reasoning(text) => Delta { reasoning_content: Some(text), ..Delta::default() },
        Part::Call { index, name } => {
            let function = FunctionDelta { name: Some(name), arguments: Some(String::new()) };
            call(index, true, function)
        }
        Part::Arguments { index, text } => {
            call(index, false, FunctionDelta { name: None, arguments: Some(text) })
        }
    }
}

/// Why an answer ended.
pub(super) fn reason_of(done: &Done, reader: Option<&Reader>, calls: usize) -> &'static str {
    match reader {
        Some(reader) if calls > 0 && done.reason == FinishReason::Stop => {
            if reader.legacy {
                "function_call"
            } else {
                "tool_calls"
            }
        }
        _ => finish_reason(done.reason),
    }
}

/// Chunks of a completion.
#[derive(Debug, Default)]
pub(super) struct Text;

fn said(step: &Step) -> String {
    step.tokens.iter().map(|spoken| spoken.text.as_str()).collect()
}

fn value(chunk: &impl serde::Serialize) -> Option<Value> {
    serde_json::to_value(chunk).ok()
}

impl Frame {
    fn chunk_usage(&self) -> ChunkUsage {
        self.include_usage.then_some(None)
    }

    fn chat(&self, choice: Option<ChatChunkChoice>) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: FINGERPRINT.to_owned(),
            choices: choice.into_iter().collect(),
            usage: self.chunk_usage(),
            timings: None,
            speckv: None,
        }
    }

    fn text(&self, choices: Vec<TextChoice>) -> TextAnswer {
        TextAnswer {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: FINGERPRINT.to_owned(),
            choices,
            usage: self.chunk_usage(),
            timings: None,
            speckv: None,
        }
    }

    /// Sums over answers.
    pub(super) fn usage_of<'a>(&self, done: impl IntoIterator<Item = (usize, &'a Done)>) -> Usage {
        let mut usage = Usage::default();
        for (choice, done) in done {
            usage.add(done, choice % self.choices_per_prompt == 0);
        }
        usage
    }

    /// The text that an answer to a completion begins with.
    fn echo(&self, choice: usize) -> &str {
        self.echo.get(choice / self.choices_per_prompt).map_or("", String::as_str)
    }

    fn name(&self, token: Token) -> String {
        String::from_utf8_lossy(&self.language.bytes(token)).into_owned()
    }

    fn chat_logprobs(&self, tokens: &[Spoken]) -> Option<ChatLogprobs> {
        let entry = |spoken: &Spoken| {
            let (token, known) = (spoken.token?, spoken.likelihood.as_ref()?);
            let top = known.top.iter().map(|&(token, logprob)| TopLogprob {
                token: self.name(token),
                logprob: finite(logprob),
                bytes: self.language.bytes(token),
            });
            Some(TokenLogprob {
                token: self.name(token),
                logprob: finite(known.token),
                bytes: self.language.bytes(token),
                top_logprobs: top.collect(),
            })
        };
        self.logprobs.then(|| ChatLogprobs { content: tokens.iter().filter_map(entry).collect() })
    }

    /// The likelihoods of a completion whose text begins after `before` characters of an echo.
    fn text_logprobs(&self, tokens: &[Spoken], before: usize) -> Option<TextLogprobs> {
        let mut logprobs = TextLogprobs::default();
        for spoken in tokens {
            if let (Some(token), Some(known)) = (spoken.token, &spoken.likelihood) {
                logprobs.tokens.push(self.key(token));
                logprobs.token_logprobs.push(finite(known.token));
                logprobs.top_logprobs.push(self.alternatives(&known.top));
                logprobs.text_offset.push(before + spoken.offset);
            }
        }
        self.logprobs.then_some(logprobs)
    }

    /// A token's text as OpenAI's completions write it: bytes that are no text by themselves are
    /// `bytes:` and their escapes.
    fn key(&self, token: Token) -> String {
        String::from_utf8(self.language.bytes(token)).unwrap_or_else(|error| {
            let escapes = error.as_bytes().iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", escapes.collect::<String>())
        })
    }

    /// Alternatives by their texts. Of two tokens with one text, the likelier has it; the other is
    /// `token_id:` and its id.
    fn alternatives(&self, top: &[(Token, f32)]) -> Map<String, Value> {
        let mut by_text = Map::with_capacity(top.len());
        for &(token, logprob) in top {
            let mut key = self.key(token);
            if by_text.contains_key(&key) {
                key = format!("token_id:{token}");
            }
            by_text.insert(key, Value::from(finite(logprob)));
        }
        by_text
    }

    /// A whole chat answer.
    pub(super) fn chat_answer(&self, answers: Vec<Whole>, reader: Option<&Reader>) -> ChatAnswer {
        let usage = self
            .usage_of(answers.iter().enumerate().map(|(choice, answer)| (choice, &answer.done)));
        let timings = Timings::of(&answers[0].done);
        let choice = |(index, answer): (usize, Whole)| {
            let logprobs = self.chat_logprobs(&answer.tokens);
            let (message, calls) = message_of(answer.text, reader);
            let finish_reason = reason_of(&answer.done, reader, calls);
            ChatChoice { index, logprobs, message, finish_reason }
        };
        ChatAnswer {
            id: self.id.clone(),
            object: "chat.completion",
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: FINGERPRINT.to_owned(),
            choices: answers.into_iter().enumerate().map(choice).collect(),
            usage,
            timings,
        }
    }

    /// A whole completion.
    pub(super) fn text_answer(&self, answers: Vec<Whole>) -> TextAnswer {
        let usage = self
            .usage_of(answers.iter().enumerate().map(|(choice, answer)| (choice, &answer.done)));
        let timings = Timings::of(&answers[0].done);
        let choice = |(index, answer): (usize, Whole)| {
            let before = self.echo(index);
            TextChoice {
                index,
                logprobs: self.text_logprobs(&answer.tokens, before.chars().count()),
                text: format!("{before}{}", answer.text),
                finish_reason: Some(finish_reason(answer.done.reason)),
            }
        };
        let choices = answers.into_iter().enumerate().map(choice).collect();
        TextAnswer { usage: Some(Some(usage)), timings: Some(timings), ..self.text(choices) }
    }
}

/// The message of an answer, and its calls.
fn message_of(text: String, reader: Option<&Reader>) -> (AssistantMessage, usize) {
    let plain = |content| AssistantMessage {
        role: "assistant",
        content,
        reasoning_content: None,
        tool_calls: None,
        function_call: None,
        refusal: None,
    };
    let Some(reader) = reader else { return (plain(Some(text)), 0) };
    let Read { content, reasoning, mut calls } = reader.read(&text);
    let count = calls.len();
    let content = (count == 0 || !content.is_empty()).then_some(content);
    let mut message = plain(content);
    message.reasoning_content = (!reasoning.is_empty()).then_some(reasoning);
    if reader.legacy {
        message.function_call = (count > 0).then(|| calls.swap_remove(0).function);
    } else {
        message.tool_calls = (count > 0).then_some(calls);
    }
    (message, count)
}

/// JSON has no infinity.
fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}

/// A chunk for each delta.
fn chunks(frame: &Frame, choice: usize, deltas: Vec<Delta>) -> Vec<ChatChunk> {
    let chunk = |delta| {
        let choice = ChatChunkChoice { index: choice, delta, logprobs: None, finish_reason: None };
        frame.chat(Some(choice))
    };
    deltas.into_iter().map(chunk).collect()
}

impl Shape for Chat {
    fn begun(&mut self, frame: &Frame, choice: usize) -> Option<Value> {
        let content = Some(String::new());
        let delta = Delta { role: Some("assistant"), content, ..Delta::default() };
        value(&frame.chat(Some(ChatChunkChoice {
            index: choice,
            delta,
            logprobs: None,
            finish_reason: None,
        })))
    }

    fn step(&mut self, frame: &Frame, choice: usize, step: &Step) -> Vec<Value> {
        let text = said(step);
        let mut deltas = match self.reader {
            Some(_) => self.deltas(choice, &text, false),
            None if text.is_empty() => Vec::new(),
            None => vec![Delta { content: Some(text), ..Delta::default() }],
        };
        if deltas.is_empty() && (frame.details || frame.logprobs) {
            deltas.push(Delta { content: Some(String::new()), ..Delta::default() });
        }
        let mut chunks = chunks(frame, choice, deltas);
        // What belongs to the step is in its first chunk.
        if let Some(first) = chunks.first_mut() {
            first.choices[0].logprobs = frame.chat_logprobs(&step.tokens);
            first.speckv = frame.details.then(|| Details::of(step));
        }
        chunks.iter().filter_map(value).collect()
    }

    fn done(&mut self, frame: &Frame, choice: usize, done: &Done) -> Vec<Value> {
        let deltas = self.deltas(choice, "", true);
        let mut chunks = chunks(frame, choice, deltas);
        let finish_reason = Some(reason_of(done, self.reader.as_ref(), self.calls(choice)));
        let delta = Delta::default();
        let last = ChatChunkChoice { index: choice, delta, logprobs: None, finish_reason };
        chunks.push(ChatChunk { timings: Some(Timings::of(done)), ..frame.chat(Some(last)) });
        chunks.iter().filter_map(value).collect()
    }

    fn usage(&mut self, frame: &Frame, usage: Usage) -> Option<Value> {
        frame
            .include_usage
            .then(|| value(&ChatChunk { usage: Some(Some(usage)), ..frame.chat(None) }))?
    }
}

impl Shape for Text {
    fn begun(&mut self, frame: &Frame, choice: usize) -> Option<Value> {
        let text = Some(frame.echo(choice)).filter(|text| !text.is_empty())?.to_owned();
        value(&frame.text(vec![TextChoice {
            index: choice,
            text,
            logprobs: None,
            finish_reason: None,
        }]))
    }

    fn step(&mut self, frame: &Frame, choice: usize, step: &Step) -> Vec<Value> {
        let text = said(step);
        if text.is_empty() && !frame.details && !frame.logprobs {
            return Vec::new();
        }
        let logprobs = frame.text_logprobs(&step.tokens, frame.echo(choice).chars().count());
        let mut chunk =
            frame.text(vec![TextChoice { index: choice, text, logprobs, finish_reason: None }]);
        chunk.speckv = frame.details.then(|| Details::of(step));
        value(&chunk).into_iter().collect()
    }

    fn done(&mut self, frame: &Frame, choice: usize, done: &Done) -> Vec<Value> {
        let finish_reason = Some(finish_reason(done.reason));
        let last = TextChoice { index: choice, text: String::new(), logprobs: None, finish_reason };
        let chunk = TextAnswer { timings: Some(Timings::of(done)), ..frame.text(vec![last]) };
        value(&chunk).into_iter().collect()
    }

    fn usage(&mut self, frame: &Frame, usage: Usage) -> Option<Value> {
        frame
            .include_usage
            .then(|| value(&TextAnswer { usage: Some(Some(usage)), ..frame.text(vec![]) }))?
    }
}
