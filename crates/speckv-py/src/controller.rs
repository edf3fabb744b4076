//! Controllers by their names, with the books of a step.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use pyo3::prelude::*;
use speckv::{
    controller::{Drafting, MAX_GAMMA, Situation},
    cost,
    record::{Drafted, Times},
    step::{Ending, StepError, Stepper},
    token::Token,
};
use speckv_local::controllers::{ControllerParts, ControllerSpec};
use speckv_local::{controllers::parse, paper_weights};

use crate::{
    cost::CostModel,
    error::{Fault, Outcome},
    lock,
    predictor::{Predictor, facts},
    record::StepRecord,
    signals::Signals,
    step::{Lookup, Plan, SharedPass, Verdict},
};

/// A controller that its Python object and its sequence share.
pub(crate) type Shared = Arc<Mutex<Stepper>>;

/// A controller by name, with the command line's own words where there is none.
///
/// # Errors
/// No such name or parameter.
pub(crate) fn spec(name: &str) -> Outcome<ControllerSpec> {
    parse(name).map_err(|text| {
        let (message, hint) =
            text.split_once("\nhint: ").unwrap_or((&text, "speckv.controllers() lists them"));
        Fault::argument(message, hint)
    })
}

/// A number of seconds as a time.
///
/// # Errors
/// Not a number, negative, or longer than times can be.
pub(crate) fn seconds(name: &str, value: f64) -> Outcome<Duration> {
    Duration::try_from_secs_f64(value).map_err(|error| {
        Fault::argument(
            format!("{name}: expected seconds, got {value}: {error}"),
            "0 means not measured",
        )
    })
}

