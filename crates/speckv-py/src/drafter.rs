//! Drafting for an engine that only verifies: the first half of [`speckv::engine::Engine::step`], for sequences whose target is elsewhere.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use speckv::{
    controller::{Ending, Situation, Stepper},
    cost::{self, SharedPass},
    draft::{Ask, Both, Drafter as Drafts, ModelDrafter, NgramDrafter, NoDrafter, Proposal, Slot},
    model::LanguageModel,
    record::{Drafted, Source, Times},
    sampling::{Chain, Distribution, SamplingSettings},
    token::Token,
};
use speckv_cli::controllers::MAX_GAMMA;

use crate::{
    controller::{Controller, Shared, seconds},
    cost::CostModel,
    error::{Fault, Outcome},
    lock,
    model::CpuModel,
    ngram,
    record::StepRecord,
    tokens,
};

const CLOSED: &str = "Drafter.open makes a new one";
/// A draft that is no further behind reads the rest along with its first token (see `speckv::draft::ModelDrafter`), whatever the limit on reading.
const READ_ALONG: usize = 4;
/// Fewest tokens that a limit on reading may be: a pass over a few costs nearly what one over many does.
const LEAST_READ: usize = 16;

/// What all sequences share. Locks are taken in this order: this, the sequences in the order of their addresses, their controllers.
struct Inner {
    drafter: Box<dyn Drafts>,
    chains: Vec<Chain>,               // greedy ones, [asks]
    distributions: Vec<Distribution>, // not used where drafting is greedy, [asks]
    open: usize,
    work: Work,
}

/// What the last proposal took, by who did it.
#[derive(Clone, Copy, Default)]
struct Work {
    catch_up: Duration,
    catch_up_tokens: usize,
    model: Duration,
    model_tokens: usize,
    model_passes: usize,
    lookup: Duration,
    lookup_tokens: usize,
    controllers: Duration,
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct DraftWork(Work);

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
            "DraftWork({catch_up_tokens} tokens read, {model_tokens} of the model in {model_passes} passes, \
             {lookup_tokens} of look-up)"
        )
    }
}

/// One text and what is known of its step.
struct Text {
    slot: Option<Slot>, // none once it is closed
    stepper: Shared,
    tokens: Vec<Token>, // committed ones; inside `propose` the kept draft behind them
    end_tokens: Vec<Token>,
    verified_before: usize,
    drafts: bool, // with the model in the step before, or has had no more than one
    times: Times,
}

impl Text {
    fn slot(&self) -> Outcome<Slot> {
        self.slot.ok_or_else(|| Fault::order("expected an open sequence, got a closed one", CLOSED))
    }

