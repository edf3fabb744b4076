//! What time costs.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use speckv::cost::{self, CostError, Samples, TimeSample, VerifySample};
use speckv_local::cost_file;

use crate::{
    error::{Fault, Outcome},
    json, lock,
    record::StepRecord,
};

const HINT: &str = "times are positive numbers of seconds, and one pass of a single row is needed";

fn fault(error: CostError) -> Fault {
    Fault::argument(error, HINT)
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct CostModel(Mutex<cost::CostModel>);

impl CostModel {
    /// A copy of what it says now.
    pub fn get(&self) -> cost::CostModel {
        lock(&self.0).clone()
    }

    /// A model for Python.
    pub fn of(model: cost::CostModel) -> Self {
        CostModel(Mutex::new(model))
    }

    fn with<T>(&self, body: impl FnOnce(&mut cost::CostModel) -> T) -> T {
        body(&mut lock(&self.0))
    }
}

#[pymethods]
impl CostModel {
    #[new]
    fn new() -> Self {
        CostModel::of(cost::CostModel::uncalibrated())
    }

    #[staticmethod]
    #[pyo3(signature = (verify_seconds, draft_seconds = None, catch_up_seconds = None))]
    fn from_curve(
        verify_seconds: Vec<f64>,
        draft_seconds: Option<f64>,
        catch_up_seconds: Option<f64>,
    ) -> PyResult<Self> {
        let one = |seconds: Option<f64>| {
            seconds.map(|seconds| TimeSample { tokens: 1, context: 0, seconds })
        };
        let pass = |(index, seconds)| VerifySample { rows: index + 1, context: 0, seconds };
        let samples = Samples {
            verify: verify_seconds.into_iter().enumerate().map(pass).collect(),
            draft: one(draft_seconds).into_iter().collect(),
            catch_up: one(catch_up_seconds).into_iter().collect(),
            ..Samples::default()
        };
        Ok(CostModel::of(cost::CostModel::from_samples(&samples).map_err(fault)?))
    }

    #[staticmethod]
    #[pyo3(signature = (
        verify, draft = Vec::new(), catch_up = Vec::new(), *, draft_passes = Vec::new()
    ))]
    fn from_samples(
        verify: Vec<(usize, usize, f64)>,
        draft: Vec<(usize, usize, f64)>,
        catch_up: Vec<(usize, usize, f64)>,
        draft_passes: Vec<(usize, usize, f64)>,
    ) -> PyResult<Self> {
        let times = |samples: Vec<(usize, usize, f64)>| {
            samples
                .into_iter()
                .map(|(tokens, context, seconds)| TimeSample { tokens, context, seconds })
                .collect()
        };
        let passes = |samples: Vec<(usize, usize, f64)>| {
            samples
                .into_iter()
                .map(|(rows, context, seconds)| VerifySample { rows, context, seconds })
                .collect()
        };
        let samples = Samples {
            verify: passes(verify),
            draft: times(draft),
            catch_up: times(catch_up),
            draft_passes: passes(draft_passes),
        };
        Ok(CostModel::of(cost::CostModel::from_samples(&samples).map_err(fault)?))
    }

    #[staticmethod]
    fn from_json(text: &str) -> PyResult<Self> {
        Ok(CostModel::of(cost_file::parse(text).map_err(|failure| Fault::of_argument(&failure))?))
    }

    fn to_json(&self) -> PyResult<String> {
        Ok(json::written(self.with(|model| serde_json::to_string(model)))?)
    }

    fn copy(&self) -> Self {
        CostModel::of(self.get())
    }

    #[pyo3(signature = (context = 0))]
    fn draft_seconds(&self, context: usize) -> f64 {
        self.with(|model| model.draft_seconds(context))
    }

    #[pyo3(signature = (rows, context = 0))]
    fn verify_seconds(&self, rows: usize, context: usize) -> f64 {
        self.with(|model| model.verify_seconds(rows, context))
    }

    #[pyo3(signature = (context = 0))]
    fn plain_seconds(&self, context: usize) -> f64 {
        self.with(|model| model.plain_seconds(context))
    }

    fn catch_up_seconds(&self, tokens: usize) -> f64 {
        self.with(|model| model.catch_up_seconds(tokens))
    }

    fn observe(&self, record: &StepRecord) {
        self.with(|model| model.observe(&record.0));
    }

    fn observe_pass(&self, rows: usize, context: usize, seconds: f64) {
        self.with(|model| model.observe_pass(rows, context, seconds));
    }

    fn __eq__(&self, other: &CostModel) -> bool {
        self.get() == other.get()
    }

    fn __repr__(&self) -> String {
        let model = self.get();
        let ms = |seconds: f64| 1e3 * seconds;
        let (plain, more) = (model.plain_seconds(0), model.verify_seconds(5, 0));
        format!(
            "CostModel(plain {:.3} ms, 5 rows {:.3} ms, a draft token {:.3} ms)",
            ms(plain),
            ms(more),
            ms(model.draft_seconds(0))
        )
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct PassCurve {
    curve: Mutex<cost::PassCurve>,
    base: cost::CostModel,
}

impl PassCurve {
    fn with<T>(&self, body: impl FnOnce(&mut cost::PassCurve) -> T) -> T {
        body(&mut self.curve.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(curve: cost::PassCurve) -> Self {
        PassCurve { base: curve.prior().clone(), curve: Mutex::new(curve) }
    }
}

#[pymethods]
impl PassCurve {
    #[new]
    #[pyo3(signature = (prior = None, *, window = 15))]
    fn new(prior: Option<&CostModel>, window: usize) -> Self {
        let prior = prior.map_or_else(cost::CostModel::uncalibrated, CostModel::get);
        PassCurve::of(cost::PassCurve::new(prior, window))
    }

    fn observe(&self, tokens: usize, seconds: f64) {
        self.with(|curve| curve.observe(tokens, seconds));
    }

    fn seconds(&self, py: Python<'_>, tokens: usize) -> f64 {
        py.detach(|| self.with(|curve| curve.seconds(tokens)))
    }

    #[getter]
    fn passes(&self) -> u64 {
        self.with(|curve| curve.passes())
    }

    fn points(&self, py: Python<'_>) -> Vec<(f64, f64, usize)> {
        let points = py.detach(|| self.with(|curve| curve.points()));
        points.into_iter().map(|point| (point.rows, point.seconds, point.passes)).collect()
    }

    #[pyo3(signature = (base = None))]
    fn costs(&self, py: Python<'_>, base: Option<&CostModel>) -> PyResult<CostModel> {
        let base = base.map_or_else(|| self.base.clone(), CostModel::get);
        let made: Outcome<_> = py.detach(|| self.with(|curve| curve.costs(&base)).map_err(fault));
        Ok(CostModel::of(made?))
    }

    fn to_json(&self, py: Python<'_>) -> PyResult<String> {
        Ok(json::written(py.detach(|| self.with(|curve| serde_json::to_string(curve))))?)
    }

    #[staticmethod]
    fn from_json(py: Python<'_>, text: &str) -> PyResult<Self> {
        let read = py.detach(|| serde_json::from_str(text));
        Ok(PassCurve::of(
            read.map_err(|error| Fault::argument(error, "PassCurve.to_json writes such texts"))?,
        ))
    }

    fn __repr__(&self) -> String {
        self.with(|curve| {
            format!("PassCurve(passes={}, classes={})", curve.passes(), curve.points().len())
        })
    }
}
