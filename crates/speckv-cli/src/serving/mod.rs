//! From flags, environment and file to what the server will do.

mod file;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use file::Origin;
use speckv_local::{
    failure::{Failure, Outcome},
    units,
};
use speckv_serve::{http::Origins, settings::FileSettings};

use crate::args::{LogFormat, ModelOptions, SamplingOptions, ServeArgs};

/// What the server will do.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Address to listen on; `None` for both families of loopback addresses.
    pub host: Option<String>,
    /// Port to listen on.
    pub port: u16,
    /// Keys that are accepted.
    pub api_keys: Vec<String>,
    /// Origins of web pages that may use the server.
    pub origins: Origins,
    /// Further host names that are answered.
    pub hosts: Vec<String>,
    /// Prompts are shared across keys.
    pub share_across_keys: bool,
    /// Control tokens spelled out in messages are control tokens.
    pub parse_special: bool,
    /// Name of the model in the API, if the user gives one.
    pub alias: Option<String>,
    /// Answers that are made together, if the user says so.
    pub parallel: Option<usize>,
    /// Answers that may wait.
    pub queue: usize,
    /// Connections at a time.
    pub connections: usize,
    /// Bytes for keys and values.
    pub kv_bytes: u64,
    /// Tokens of earlier answers that look-up finds.
    pub lookup_memory: usize,
    /// File in which these survive a restart.
    pub lookup_file: Option<PathBuf>,
    /// Rows of prompts in a pass that others share.
    pub prefill_chunk: usize,
    /// Most bytes of a request.
    pub max_body: usize,
    /// Most time of a request.
    pub request_timeout: Duration,
    /// Time that running answers get after a stop.
    pub stop_timeout: Duration,
    /// How log lines look.
    pub log_format: LogFormat,
}

const DEFAULT_PORT: u16 = 8080;
const DEFAULT_PARALLEL: usize = 8;
const DEFAULT_CONNECTIONS: usize = 512;
/// Connections beyond those of answers, for health, metrics and refusals.
const SPARE_CONNECTIONS: usize = 64;
const DEFAULT_KV_MEGABYTES: u64 = 2048;
/// Sequences that may rest beyond those that run, if there is memory.
const MOST_RESTING: usize = 16;

