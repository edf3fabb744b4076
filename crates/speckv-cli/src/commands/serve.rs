//! `speckv serve`: an OpenAI-compatible server.

#![expect(clippy::disallowed_methods, reason = "SPECKV_LOG has a syntax of its own")]

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

use speckv::model::LanguageModel;
use speckv_cpu::model::CpuModel;
use speckv_local::controllers::ControllerSpec;
use speckv_local::{
    calibration, controllers,
    draft_choice::DraftChoice,
    failure::{Failure, Outcome},
    interrupt::Interrupt,
    model_source::Shelf,
    pair::Pair,
    report::Reporter,
    units,
};
use speckv_serve::{
    api::options::SpeculationDefaults,
    http::{self, App, Info, Limits, Origins},
    language::Language,
    metrics::Metrics,
    scheduler::{self, Handle, Rules},
    server::{self, Connections},
};
use tracing_subscriber::EnvFilter;

use crate::{
    args::{LogFormat, ServeArgs},
    interrupt,
    printer::Printer,
    serving::{self, ServeSettings},
    settings,
    words::Words,
};

/// Rows of prompts in a pass where nobody waits for tokens.
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
    let note = |text: &str| if json { tracing::info!("{text}") } else { printer.note(text) };
    let warning = |text: &str| if json { tracing::warn!("{text}") } else { printer.warning(text) };
    // Before gigabytes are read: a port that is taken is known at once.
    let listeners = listen(&settings)?;
    let shelf = Shelf::from_environment()?;
    let (no_lookup, asked) = (models.no_lookup, models.controller.take());
    // Requests choose among controllers, so who drafts is not for one of them to say.
    let (mut pair_settings, answers) =
        settings::resolve(&models, &serving::no_sampling(), &shelf.catalogue)?;
    if let DraftChoice::Model(model) = &pair_settings.draft
        && !no_lookup
    {
        pair_settings.draft = DraftChoice::Both(model.clone());
    }
    let controller = default_controller(asked, answers.controller, &pair_settings.draft)?;
    let interrupt = interrupt::install();
    let pair = Pair::load(&pair_settings, &shelf, &interrupt, printer)?;
    if let Some(text) = pair.template_warning() {
        warning(text);
    }
    let costs = if pair_settings.draft == DraftChoice::None {
        None
    } else {
        Some(calibration::costs(&pair, answers.recalibrate, &interrupt, printer)?)
    };
    if interrupt.is_raised() {
        return Err(Failure::interrupted(
            "stopped while loading",
            "start the server again when there is time",
        ));
    }
    let target = Arc::clone(pair.engine.target());
    let parts = answers.parts(&pair, costs.as_ref())?;
    let sequence_bytes = cache_bytes(&target) + pair.draft.as_deref().map_or(0, cache_bytes);
    let room = settings.room(sequence_bytes)?;
    let info = Info {
        model: settings.alias.clone().unwrap_or_else(|| name(&pair_settings.target)),
        draft: describe(&pair_settings.draft),
        context: target.context_length(),
        vocab_size: target.vocab_size(),
        started: http::now(),
        speculation: SpeculationDefaults {
            controller,
            gamma: models.gamma,
            has_model: pair.draft.is_some(),
            has_lookup: matches!(pair_settings.draft, DraftChoice::Ngram | DraftChoice::Both(_)),
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
    note(&format!(
        "{} answers together, {} sequences of {} in memory, {} in the queue",
        room.running,
        room.sequences,
        units::bytes(sequence_bytes),
        settings.queue
    ));
    let (engine, tokenizer, template) = pair.into_parts();
    let language: Arc<dyn Language> = Arc::new(Words::new(tokenizer, template));
    let metrics = Arc::new(Metrics::new());
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
    let address = listeners[0].local_addr().map_err(|error| cannot_listen(&settings, &error))?;
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
    if !address.ip().is_loopback() && limits.api_keys.is_empty() {
        warning("other machines can use this server without a key; --api-key asks for one");
    }
    if limits.origins == Origins::Any && limits.api_keys.is_empty() {
        warning(
            "every web page that a browser here opens can use this server; --api-key asks for a key",
        );
    }
    let app = Arc::new(App::new(language, handle.clone(), metrics, info, limits));
    let bounds = Connections {
        most: settings.connections,
        grace: settings.stop_timeout,
        ..Connections::default()
    };
    serve(listeners, app, handle, bounds, &interrupt, || {
        // The one line on standard output: programs that start a server read it.
        printer.data(&format!("http://{address}\n"))
    })?;
    if thread.join().is_err() {
        return Err(Failure::bug("the scheduler's thread broke down"));
    }
    note("stopped");
    Ok(())
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
        ready()?;
        server::serve(listeners, http::router(app), handle, bounds, stopped(interrupt))
            .await
            .map_err(failed)
    });
    // Whatever is left hangs on a peer that does not listen.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

/// Ready at Ctrl-C or SIGTERM.
async fn stopped(interrupt: &Interrupt) {
    let keyboard = async {
        while !interrupt.is_raised() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                () = keyboard => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    keyboard.await;
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
            "another process has this port, perhaps another speckv serve; give another --port, or --port 0 for a free one"
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
        asked => Ok(asked.unwrap_or(natural)),
    }
}

/// Bytes of keys and values of one sequence.
fn cache_bytes(model: &CpuModel) -> u64 {
    model.position_bytes() as u64 * model.context_length().next_multiple_of(16) as u64
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

fn describe(draft: &DraftChoice) -> Option<String> {
    match draft {
        DraftChoice::None => None,
        DraftChoice::Ngram => Some("ngram".into()),
        DraftChoice::Model(model) => Some(name(&model.to_string())),
        DraftChoice::Both(model) => Some(format!("{}+ngram", name(&model.to_string()))),
    }
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
