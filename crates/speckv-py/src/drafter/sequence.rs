//! One sequence of a drafter: its text and its step.

use std::sync::{Arc, Mutex};

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use speckv::{
    draft::{Drafter as Drafts, Slot},
    record::Times,
    step::Ending,
    token::Token,
};

use super::{CLOSED, Inner};
use crate::{
    controller::{Controller, Shared, seconds},
    error::{Fault, Outcome},
    lock,
    record::StepRecord,
    tokens,
};

/// One text and what is known of its step.
pub(super) struct Text {
    pub(super) slot: Option<Slot>, // none once it is closed
    pub(super) stepper: Shared,
    pub(super) tokens: Vec<Token>, // committed ones; inside `propose` the kept draft behind them
    pub(super) end_tokens: Vec<Token>,
    pub(super) times: Times,
}

impl Text {
    pub(super) fn slot(&self) -> Outcome<Slot> {
        self.slot.ok_or_else(|| Fault::order("expected an open sequence, got a closed one", CLOSED))
    }

    /// Forgets the step under way; the drafter's state becomes a prefix of the committed text.
    pub(super) fn abandon(&self, drafter: &mut dyn Drafts) {
        lock(&self.stepper).abandon();
        if let Some(slot) = self.slot {
            drafter.truncate(slot, self.tokens.len().saturating_sub(1));
        }
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct DraftSequence {
    pub(super) inner: Arc<Mutex<Inner>>,
    pub(super) text: Arc<Mutex<Text>>,
    pub(super) controller: Py<Controller>,
}

impl DraftSequence {
    /// The drafter and this text, both locked, without holding up other Python threads.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        body: impl FnOnce(&mut Inner, &mut Text) -> Outcome<T> + Send,
    ) -> PyResult<T> {
        Ok(py.detach(|| {
            let mut inner = lock(&self.inner);
            let mut text = lock(&self.text);
            text.slot()?;
            body(&mut inner, &mut text)
        })?)
    }
}

#[pymethods]
impl DraftSequence {
    #[getter]
    fn controller(&self, py: Python<'_>) -> Py<Controller> {
        self.controller.clone_ref(py)
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| lock(&self.text).tokens.len())
    }

    fn tokens<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<Token>> {
        py.detach(|| lock(&self.text).tokens.clone()).into_pyarray(py)
    }

    fn extend(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<()> {
        let tokens = tokens::read(tokens)?;
        self.with(py, |inner, text| {
            text.abandon(&mut inner.drafter);
            text.tokens.extend_from_slice(&tokens);
            Ok(())
        })
    }

    fn sync(&self, py: Python<'_>, tokens: &Bound<'_, PyAny>) -> PyResult<usize> {
        let tokens = tokens::read(tokens)?;
        self.with(py, |inner, text| {
            if text.tokens == tokens {
                return Ok(tokens.len());
            }
            text.abandon(&mut inner.drafter);
            let common =
                text.tokens.iter().zip(&tokens).take_while(|(old, new)| old == new).count();
            text.tokens.truncate(common);
            text.tokens.extend_from_slice(&tokens[common..]);
            let held = common.min(tokens.len().saturating_sub(1));
            inner.drafter.truncate(text.slot()?, held);
            Ok(common)
        })
    }

    #[getter]
    fn under_way(&self, py: Python<'_>) -> bool {
        py.detach(|| lock(&lock(&self.text).stepper).under_way())
    }

    #[getter]
    fn proposed(&self, py: Python<'_>) -> Vec<Token> {
        py.detach(|| {
            lock(&lock(&self.text).stepper).kept().iter().map(|drafted| drafted.token).collect()
        })
    }

    #[pyo3(signature = (accepted, token, *, verified = None, verify_seconds = 0.0, draft_times = false))]
    fn observe(
        &self,
        py: Python<'_>,
        accepted: usize,
        token: Option<Token>,
        verified: Option<usize>,
        verify_seconds: f64,
        draft_times: bool,
    ) -> PyResult<StepRecord> {
        let verify = seconds("verify_seconds", verify_seconds)?;
        self.with(py, |inner, text| {
            let drafting = if draft_times { text.times } else { Times::default() };
            let total = drafting.catch_up + drafting.draft + verify;
            let times = Times { verify, total, ..drafting };
            let mut stepper = lock(&text.stepper);
            let record =
                stepper.finish(&Ending { accepted, token, verified, branch: 0 }, times)?.clone();
            drop(stepper);
            text.tokens.extend_from_slice(&record.tokens);
            let held = text.tokens.len() - 1;
            inner.drafter.truncate(text.slot()?, held);
            Ok(StepRecord(record))
        })
    }

    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |inner, text| {
            text.abandon(&mut inner.drafter);
            Ok(())
        })
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| close(&self.inner, &self.text));
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*exception))]
    fn __exit__(&self, py: Python<'_>, exception: &Bound<'_, PyAny>) {
        let _ = exception;
        self.close(py);
    }
}

fn close(inner: &Mutex<Inner>, text: &Mutex<Text>) {
    let mut inner = lock(inner);
    let mut text = lock(text);
    if let Some(slot) = text.slot.take() {
        lock(&text.stepper).abandon();
        inner.drafter.close(slot);
        inner.open -= 1;
    }
}

impl Drop for DraftSequence {
    fn drop(&mut self) {
        close(&self.inner, &self.text);
    }
}
