//! Constraints on answers.

use std::sync::Mutex;

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use speckv::{
    sampling::{self, ConstraintError, TokenSet},
    token::Token,
};
use speckv_grammar::GrammarSource;
use speckv_local::text::ModelText;

use crate::{
    error::{Fault, Outcome},
    lock,
};

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Constraint {
    inner: Mutex<Box<dyn sampling::Constraint>>,
    vocab_size: usize,
}

/// What one of the arguments names.
pub(crate) fn source(
    json_schema: Option<&str>,
    grammar: Option<&str>,
    regex: Option<&str>,
    choices: Option<Vec<String>>,
) -> Outcome<GrammarSource> {
    let hint = "give one of json_schema, grammar, regex and choices";
    let schema = json_schema
        .map(|text| {
            let parsed = serde_json::from_str(text);
            parsed
                .map_err(|error| Fault::argument(format!("the schema is not JSON: {error}"), hint))
        })
        .transpose()?;
    let mut given = schema
        .map(GrammarSource::JsonSchema)
        .into_iter()
        .chain(grammar.map(GrammarSource::grammar))
        .chain(regex.map(|regex| GrammarSource::Regex(regex.to_owned())))
        .chain(choices.map(GrammarSource::Choices));
    match (given.next(), given.next()) {
        (Some(source), None) => Ok(source),
        (None, _) => Err(Fault::argument("expected a constraint, got none", hint)),
        (Some(_), Some(_)) => Err(Fault::argument("expected one constraint, got several", hint)),
    }
}

impl Constraint {
    /// Compiles a source for a model's vocabulary.
    pub fn of(text: &ModelText, source: &GrammarSource) -> Outcome<Self> {
        let grammar = text.grammars().and_then(|grammars| grammars.compile(source));
        let grammar = grammar.map_err(|error| Fault::argument(error, "change that part of it"))?;
        let vocab_size = text.tokenizer().vocab_size();
        Ok(Constraint { inner: Mutex::new(grammar.constraint()), vocab_size })
    }

    fn with<T: Send>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&mut dyn sampling::Constraint) -> Result<T, ConstraintError> + Send,
    ) -> PyResult<T> {
        let done = py.detach(|| body(&mut **lock(&self.inner)));
        let hint = "advance() takes tokens that is_allowed() allows";
        Ok(done.map_err(|error| Fault::argument(error, hint))?)
    }
}

#[pymethods]
impl Constraint {
    fn advance(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        self.with(py, |inner| inner.advance(token))
    }

    fn rollback(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        self.with(py, |inner| inner.rollback(count))
    }

    fn is_allowed(&self, py: Python<'_>, token: Token) -> PyResult<bool> {
        self.with(py, |inner| inner.is_allowed(token))
    }

    fn forced(&self, py: Python<'_>) -> PyResult<Option<Token>> {
        self.with(py, |inner| inner.forced())
    }

    fn allowed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let vocab_size = self.vocab_size;
        let mask = self.with(py, |inner| {
            let mut set = TokenSet::empty(vocab_size);
            let limited = inner.allowed(&mut set)?;
            Ok((0..vocab_size as Token).map(|token| !limited || set.contains(token)).collect())
        });
        let mask: Vec<bool> = mask?;
        Ok(mask.into_pyarray(py))
    }
}