    /// Forgets the step under way; the drafter's state becomes a prefix of the committed text.
    fn abandon(&self, drafter: &mut dyn Drafts) {
        lock(&self.stepper).abandon();
        if let Some(slot) = self.slot {
            drafter.truncate(slot, self.tokens.len().saturating_sub(1));
        }
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Drafter {
    inner: Arc<Mutex<Inner>>,
    has_model: bool,
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct DraftSequence {
    inner: Arc<Mutex<Inner>>,
    text: Arc<Mutex<Text>>,
    controller: Py<Controller>,
}

/// What is the same for all sequences of a proposal.
struct Round<'a> {
    limits: &'a [usize],
    costs: Option<&'a cost::CostModel>,
    rows: Option<usize>,
    waiting: Option<usize>,
    read_limit: usize,
}

impl Inner {
    fn propose(&mut self, texts: &mut [&mut Text], round: &Round<'_>) -> Outcome<()> {
        self.work = Work::default();
        for text in texts.iter() {
            text.abandon(self.drafter.as_mut());
        }
        let outcome = self.draft(texts, round);
        if outcome.is_err() {
            for text in texts.iter_mut() {
                text.abandon(self.drafter.as_mut());
            }
        }
        outcome
    }

    fn draft(&mut self, texts: &mut [&mut Text], round: &Round<'_>) -> Outcome<()> {
        let mut drafting = Vec::with_capacity(texts.len());
        for index in 0..texts.len() {
            let pass = pass_of(texts, index, round);
            drafting.push(self.decide(&mut *texts[index], index, round, pass)?);
        }
        let committed: Vec<usize> = texts.iter().map(|text| text.tokens.len()).collect();
        let outcome = self.rounds(texts, &mut drafting, &committed);
        for (text, committed) in texts.iter_mut().zip(committed) {
            text.tokens.truncate(committed);
        }
        outcome
    }

    /// Plans the step of one text and lets the model catch up, as far as the limit on reading goes; whether it drafts.
    fn decide(&mut self, text: &mut Text, index: usize, round: &Round<'_>, pass: SharedPass) -> Outcome<bool> {
        let slot = text.slot()?;
        let context = text.tokens.len();
        let gamma_limit = if context == 0 { 0 } else { round.limits[index].min(MAX_GAMMA) };
        let draft_behind = self.drafter.behind(slot, context);
        let lookup = if gamma_limit > 0 { self.drafter.lookup(slot, &text.tokens) } else { None };
        let has_model = self.drafter.has_model();
        let mut stepper = lock(&text.stepper);
        if let Some(costs) = round.costs {
            stepper.set_cost(costs);
        }
        let start = Instant::now();
        // An engine from outside says how far a step may go, not when the answer ends.
        let remaining = usize::MAX;
        let situation = Situation { context, gamma_limit, remaining, draft_behind, has_model, lookup, pass };
        let plan = stepper.plan(&situation)?;
        self.work.controllers += start.elapsed();
        text.times = Times::default();
        let drafts = plan.gamma > 0 && plan.source == Source::Model;
        text.drafts = drafts || stepper.steps() == 0;
        if drafts && draft_behind > READ_ALONG {
            let left = draft_behind.saturating_sub(round.read_limit.saturating_sub(self.work.catch_up_tokens));
            let start = Instant::now();
            self.drafter.catch_up(slot, &text.tokens[..context - left])?;
            let read = draft_behind - self.drafter.behind(slot, context);
            if read > 0 {
                text.times.catch_up = start.elapsed();
                self.work.catch_up += text.times.catch_up;
                self.work.catch_up_tokens += read;
            }
            if left > 0 {
                stepper.exhausted();
                return Ok(false);
            }
        }
        Ok(plan.gamma > 0)
    }

    /// A token for each text that still drafts, until none does.
    fn rounds(&mut self, texts: &mut [&mut Text], drafting: &mut [bool], committed: &[usize]) -> Outcome<()> {
        while drafting.contains(&true) {
            let start = Instant::now();
            // Apart, so that each has its own time: a token of the model takes a thousand times as long as one that was looked up.
            let mut proposals = vec![None; texts.len()];
            let lookup = self.ask(Source::Ngram, texts, drafting, committed, &mut proposals)?;
            let model = self.ask(Source::Model, texts, drafting, committed, &mut proposals)?;
            let elapsed = start.elapsed();
            self.work.lookup += lookup.0;
            self.work.lookup_tokens += lookup.1;
            if model.1 > 0 {
                self.work.model += model.0;
                self.work.model_tokens += model.1;
                self.work.model_passes += 1;
            }
            let asked = texts.iter_mut().zip(drafting.iter_mut()).zip(proposals).filter(|((_, drafts), _)| **drafts);
            for ((text, drafts), proposal) in asked {
                text.times.draft += elapsed;
                let mut stepper = lock(&text.stepper);
                let Some(proposal) = proposal else {
                    stepper.exhausted();
                    *drafts = false;
                    continue;
                };
                let kept = stepper.kept().len();
                let ends = text.end_tokens.contains(&proposal.token);
                let start = Instant::now();
                stepper.judge(Drafted { token: proposal.token, signals: proposal.signals }, ends)?;
                self.work.controllers += start.elapsed();
                if stepper.kept().len() > kept {
                    text.tokens.push(proposal.token);
                }
                *drafts = stepper.wants_more();
            }
        }
        Ok(())
    }

    /// Asks one source for a token for each text that drafts by it; the time that took, and how many came.
    fn ask(
        &mut self,
        source: Source,
        texts: &[&mut Text],
        drafting: &[bool],
        committed: &[usize],
        proposals: &mut [Option<Proposal>], // [texts]
    ) -> Outcome<(Duration, usize)> {
        let asked: Vec<usize> = (0..texts.len())
            .filter(|&index| drafting[index] && lock(&texts[index].stepper).source() == source)
            .collect();
        if asked.is_empty() {
            return Ok((Duration::ZERO, 0));
        }
        while self.chains.len() < asked.len() {
            let chain = Chain::new(SamplingSettings::default());
            self.chains
                .push(chain.map_err(|error| Fault::argument(error, "this is a bug in speckv; please report it"))?);
            self.distributions.push(Distribution::new());
        }
        let mut asks = Vec::with_capacity(asked.len());
        for ((&index, chain), distribution) in asked.iter().zip(&mut self.chains).zip(&mut self.distributions) {
            let text = &*texts[index];
            let drafted = text.tokens.len() - committed[index];
            let (slot, tokens) = (text.slot()?, text.tokens.as_slice());
            asks.push(Ask { slot, source, tokens, drafted, chain, uniform: 0.0, distribution, proposal: None });
        }
        let start = Instant::now();
        self.drafter.propose(&mut asks)?;
        let elapsed = start.elapsed();
        for (ask, &index) in asks.iter().zip(&asked) {
            proposals[index] = ask.proposal;
        }
        Ok((elapsed, asks.iter().filter(|ask| ask.proposal.is_some()).count()))
    }
}

/// What one of these texts shares its pass with, as the engine counts it.
fn pass_of(texts: &[&mut Text], index: usize, round: &Round<'_>) -> SharedPass {
    let others = || texts.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, text)| text);
    SharedPass {
        sequences: round.waiting.unwrap_or(texts.len()).max(1),
        rows: round.rows.unwrap_or(texts.len()).max(1),
        drafted_beside: others().map(|text| text.verified_before).sum(),
        drafting_beside: others().filter(|text| text.drafts).count(),
    }
}

