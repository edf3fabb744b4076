//! Jinja as the `transformers` library runs it, for programs that are not trusted.
//!
//! The language is that of Jinja2 3.1 with `trim_blocks`, `lstrip_blocks`, loop controls,
//! `{% generation %}`, `raise_exception`, `strftime_now` and the `tojson` of `transformers`; values
//! and their methods are Python's. There is no automatic escaping, no template inheritance and no
//! way to change a list or a dictionary, as in the immutable sandbox.
//!
//! Two things made an own interpreter necessary:
//! - Every operation counts its work and its memory ([`Limits`]), so that a template inside a
//!   model file can neither hang a process nor exhaust its memory. Engines that count instructions
//!   do not see the work inside `'x' * 10**12` or `range(10**12) | max`.
//! - Strings know which of their bytes came from the conversation ([`Rendered::data`]), so that
//!   text of a user is never taken for a control token.

mod arguments;
mod compare;
mod dictionary;
mod filters;
mod format;
mod functions;
mod iteration;
mod json;
mod lexer;
mod meter;
mod methods;
mod operators;
mod parser;
mod predicates;
mod print;
mod run;
mod syntax;
mod text;
mod value;

use std::ops::Range;

use self::{meter::Meter, run::Run, text::Text, value::Value};

type Outcome<T> = Result<T, Failure>;

/// Stack for parsing and rendering, in bytes; only what is touched takes memory. Both recurse as
/// deep as a template nests, which is limited.
const STACK_BYTES: usize = 64 << 20;

/// A parsed template. Threads can share it.
#[derive(Debug)]
pub(crate) struct Template {
    body: syntax::Body,
}

/// What a rendering may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Steps: one per expression, statement and item, and one per 128 bytes of native work.
    pub steps: u64,
    /// Bytes of all live values.
    pub memory: u64,
    /// Bytes of the text.
    pub output: usize,
}

/// A rendered text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub text: String,
    /// Ranges of bytes that came from variables, in order and apart from each other.
    pub data: Vec<Range<usize>>,
}

/// Why a source is not a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    /// From 1.
    pub line: usize,
    pub message: String,
}

/// Why a rendering failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// More steps than [`Limits::steps`].
    Steps,
    /// More bytes of live values than this.
    Memory(u64),
    /// A longer text than this.
    Output(usize),
    /// The message of `raise_exception`.
    Raised(String),
    /// An operation that Python refuses as well.
    Other(String),
}

impl Failure {
    fn type_error(message: impl std::fmt::Display) -> Self {
        Self::Other(format!("TypeError: {message}"))
    }

    fn value_error(message: impl std::fmt::Display) -> Self {
        Self::Other(format!("ValueError: {message}"))
    }
}

/// What a template can read.
pub(crate) struct Inputs<'i> {
    /// Variables. Their strings are marked as data.
    pub variables: &'i [(&'i str, &'i serde_json::Value)],
    /// Variables whose strings are not marked.
    pub constants: &'i [(&'i str, &'i str)],
    /// The text of a format of `strftime`, at the moment of the rendering.
    pub strftime: &'i (dyn Fn(&str) -> String + Sync),
}

impl Template {
    pub(crate) fn parse(source: &str) -> Result<Self, SyntaxError> {
        let none = |message: &str| SyntaxError { line: 0, message: message.to_owned() };
        let parsed = on_own_stack(|| parser::parse(source)).map_err(|message| none(&message))?;
        Ok(Self { body: parsed? })
    }

    /// Renders the template; a failure comes with its line, from 1, or 0 if that is not known.
    pub(crate) fn render(
        &self,
        inputs: &Inputs<'_>,
        limits: Limits,
    ) -> Result<Rendered, (usize, Failure)> {
        on_own_stack(|| {
            let meter = Meter::new(limits.steps, limits.memory);
            let mut run =
                Run::new(&meter, limits.output, inputs.strftime).map_err(|failure| (0, failure))?;
            let mut globals = || -> Outcome<()> {
                for (name, value) in inputs.variables {
                    run.set_global(name, Value::from_json(value, &meter)?)?;
                }
                for (name, value) in inputs.constants {
                    run.set_global(name, Value::Text(Text::new(value, &meter)?))?;
                }
                Ok(())
            };
            globals().map_err(|failure| (0, failure))?;
            let done = run.template(&self.body);
            let line = run.line();
            let output = run.finish();
            done.map_err(|failure| (line, failure))?;
            let (text, data) = output.into_parts();
            Ok(Rendered { text, data })
        })
        .unwrap_or_else(|message| Err((0, Failure::Other(message))))
    }
}

/// Runs `work` on a thread with a stack of known size.
fn on_own_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("template".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread to render it on: {error}"))?
            .join()
            .map_err(|_| "the template engine failed".to_owned())
    })
}
