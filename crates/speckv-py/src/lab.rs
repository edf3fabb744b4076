//! Recorded texts, and what any controller would have done on them.

use std::{path::PathBuf, sync::Arc};

use pyo3::prelude::*;
use speckv::{cost, predictor, token::Token};
use speckv_lab::{
    comparison::compare,
    contestant::Contestant,
    run_folder::{Run, RunFolder},
    synthetic::{self, Regime},
    trace,
    workload::Split,
};
use speckv_local::controllers::ControllerParts;
use speckv_local::failure::chain;

use crate::{
    controller::{Controller, spec},
    cost::CostModel,
    error::{Fault, Outcome},
    json, lock,
    predictor::Predictor,
    record::StepRecord,
    signals::Signals,
    step::{Lookup, Source},
};

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Trace(Arc<trace::Trace>);

impl Trace {
    fn at(&self, position: usize) -> Outcome<&trace::Position> {
        self.0.positions.get(position).ok_or_else(|| {
            let message =
                format!("expected a position below {}, got {position}", self.0.positions.len());
            Fault::argument(message, "len(trace) is the number of output tokens")
        })
    }
}

#[pymethods]
impl Trace {
    #[staticmethod]
    #[pyo3(signature = (tokens, level = 1.5, *, lookup = (0.0, 0.0), seed = 0))]
    fn synthetic(py: Python<'_>, tokens: usize, level: f32, lookup: (f32, f32), seed: u64) -> Self {
        let regime = Regime { lookup, ..Regime::calibrated(tokens, level) };
        Trace(Arc::new(py.detach(|| synthetic::trace(&[regime], seed))))
    }

    #[getter]
    fn prompt_id(&self) -> &str {
        &self.0.prompt_id
    }

    #[getter]
    fn task(&self) -> &str {
        &self.0.task
    }

    #[getter]
    fn prompt_tokens(&self) -> usize {
        self.0.prompt_tokens
    }

    #[getter]
    fn max_tokens(&self) -> usize {
        self.0.max_tokens
    }

    #[getter]
    fn tokens(&self) -> Vec<Token> {
        self.0.tokens.clone()
    }

    #[getter]
    fn end_tokens(&self) -> Vec<Token> {
        self.0.end_tokens.clone()
    }

    #[getter]
    fn has_model(&self, py: Python<'_>) -> bool {
        py.detach(|| self.0.positions.iter().any(|position| !position.model.drafted.is_empty()))
    }

    fn lookup(&self, position: usize) -> PyResult<Option<Lookup>> {
        Ok(self.at(position)?.ngram.as_ref().map(|(lookup, _)| Lookup(*lookup)))
    }

    fn proposal(
        &self,
        position: usize,
        source: Source,
    ) -> PyResult<(Vec<(Token, Signals)>, usize)> {
        let proposal = self.at(position)?.proposal(source.into());
        let drafted = |proposal: &trace::Proposal| {
            proposal
                .drafted
                .iter()
                .map(|drafted| (drafted.token, Signals(drafted.signals)))
                .collect()
        };
        Ok(proposal.map_or_else(Default::default, |proposal| (drafted(proposal), proposal.agreed)))
    }

    fn __len__(&self) -> usize {
        self.0.tokens.len()
    }

