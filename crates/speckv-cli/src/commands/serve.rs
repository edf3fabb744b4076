//! `speckv serve`: an OpenAI-compatible server.

#![expect(
    clippy::disallowed_methods,
    reason = "SPECKV_LOG has a syntax of its own, and energy is counted from a start"
)]

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    path::Path,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use speckv::engine::Engine;
use speckv_local::{
    backend::{Backend, LocalModel, PairBackends},
    calibration,
    controllers::{self, ControllerSpec},
    draft_choice::DraftChoice,
    energy::EnergyCounter,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    model_source::ModelSource,
    pair::Pair,
    pair_settings::{DraftSearch, PairSettings},
    report::Reporter,
    units,
};
use speckv_serve::{
    api::speculation::SpeculationDefaults,
    energy::EnergyAccount,
    http::{self, App, Info, Limits, Origins},
    language::Language,
    lookup_file::{LookupFile, Vocabulary},
    metrics::Metrics,
    scheduler::{self, Handle, Rules},
    server::{self, Connections},
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{LogFormat, ServeArgs},
    device::{self, OnDevice},
    interrupt,
    printer::Printer,
    served_text::ServedText,
    serving::{self, ServeSettings},
    settings::{self, AnswerSettings},
};

/// Rows of prompts in a pass where no request waits for tokens.
const CHUNK_ALONE: usize = 256;
/// Threads for requests and for their texts; computing has its own.
const REQUEST_THREADS: usize = 2;
const TEXT_THREADS: usize = 8;

pub(super) fn run(args: ServeArgs, printer: &Printer) -> Outcome<()> {
    speckv_cpu::memory::share_heap(); // before there is a second thread
    let (settings, mut models) = serving::resolve(args)?;
    log(settings.log_format, printer)?;
    let json = settings.log_format == LogFormat::Json;
    // Programs read every line: what is said in passing becomes a log line, progress is not shown.
    let silent = Printer::from_environment(true);
    let printer = if json { &silent } else { printer };
    // Before gigabytes are read: a port that is taken is known at once.
    let listeners = listen(&settings)?;
    let source = ModelSource::from_environment();
    let (no_lookup, asked) = (models.no_lookup, models.controller.take());
    // Requests choose among controllers, so the draft does not depend on one of them.
    let (mut pair_settings, answers) =
        settings::resolve(&models, &serving::no_sampling(), &source.catalogue)?;
    if let DraftChoice::Model(model) = &pair_settings.draft
        && !no_lookup
    {
        pair_settings.draft = DraftChoice::Both(model.clone());
    }
    if pair_settings.search == DraftSearch::Off {
        default_controller(asked, answers.controller, &pair_settings.draft)?;
    } else if !no_lookup {
        pair_settings.search = DraftSearch::BesideLookup;
    }
    settings::warn_of_threads(models.threads, printer);
    let interrupt = interrupt::install();
    let heard = interrupt.clone();
    let work = Serve {
        settings,
        pair: &pair_settings,
        answers,
        asked,
        gamma: models.gamma,
        listeners,
        source: &source,
        interrupt,
        printer,
        json,
    };
    device::run(&pair_settings, (&source, &heard), printer, work)
}

/// What a server begins with.
struct Serve<'a> {
    settings: ServeSettings,
    pair: &'a PairSettings,
    answers: AnswerSettings,
    /// The controller that the user asks for.
    asked: Option<ControllerSpec>,
    gamma: Option<usize>,
    listeners: Vec<TcpListener>,
    source: &'a ModelSource,
    interrupt: Interrupt,
    printer: &'a Printer,
    /// Notes are log lines.
    json: bool,
}

/// A server that waits for connections.
struct Scheduled<M: LocalModel> {
    app: App,
    thread: JoinHandle<Option<Engine<M>>>,
    file: Option<LookupFile>,
}

