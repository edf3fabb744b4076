//! The server's settings file.

use std::path::PathBuf;

use serde::Deserialize;

/// Settings that may stand in a TOML file, all of them optional. A flag or an environment variable
/// of the same name wins over the file.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSettings {
    /// Address to listen on.
    pub host: Option<String>,
    /// Port to listen on.
    pub port: Option<u16>,
    /// Keys that are accepted.
    pub api_keys: Option<Vec<String>>,
    /// Origins of web pages that may use the server.
    pub allow_origin: Option<Vec<String>>,
    /// Further host names that are answered.
    pub allow_host: Option<Vec<String>>,
    /// Prompts are shared across keys.
    pub share_across_keys: Option<bool>,
    /// Control tokens spelled out in messages are control tokens.
    pub parse_special: Option<bool>,
    /// Target: a catalogue name or a path.
    pub model: Option<String>,
    /// What drafts.
    pub draft: Option<String>,
    /// What decides how far to draft.
    pub controller: Option<String>,
    /// The controller's length.
    pub gamma: Option<usize>,
    /// Tokens that prompt and answer may have together.
    pub ctx: Option<usize>,
    /// Threads that compute.
    pub threads: Option<usize>,
    /// How keys and values are stored.
    pub kv: Option<String>,
    /// Device of the target.
    pub device: Option<String>,
    /// Device of the draft.
    pub draft_device: Option<String>,
    /// What the target's weights become.
    pub compression: Option<String>,
    /// What the draft's weights become.
    pub draft_compression: Option<String>,
    /// Tokens that the draft's output head covers.
    pub draft_head: Option<CountOrWord>,
    /// Draft with the model only.
    pub no_lookup: Option<bool>,
    /// Measure costs again.
    pub recalibrate: Option<bool>,
    /// Weights of the controller `paper`.
    pub paper_weights: Option<PathBuf>,
    /// Weights of the predictor: a file, `shipped` or `prior`.
    pub predictor: Option<String>,
    /// Name of the model in the API.
    pub alias: Option<String>,
    /// Answers that are made together.
    pub parallel: Option<usize>,
    /// Answers that may wait.
    pub queue: Option<usize>,
    /// Connections at a time.
    pub connections: Option<usize>,
    /// Megabytes for keys and values.
    pub kv_memory: Option<u64>,
    /// Tokens of earlier answers that look-up finds.
    pub lookup_memory: Option<usize>,
    /// File of what look-up remembers.
    pub lookup_file: Option<PathBuf>,
    /// Rows of prompts in a pass that others share.
    pub prefill_chunk: Option<usize>,
    /// Most bytes of a request.
    pub max_body: Option<usize>,
    /// Most seconds of a request.
    pub request_timeout: Option<u64>,
    /// Seconds that running answers get after a stop.
    pub stop_timeout: Option<u64>,
    /// `text` or `json`.
    pub log_format: Option<String>,
}

/// A number, or a word in its place.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a whole number or a word")]
pub enum CountOrWord {
    /// The number.
    Count(u64),
    /// The word.
    Word(String),
}

impl std::fmt::Display for CountOrWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CountOrWord::Count(count) => count.fmt(f),
            CountOrWord::Word(word) => f.write_str(word),
        }
    }
}

/// The settings by name, with what they mean: for the reference page and for hints.
pub const SETTINGS: [(&str, &str); 35] = [
    ("host", "address to listen on"),
    ("port", "port to listen on"),
    ("api-keys", "list of keys that are accepted"),
    ("allow-origin", "list of origins of web pages that may use the server, or `any`"),
    ("allow-host", "list of further host names that are answered"),
    ("share-across-keys", "`true`: a prompt may continue from what was read for another key"),
    ("parse-special", "`true`: control tokens spelled out in messages are control tokens"),
    ("model", "target: a catalogue name or the path of a GGUF file"),
    ("draft", "a model, `none`, `ngram`, or MODEL+ngram"),
    ("controller", "what decides how far to draft"),
    ("gamma", "the controller's length, 1 to 64"),
    ("ctx", "tokens that prompt and answer may have together"),
    ("threads", "threads that compute"),
    ("kv", "keys and values of the context: `f16` or `q8_0`"),
    ("device", "device of the target: `cpu`, `gpu`, `gpu:N` or `auto`"),
    ("draft-device", "device of the draft, in place of the target's"),
    ("compression", "what the target's weights become: `asis`, `fp16`, `int8`, `nf4`, or a type"),
    ("draft-compression", "what the draft's weights become: as `compression`, or `compact`"),
    ("draft-head", "tokens that the draft's output head covers, or `whole`"),
    ("no-lookup", "`true`: draft with the model only"),
    ("lookup-memory", "tokens of earlier answers that look-up searches, each key's apart"),
    ("lookup-file", "file in which these survive a restart"),
    ("recalibrate", "`true`: measure again what passes cost, at every start"),
    ("paper-weights", "weights that the SpecKV paper released, an .npz file"),
    (
        "predictor",
        "weights of the predictor of acceptance: a file of `speckv train`, shipped or prior",
    ),
    ("alias", "name of the model in the API"),
    ("parallel", "answers that are made together"),
    ("queue", "answers that may wait"),
    ("connections", "connections at a time"),
    ("kv-memory", "megabytes for keys and values"),
    ("prefill-chunk", "rows of prompts in a pass that others share"),
    ("max-body", "most bytes of a request"),
    ("request-timeout", "most seconds of a request"),
    ("stop-timeout", "seconds that running answers get after a stop"),
    ("log-format", "`text` or `json`"),
];

