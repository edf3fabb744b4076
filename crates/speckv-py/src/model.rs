//! Models that this machine runs, on its processor or on a GPU.

use std::{
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use speckv::{
    model::{Cache as _, Feed, LanguageModel, PassOutput},
    token::Token,
};
use speckv_local::{
    backend::{
        AnyCache, AnyModel as Weights, AnyOutput, Backend as _, CacheType, LocalModel as _,
        WeightOptions,
    },
    controllers,
    device_choice::{DeviceChoice, UnknownDevice},
    devices,
    interrupt::Interrupt,
    machine,
    memory::MemoryNeed,
    model_name::ModelName,
    model_source::ModelSource,
    pair,
    report::{Progress, Reporter, Silent, Unit},
    text::ModelText,
};

use crate::{
    constraint::{self, Constraint},
    error::{Fault, Outcome},
    lock,
    predictor::ModelShape,
    signals::Signals,
    tokens,
};

/// Tokens per pass of reading.
const CHUNK: usize = 128;

/// Writes warnings to standard error and ignores the rest.
struct Warnings;

impl Reporter for Warnings {
    fn note(&self, _: &str) {}

    fn warning(&self, text: &str) {
        // Standard error may be closed; a warning is no reason to fail.
        let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
    }

    fn progress(&self, label: &str, unit: Unit, patience: Duration) -> Box<dyn Progress> {
        Silent.progress(label, unit, patience)
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Tokenizer(ModelText);

#[pymethods]
impl Tokenizer {
    #[getter]
    fn vocab_size(&self) -> usize {
        self.0.tokenizer().vocab_size()
    }

    #[getter]
    fn end_tokens(&self) -> Vec<Token> {
        self.0.tokenizer().end_tokens().to_vec()
    }

    #[pyo3(signature = (text, *, parse_special = true, add_special = true))]
    fn encode(
        &self,
        py: Python<'_>,
        text: &str,
        parse_special: bool,
        add_special: bool,
    ) -> PyResult<Vec<Token>> {
        let encoded = py.detach(|| self.0.tokenizer().encode(text, parse_special, add_special));
        let hint = "change the text to what the vocabulary can spell";
        Ok(encoded.map_err(|error| Fault::argument(&error, error.hint().unwrap_or(hint)))?)
    }

    #[pyo3(signature = (tokens, *, skip_special = true))]
    fn decode(
        &self,
        py: Python<'_>,
        tokens: &Bound<'_, PyAny>,
        skip_special: bool,
    ) -> PyResult<String> {
        let tokens = tokens::read(tokens)?;
        Ok(py.detach(|| self.0.tokenizer().decode(&tokens, skip_special)))
    }

    #[pyo3(signature = (*, json_schema = None, grammar = None, regex = None, choices = None))]
    fn constraint(
        &self,
        py: Python<'_>,
        json_schema: Option<&str>,
        grammar: Option<&str>,
        regex: Option<&str>,
        choices: Option<Vec<String>>,
    ) -> PyResult<Constraint> {
        let source = constraint::source(json_schema, grammar, regex, choices)?;
        Ok(py.detach(|| Constraint::of(&self.0, &source))?)
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct Cache {
    cache: Mutex<AnyCache>,
    of: usize, // address of the weights that it belongs to, which it keeps alive
    _weights: Arc<Weights>,
}

#[pymethods]
impl Cache {
    fn __len__(&self, py: Python<'_>) -> usize {
        py.detach(|| lock(&self.cache).len())
    }

    fn truncate(&self, py: Python<'_>, length: usize) {
        py.detach(|| lock(&self.cache).truncate(length));
    }
}

/// See `_native.pyi`.
#[pyclass(frozen)]
pub struct LocalModel {
    weights: Arc<Weights>,
    /// Of the last pass: made once, since on a GPU it is memory there.
    output: Mutex<AnyOutput>,
    device: String,
    text: ModelText,
    path: PathBuf,
}

impl LocalModel {
    /// The weights.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    fn load_from(
        name: &ModelName,
        compression: &str,
        context: Option<usize>,
        threads: Option<usize>,
        kv_type: &str,
        draft_head: Option<usize>,
        device: &str,
    ) -> Outcome<Self> {
        let device: DeviceChoice = device.parse().map_err(|error: UnknownDevice| {
            let text = error.to_string();
            let (what, hint) =
                text.split_once("\nhint: ").unwrap_or((text.as_str(), "cpu is the default"));
            Fault::argument(format!("device: {what}"), hint)
        })?;
        let hint = "asis, fp16, int8, nf4, compact, or a type of the file format such as q4_0";
        let compression = compression.parse().map_err(|error| Fault::argument(error, hint))?;
        let cache_type = match kv_type {
            "f16" => CacheType::F16,
            "q8_0" => CacheType::Q8_0,
            other => {
                return Err(Fault::argument(
                    format!("kv_type: expected f16 or q8_0, got {other:?}"),
                    "f16 is exact",
                ));
            }
        };
        let threads = match threads.map(NonZeroUsize::new) {
            None => machine::threads(),
            Some(Some(threads)) => threads,
            Some(None) => {
                return Err(Fault::argument(
                    "threads: expected at least 1, got 0",
                    "None is one per core",
                ));
            }
        };
        let of_model = |failure| Fault::of_model(&failure);
        let source = ModelSource::from_environment();
        let path = source.file(name, &Interrupt::new(), &Warnings).map_err(of_model)?;
        let file = pair::open(&path).map_err(of_model)?;
        pair::check_config(&file).map_err(of_model)?;
        let text = ModelText::of(&file).map_err(of_model)?;
        let head_gap = draft_head.map(|count| text.tokenizer().rare(count));
        let (asked, cut) = (context.unwrap_or(pair::DEFAULT_CONTEXT), context.is_none());
        let need =
            MemoryNeed { file: &file, compression, context: asked, cache_type, what: "model" };
        let backend = devices::of_model(device, threads, need, &Interrupt::new(), &Warnings)
            .map_err(of_model)?;
        let weights = WeightOptions { compression, head_gap, cache_type, drafts: false };
        let weights =
            pair::load_model(&backend, &file, asked, cut, &weights, &Warnings).map_err(of_model)?;
        let output = Mutex::new(weights.new_output());
        Ok(LocalModel { weights, output, device: backend.name().to_owned(), text, path })
    }

    fn id(&self) -> usize {
        Arc::as_ptr(&self.weights) as usize
    }

    fn check(&self, cache: &Cache) -> Outcome<()> {
        if cache.of == self.id() {
            return Ok(());
        }
        Err(Fault::argument(
            "expected a cache of this model, got another model's",
            "its own `cache` makes one",
        ))
    }

    /// A pass, with the GIL released; `body` sees its logits.
    fn pass<T: Send>(
        &self,
        py: Python<'_>,
        feeds: Vec<(Py<Cache>, Vec<Token>, usize)>,
        body: impl FnOnce(&mut AnyOutput) -> Outcome<T> + Send,
    ) -> Outcome<T> {
        for (index, (cache, ..)) in feeds.iter().enumerate() {
            self.check(cache.get())?;
            if feeds[..index].iter().any(|(other, ..)| other.is(cache)) {
                return Err(Fault::argument(
                    "expected each cache once in a pass, got one twice",
                    "put its tokens together",
                ));
            }
        }
        py.detach(|| {
            // Always in the order of their addresses, so that two threads cannot wait for each
            // other.
            let mut order: Vec<usize> = (0..feeds.len()).collect();
            order.sort_by_key(|&index| std::ptr::from_ref(feeds[index].0.get()) as usize);
            let mut guards: Vec<_> = feeds.iter().map(|_| None).collect();
            for index in order {
                guards[index] = Some(lock(&feeds[index].0.get().cache));
            }
            let mut passes: Vec<Feed<'_, AnyCache>> = guards
                .iter_mut()
                .flatten()
                .zip(&feeds)
                .map(|(cache, (_, tokens, rows))| Feed::new(&mut **cache, tokens, *rows))
                .collect();
            let mut output = lock(&self.output);
            self.weights.forward(&mut passes, &mut output)?;
            body(&mut output)
        })
    }
}

/// Turns off Mesa's layer that asks for a display to order GPUs by, where there is none: it complains
/// on standard error. Python's own dictionary of the environment is what may be changed here.
fn omit_display_search(py: Python<'_>) -> PyResult<()> {
    let environment = py.import("os")?.getattr("environ")?;
    if cfg!(target_os = "linux") && !environment.contains("XDG_RUNTIME_DIR")? {
        environment.call_method1("setdefault", ("NODEVICE_SELECT", "1"))?;
    }
    Ok(())
}

#[pymethods]
impl LocalModel {
    #[staticmethod]
    #[pyo3(signature = (model, *, compression = "asis", context = None, threads = None, kv_type = "f16", draft_head = None, device = "cpu"))]
    #[expect(clippy::too_many_arguments, reason = "keyword arguments of a Python function")]
    fn load(
        py: Python<'_>,
        model: PathBuf,
        compression: &str,
        context: Option<usize>,
        threads: Option<usize>,
        kv_type: &str,
        draft_head: Option<usize>,
        device: &str,
    ) -> PyResult<Self> {
        let name = ModelName::from(model.as_path());
        if device != "cpu" {
            omit_display_search(py)?;
        }
        Ok(py.detach(|| {
            Self::load_from(&name, compression, context, threads, kv_type, draft_head, device)
        })?)
    }

    #[getter]
    fn vocab_size(&self) -> usize {
        self.weights.vocab_size()
    }

    #[getter]
    fn context_length(&self) -> usize {
        self.weights.context_length()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.weights.threads()
    }

    #[getter]
    fn device(&self) -> &str {
        &self.device
    }

    #[getter]
    fn compression(&self) -> String {
        self.weights.compression().to_string()
    }

    #[getter]
    fn shape(&self) -> ModelShape {
        ModelShape(controllers::shape(&*self.weights))
    }

    #[getter]
    fn path(&self) -> &Path {
        &self.path
    }

    fn tokenizer(&self) -> Tokenizer {
        Tokenizer(self.text.clone())
    }

    fn cache(&self, py: Python<'_>) -> PyResult<Cache> {
        let cache = py.detach(|| self.weights.new_cache()).map_err(Fault::from)?;
        Ok(Cache { cache: Mutex::new(cache), of: self.id(), _weights: Arc::clone(&self.weights) })
    }

    fn prefill(&self, py: Python<'_>, cache: Py<Cache>, tokens: &Bound<'_, PyAny>) -> PyResult<()> {
        for chunk in tokens::read(tokens)?.chunks(CHUNK) {
            self.pass(py, vec![(cache.clone_ref(py), chunk.to_vec(), 0)], |_| Ok(()))?;
            py.check_signals()?;
        }
        Ok(())
    }

    fn forward<'py>(
        &self,
        py: Python<'py>,
        feeds: Vec<(Py<Cache>, Bound<'py, PyAny>, usize)>,
    ) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let read = |(cache, tokens, rows): (Py<Cache>, Bound<'py, PyAny>, usize)| {
            Ok((cache, tokens::read(&tokens)?, rows))
        };
        let feeds = feeds.into_iter().map(read).collect::<PyResult<Vec<_>>>()?;
        let (values, rows, vocab) = self.pass(py, feeds, |output| {
            let (rows, vocab) = (output.rows(), PassOutput::vocab_size(output));
            let mut values = Vec::with_capacity(rows * vocab);
            for row in 0..rows {
                values.extend_from_slice(output.logits(row)?);
            }
            Ok((values, rows, vocab))
        })?;
        values.into_pyarray(py).reshape([rows, vocab])
    }

    fn step(
        &self,
        py: Python<'_>,
        feeds: Vec<(Py<Cache>, Bound<'_, PyAny>)>,
    ) -> PyResult<Vec<(Token, Signals)>> {
        let read =
            |(cache, tokens): (Py<Cache>, Bound<'_, PyAny>)| Ok((cache, tokens::read(&tokens)?, 1));
        let feeds = feeds.into_iter().map(read).collect::<PyResult<Vec<_>>>()?;
        Ok(self.pass(py, feeds, |output| {
            let (rows, vocab) = (output.rows(), PassOutput::vocab_size(output));
            let read = |row: usize| {
                let best = output.best(row, vocab)?;
                Ok((best.token, Signals(best.signals)))
            };
            (0..rows).map(read).collect()
        })?)
    }

    fn __repr__(&self) -> String {
        format!(
            "LocalModel('{}', compression='{}', device='{}')",
            self.path.display(),
            self.weights.compression(),
            self.device
        )
    }
}
