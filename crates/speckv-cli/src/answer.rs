//! One answer, streamed: tokens from the engine, text to its reader.

use std::{ops::ControlFlow, time::Duration};

use speckv::{
    engine::{Engine, EngineError, FinishReason, Sequence},
    model::LanguageModel,
    token::Token,
};
use speckv_local::{
    backend::device_hint,
    failure::{Failure, Outcome, chain},
    interrupt::Interrupt,
    report::{Reporter, Unit},
    text::{TextDecoder, text_of},
};

use crate::printer::Printer;

/// Tokens per pass while reading the prompt: progress and Ctrl-C are looked at in between.
const PREFILL_CHUNK: usize = 256;

/// Quiet time before a progress display shows.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended it, or a stop string did.
    Stop,
    /// It has as many tokens as it may, or the context is full.
    Length,
    /// The user stopped it.
    Interrupted,
}

/// A finished answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The text, without special tokens and stop strings.
    pub text: String,
    /// Generated tokens, an end token included.
    pub tokens: Vec<Token>,
    /// Why it ended.
    pub finish: Finish,
}

/// Reads the prompt, then generates until the end, and gives every piece of text to `say` as soon
/// as it is certain.
///
/// # Errors
/// The engine's, or those of `say`.
pub fn give<M: LanguageModel>(
    engine: &mut Engine<M>,
    sequence: &mut Sequence<M>,
    mut decoder: TextDecoder,
    interrupt: &Interrupt,
    printer: &Printer,
    say: &mut dyn FnMut(&str) -> Outcome<()>,
) -> Outcome<Answer> {
    let mut answer = Answer { text: String::new(), tokens: Vec::new(), finish: Finish::Length };
    let failures = engine.draft_failures().count;
    if read_prompt(engine, sequence, interrupt, printer)?.is_break() {
        return Ok(Answer { finish: Finish::Interrupted, ..answer });
    }
    let mut say = |text: &str, answer: &mut Answer| {
        answer.text.push_str(text);
        if text.is_empty() { Ok(()) } else { say(text) }
    };
    let mut interrupted = false;
    let mut generation = engine.generate(sequence);
    let until_interrupt = std::iter::from_fn(|| {
        interrupted = interrupt.is_raised();
        if interrupted { None } else { generation.next() }
    });
    for step in text_of(until_interrupt, &mut decoder) {
        let (token, piece) = step.map_err(|error| engine_failure(&error))?;
        answer.tokens.push(token);
        say(&piece.text, &mut answer)?;
    }
    let rest = decoder.finish();
    say(&rest.text, &mut answer)?;
    answer.finish = match sequence.finish_reason() {
        _ if rest.stopped => Finish::Stop,
        _ if interrupted => Finish::Interrupted,
        Some(FinishReason::Stop) => Finish::Stop,
        _ => Finish::Length,
    };
    warn_of_draft_failure(engine, failures, printer);
    Ok(answer)
}

/// Warns that an answer lost its draft, if there is a failure beyond the first `known` ones.
fn warn_of_draft_failure<M: LanguageModel>(engine: &Engine<M>, known: u64, printer: &Printer) {
    let failures = engine.draft_failures();
    if let Some(why) = failures.last.as_ref().filter(|_| failures.count > known) {
        printer.warning(&format!("drafting ended, the answer went on without it: {why}"));
    }
}

fn read_prompt<M: LanguageModel>(
    engine: &mut Engine<M>,
    sequence: &mut Sequence<M>,
    interrupt: &Interrupt,
    printer: &Printer,
) -> Outcome<ControlFlow<()>> {
    let mut progress = printer.progress("reading the prompt", Unit::Tokens, PATIENCE);
    let outcome = engine.prefill(sequence, PREFILL_CHUNK, |prefill| {
        progress.at(prefill.done as u64, prefill.total as u64);
        if interrupt.is_raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    progress.finish();
    outcome.map_err(|error| engine_failure(&error))
}

/// A failure of the engine in the user's words.
#[must_use]
pub fn engine_failure(error: &EngineError) -> Failure {
    let message = chain(error);
    match error {
        EngineError::EmptyPrompt => {
            Failure::new("the prompt has no tokens", "give a prompt with some text")
        }
        EngineError::PromptTooLong { context, got } => prompt_too_long(*got, *context),
        EngineError::Sampling(_) => {
            Failure::usage(message, "`speckv run --help` shows every option and its range")
        }
        EngineError::Model(_) | EngineError::Draft(_) => Failure::new(
            message,
            device_hint(error).unwrap_or(
                "a smaller --ctx takes less memory; if the model file is damaged, fetch it again",
            ),
        ),
        EngineError::Logits { .. } => Failure::new(
            message,
            "the weights are damaged or wrongly converted: fetch the model file again",
        ),
        _ => {
            Failure::new(message, "this is a fault of speckv, not of your input: please report it")
        }
    }
}

/// The prompt does not fit, or leaves no room for an answer.
#[must_use]
pub fn prompt_too_long(got: usize, context: usize) -> Failure {
    Failure::new(
        format!(
            "the prompt has {got} tokens, but the context holds {context}, the answer included"
        ),
        "shorten the prompt, or give a larger context with --ctx; `speckv inspect MODEL` shows \
         the model's longest",
    )
}