#[pymethods]
impl Drafter {
    #[new]
    #[pyo3(signature = (model = None, *, lookup = true, min_match = 2, max_match = 8, max_places = 256, target_vocab_size = None))]
    fn new(
        model: Option<&CpuModel>,
        lookup: bool,
        min_match: usize,
        max_match: usize,
        max_places: usize,
        target_vocab_size: Option<usize>,
    ) -> PyResult<Self> {
        let settings = ngram::settings(min_match, max_match, max_places)?;
        let ngram = || NgramDrafter::new(settings);
        let draft = model.map(|model| {
            let weights = model.weights();
            ModelDrafter::new(Arc::clone(weights), target_vocab_size.unwrap_or_else(|| weights.vocab_size()))
        });
        let has_model = draft.is_some();
        let drafter: Box<dyn Drafts> = match (draft, lookup) {
            (Some(draft), true) => Box::new(Both::new(ngram(), draft)),
            (Some(draft), false) => Box::new(draft),
            (None, true) => Box::new(ngram()),
            (None, false) => Box::new(NoDrafter::new()),
        };
        let inner = Inner { drafter, chains: Vec::new(), distributions: Vec::new(), open: 0, work: Work::default() };
        Ok(Drafter { inner: Arc::new(Mutex::new(inner)), has_model })
    }

    #[getter]
    fn has_model(&self) -> bool {
        self.has_model
    }

    #[getter]
    fn open_sequences(&self, py: Python<'_>) -> usize {
        py.detach(|| lock(&self.inner).open)
    }

    #[getter]
    fn work(&self, py: Python<'_>) -> DraftWork {
        DraftWork(py.detach(|| lock(&self.inner).work))
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
        let text = Text {
            slot: Some(slot),
            stepper,
            tokens,
            end_tokens,
            verified_before: 0,
            drafts: self.has_model,
            times: Times::default(),
        };
        Ok(DraftSequence { inner: Arc::clone(&self.inner), text: Arc::new(Mutex::new(text)), controller })
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
        if read_limit < LEAST_READ {
            let message = format!("read_limit: expected at least {LEAST_READ} tokens, got {read_limit}");
            return Err(Fault::argument(message, "None reads whatever was missed at once").into());
        }
        for (index, sequence) in sequences.iter().enumerate() {
            if !Arc::ptr_eq(&sequence.get().inner, &self.inner) {
                return Err(Fault::argument("expected sequences of this drafter, got another one's", CLOSED).into());
            }
            if sequences[..index].iter().any(|other| other.is(sequence)) {
                return Err(
                    Fault::argument("expected each sequence once, got one twice", "leave the second away").into()
                );
            }
        }
        let costs = costs.map(CostModel::get);
        let texts: Vec<&Mutex<Text>> = sequences.iter().map(|sequence| &*sequence.get().text).collect();
        Ok(py.detach(|| {
            let mut inner = lock(&self.inner); // whoever locks several texts holds this first, so no two can wait for each other
            let mut guards: Vec<_> = texts.iter().map(|text| lock(text)).collect();
            let mut texts: Vec<&mut Text> = guards.iter_mut().map(|guard| &mut **guard).collect();
            let round = Round { limits: &limits, costs: costs.as_ref(), rows, waiting, read_limit };
            inner.propose(&mut texts, &round)?;
            let kept = |stepper: &Stepper| stepper.kept().iter().map(|drafted| drafted.token).collect();
            Ok::<_, Fault>(texts.iter().map(|text| kept(&lock(&text.stepper))).collect())
        })?)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        format!("Drafter(has_model={}, open_sequences={})", self.has_model, self.open_sequences(py))
    }
}

/// One limit for all, or one for each.
fn limits(limits: Option<&Bound<'_, PyAny>>, count: usize) -> PyResult<Vec<usize>> {
    let Some(limits) = limits else { return Ok(vec![speckv::engine::MAX_GAMMA; count]) };
    if let Ok(limit) = limits.extract::<usize>() {
        return Ok(vec![limit; count]);
    }
    let hint = "gamma_limits is a number of tokens, or one for each sequence";
    let each: Vec<usize> = limits.extract().map_err(|error| Fault::argument(format!("gamma_limits: {error}"), hint))?;
    if each.len() == count {
        Ok(each)
    } else {
        Err(Fault::argument(format!("gamma_limits: expected {count} numbers, got {}", each.len()), hint).into())
    }
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
            text.abandon(inner.drafter.as_mut());
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
            text.abandon(inner.drafter.as_mut());
            let common = text.tokens.iter().zip(&tokens).take_while(|(old, new)| old == new).count();
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
        py.detach(|| lock(&lock(&self.text).stepper).kept().iter().map(|drafted| drafted.token).collect())
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
            let record = stepper.observe(&Ending { accepted, token, verified, times })?.clone();
            drop(stepper);
            text.tokens.extend_from_slice(&record.tokens);
            text.verified_before = record.outcome.verified;
            text.drafts = text.drafts && !record.drafted.is_empty();
            let held = text.tokens.len() - 1;
            inner.drafter.truncate(text.slot()?, held);
            Ok(StepRecord(record))
        })
    }

    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |inner, text| {
            text.abandon(inner.drafter.as_mut());
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