/// Puts flags, environment and file together.
///
/// # Errors
/// A file that cannot be read, or values in it that a flag would not take.
pub fn resolve(args: ServeArgs) -> Outcome<(ServeSettings, ModelOptions)> {
    let file = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let origin = Origin(args.config.as_deref());
    let mut models = args.models;
    file::under(&mut models, &args.given, &file, origin)?;
    let kv_memory = origin.number("kv-memory", args.kv_memory, file.kv_memory, 1, 16_777_216)?;
    let request_timeout =
        origin.number("request-timeout", args.request_timeout, file.request_timeout, 1, 604_800)?;
    let stop_timeout =
        origin.number("stop-timeout", args.stop_timeout, file.stop_timeout, 0, 86_400)?;
    let log_format = match (args.log_format, file.log_format.as_deref()) {
        (Some(format), _) => format,
        (None, None | Some("text")) => LogFormat::Text,
        (None, Some("json")) => LogFormat::Json,
        (None, Some(other)) => {
            return Err(
                origin.wrong("log-format", &format!("expected text or json, got {other:?}"))
            );
        }
    };
    let api_keys = args.api_key.or(file.api_keys).unwrap_or_default();
    if api_keys.iter().any(|key| key.trim().is_empty()) {
        return Err(Failure::usage(
            "an API key is empty",
            "remove the empty key; without keys none is asked for",
        ));
    }
    let origins = args.allow_origin.or(file.allow_origin).unwrap_or_default();
    let origins = Origins::read(origins.iter().map(String::as_str)).map_err(|error| {
        Failure::usage(
            format!("allow-origin: {error}"),
            "give what browsers send in the header Origin: scheme, host and port, without a path",
        )
    })?;
    let parallel = origin.count("parallel", args.parallel, file.parallel, 1, 256)?;
    let queue = origin.count("queue", args.queue, file.queue, 1, 100_000)?.unwrap_or(64);
    let asked = origin.count("connections", args.connections, file.connections, 2, 1_000_000)?;
    let connections = connections(asked, queue, parallel.unwrap_or(DEFAULT_PARALLEL))?;
    let settings = ServeSettings {
        host: args
            .host
            .or(file.host)
            .map(|host| without_brackets(&host))
            .filter(|host| !host.is_empty() && host != "localhost"),
        port: args.port.or(file.port).unwrap_or(DEFAULT_PORT),
        api_keys,
        origins,
        hosts: args.allow_host.or(file.allow_host).unwrap_or_default(),
        // A switch has no way to be given as off.
        share_across_keys: args.share_across_keys || file.share_across_keys.unwrap_or(false),
        parse_special: args.parse_special || file.parse_special.unwrap_or(false),
        alias: args.alias.or(file.alias),
        parallel,
        queue,
        connections,
        kv_bytes: kv_memory.unwrap_or(DEFAULT_KV_MEGABYTES) * 1_000_000,
        lookup_memory: origin
            .count("lookup-memory", args.lookup_memory, file.lookup_memory, 0, 1 << 30)?
            .unwrap_or(1 << 18),
        lookup_file: args.lookup_file.or(file.lookup_file),
        prefill_chunk: origin
            .count("prefill-chunk", args.prefill_chunk, file.prefill_chunk, 1, 4096)?
            .unwrap_or(32),
        max_body: origin
            .count("max-body", args.max_body, file.max_body, 1024, 1 << 30)?
            .unwrap_or(4 << 20),
        request_timeout: Duration::from_secs(request_timeout.unwrap_or(600)),
        stop_timeout: Duration::from_secs(stop_timeout.unwrap_or(30)),
        log_format,
    };
    Ok((settings, models))
}

/// An IPv6 address as it stands in URLs, without its brackets.
fn without_brackets(host: &str) -> String {
    let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.unwrap_or(host).to_owned()
}

/// Connections at a time: every answer that waits or runs holds one, and one more must be free to
/// say that the queue is full.
fn connections(asked: Option<usize>, queue: usize, parallel: usize) -> Outcome<usize> {
    match asked {
        Some(asked) if asked <= queue => Err(Failure::usage(
            format!(
                "--connections {asked} never fills a queue of {queue}: an answer that waits holds \
                 a connection"
            ),
            format!("give --connections {} or more, or a smaller --queue", queue + parallel + 1),
        )),
        Some(asked) => Ok(asked),
        None => Ok(DEFAULT_CONNECTIONS.max(queue + parallel + SPARE_CONNECTIONS)),
    }
}

fn read(path: &Path) -> Outcome<FileSettings> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    FileSettings::read(&text)
        .map_err(|error| Failure::usage(&error, &error.hint).about(path.display()))
}

/// Sampling options that stand for none: requests bring their own.
#[must_use]
pub fn no_sampling() -> SamplingOptions {
    SamplingOptions {
        max_tokens: None,
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        seed: 0,
        stop: Vec::new(),
        system: None,
        raw: false,
    }
}

/// Sequences that run, and sequences in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Answers that are made together.
    pub running: usize,
    /// Sequences in memory.
    pub sequences: usize,
}

