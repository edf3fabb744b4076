//! What is decided in a step, as small immutable values.

use pyo3::prelude::*;
use speckv::{cost, source};

use crate::{error::Fault, signals::Signals};

/// See `_native.pyi`.
#[pyclass(frozen, eq, hash, from_py_object)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(pub source::Source);

#[pymethods]
impl Source {
    #[classattr]
    const MODEL: Source = Source(source::Source::MODEL);
    #[classattr]
    const NGRAM: Source = Source(source::Source::NGRAM);

    #[classattr]
    const PARALLEL: Source = Source(source::Source::PARALLEL);

    #[new]
    fn new(name: &str) -> PyResult<Self> {
        let named = source::Source::named(name);
        Ok(Source(named.map_err(|error| Fault::argument(error, "\"suffix\" would be a name"))?))
    }

    #[getter]
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn __repr__(&self) -> String {
        match self.0 {
            source::Source::MODEL => "Source.MODEL".into(),
            source::Source::NGRAM => "Source.NGRAM".into(),
            source::Source::PARALLEL => "Source.PARALLEL".into(),
            other => format!("Source('{other}')"),
        }
    }
}

impl From<source::Source> for Source {
    fn from(source: source::Source) -> Self {
        Source(source)
    }
}

impl From<Source> for source::Source {
    fn from(source: Source) -> Self {
        source.0
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, eq, hash)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verdict {
    /// Keep it and draft one more.
    #[pyo3(name = "CONTINUE")]
    Continue,
    /// Keep it and verify.
    #[pyo3(name = "VERIFY")]
    Verify,
    /// Verify without it.
    #[pyo3(name = "DROP")]
    Drop,
}

impl From<speckv::controller::Verdict> for Verdict {
    fn from(verdict: speckv::controller::Verdict) -> Self {
        match verdict {
            speckv::controller::Verdict::Continue => Verdict::Continue,
            speckv::controller::Verdict::Verify => Verdict::Verify,
            speckv::controller::Verdict::Drop => Verdict::Drop,
        }
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, eq)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Plan(pub speckv::controller::Plan);

#[pymethods]
impl Plan {
    #[getter]
    fn gamma(&self) -> usize {
        self.0.gamma
    }

    #[getter]
    fn source(&self) -> Source {
        self.0.source.into()
    }

    fn __repr__(&self) -> String {
        format!("Plan(gamma={}, source={})", self.0.gamma, Source(self.0.source).__repr__())
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, eq, from_py_object)]
#[derive(Clone, Copy, PartialEq)]
pub struct Lookup(pub speckv::controller::Lookup);

#[pymethods]
impl Lookup {
    #[new]
    fn new(match_length: usize, available: usize, signals: &Signals) -> Self {
        Lookup(speckv::controller::Lookup { match_length, available, signals: signals.0 })
    }

    #[getter]
    fn match_length(&self) -> usize {
        self.0.match_length
    }

    #[getter]
    fn available(&self) -> usize {
        self.0.available
    }

    #[getter]
    fn signals(&self) -> Signals {
        Signals(self.0.signals)
    }

    fn __repr__(&self) -> String {
        format!("Lookup(match_length={}, available={})", self.0.match_length, self.0.available)
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, eq, from_py_object)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SharedPass(pub cost::SharedPass);

#[pymethods]
impl SharedPass {
    #[classattr]
    const ALONE: SharedPass = SharedPass(cost::SharedPass::ALONE);

    #[new]
    #[pyo3(signature = (sequences = 1, rows = 1, drafted_beside = 0, drafting_beside = 0))]
    fn new(sequences: usize, rows: usize, drafted_beside: usize, drafting_beside: usize) -> Self {
        // What is waited for is at least this sequence and its own row.
        let (sequences, rows) = (sequences.max(1), rows.max(1));
        SharedPass(cost::SharedPass { sequences, rows, drafted_beside, drafting_beside })
    }

    #[getter]
    fn sequences(&self) -> usize {
        self.0.sequences
    }

    #[getter]
    fn rows(&self) -> usize {
        self.0.rows
    }

    #[getter]
    fn drafted_beside(&self) -> usize {
        self.0.drafted_beside
    }

    #[getter]
    fn drafting_beside(&self) -> usize {
        self.0.drafting_beside
    }

    fn __repr__(&self) -> String {
        let cost::SharedPass { sequences, rows, drafted_beside, drafting_beside } = self.0;
        format!(
            "SharedPass(sequences={sequences}, rows={rows}, drafted_beside={drafted_beside}, \
             drafting_beside={drafting_beside})"
        )
    }
}
