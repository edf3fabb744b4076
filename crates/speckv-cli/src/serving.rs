//! From flags, environment and file to what the server will do.

use std::{path::Path, time::Duration};

use speckv_serve::settings::FileSettings;

use crate::{
    args::{DraftChoice, LogFormat, ModelOptions, SamplingOptions, ServeArgs},
    controllers,
    failure::{Failure, Outcome},
    units,
};

/// What the server will do.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on.
    pub port: u16,
    /// Keys that are accepted.
    pub api_keys: Vec<String>,
    /// Name of the model in the API, if the user gives one.
    pub alias: Option<String>,
    /// Answers that are made together, if the user says so.
    pub parallel: Option<usize>,
    /// Answers that may wait.
    pub queue: usize,
    /// Bytes for keys and values.
    pub kv_bytes: u64,
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
const DEFAULT_KV_MEGABYTES: u64 = 2048;
/// Sequences that may rest beyond those that run, if there is memory.
const MOST_RESTING: usize = 16;

/// Puts flags, environment and file together.
///
/// # Errors
/// A file that cannot be read, or values in it that a flag would not take.
pub fn resolve(args: ServeArgs) -> Outcome<(ServeSettings, ModelOptions)> {
    let file = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let config = args.config.as_deref();
    let mut models = args.models;
    let in_file = |key: &str, message: String| {
        let path = config.map_or_else(|| "the settings file".into(), |path| path.display().to_string());
        let (message, hint) = message.split_once("\nhint: ").map_or((message.as_str(), ""), |parts| parts);
        let hint = if hint.is_empty() { "`speckv serve --help` shows every option and its range" } else { hint };
        Failure::usage(format!("{path}: {key}: {message}"), hint)
    };
    models.model = models.model.or(file.model);
    if models.draft.is_none() {
        let draft = file.draft.map(|text| text.parse::<DraftChoice>());
        models.draft = draft.transpose().map_err(|message| in_file("draft", message))?;
    }
    if models.controller.is_none() {
        let controller = file.controller.map(|text| controllers::parse(&text));
        models.controller = controller.transpose().map_err(|message| in_file("controller", message))?;
    }
    let ranged = |key: &str, value: Option<u64>, least: u64, most: u64| match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(in_file(key, format!("expected a whole number from {least} to {most}, got {value}")))
        }
        other => Ok(other),
    };
    let count = |key: &str, flag: Option<usize>, file: Option<usize>, least: u64, most: u64| match flag {
        Some(value) => Ok(Some(value)),
        None => ranged(key, file.map(|value| value as u64), least, most).map(|value| value.map(|value| value as usize)),
    };
    models.gamma = count("gamma", models.gamma, file.gamma, 1, controllers::MAX_GAMMA as u64)?;
    models.ctx = count("ctx", models.ctx, file.ctx, 2, 16_777_216)?;
    models.threads = count("threads", models.threads, file.threads, 1, 1024)?;
    let kv_memory =
        args.kv_memory.map_or_else(|| ranged("kv-memory", file.kv_memory, 1, 16_777_216), |mb| Ok(Some(mb)))?;
    let request_timeout = args
        .request_timeout
        .map_or_else(|| ranged("request-timeout", file.request_timeout, 1, 604_800), |s| Ok(Some(s)))?;
    let stop_timeout =
        args.stop_timeout.map_or_else(|| ranged("stop-timeout", file.stop_timeout, 0, 86_400), |s| Ok(Some(s)))?;
    let log_format = match (args.log_format, file.log_format.as_deref()) {
        (Some(format), _) => format,
        (None, None | Some("text")) => LogFormat::Text,
        (None, Some("json")) => LogFormat::Json,
        (None, Some(other)) => return Err(in_file("log-format", format!("expected text or json, got {other:?}"))),
    };
    let api_keys = args.api_key.or(file.api_keys).unwrap_or_default();
    if api_keys.iter().any(|key| key.trim().is_empty()) {
        return Err(Failure::usage("an API key is empty", "leave the key away to ask for none"));
    }
    let settings = ServeSettings {
        host: args.host.or(file.host).unwrap_or_else(|| "127.0.0.1".into()),
        port: args.port.or(file.port).unwrap_or(DEFAULT_PORT),
        api_keys,
        alias: args.alias.or(file.alias),
        parallel: count("parallel", args.parallel, file.parallel, 1, 256)?,
        queue: count("queue", args.queue, file.queue, 1, 100_000)?.unwrap_or(64),
        kv_bytes: kv_memory.unwrap_or(DEFAULT_KV_MEGABYTES) * 1_000_000,
        prefill_chunk: count("prefill-chunk", args.prefill_chunk, file.prefill_chunk, 1, 4096)?.unwrap_or(32),
        max_body: count("max-body", args.max_body, file.max_body, 1024, 1 << 30)?.unwrap_or(4 << 20),
        request_timeout: Duration::from_secs(request_timeout.unwrap_or(600)),
        stop_timeout: Duration::from_secs(stop_timeout.unwrap_or(30)),
        log_format,
    };
    Ok((settings, models))
}

fn read(path: &Path) -> Outcome<FileSettings> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::io("read", path, &error))?;
    FileSettings::read(&text).map_err(|error| Failure::usage(&error, &error.hint).about(path.display()))
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
                    "keys and values of one sequence take {}, and --kv-memory holds {}: that is room for {fit}, not for {wanted}",
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

    use super::*;
    use crate::args::{Cli, Command};

    fn resolved(words: &[&str]) -> Outcome<(ServeSettings, ModelOptions)> {
        let words = ["speckv", "serve"].iter().chain(words);
        let Command::Serve(args) = Cli::try_parse_from(words).expect("well formed").command else { unreachable!() };
        resolve(*args)
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("s.toml");
        std::fs::write(&path, "port = 9000\nqueue = 3\nmodel = \"m.gguf\"\ndraft = \"ngram\"\nlog-format = \"json\"\n")
            .expect("a file");
        let path = path.display().to_string();
        let (settings, models) = resolved(&["--config", &path, "--port", "9001"]).expect("settings");
        assert_eq!((settings.port, settings.queue, settings.log_format), (9001, 3, LogFormat::Json));
        assert_eq!((models.model.as_deref(), models.draft), (Some("m.gguf"), Some(DraftChoice::Ngram)));
        assert_eq!((settings.host.as_str(), settings.max_body), ("127.0.0.1", 4 << 20));
    }

    #[test]
    fn values_of_the_file_have_the_ranges_of_the_flags() {
        let folder = tempfile::tempdir().expect("a folder");
        for (line, word) in [
            ("gamma = 99", "gamma"),
            ("parallel = 0", "parallel"),
            ("draft = \"self:q4_0\"", "draft"),
            ("controller = \"fast\"", "controller"),
            ("log-format = \"xml\"", "log-format"),
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
        assert!(resolved(&["--config", &absent]).expect_err("no file").message().contains("absent.toml"));
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