impl ServeSettings {
    /// How many sequences of `sequence_bytes` there may be.
    ///
    /// # Errors
    /// The memory holds fewer than one, or fewer than the user wants to run together.
    pub fn room(&self, sequence_bytes: u64) -> Outcome<Room> {
        let fit = usize::try_from(self.kv_bytes / sequence_bytes.max(1)).unwrap_or(usize::MAX);
        let wanted = self.parallel.unwrap_or(1);
        if fit < wanted {
            let megabytes = (sequence_bytes * wanted as u64).div_ceil(1_000_000);
            return Err(Failure::usage(
                format!(
                    "keys and values of one sequence take {}, and --kv-memory holds {}: that is \
                     room for {fit}, not for {wanted}",
                    units::bytes(sequence_bytes),
                    units::bytes(self.kv_bytes)
                ),
                format!("give --kv-memory {megabytes}, or a smaller --ctx"),
            ));
        }
        let running = self.parallel.unwrap_or(DEFAULT_PARALLEL).min(fit);
        Ok(Room { running, sequences: fit.min(running + MOST_RESTING) })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use speckv_local::draft_choice::{DraftChoice, DraftHead};

    use super::*;
    use crate::args::{Cli, Command};

    fn resolved(words: &[&str]) -> Outcome<(ServeSettings, ModelOptions)> {
        let words = ["speckv", "serve"].iter().chain(words);
        let Command::Serve(args) = Cli::try_parse_from(words).expect("well formed").command else {
            unreachable!()
        };
        resolve(*args)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.toml");
        std::fs::write(
            &path,
            "port = 9000\nqueue = 3\nmodel = \"m.gguf\"\ndraft = \
            \"ngram\"\nlog-format = \"json\"\n",
        )
        .expect("a file");
        let path = path.display().to_string();
        let (settings, models) =
            resolved(&["--config", &path, "--port", "9001"]).expect("settings");
        assert_eq!(
            (settings.port, settings.queue, settings.log_format),
            (9001, 3, LogFormat::Json)
        );
        assert_eq!((models.model, models.draft), (Some("m.gguf".into()), Some(DraftChoice::Ngram)));
        assert_eq!((settings.host, settings.max_body), (None, 4 << 20));
    }

    #[test]
    fn hosts_and_origins_are_read_as_people_write_them() {
        let host = |words: &[&str]| resolved(words).expect("settings").0.host;
        assert_eq!(host(&["--host", "[::1]"]).as_deref(), Some("::1"));
        assert_eq!(host(&["--host", "0.0.0.0"]).as_deref(), Some("0.0.0.0"));
        assert_eq!(host(&["--host", "localhost"]), None);
        let (settings, _) =
            resolved(&["--allow-origin", "http://a,http://b:1", "--allow-host", "x.lan"])
                .expect("settings");
        assert_eq!(
            (settings.origins.to_string().as_str(), settings.hosts),
            ("http://a,http://b:1", vec!["x.lan".to_owned()])
        );
        let failure = resolved(&["--allow-origin", "localhost:5173"]).expect_err("no scheme");
        assert!(failure.message().contains("allow-origin") && failure.status() == 2, "{failure:?}");
    }

    #[test]
    fn values_of_the_file_have_the_ranges_of_the_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        for (line, word) in [
            ("gamma = 99", "gamma"),
            ("parallel = 0", "parallel"),
            ("draft = \"self:q9\"", "draft"),
            ("controller = \"fast\"", "controller"),
            ("log-format = \"xml\"", "log-format"),
            ("kv = \"f8\"", "kv"),
            ("compression = \"q9\"", "compression"),
            ("draft-compression = \"q9\"", "draft-compression"),
            ("draft-head = 0", "draft-head"),
            ("connections = 1", "connections"),
            ("no-lookup = 1", "invalid type"),
            ("api-keys = [\" \"]", "API key"),
            ("prot = 1", "unknown field"),
        ] {
            let path = folder.path().join("s.toml");
            std::fs::write(&path, line).expect("a file");
            let failure = resolved(&["--config", &path.display().to_string()]).expect_err(line);
            assert!(failure.message().contains(word) && failure.status() == 2, "{failure:?}");
            assert!(!failure.hint().is_empty());
        }
        let absent = folder.path().join("absent.toml").display().to_string();
        assert!(
            resolved(&["--config", &absent])
                .expect_err("no file")
                .message()
                .contains("absent.toml")
        );
    }

