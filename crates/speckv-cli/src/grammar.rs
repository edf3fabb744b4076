//! From options to a constraint on the answer.

use std::path::Path;

use speckv::sampling::Constraint;
use speckv_grammar::{GrammarError, GrammarSource};
use speckv_local::{
    failure::{Failure, Outcome},
    text::ModelText,
};

use crate::args::GrammarOptions;

/// Reads what the options name; `None` where they name nothing.
///
/// # Errors
/// A file that cannot be read, a schema that is not JSON.
pub fn read(options: &GrammarOptions) -> Outcome<Option<GrammarSource>> {
    if let Some(path) = &options.json_schema {
        let schema = serde_json::from_str(&text(path)?).map_err(|error| {
            Failure::usage(format!("the schema is not JSON: {error}"), "give a JSON schema")
                .about(path.display())
        })?;
        return Ok(Some(GrammarSource::JsonSchema(schema)));
    }
    if let Some(path) = &options.grammar {
        return Ok(Some(GrammarSource::grammar(&text(path)?)));
    }
    Ok(options.choices.clone().map(GrammarSource::Choices))
}

fn text(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))
}

/// Compiles the source for a model's vocabulary.
///
/// # Errors
/// A grammar that does not compile, or that no answer fits.
pub fn constraint(source: &GrammarSource, model: &ModelText) -> Outcome<Box<dyn Constraint>> {
    let grammar = model.grammars().and_then(|grammars| grammars.compile(source));
    grammar.map(|grammar| grammar.constraint()).map_err(|error| {
        let hint = match &error {
            GrammarError::Schema { .. } => "change that part of the schema",
            GrammarError::Grammar { .. } => "correct the grammar; `docs/guides` shows examples",
            GrammarError::TooLarge { .. } => "give a smaller grammar",
            GrammarError::Vocabulary(_) => "choose another model",
        };
        Failure::usage(error, hint)
    })
}
