//! Probabilities of acceptance.

use std::sync::{Arc, Mutex};

use pyo3::prelude::*;
use speckv::predictor::{self, FEATURE_NAMES, SessionFacts};

use crate::{
    error::{Fault, Outcome},
    json, lock,
    record::StepRecord,
    signals::Signals,
    step::Source,
};
use speckv_local::failure::chain;

/// What is the same over a sequence.
///
/// # Errors
/// A number outside its range.
pub(crate) fn facts(temperature: f32, compression: f32) -> Outcome<SessionFacts> {
    if !(temperature.is_finite() && temperature >= 0.0) {
        return Err(Fault::argument(
            format!("temperature: expected 0 or more, got {temperature}"),
            "0 is greedy",
        ));
    }
    if !(0.0..=1.0).contains(&compression) {
        let message = format!("compression: expected 0 to 1, got {compression}");
        return Err(Fault::argument(
            message,
            "bits per weight taken from 16, by 16: 0 for FP16, 0.5 for INT8, 0.75 for NF4",
        ));
    }
    Ok(SessionFacts { temperature, compression })
}

/// See `_native.pyi`.
#[pyclass(frozen, eq)]
#[derive(Clone, PartialEq, Eq)]
pub struct ModelShape(pub predictor::ModelShape);

#[pymethods]
impl ModelShape {
    #[new]
    fn new(architecture: String, layers: usize, hidden: usize, vocab_size: usize) -> Self {
        ModelShape(predictor::ModelShape { architecture, layers, hidden, vocab_size })
    }

    #[getter]
    fn architecture(&self) -> &str {
        &self.0.architecture
    }

    #[getter]
    fn layers(&self) -> usize {
        self.0.layers
    }

    #[getter]
    fn hidden(&self) -> usize {
        self.0.hidden
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.vocab_size
    }

    fn __repr__(&self) -> String {
        let predictor::ModelShape { architecture, layers, hidden, vocab_size } = &self.0;
        format!(
            "ModelShape('{architecture}', layers={layers}, hidden={hidden}, \
             vocab_size={vocab_size})"
        )
    }
}

/// See `_native.pyi`.
#[pyclass(frozen, eq)]
#[derive(PartialEq)]
pub struct Predictor(pub Arc<predictor::Predictor>);

#[pymethods]
impl Predictor {
    #[staticmethod]
    fn prior() -> Self {
        Predictor(Arc::new(predictor::Predictor::prior()))
    }

    #[staticmethod]
    #[pyo3(signature = (target, draft = None))]
    fn shipped(py: Python<'_>, target: &ModelShape, draft: Option<&ModelShape>) -> Option<Self> {
        py.detach(|| {
            predictor::Predictor::shipped(&target.0, draft.map(|draft| &draft.0)).map(Predictor)
        })
    }

    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        let read = py.detach(|| predictor::Predictor::from_json(text));
        Ok(Predictor(Arc::new(read.map_err(|error| {
            Fault::argument(chain(&error), "`speckv train` writes such files")
        })?)))
    }

    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        Ok(json::written(py.detach(|| serde_json::to_string(&*self.0)))?)
    }

    #[getter]
    fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    #[staticmethod]
    fn feature_names() -> Vec<&'static str> {
        FEATURE_NAMES.to_vec()
    }

    fn __repr__(&self) -> String {
        format!("Predictor(origin={:?})", self.0.origin.as_deref().unwrap_or("not trained"))
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct OnlinePredictor(Mutex<predictor::OnlinePredictor>);

#[pymethods]
impl OnlinePredictor {
    #[new]
    #[pyo3(signature = (predictor = None, *, temperature = 0.0, compression = 0.0))]
    fn new(predictor: Option<&Predictor>, temperature: f32, compression: f32) -> PyResult<Self> {
        let weights = predictor.map_or_else(
            || Arc::new(predictor::Predictor::prior()),
            |predictor| Arc::clone(&predictor.0),
        );
        let facts = facts(temperature, compression)?;
        Ok(OnlinePredictor(Mutex::new(predictor::OnlinePredictor::new(weights, facts))))
    }

    fn begin(&self, source: Source, context: usize) -> f32 {
        lock(&self.0).begin(source.into(), context)
    }

    fn push(&self, signals: &Signals) -> (f32, f32) {
        let judgement = lock(&self.0).push(&signals.0);
        (judgement.accept, judgement.next)
    }

    fn observe(&self, record: &StepRecord) {
        lock(&self.0).observe(&record.0);
    }

    fn next_text(&self) {
        lock(&self.0).next_text();
    }
}