    #[test]
    fn options_with_a_default_give_way_to_the_file_and_flags_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.toml");
        let text = "device = \"gpu:1\"\ndraft-device = \"cpu\"\nkv = \"q8_0\"\ncompression = \"int8\"\ndraft-compression = \
            \"asis\"\ndraft-head = \"whole\"\nno-lookup = true\n\
                    recalibrate = true\npaper-weights = \"w.npz\"\npredictor = \"prior\"\n";
        std::fs::write(&path, text).expect("a file");
        let config = path.display().to_string();
        let (_, models) = resolved(&["--config", &config]).expect("settings");
        let told = |models: &ModelOptions| {
            let (weights, draft) = (&models.weights, &models.weights.draft);
            let draft = draft.draft_compression.map_or_else(String::new, |given| given.to_string());
            format!("{} {} {draft}", models.cache.kv.0, weights.compression)
        };
        assert_eq!(
            (told(&models).as_str(), models.weights.draft.draft_head),
            ("q8_0 int8 asis", DraftHead::Whole)
        );
        assert!(models.no_lookup && models.recalibrate);
        let devices = models.devices.choices(false);
        assert_eq!(devices.target.to_string(), "gpu:1");
        assert_eq!(devices.draft.map(|draft| draft.to_string()).as_deref(), Some("cpu"));
        assert_eq!(models.predictors.paper_weights.as_deref(), Some(Path::new("w.npz")));
        assert_eq!(models.predictors.predictor.as_deref(), Some("prior"));
        let words = [
            "--kv",
            "f16",
            "--compression",
            "asis",
            "--draft-compression",
            "compact",
            "--draft-head",
            "100352",
        ];
        let (_, models) =
            resolved(&[&["--config", &config][..], &words].concat()).expect("settings");
        let said = (told(&models), models.weights.draft.draft_head);
        assert_eq!(
            said,
            ("f16 asis compact".into(), DraftHead::First(100_352)),
            "a flag with its default value is a flag"
        );
    }

    #[test]
    fn every_option_may_stand_in_the_file() {
        use clap::CommandFactory;

        let command = Cli::command();
        let serve = command.find_subcommand("serve").expect("the command");
        for option in serve.get_arguments().filter_map(clap::Arg::get_long) {
            let key = if option == "api-key" { "api-keys" } else { option };
            let elsewhere = ["config", "help", "quiet"].contains(&key); // the file itself, and what belongs to all commands
            let known = speckv_serve::settings::SETTINGS.iter().any(|(name, _)| *name == key);
            assert!(known != elsewhere, "--{option}");
        }
    }

    #[test]
    fn connections_are_enough_for_the_queue() {
        let connections =
            |words: &[&str]| resolved(words).map(|(settings, _)| settings.connections);
        assert_eq!(connections(&[]).expect("settings"), 512);
        assert_eq!(connections(&["--queue", "1000", "--parallel", "4"]).expect("settings"), 1068);
        assert_eq!(connections(&["--connections", "65"]).expect("settings"), 65);
        let failure = connections(&["--connections", "64"]).expect_err("the queue is as large");
        assert!(
            failure.message().contains("queue of 64")
                && failure.hint().contains("--connections 73"),
            "{failure:?}"
        );
    }

    #[test]
    fn memory_bounds_what_runs_and_what_rests() {
        let (mut settings, _) = resolved(&["--kv-memory", "1000"]).expect("settings");
        let room = |settings: &ServeSettings, megabytes: u64| settings.room(megabytes * 1_000_000);
        assert_eq!(room(&settings, 1).expect("room"), Room { running: 8, sequences: 24 });
        assert_eq!(room(&settings, 100).expect("room"), Room { running: 8, sequences: 10 });
        assert_eq!(room(&settings, 300).expect("room"), Room { running: 3, sequences: 3 });
        assert!(room(&settings, 1001).expect_err("too small").hint().contains("--kv-memory 1001"));
        settings.parallel = Some(4);
        assert!(room(&settings, 300).expect_err("not four").hint().contains("--kv-memory 1200"));
    }
}