impl Serve<'_> {
    fn note(&self, text: &str) {
        if self.json { tracing::info!("{text}") } else { self.printer.note(text) }
    }

    fn warning(&self, text: &str) {
        if self.json { tracing::warn!("{text}") } else { self.printer.warning(text) }
    }

    /// Starts the thread that owns the engine.
    fn schedule<M: LocalModel>(&self, pair: Pair<M>) -> Outcome<Scheduled<M>> {
        let costs = if pair.drafting.choice == DraftChoice::None {
            None
        } else {
            let again = self.answers.recalibrate;
            Some(calibration::costs(&pair, again, &self.interrupt, self.printer)?)
        };
        if self.interrupt.is_raised() {
            return Err(Failure::interrupted(
                "stopped while loading",
                "start the server again when there is time",
            ));
        }
        let settings = &self.settings;
        let target = Arc::clone(pair.engine.target());
        let parts = self.answers.parts(&pair, costs.as_ref())?;
        let sequence_bytes =
            target.sequence_bytes() + pair.draft.as_ref().map_or(0, |draft| draft.sequence_bytes());
        let room = settings.room(sequence_bytes)?;
        let choice = &pair.drafting.choice;
        let info = Info {
            model: settings.alias.clone().unwrap_or_else(|| name(&self.pair.target.to_string())),
            draft: pair.drafting.name(),
            context: target.context_length(),
            vocab_size: target.vocab_size(),
            started: http::now(),
            speculation: SpeculationDefaults {
                controller: default_controller(self.asked, self.answers.controller, choice)?,
                gamma: self.gamma,
                has_model: pair.draft.is_some(),
                has_lookup: matches!(choice, DraftChoice::Ngram | DraftChoice::Both(_)),
            },
            parse_special: settings.parse_special,
        };
        let rules = Rules {
            most_running: room.running,
            most_sequences: room.sequences,
            sequence_bytes,
            chunk: settings.prefill_chunk,
            chunk_alone: CHUNK_ALONE.max(settings.prefill_chunk),
        };
        self.note(&format!(
            "{} answers together, {} sequences of {} in memory, {} in the queue",
            room.running,
            room.sequences,
            units::bytes(sequence_bytes),
            settings.queue
        ));
        let address =
            self.listeners[0].local_addr().map_err(|error| cannot_listen(settings, &error))?;
        let limits = Limits {
            localhost_only: address.ip().is_loopback() && settings.api_keys.is_empty()
                || !settings.hosts.is_empty(),
            hosts: settings.hosts.clone(),
            origins: settings.origins.clone(),
            share_across_keys: settings.share_across_keys,
            api_keys: settings.api_keys.clone(),
            max_body: settings.max_body,
            request_timeout: settings.request_timeout,
            ..Limits::default()
        };
        let Pair { mut engine, text, .. } = pair;
        let language: Arc<dyn Language> = Arc::new(ServedText::new(text));
        let file = self.recall(language.as_ref(), &limits, &mut engine)?;
        let counted =
            EnergyCounter::open().and_then(|counter| EnergyAccount::new(counter, Instant::now()));
        let metrics = Arc::new(Metrics::new().with_energy(counted));
        let (handle, orders) = Handle::new(settings.queue);
        let thread = scheduler::start(
            engine,
            Arc::clone(&language),
            parts,
            rules,
            Arc::clone(&metrics),
            &handle,
            orders,
        )
        .map_err(|error| {
            Failure::new(format!("cannot start a thread: {error}"), "give a smaller --threads")
        })?;
        if !address.ip().is_loopback() && limits.api_keys.is_empty() {
            self.warning(
                "other machines can use this server without a key; --api-key asks for one",
            );
        }
        if limits.origins == Origins::Any && limits.api_keys.is_empty() {
            self.warning(
                "every web page that a browser here opens can use this server; --api-key asks for \
                 a key",
            );
        }
        Ok(Scheduled { app: App::new(language, handle, metrics, info, limits), thread, file })
    }

    /// Gives look-up its memory, with what the look-up file holds; the file, if there is to be one.
    fn recall<M: LocalModel>(
        &self,
        language: &dyn Language,
        limits: &Limits,
        engine: &mut Engine<M>,
    ) -> Outcome<Option<LookupFile>> {
        let ServeSettings { lookup_memory, lookup_file, .. } = &self.settings;
        let Some(path) = lookup_file else {
            if let Some(memory) = engine.lookup_memory_mut() {
                memory.set_limit(*lookup_memory);
            }
            return Ok(None);
        };
        let memory = engine.lookup_memory_mut().filter(|_| *lookup_memory > 0);
        let memory = memory.ok_or_else(|| {
            Failure::usage(
                "--lookup-file keeps what look-up remembers, and look-up remembers nothing here",
                "omit --lookup-file, or draft with look-up and a --lookup-memory above 0",
            )
        })?;
        memory.set_limit(*lookup_memory);
        let vocabulary = Vocabulary::of(language);
        let file = LookupFile::new(path.clone(), vocabulary, limits, *lookup_memory);
        let texts = file.read(memory)?;
        self.note(&format!("{texts} earlier answers from {}", path.display()));
        Ok(Some(file))
    }

    /// Writes the look-up file.
    fn keep<M: LocalModel>(&self, file: &LookupFile, engine: Option<&Engine<M>>) -> Outcome<()> {
        let Some(memory) = engine.and_then(Engine::lookup_memory) else {
            self.warning("the look-up file stays as it was, since the scheduler failed");
            return Ok(());
        };
        let texts = file.write(memory)?;
        self.note(&format!("{texts} answers kept in the look-up file"));
        Ok(())
    }
}

