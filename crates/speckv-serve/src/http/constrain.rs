//! What an answer to a chat may be: grammars, calls of tools, reasoning of limited length.

use std::sync::Arc;

use speckv::token::Token;
use speckv_grammar::{GrammarSource, Reasoning, ReasoningMarks, Trigger, Triggered};

use super::App;
use crate::{
    api::asked::Asked,
    constraints::Constraints,
    error::ApiError,
    grammars::token_of,
    language::Language,
    tools::{Reader, ReasoningTags, Tool, ToolChoice, ToolFormat},
};

/// What comes of it.
#[derive(Debug, Clone, Default)]
pub struct Answering {
    /// Makes each answer's constraint.
    pub constraints: Option<Constraints>,
    /// Reads each answer; `None` where all of it is content.
    pub reader: Option<Reader>,
}

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

impl Answering {
    /// Compiles what the answers to `prompt` are limited to.
    ///
    /// # Errors
    /// Grammars that do not compile; a budget for reasoning of a model that does not reason.
    pub fn to(asked: &Asked, app: &App, prompt: &[Token]) -> Result<Self, ApiError> {
        let language = &*app.language;
        let reasoning = reasoning(language, prompt);
        let callable = asked.callable();
        let format = (!callable.is_empty()).then(|| ToolFormat::of(language));
        let answer = answer(asked, app, format, &callable)?;
        let marks = reasoning.and_then(|tags| {
            let (open, close) = (token_of(language, OPEN)?, token_of(language, CLOSE)?);
            Some(ReasoningMarks { open, close, is_open: tags.is_open })
        });
        if asked.thinking_budget.is_some() && marks.is_none() && !was_closed(language, prompt) {
            let message = "The model marks no reasoning with tokens of its own, so that a budget \
                           for it cannot be kept. Leave thinking_budget out.";
            return Err(ApiError::unsupported("thinking_budget", message));
        }
        let constraints = match (marks, answer) {
            (Some(marks), answer) if asked.thinking_budget.is_some() || answer.is_some() => {
                let limit = asked.thinking_budget;
                Some(Constraints::new(move || {
                    let answer = answer.as_ref().map(Constraints::make);
                    Box::new(Reasoning::new(marks.clone(), limit, answer))
                }))
            }
            (_, answer) => answer,
        };
        let reader = (format.is_some() || reasoning.is_some()).then(|| Reader {
            tools: format,
            names: callable.iter().map(|tool| tool.name.clone()).collect(),
            reasoning,
            legacy: asked.legacy,
        });
        Ok(Answering { constraints, reader })
    }
}

/// The constraint of what follows the reasoning.
fn answer(
    asked: &Asked,
    app: &App,
    format: Option<ToolFormat>,
    callable: &[&Tool],
) -> Result<Option<Constraints>, ApiError> {
    let language = &*app.language;
    let compiled = |field: &str, source: &GrammarSource| {
        let grammar = app.grammars.compile(field, source)?;
        Ok(Some(Constraints::new(move || grammar.constraint())))
    };
    let Some(format) = format else {
        return match &asked.structured {
            Some(structured) => compiled(&structured.field, &structured.source),
            None => Ok(None),
        };
    };
    // Each tool's own schema first, so that an error names it.
    for tool in callable {
        let field = match asked.tools.iter().position(|other| other.name == tool.name) {
            Some(index) if asked.legacy => format!("functions[{index}].parameters"),
            Some(index) => format!("tools[{index}].function.parameters"),
            None => "tools".to_owned(),
        };
        let schema = GrammarSource::JsonSchema(tool.parameters.clone());
        let _ = app.grammars.compile(&field, &schema)?;
    }
    match (&asked.choice, &asked.structured) {
        (ToolChoice::Auto, Some(structured)) => {
            let GrammarSource::JsonSchema(schema) = &structured.source else {
                let message = format!(
                    "{} together with tools is supported for JSON schemas only.",
                    structured.field
                );
                return Err(ApiError::unsupported(&structured.field, message));
            };
            let _ = app.grammars.compile(&structured.field, &structured.source)?;
            let source = format.calls(language, callable, asked.parallel, Some(schema));
            compiled("tools", &source)
        }
        (ToolChoice::Auto, None) => {
            let Some(source) = format.after_tag(language, callable) else { return Ok(None) };
            let grammar = app.grammars.compile("tools", &source)?;
            let words = app.grammars.words("tools")?;
            let once = !asked.parallel;
            Ok(Some(Constraints::new(move || {
                let text = format.tag().to_owned();
                let trigger = Trigger { text, grammar: Arc::clone(&grammar) };
                Box::new(Triggered::new(vec![trigger], Arc::clone(&words)).ending_after_one(once))
            })))
        }
        _ => compiled("tools", &format.calls(language, callable, asked.parallel, None)),
    }
}

/// The tags of the model's reasoning, if an answer to `prompt` may begin with it.
fn reasoning(language: &dyn Language, prompt: &[Token]) -> Option<ReasoningTags> {
    let reasons = language.template_reads("think") || token_of(language, CLOSE).is_some();
    if !reasons || was_closed(language, prompt) {
        return None;
    }
    let is_open = end(language, prompt).ends_with(OPEN);
    Some(ReasoningTags { open: OPEN, close: CLOSE, is_open })
}

/// Whether the prompt ends with reasoning that is over.
fn was_closed(language: &dyn Language, prompt: &[Token]) -> bool {
    end(language, prompt).ends_with(CLOSE)
}

fn end(language: &dyn Language, prompt: &[Token]) -> String {
    let tail = &prompt[prompt.len().saturating_sub(16)..];
    language.decode(tail).trim_end().to_owned()
}
