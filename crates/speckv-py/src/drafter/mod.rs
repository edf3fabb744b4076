//! Drafting for other engines: the steps of sequences whose target another engine runs, through the
//! [`Stepper`] that this project's engine uses.

mod proposal;
mod sequence;
mod work;

use std::{
    ffi::CString,
    sync::{Arc, Mutex},
};

use proposal::Round;
pub(crate) use sequence::DraftSequence;
use sequence::Text;
pub(crate) use work::DraftWork;
use work::Work;

use pyo3::{exceptions::PyRuntimeWarning, prelude::*};
use speckv::{
    draft::{Both, Drafter as Drafts, GuardedDrafter, ModelDrafter, NgramDrafter, NoDrafter},
    model::LanguageModel,
    record::Times,
    sampling::{Chain, Distribution},
    step::{LEAST_DRAFT_READING, Stepper},
    token::Token,
};
use speckv_local::pair;

use crate::{
    controller::Controller, cost::CostModel, error::Fault, lock, model::LocalModel, ngram, tokens,
};

const CLOSED: &str = "Drafter.open makes a new one";

/// What all sequences share. Locks are taken in this order: this, the sequences in the order of
/// their addresses, their controllers.
struct Inner {
    drafter: GuardedDrafter,
    chains: Vec<Chain>,               // greedy ones, [asks]
    distributions: Vec<Distribution>, // not used where drafting is greedy, [asks]
    open: usize,
    work: Work,
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Drafter {
    inner: Arc<Mutex<Inner>>,
    has_model: bool,
}

#[pymethods]
impl Drafter {
    #[new]
    #[pyo3(signature = (model = None, *, lookup = true, min_match = 2, max_match = 8, target_vocab_size = None))]
    fn new(
        model: Option<&LocalModel>,
        lookup: bool,
        min_match: usize,
        max_match: usize,
        target_vocab_size: Option<usize>,
    ) -> PyResult<Self> {
        let settings = ngram::settings(min_match, max_match)?;
        let ngram = || NgramDrafter::new(settings);
        let draft = model.map(|model| {
            let weights = model.weights();
            let vocab_size = target_vocab_size.unwrap_or_else(|| weights.vocab_size());
            let drafter = ModelDrafter::new(Arc::clone(weights), vocab_size);
            pair::with_masks(drafter, model.masks().to_vec())
        });
        let draft = draft.transpose().map_err(|failure| Fault::of_model(&failure))?;
        let has_model = draft.is_some();
        let drafter: Box<dyn Drafts> = match (draft, lookup) {
            (Some(draft), true) => Box::new(Both::new(ngram(), draft)),
            (Some(draft), false) => Box::new(draft),
            (None, true) => Box::new(ngram()),
            (None, false) => Box::new(NoDrafter::new()),
        };
        let inner = Inner {
            drafter: GuardedDrafter::new(drafter),
            chains: Vec::new(),
            distributions: Vec::new(),
            open: 0,
            work: Work::default(),
        };
        Ok(Drafter { inner: Arc::new(Mutex::new(inner)), has_model })
    }

    #[getter]
    fn has_model(&self) -> bool {
        self.has_model
    }

    #[getter]
    fn parallel(&self, py: Python<'_>) -> usize {
        py.detach(|| lock(&self.inner).drafter.parallel())
    }

    #[getter]
    fn open_sequences(&self, py: Python<'_>) -> usize {
        py.detach(|| lock(&self.inner).open)
    }

    #[getter]
    fn work(&self, py: Python<'_>) -> DraftWork {
        DraftWork(py.detach(|| lock(&self.inner).work))
    }

    #[getter]
    fn draft_failures(&self, py: Python<'_>) -> u64 {
        py.detach(|| lock(&self.inner).drafter.failures().count)
    }