impl OnDevice for Serve<'_> {
    type Output = ();

    fn run<B: Backend + Clone>(mut self, backends: &PairBackends<B>) -> Outcome<()> {
        let pair = Pair::load(backends, self.pair, self.source, &self.interrupt, self.printer)?;
        if let Some(text) = pair.text.template_warning() {
            self.warning(text);
        }
        self.note(&pair.drafting.to_string());
        let Scheduled { app, thread, file } = self.schedule(pair)?;
        let address = self.listeners[0]
            .local_addr()
            .map_err(|error| cannot_listen(&self.settings, &error))?;
        let bounds = Connections {
            most: self.settings.connections,
            grace: self.settings.stop_timeout,
            ..Connections::default()
        };
        let handle = app.handle.clone();
        let listeners = std::mem::take(&mut self.listeners);
        serve(listeners, Arc::new(app), handle, bounds, &self.interrupt, || {
            // The one line on standard output: programs that start a server read it.
            self.printer.data(&format!("http://{address}\n"))
        })?;
        let Ok(engine) = thread.join() else {
            return Err(Failure::bug("the scheduler's thread broke down"));
        };
        if let Some(file) = file {
            self.keep(&file, engine.as_ref())?;
        }
        self.note("stopped");
        Ok(())
    }
}

fn serve(
    listeners: Vec<TcpListener>,
    app: Arc<App>,
    handle: Handle,
    bounds: Connections,
    interrupt: &Interrupt,
    ready: impl FnOnce() -> Outcome<()>,
) -> Outcome<()> {
    let failed = |error: io::Error| {
        Failure::new(
            format!("the server failed: {error}"),
            "check the limit of open files (`ulimit -n`) and try again",
        )
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(REQUEST_THREADS)
        .max_blocking_threads(TEXT_THREADS)
        .thread_name("speckv-http")
        .enable_all()
        .build()
        .map_err(failed)?;
    let outcome = runtime.block_on(async {
        let listeners = listeners.into_iter().map(tokio::net::TcpListener::from_std);
        let listeners = listeners.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        // Before the address is said: a signal that follows at once must not end the process.
        let stopped = stopped(interrupt);
        ready()?;
        server::serve(listeners, http::router(app), handle, bounds, stopped).await.map_err(failed)
    });
    // Whatever is left hangs on a peer that does not listen.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Ready at Ctrl-C or SIGTERM. Signals are caught from this call on, within a runtime.
fn stopped(interrupt: &Interrupt) -> impl Future<Output = ()> + '_ {
    #[cfg(unix)]
    let mut terminate = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::terminate()).ok()
    };
    async move {
        let keyboard = async {
            while !interrupt.is_raised() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        #[cfg(unix)]
        if let Some(terminate) = &mut terminate {
            tokio::select! {
                () = keyboard => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        keyboard.await;
    }
}

/// The addresses that the server listens on; the first one is announced.
fn listen(settings: &ServeSettings) -> Outcome<Vec<TcpListener>> {
    let failure = |error: io::Error| cannot_listen(settings, &error);
    let listeners = match &settings.host {
        Some(host) => {
            let addresses = (host.as_str(), settings.port).to_socket_addrs().map_err(failure)?;
            let addresses: Vec<SocketAddr> = addresses.collect();
            vec![TcpListener::bind(addresses.as_slice()).map_err(failure)?]
        }
        None => listen_on_loopback(settings.port).map_err(failure)?,
    };
    for listener in &listeners {
        listener.set_nonblocking(true).map_err(failure)?;
    }
    Ok(listeners)
}

/// Free ports that are tried before one family has to do.
const TRIES: usize = 8;

/// Listens on 127.0.0.1 and [::1] with one port: clients that look up `localhost` try either first.
/// A machine that has only one of the families gets that.
fn listen_on_loopback(port: u16) -> io::Result<Vec<TcpListener>> {
    let first = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(first) => first,
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            return Ok(vec![TcpListener::bind((Ipv6Addr::LOCALHOST, port))?]);
        }
        Err(error) => return Err(error),
    };
    let mut first = first;
    for _ in 0..TRIES {
        match TcpListener::bind((Ipv6Addr::LOCALHOST, first.local_addr()?.port())) {
            Ok(second) => return Ok(vec![first, second]),
            // A free port of one family may be taken in the other.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                if port != 0 {
                    return Err(error);
                }
                first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            }
            Err(_) => break, // no IPv6 here
        }
    }
    Ok(vec![first])
}

