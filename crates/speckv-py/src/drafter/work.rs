//! Seconds and tokens of a proposal.

use std::time::Duration;

use pyo3::prelude::*;

/// Seconds and tokens of the last proposal, by source.
#[derive(Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) catch_up: Duration,
    pub(super) catch_up_tokens: usize,
    pub(super) model: Duration,
    pub(super) model_tokens: usize,
    pub(super) model_passes: usize,
    pub(super) lookup: Duration,
    pub(super) lookup_tokens: usize,
    pub(super) controllers: Duration,
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct DraftWork(pub(super) Work);

#[pymethods]
impl DraftWork {
    #[getter]
    fn catch_up_seconds(&self) -> f64 {
        self.0.catch_up.as_secs_f64()
    }

    #[getter]
    fn catch_up_tokens(&self) -> usize {
        self.0.catch_up_tokens
    }

    #[getter]
    fn model_seconds(&self) -> f64 {
        self.0.model.as_secs_f64()
    }

    #[getter]
    fn model_tokens(&self) -> usize {
        self.0.model_tokens
    }

    #[getter]
    fn model_passes(&self) -> usize {
        self.0.model_passes
    }

    #[getter]
    fn lookup_seconds(&self) -> f64 {
        self.0.lookup.as_secs_f64()
    }

    #[getter]
    fn lookup_tokens(&self) -> usize {
        self.0.lookup_tokens
    }

    #[getter]
    fn controller_seconds(&self) -> f64 {
        self.0.controllers.as_secs_f64()
    }

    fn __repr__(&self) -> String {
        let Work { catch_up_tokens, model_tokens, model_passes, lookup_tokens, .. } = self.0;
        format!(
            "DraftWork({catch_up_tokens} tokens read, {model_tokens} of the model in \
             {model_passes} passes, \
             {lookup_tokens} of look-up)"
        )
    }
}