    fn __repr__(&self) -> String {
        format!("Trace('{}', tokens={})", self.0.prompt_id, self.0.tokens.len())
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct TraceFolder {
    run: Run,
    traces: Vec<Arc<trace::Trace>>,
}

impl TraceFolder {
    fn open(path: &std::path::Path, split: Option<Split>) -> Outcome<Self> {
        let folder = RunFolder::open(path)?;
        let files = folder
            .load()?
            .into_iter()
            .filter(|file| split.is_none_or(|split| file.prompt.split == split));
        Ok(TraceFolder {
            run: folder.run().clone(),
            traces: files.map(|file| Arc::new(file.recording.trace)).collect(),
        })
    }

    fn weights(&self) -> Arc<predictor::Predictor> {
        let settings = &self.run.settings;
        let draft = settings.draft.as_ref().map(|draft| &draft.shape);
        predictor::Predictor::shipped(&settings.target.shape, draft)
            .unwrap_or_else(|| Arc::new(predictor::Predictor::prior()))
    }
}

#[pymethods]
impl TraceFolder {
    #[new]
    #[pyo3(signature = (path, *, split = "all"))]
    fn new(py: Python<'_>, path: PathBuf, split: &str) -> PyResult<Self> {
        let split = match split {
            "all" => None,
            name => {
                Some(name.parse().map_err(|error| Fault::argument(error, "train, test or all"))?)
            }
        };
        Ok(py.detach(|| Self::open(&path, split))?)
    }

    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json::loads(py, &json::written(serde_json::to_string(&self.run.settings))?)
    }

    #[getter]
    fn costs(&self) -> Option<CostModel> {
        self.run.origin.cost.clone().map(CostModel::of)
    }

    #[getter]
    fn gamma_max(&self) -> usize {
        self.run.settings.gamma_max
    }

    #[getter]
    fn compression(&self) -> f32 {
        self.run.settings.target_compression
    }

    fn predictor(&self, py: Python<'_>) -> Predictor {
        Predictor(py.detach(|| self.weights()))
    }

    fn __len__(&self) -> usize {
        self.traces.len()
    }

    /// Python's own rules for indices, IndexError included, so that a `for` loop ends.
    fn __getitem__(&self, index: isize) -> PyResult<Trace> {
        let count = self.traces.len();
        let at =
            if index < 0 { count.checked_add_signed(index) } else { usize::try_from(index).ok() };
        let trace = at.and_then(|at| self.traces.get(at));
        let wrong = || {
            pyo3::exceptions::PyIndexError::new_err(format!(
                "expected an index below {count}, got {index}"
            ))
        };
        trace.map(|trace| Trace(Arc::clone(trace))).ok_or_else(wrong)
    }

    fn __iter__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let traces: Vec<Trace> =
            slf.get().traces.iter().map(|trace| Trace(Arc::clone(trace))).collect();
        Ok(pyo3::types::PyList::new(slf.py(), traces)?.try_iter()?.into_any().unbind())
    }

    #[pyo3(signature = (specs, *, costs = None, predictor = None))]
    fn compare<'py>(
        &self,
        py: Python<'py>,
        specs: Vec<String>,
        costs: Option<&CostModel>,
        predictor: Option<&Predictor>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let specs = specs.iter().map(|name| spec(name)).collect::<Outcome<Vec<_>>>()?;
        let cost = costs.map(CostModel::get).or_else(|| self.run.origin.cost.clone()).ok_or_else(
            || {
                Fault::argument(
                    "these traces were recorded without measured costs",
                    "give costs=speckv.CostModel.from_curve(...)",
                )
            },
        )?;
        let parts = ControllerParts {
            cost: cost.clone(),
            predictor: Some(
                predictor.map_or_else(|| self.weights(), |predictor| Arc::clone(&predictor.0)),
            ),
            facts: self.run.settings.facts(),
            ..ControllerParts::default()
        };
        let groups = py.detach(|| {
            let traces: Vec<trace::Trace> =
                self.traces.iter().map(|trace| (**trace).clone()).collect();
            let hint =
                "`speckv profile --trace DIR --gamma-max N` records deeper; split chooses prompts";
            let has_model = self.run.settings.draft.is_some();
            let contestants: Vec<Contestant> =
                specs.iter().map(|&spec| Contestant::natural(spec, has_model)).collect();
            let comparison =
                compare(&contestants, &parts, &traces, &cost, self.run.settings.gamma_max);
            let comparison = comparison.map_err(|error| Fault::argument(chain(&error), hint))?;
            json::written(serde_json::to_string(&comparison.groups))
        })?;
        json::loads(py, &groups)
    }

    fn __repr__(&self) -> String {
        format!(
            "TraceFolder(target='{}', traces={})",
            self.run.settings.target.name,
            self.traces.len()
        )
    }
}

/// See `_native.pyi`.
#[pyfunction]
#[pyo3(signature = (controller, trace, costs = None))]
pub(crate) fn replay(
    py: Python<'_>,
    controller: &Controller,
    trace: &Trace,
    costs: Option<&CostModel>,
) -> PyResult<Vec<StepRecord>> {
    let cost = costs.map_or_else(cost::CostModel::uncalibrated, CostModel::get);
    let records = py.detach(|| {
        let mut stepper = lock(&controller.0);
        if stepper.under_way() || stepper.steps() > 0 {
            let hint = "make a new Controller: what it learned of another text would show";
            return Err(Fault::order(
                "expected a fresh controller, got one that has taken steps",
                hint,
            ));
        }
        stepper.lend(|controller| speckv_lab::replay::replay(controller, &trace.0, &cost)).map_err(
            |error| Fault::file(chain(&error), "the trace's file was changed; record it again"),
        )
    })?;
    Ok(records.into_iter().map(StepRecord).collect())
}