fn cannot_listen(settings: &ServeSettings, error: &io::Error) -> Failure {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process has this port, perhaps another speckv serve; give another --port, or \
             --port 0 for a free one"
        }
        io::ErrorKind::PermissionDenied => "ports below 1024 need privileges; give a --port above",
        _ => "give an address of this machine with --host, such as 127.0.0.1 or 0.0.0.0",
    };
    let host = settings.host.as_deref().unwrap_or("localhost");
    Failure::new(format!("cannot listen on {host}, port {}: {error}", settings.port), hint)
}

/// The controller of requests that name none.
fn default_controller(
    asked: Option<ControllerSpec>,
    natural: ControllerSpec,
    draft: &DraftChoice,
) -> Outcome<ControllerSpec> {
    match asked {
        Some(controller) if controller != controllers::OFF && *draft == DraftChoice::None => {
            Err(Failure::usage(
                format!("the controller {controller} needs a draft"),
                "give --draft MODEL or --draft ngram, or omit --controller",
            ))
        }
        Some(controller) => Ok(controller),
        None if *draft == DraftChoice::None => Ok(controllers::OFF),
        None => Ok(natural),
    }
}

/// A catalogue name, or a file's name without its ending.
fn name(model: &str) -> String {
    let path = Path::new(model);
    let stem = if path.extension().is_some_and(|ending| ending == "gguf") {
        path.file_stem()
    } else {
        path.file_name()
    };
    stem.map_or_else(|| model.to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// Log lines on standard error; panics are log lines too.
fn log(format: LogFormat, printer: &Printer) -> Outcome<()> {
    let level = if printer.is_quiet() { "warn" } else { "info" };
    let asked = std::env::var("SPECKV_LOG").unwrap_or_default();
    let filter =
        EnvFilter::try_new(if asked.is_empty() { level } else { &asked }).map_err(|error| {
            Failure::usage(
                format!("SPECKV_LOG is {asked:?}: {error}"),
                "set it to error, warn, info or debug",
            )
        })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    // A subscriber that stands already, as in tests, goes on.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(printer.has_colour()).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    std::panic::set_hook(Box::new(|info| {
        tracing::error!(panic = info.to_string().replace('\n', " "), "a panic was caught");
    }));
    Ok(())
}
