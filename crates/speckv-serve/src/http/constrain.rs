//! What an answer to a chat may be: grammars, calls of tools, reasoning of limited length.

use std::sync::Arc;

use speckv::token::Token;
use speckv_grammar::{
    ChannelBudget, ChannelMarks, GrammarSource, Reasoning, ReasoningMarks, Then, Trigger, Triggered,
};

use super::{App, prompt_end::PromptEnd};
use crate::{
    api::asked::Asked,
    constraints::Constraints,
    error::ApiError,
    grammars::token_of,
    language::Language,
    tools::{ChannelGrammar, ChannelStart, Reader, Tool, ToolChoice, ToolFormat, harmony},
};

/// What comes of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering {
    /// Makes each answer's constraint.
    pub constraints: Option<Constraints>,
    /// Reads each answer; `None` where all of it is content.
    pub reader: Option<Reader>,
}

impl Answering {
    /// Compiles what the answers to `prompt` are limited to.
    ///
    /// # Errors
    /// Grammars that do not compile; a budget for reasoning of a model that does not reason.
    pub(super) fn to(asked: &Asked, app: &App, prompt: &[Token]) -> Result<Self, ApiError> {
        let language = &*app.language;
        let end = PromptEnd::of(language, prompt);
        let callable = asked.callable();
        let answer = Answer { asked, app, callable: &callable, channels: end.channels.as_ref() };
        let constraint = answer.constraint()?;
        let marks = end.reasoning.and_then(|tags| {
            let (open, close) = (token_of(language, tags.open)?, token_of(language, tags.close)?);
            Some(ReasoningMarks { open, close, is_open: tags.is_open })
        });
        let channels = end.channels.as_ref().and_then(|start| channel_marks(language, start));
        let keeps_budget = marks.is_some() || channels.is_some() || end.has_reasoned;
        if asked.thinking_budget.is_some() && !keeps_budget {
            let message = "The model marks no reasoning with tokens of its own, so that a budget \
                           for it cannot be kept. Leave thinking_budget out.";
            return Err(ApiError::unsupported("thinking_budget", message));
        }
        let limit = asked.thinking_budget;
        let constraints = match (marks, channels, constraint) {
            (Some(marks), _, answer) if limit.is_some() || answer.is_some() => {
                Some(Constraints::new(move || {
                    let answer = answer.as_ref().map(Constraints::make);
                    Box::new(Reasoning::new(marks.clone(), limit, answer))
                }))
            }
            (_, Some(marks), answer) if limit.is_some() => {
                let limit = limit.unwrap_or(usize::MAX);
                let words = app.grammars.words("thinking_budget")?;
                Some(Constraints::new(move || {
                    let (words, answer) = (Arc::clone(&words), answer.as_ref());
                    let answer = answer.map(Constraints::make);
                    Box::new(ChannelBudget::new(marks.clone(), limit, words, answer))
                }))
            }
            (_, _, answer) => answer,
        };
        let tools = (!callable.is_empty()).then(|| ToolFormat::of(language));
        let is_read = tools.is_some() || end.reasoning.is_some() || end.channels.is_some();
        let reader = is_read.then(|| Reader {
            tools,
            names: callable.iter().map(|tool| tool.name.clone()).collect(),
            reasoning: end.reasoning,
            channels: end.channels,
            legacy: asked.legacy,
        });
        Ok(Answering { constraints, reader })
    }
}

/// How reasoning is marked in channels.
fn channel_marks(language: &dyn Language, start: &ChannelStart) -> Option<ChannelMarks> {
    let is_open = match start {
        ChannelStart::Message(header) => header.contains("<|channel|>analysis"),
        ChannelStart::Header(_) | ChannelStart::Between => false,
    };
    Some(ChannelMarks {
        channel: token_of(language, harmony::CHANNEL)?,
        message: token_of(language, harmony::MESSAGE)?,
        end: token_of(language, harmony::END)?,
        name: "analysis",
        is_open,
    })
}

/// The answer that follows the reasoning.
struct Answer<'a> {
    asked: &'a Asked,
    app: &'a App,
    callable: &'a [&'a Tool],
    channels: Option<&'a ChannelStart>,
}

