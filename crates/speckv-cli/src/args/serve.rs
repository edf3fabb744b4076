//! Arguments of `serve`. Every option may also stand in the settings file; see
//! `speckv_serve::settings`.

use std::path::PathBuf;

use clap::{ArgMatches, parser::ValueSource};

use super::{common::ModelOptions, values::whole};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Names of the options that stood on the command line or in the environment, so that defaults give
/// way to the settings file and these do not.
#[derive(Debug, Clone, Default)]
pub struct Given(Vec<String>);

impl Given {
    /// Whether the option with this name was given.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.0.iter().any(|given| given == option)
    }
}

impl clap::FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |id: &&clap::Id| {
            matches!(
                matches.value_source(id.as_str()),
                Some(ValueSource::CommandLine | ValueSource::EnvVariable)
            )
        };
        Ok(Given(matches.ids().filter(given).map(|id| id.as_str().replace('_', "-")).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl clap::Args for Given {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        command
    }
}

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// Which options stood on the command line; before all others, since reading an option takes it
    /// away.
    #[command(flatten)]
    pub given: Given,
    /// Which models.
    #[command(flatten)]
    pub models: ModelOptions,
    /// Settings from a TOML file; flags and environment variables win over it
    #[arg(long, value_name = "FILE", env = "SPECKV_CONFIG", help_heading = "Server")]
    pub config: Option<PathBuf>,
    /// Address to listen on; 0.0.0.0 serves other machines too, localhost and the default listen on
    /// 127.0.0.1 and ::1 [default: localhost]
    #[arg(long, value_name = "ADDRESS", env = "SPECKV_HOST", help_heading = "Server")]
    pub host: Option<String>,
    /// Port to listen on; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "N", env = "SPECKV_PORT", help_heading = "Server",
        value_parser = whole(0..=65_535_u16, "8080 is the default"))]
    pub port: Option<u16>,
    /// Key that clients must send; may be given several times. Prefer the variable: others on the
    /// machine can see flags
    #[arg(
        long,
        value_name = "KEY",
        env = "SPECKV_API_KEY",
        hide_env_values = true,
        value_delimiter = ',',
        help_heading = "Server"
    )]
    pub api_key: Option<Vec<String>>,
    /// Origin of web pages that may use the server, such as http://localhost:5173, or `any`; may be
    /// given several times [default: none]
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "SPECKV_ALLOW_ORIGIN",
        value_delimiter = ',',
        help_heading = "Server"
    )]
    pub allow_origin: Option<Vec<String>>,
    /// Further host name that is answered, such as box.lan or *.example.com; may be given several
    /// times. On loopback without a key only requests for localhost are answered
    #[arg(
        long,
        value_name = "HOST",
        env = "SPECKV_ALLOW_HOST",
        value_delimiter = ',',
        help_heading = "Server"
    )]
    pub allow_host: Option<Vec<String>>,
    /// A prompt may continue from what was read for another API key; `cached_tokens` then tells
    /// clients what others have asked
    #[arg(long, env = "SPECKV_SHARE_ACROSS_KEYS", help_heading = "Server")]
    pub share_across_keys: bool,
    /// Control tokens spelled out in messages become control tokens; the default encodes them as
    /// text, so that users cannot end their own message
    #[arg(long, env = "SPECKV_PARSE_SPECIAL", help_heading = "Server")]
    pub parse_special: bool,
    /// Name of the model in the API [default: the catalogue's or the file's name]
    #[arg(long, value_name = "NAME", env = "SPECKV_ALIAS", help_heading = "Server")]
    pub alias: Option<String>,
    /// Answers that are made together [default: 8, or what fits into --kv-memory if that is less]
    #[arg(long, value_name = "N", env = "SPECKV_PARALLEL", help_heading = "Limits",
        value_parser = whole(1..=256_usize, "8 is the default"))]
    pub parallel: Option<usize>,
    /// Answers that may wait; more are refused with status 429 [default: 64]
    #[arg(long, value_name = "N", env = "SPECKV_QUEUE", help_heading = "Limits",
        value_parser = whole(1..=100_000_usize, "64 is the default"))]
    pub queue: Option<usize>,
    /// Connections at a time, more than --queue; others wait to be accepted [default: 512, or what
    /// --queue and --parallel need if that is more]
    #[arg(long, value_name = "N", env = "SPECKV_CONNECTIONS", help_heading = "Limits",
        value_parser = whole(2..=1_000_000_usize, "512 is the default; each takes a file \
            descriptor (`ulimit -n`)"))]
    pub connections: Option<usize>,
    /// Megabytes for keys and values of all sequences, resting ones included [default: 2048]
    #[arg(long, value_name = "MB", env = "SPECKV_KV_MEMORY", help_heading = "Limits",
        value_parser = whole(1..=16_777_216_u64, "2048 is the default"))]
    pub kv_memory: Option<u64>,
    /// Tokens of earlier answers that look-up finds, those of the same key unless keys share; each
    /// takes about 150 bytes, 0 remembers none [default: 262144]
    #[arg(long, value_name = "N", env = "SPECKV_LOOKUP_MEMORY", help_heading = "Limits",
        value_parser = whole(0..=1_073_741_824_usize, "262144 is the default"))]
    pub lookup_memory: Option<usize>,
    /// File in which earlier answers survive a restart: read at the start, written at the stop. It
    /// belongs to one model, and has digests in place of keys [default: none]
    #[arg(long, value_name = "FILE", env = "SPECKV_LOOKUP_FILE", help_heading = "Server")]
    pub lookup_file: Option<PathBuf>,
    /// Rows of prompts in a pass that others share: more reads prompts sooner and holds the others
    /// up for longer [default: 32]
    #[arg(long, value_name = "N", env = "SPECKV_PREFILL_CHUNK", help_heading = "Limits",
        value_parser = whole(1..=4096_usize, "32 is the default"))]
    pub prefill_chunk: Option<usize>,
    /// Most bytes of a request [default: 4194304]
    #[arg(long, value_name = "BYTES", env = "SPECKV_MAX_BODY", help_heading = "Limits",
        value_parser = whole(1024..=1_073_741_824_usize, "4194304 is the default"))]
    pub max_body: Option<usize>,
    /// Most seconds from a request to its last token, the queue included [default: 600]
    #[arg(long, value_name = "S", env = "SPECKV_REQUEST_TIMEOUT", help_heading = "Limits",
        value_parser = whole(1..=604_800_u64, "600 is the default"))]
    pub request_timeout: Option<u64>,
    /// Seconds that running answers get to end after Ctrl-C or SIGTERM [default: 30]
    #[arg(long, value_name = "S", env = "SPECKV_STOP_TIMEOUT", help_heading = "Limits",
        value_parser = whole(0..=86_400_u64, "30 is the default"))]
    pub stop_timeout: Option<u64>,
    /// How log lines look; SPECKV_LOG sets what is logged: error, warn, info, debug [default: text]
    #[arg(long, value_name = "FORMAT", env = "SPECKV_LOG_FORMAT", help_heading = "Server")]
    pub log_format: Option<LogFormat>,
}