/// Why a file holds no settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SettingsError {
    /// What is wrong, and where.
    pub message: String,
    /// What to do.
    pub hint: String,
}

impl FileSettings {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Text that is not TOML, a key that does not exist, a value of another type.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let place = line.map_or(String::new(), |line| format!("line {line}: "));
            let message = error.message().split(", expected one of").next().unwrap_or_default();
            let hint = unknown_key(error.message()).map_or_else(
                || {
                    "values are written as in TOML: port = 8080, host = \"127.0.0.1\", api-keys = \
                     [\"secret\"]"
                        .to_owned()
                },
                |key| format!("did you mean `{}`? The keys are {}", nearest(key), names()),
            );
            SettingsError { message: format!("{place}{message}"), hint }
        })
    }
}

fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

fn names() -> String {
    SETTINGS.map(|(name, _)| name).join(", ")
}

/// The setting whose name is spelled most alike.
fn nearest(key: &str) -> &'static str {
    let key = key.replace('_', "-");
    SETTINGS
        .map(|(name, _)| name)
        .into_iter()
        .min_by_key(|name| distance(name, &key))
        .unwrap_or("port")
}

/// Edits from one word to the other (Levenshtein 1966).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read() {
        let read = FileSettings::read("port = 9000\napi-keys = [\"a\", \"b\"]\nkv-memory = 512\n")
            .expect("settings");
        assert_eq!((read.port, read.kv_memory), (Some(9000), Some(512)));
        assert_eq!(read.api_keys.expect("keys").len(), 2);
        assert_eq!(FileSettings::read("").expect("nothing"), FileSettings::default());
    }

    #[test]
    fn a_typo_is_named_with_its_line_and_the_nearest_key() {
        let error = FileSettings::read("host = \"x\"\nprot = 9000\n").expect_err("a typo");
        assert!(error.message.starts_with("line 2: unknown field `prot`"), "{error}");
        assert!(error.hint.starts_with("did you mean `port`?"), "{}", error.hint);
        let error = FileSettings::read("max_body = 1").expect_err("underscore");
        assert!(error.hint.contains("`max-body`"), "{}", error.hint);
    }

    #[test]
    fn a_wrong_type_is_named_with_its_line() {
        let error = FileSettings::read("\nport = \"high\"\n").expect_err("no number");
        assert!(error.message.starts_with("line 2: invalid type"), "{error}");
        assert!(
            FileSettings::read("port = 70000").is_err()
                && FileSettings::read("port = = 1").is_err()
        );
    }

    #[test]
    fn the_table_has_every_setting() {
        for (name, _) in SETTINGS {
            let value = match name {
                "host" | "model" | "draft" | "controller" | "alias" | "log-format" | "kv"
                | "device" | "draft-device" | "compression" | "draft-compression"
                | "paper-weights" | "predictor" | "lookup-file" => "\"x\"",
                "api-keys" | "allow-origin" | "allow-host" => "[]",
                "no-lookup" | "recalibrate" | "share-across-keys" | "parse-special" => "true",
                _ => "1",
            };
            FileSettings::read(&format!("{name} = {value}")).expect(name);
        }
    }

    #[test]
    fn a_draft_head_is_a_number_or_a_word() {
        let head = |text: &str| {
            FileSettings::read(text).expect(text).draft_head.expect("a head").to_string()
        };
        assert_eq!(
            (head("draft-head = 65536"), head("draft-head = \"whole\"")),
            ("65536".into(), "whole".into())
        );
        let error = FileSettings::read("draft-head = true").expect_err("neither");
        assert!(error.message.contains("a whole number or a word"), "{error}");
    }

    #[test]
    fn distances_worked_by_hand() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("port", "prot"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