/// See `_native.pyi`.
#[pyfunction]
pub(crate) fn controllers() -> Vec<(&'static str, &'static str, &'static str)> {
    let purposes = ControllerSpec::NAMES.into_iter().zip(ControllerSpec::PURPOSES);
    purposes.map(|(name, (parameter, purpose))| (name, parameter, purpose)).collect()
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Controller(pub Shared);

#[pymethods]
impl Controller {
    #[new]
    #[pyo3(signature = (spec = "speckv", *, costs = None, predictor = None, temperature = 0.0, compression = 0.0, gamma = None, drafting = None, paper_weights = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn new(
        spec: &str,
        costs: Option<&CostModel>,
        predictor: Option<&Predictor>,
        temperature: f32,
        compression: f32,
        gamma: Option<usize>,
        drafting: Option<&str>,
        paper_weights: Option<PathBuf>,
    ) -> PyResult<Self> {
        let parsed = self::spec(spec)?;
        let gamma = gamma.map(|gamma| parsed.checked_gamma(gamma)).transpose();
        let gamma = gamma.map_err(|error| {
            let hint = "leave gamma out, or choose another controller";
            Fault::argument(format!("gamma: {error}"), hint)
        })?;
        let paper = paper_weights
            .map(|path| paper_weights::read(&path).map_err(|failure| Fault::of_file(&failure)))
            .transpose()?;
        let parts = ControllerParts {
            gamma,
            cost: costs.map_or_else(cost::CostModel::uncalibrated, CostModel::get),
            predictor: predictor.map(|predictor| Arc::clone(&predictor.0)),
            facts: facts(temperature, compression)?,
            paper,
        };
        let built = parsed.build(&parts);
        let built = match drafting {
            // A controller of one source only takes the model where there is one, whatever else it
            // is shown.
            None => built,
            Some("model") => Drafting::Model.restrict(built),
            Some("ngram") => Drafting::Ngram.restrict(built),
            Some("both") => Drafting::Both.restrict(built),
            Some(other) => {
                let message = format!("drafting: expected model, ngram or both, got {other:?}");
                return Err(Fault::argument(
                    message,
                    "without drafting the controller has the sources that suit it",
                )
                .into());
            }
        };
        Ok(Controller(Arc::new(Mutex::new(Stepper::new(built)))))
    }

    #[getter]
    fn name(&self, py: Python<'_>) -> String {
        self.with(py, |stepper| stepper.controller().name())
    }

    #[getter]
    fn steps(&self, py: Python<'_>) -> usize {
        self.with(py, |stepper| stepper.steps())
    }

    #[pyo3(signature = (context, *, gamma_limit = MAX_GAMMA, remaining = None, has_model = false, parallel = 0, draft_behind = 0, lookup = None, shared = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn plan(
        &self,
        py: Python<'_>,
        context: usize,
        gamma_limit: usize,
        remaining: Option<usize>,
        has_model: bool,
        parallel: usize,
        draft_behind: usize,
        lookup: Option<Lookup>,
        shared: Option<SharedPass>,
    ) -> PyResult<Plan> {
        let situation = Situation {
            context,
            gamma_limit: gamma_limit.min(MAX_GAMMA),
            remaining: remaining.unwrap_or(usize::MAX),
            draft_behind,
            has_model,
            parallel: parallel.min(MAX_GAMMA),
            lookup: lookup.map(|lookup| lookup.0),
            pass: shared.map_or(cost::SharedPass::ALONE, |shared| shared.0),
        };
        Ok(Plan(self.with(py, |stepper| stepper.plan(&situation)).map_err(Fault::from)?))
    }

    #[pyo3(signature = (limit = None))]
    fn read_ahead(&self, py: Python<'_>, limit: Option<usize>) -> usize {
        self.with(py, |stepper| {
            let read = stepper.read_ahead(limit.unwrap_or(usize::MAX));
            // The few that go along with the first token need no pass of their own.
            if stepper.wants_more() && read <= speckv::draft::READ_ALONG { 0 } else { read }
        })
    }

    #[getter]
    fn wants_more(&self, py: Python<'_>) -> bool {
        self.with(py, |stepper| stepper.wants_more())
    }

    #[pyo3(signature = (token, signals, *, ends = false))]
    fn judge(
        &self,
        py: Python<'_>,
        token: Token,
        signals: &Signals,
        ends: bool,
    ) -> PyResult<Verdict> {
        let drafted = Drafted::new(token, signals.0);
        Ok(self.with(py, |stepper| stepper.judge(drafted, ends)).map_err(Fault::from)?.into())
    }

    fn exhausted(&self, py: Python<'_>) {
        self.with(py, |stepper| stepper.exhausted());
    }

    #[getter]
    fn takes_forced(&self, py: Python<'_>) -> bool {
        self.with(py, |stepper| stepper.controller().takes_forced())
    }

    fn force(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        Ok(self.with(py, |stepper| match stepper.under_way() {
            true => {
                stepper.force(token);
                Ok(())
            }
            false => Err(Fault::from(StepError::NotUnderWay)),
        })?)
    }

    #[getter]
    fn kept(&self, py: Python<'_>) -> usize {
        self.with(py, |stepper| stepper.kept().len())
    }

    #[getter]
    fn kept_tokens(&self, py: Python<'_>) -> Vec<Token> {
        self.with(py, |stepper| stepper.kept().iter().map(|drafted| drafted.token).collect())
    }

    #[pyo3(signature = (accepted, token, *, verified = None, forced_after = vec![], forced_rows = 0, catch_up_seconds = 0.0, draft_seconds = 0.0, verify_seconds = 0.0, total_seconds = None))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn observe(
        &self,
        py: Python<'_>,
        accepted: usize,
        token: Option<Token>,
        verified: Option<usize>,
        forced_after: Vec<Token>,
        forced_rows: usize,
        catch_up_seconds: f64,
        draft_seconds: f64,
        verify_seconds: f64,
        total_seconds: Option<f64>,
    ) -> PyResult<StepRecord> {
        let catch_up = seconds("catch_up_seconds", catch_up_seconds)?;
        let draft = seconds("draft_seconds", draft_seconds)?;
        let verify = seconds("verify_seconds", verify_seconds)?;
        let sum = catch_up + draft + verify;
        let total = total_seconds.map_or(Ok(sum), |total| seconds("total_seconds", total))?;
        let times = Times { catch_up, draft, verify, controller: Duration::ZERO, total };
        let ending = Ending { accepted, token, verified, branch: 0 };
        let record = self.with(py, |stepper| {
            stepper.commit(&ending)?;
            stepper.set_forced_rows(forced_rows);
            forced_after.iter().for_each(|&token| stepper.force_after(token));
            stepper.observe(times).cloned()
        });
        Ok(StepRecord(record.map_err(Fault::from)?))
    }

    fn abandon(&self, py: Python<'_>) {
        self.with(py, Stepper::abandon);
    }

    fn next_text(&self, py: Python<'_>) {
        self.with(py, Stepper::next_text);
    }

    fn set_costs(&self, py: Python<'_>, costs: &CostModel) {
        let cost = costs.get();
        self.with(py, |stepper| stepper.set_cost(&cost));
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.with(py, |stepper| {
            format!("Controller('{}', steps={})", stepper.controller().name(), stepper.steps())
        })
    }
}

impl Controller {
    /// Waits for the controller without holding up other Python threads: a drafter may have it for
    /// the length of a pass.
    pub fn with<T: Send>(&self, py: Python<'_>, body: impl FnOnce(&mut Stepper) -> T + Send) -> T {
        if let Ok(mut stepper) = self.0.try_lock() {
            return body(&mut stepper);
        }
        py.detach(|| body(&mut lock(&self.0)))
    }
}