impl Answer<'_> {
    /// Its constraint.
    fn constraint(&self) -> Result<Option<Constraints>, ApiError> {
        if self.callable.is_empty() {
            return self.structured();
        }
        let format = ToolFormat::of(&*self.app.language);
        match (&self.asked.choice, &self.asked.structured) {
            (ToolChoice::Auto, Some(structured)) => {
                let GrammarSource::JsonSchema(schema) = &structured.source else {
                    let message = format!(
                        "{} together with tools is supported for JSON schemas only.",
                        structured.field
                    );
                    return Err(ApiError::unsupported(&structured.field, message));
                };
                let source = self.calls(format, Some(schema));
                if !self.app.grammars.knows(&source) {
                    self.app.grammars.check(&structured.field, &structured.source)?;
                }
                self.compiled("tools", &source).map(Some)
            }
            (ToolChoice::Auto, None) => self.triggered(format).map(Some),
            _ => self.compiled("tools", &self.calls(format, None)).map(Some),
        }
    }

    /// The grammar or schema of a request without tools.
    fn structured(&self) -> Result<Option<Constraints>, ApiError> {
        let Some(structured) = &self.asked.structured else { return Ok(None) };
        let grammar = self.app.grammars.compile(&structured.field, &structured.source)?;
        let start = match self.channels {
            // The answer goes on within the message.
            None | Some(ChannelStart::Message(_)) => {
                return Ok(Some(Constraints::new(move || grammar.constraint())));
            }
            Some(start) => start,
        };
        let header = ChannelGrammar::new(&*self.app.language, start).up_to_answer();
        let header = self.app.grammars.compile(&structured.field, &header)?;
        Ok(Some(Constraints::new(move || Box::new(Then::new(&header, grammar.constraint())))))
    }

    /// Calls, or an answer that fits a schema.
    fn calls(&self, format: ToolFormat, answer: Option<&serde_json::Value>) -> GrammarSource {
        let language = &*self.app.language;
        match self.channels {
            Some(start) => ChannelGrammar::new(language, start).calls(self.callable, answer),
            None => format.calls(language, self.callable, self.asked.parallel, answer),
        }
    }

    /// Free text in which calls fit their grammar from where they begin.
    fn triggered(&self, format: ToolFormat) -> Result<Constraints, ApiError> {
        let (language, parallel) = (&*self.app.language, self.asked.parallel);
        let starts = format.starts(language, self.callable, parallel);
        if !starts.iter().all(|start| self.app.grammars.knows(&start.grammar)) {
            self.check_tools()?;
        }
        let mut triggers = Vec::new();
        for start in starts {
            let grammar = self.app.grammars.compile("tools", &start.grammar)?;
            triggers.extend(start.texts.into_iter().map(|text| Trigger {
                text,
                begins: start.begins,
                grammar: Arc::clone(&grammar),
            }));
        }
        let words = self.app.grammars.words("tools")?;
        let once = format.ends_with_calls(parallel);
        let triggers = Arc::new(triggers);
        Ok(Constraints::new(move || {
            let triggered = Triggered::new(Arc::clone(&triggers), Arc::clone(&words));
            Box::new(triggered.ending_after_one(once))
        }))
    }

    fn compiled(&self, field: &str, source: &GrammarSource) -> Result<Constraints, ApiError> {
        if !self.app.grammars.knows(source) {
            self.check_tools()?;
        }
        let grammar = self.app.grammars.compile(field, source)?;
        Ok(Constraints::new(move || grammar.constraint()))
    }

    /// Compiles each tool's own schema, so that an error names it.
    fn check_tools(&self) -> Result<(), ApiError> {
        for tool in self.callable {
            let place = self.asked.tools.iter().position(|other| other.name == tool.name);
            let field = match place {
                Some(index) if self.asked.legacy => format!("functions[{index}].parameters"),
                Some(index) => format!("tools[{index}].function.parameters"),
                None => "tools".to_owned(),
            };
            let schema = GrammarSource::JsonSchema(tool.parameters.clone());
            self.app.grammars.check(&field, &schema)?;
        }
        Ok(())
    }
}