    #[pyo3(signature = (controller, tokens = None, *, end_tokens = Vec::new()))]
    fn open(
        &self,
        py: Python<'_>,
        controller: Py<Controller>,
        tokens: Option<&Bound<'_, PyAny>>,
        end_tokens: Vec<Token>,
    ) -> PyResult<DraftSequence> {
        let tokens = tokens.map_or(Ok(Vec::new()), tokens::read)?;
        let stepper = Arc::clone(&controller.get().0);
        // The controller and its Python object are two; a third holder is another sequence.
        if Arc::strong_count(&stepper) > 2 {
            return Err(Fault::argument(
                "expected a controller of its own, got another sequence's",
                "make one Controller per sequence",
            )
            .into());
        }
        let slot = py
            .detach(|| {
                let mut inner = lock(&self.inner);
                let slot = inner.drafter.open()?;
                inner.open += 1;
                Ok::<_, speckv::draft::DraftError>(slot)
            })
            .map_err(Fault::from)?;
        let text = Text { slot: Some(slot), stepper, tokens, end_tokens, times: Times::default() };
        Ok(DraftSequence {
            inner: Arc::clone(&self.inner),
            text: Arc::new(Mutex::new(text)),
            controller,
        })
    }

    #[pyo3(signature = (sequences, gamma_limits = None, *, costs = None, rows = None, waiting = None, read_limit = None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of Python")]
    fn propose(
        &self,
        py: Python<'_>,
        sequences: Vec<Py<DraftSequence>>,
        gamma_limits: Option<&Bound<'_, PyAny>>,
        costs: Option<&CostModel>,
        rows: Option<usize>,
        waiting: Option<usize>,
        read_limit: Option<usize>,
    ) -> PyResult<Vec<Vec<Token>>> {
        let limits = limits(gamma_limits, sequences.len())?;
        let read_limit = read_limit.unwrap_or(usize::MAX);
        if read_limit < LEAST_DRAFT_READING {
            let message = format!(
                "read_limit: expected at least {LEAST_DRAFT_READING} tokens, got {read_limit}"
            );
            return Err(Fault::argument(message, "None reads whatever was missed at once").into());
        }
        for (index, sequence) in sequences.iter().enumerate() {
            if !Arc::ptr_eq(&sequence.get().inner, &self.inner) {
                return Err(Fault::argument(
                    "expected sequences of this drafter, got another one's",
                    CLOSED,
                )
                .into());
            }
            if sequences[..index].iter().any(|other| other.is(sequence)) {
                return Err(Fault::argument(
                    "expected each sequence once, got one twice",
                    "give each sequence once",
                )
                .into());
            }
        }
        let costs = costs.map(CostModel::get);
        let texts: Vec<&Mutex<Text>> =
            sequences.iter().map(|sequence| &*sequence.get().text).collect();
        let (proposals, failed) = py.detach(|| {
            // Held before any text is locked, so that two calls cannot wait for each other.
            let mut inner = lock(&self.inner);
            let mut guards: Vec<_> = texts.iter().map(|text| lock(text)).collect();
            let mut texts: Vec<&mut Text> = guards.iter_mut().map(|guard| &mut **guard).collect();
            let round = Round { limits: &limits, costs: costs.as_ref(), rows, waiting, read_limit };
            let known = inner.drafter.failures().count;
            inner.propose(&mut texts, &round)?;
            let failures = inner.drafter.failures();
            let failed = failures.last.clone().filter(|_| failures.count > known);
            let kept =
                |stepper: &Stepper| stepper.kept().iter().map(|drafted| drafted.token).collect();
            let proposals = texts.iter().map(|text| kept(&lock(&text.stepper))).collect();
            Ok::<_, Fault>((proposals, failed))
        })?;
        if let Some(why) = failed {
            let message = format!("drafting ended for a sequence: {why}");
            let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
            PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)?;
        }
        Ok(proposals)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Drafter(has_model={}, open_sequences={})", self.has_model, self.open_sequences(py))
    }
}

/// One limit for all, or one for each.
fn limits(limits: Option<&Bound<'_, PyAny>>, count: usize) -> PyResult<Vec<usize>> {
    let Some(limits) = limits else { return Ok(vec![speckv::controller::MAX_GAMMA; count]) };
    if let Ok(limit) = limits.extract::<usize>() {
        return Ok(vec![limit; count]);
    }
    let hint = "gamma_limits is a number of tokens, or one for each sequence";
    let each: Vec<usize> = limits
        .extract()
        .map_err(|error| Fault::argument(format!("gamma_limits: {error}"), hint))?;
    if each.len() == count {
        Ok(each)
    } else {
        Err(Fault::argument(
            format!("gamma_limits: expected {count} numbers, got {}", each.len()),
            hint,
        )
        .into())
    }
}
