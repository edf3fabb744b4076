//! A finished step.

use pyo3::prelude::*;
use speckv::{record::Last, token::Token};

use crate::{signals::Signals, step::Plan};

/// See `_native.pyi`.
#[pyclass(frozen, eq)]
#[derive(Clone, PartialEq)]
pub struct StepRecord(pub speckv::record::StepRecord);

#[pymethods]
impl StepRecord {
    #[getter]
    fn step(&self) -> usize {
        self.0.before.step
    }

    #[getter]
    fn context(&self) -> usize {
        self.0.before.context
    }

    #[getter]
    fn gamma_limit(&self) -> usize {
        self.0.before.gamma_limit
    }

    #[getter]
    fn draft_behind(&self) -> usize {
        self.0.before.draft_behind
    }

    #[getter]
    fn plan(&self) -> Plan {
        Plan(self.0.before.plan)
    }

    #[getter]
    fn drafted(&self) -> Vec<(Token, Signals)> {
        self.0.drafted.iter().map(|drafted| (drafted.token, Signals(drafted.signals))).collect()
    }

    #[getter]
    fn verified(&self) -> usize {
        self.0.outcome.verified
    }

    #[getter]
    fn accepted(&self) -> usize {
        self.0.outcome.accepted
    }

    #[getter]
    fn last(&self) -> &'static str {
        match self.0.outcome.last {
            Last::Plain => "plain",
            Last::Recovered => "recovered",
            Last::Bonus => "bonus",
            Last::Accepted => "accepted",
        }
    }

    #[getter]
    fn tokens(&self) -> Vec<Token> {
        self.0.tokens.clone()
    }

    #[getter]
    fn forced(&self) -> Vec<usize> {
        self.0.forced.places.clone()
    }

    #[getter]
    fn forced_rows(&self) -> usize {
        self.0.forced.rows
    }

    #[getter]
    fn censored(&self) -> bool {
        self.0.is_censored()
    }

    #[getter]
    fn catch_up_seconds(&self) -> f64 {
        self.0.times.catch_up.as_secs_f64()
    }

    #[getter]
    fn draft_seconds(&self) -> f64 {
        self.0.times.draft.as_secs_f64()
    }

    #[getter]
    fn verify_seconds(&self) -> f64 {
        self.0.times.verify.as_secs_f64()
    }

    #[getter]
    fn total_seconds(&self) -> f64 {
        self.0.times.total.as_secs_f64()
    }

    fn label(&self, position: usize) -> Option<bool> {
        self.0.outcome.label(position)
    }

    fn __repr__(&self) -> String {
        let speckv::record::StepRecord { before, drafted, outcome, tokens, .. } = &self.0;
        let (step, context, count) = (before.step, before.context, drafted.len());
        let (verified, accepted, last) = (outcome.verified, outcome.accepted, self.last());
        format!(
            "StepRecord(step={step}, context={context}, drafted={count}, verified={verified}, \
             accepted={accepted}, last='{last}', tokens={tokens:?})"
        )
    }
}
