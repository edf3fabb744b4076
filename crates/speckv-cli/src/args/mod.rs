//! What the user typed, as types. Nothing here touches a file or a model.

mod bench;
mod common;
mod doctor;
mod export;
mod generate;
mod grammar;
mod lab;
mod perplexity;
mod serve;
mod values;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

pub use bench::{BenchArgs, ComparisonOptions};
use clap::{
    CommandFactory, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use common::compression;
pub use common::{
    CacheOptions, DeviceOptions, DraftWeightArgs, ModelOptions, PredictorOptions, SamplingOptions,
    WeightArgs,
};
pub use doctor::DoctorArgs;
pub use export::{ExportArgs, Shares};
pub use generate::{CompletionsArgs, ManArgs};
pub use grammar::GrammarOptions;
pub use lab::{
    EvaluateArgs, PaperArgs, ProfileArgs, ReplayArgs, ReportArgs, SplitChoice, TrainArgs,
};
pub use perplexity::PerplexityArgs;
pub use serve::{Given, LogFormat, ServeArgs};
pub use values::{ControllerList, GammaList, KvChoice, TokenList};
use values::{controller_list, draft, gamma, identity_tokens, prompts, threads};

use speckv_formats::compression::Compression;
use speckv_local::{
    controllers, device_choice::DeviceChoice, draft_choice::DraftChoice, model_name::ModelName,
    suggest,
};

use crate::printer;

/// Lossless speculative decoding of local language models.
#[derive(Debug, Parser)]
#[command(name = "speckv", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Text and data go to standard output, everything else to standard error.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Say nothing but results, warnings and errors.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Download models by name; without a name, the default pair.
    Pull(PullArgs),
    /// List the models known by name and what is here of them.
    Models(ModelsArgs),
    /// List the GPUs of this machine.
    #[cfg(feature = "gpu")]
    Devices(DevicesArgs),
    /// Check in under a minute whether speculation helps on this machine with this model.
    #[command(after_help = controllers::help())]
    Doctor(Box<DoctorArgs>),
    /// Answer one prompt.
    #[command(after_help = controllers::help())]
    Run(RunArgs),
    /// Talk with a model; /help lists what else can be typed.
    #[command(after_help = controllers::help())]
    Chat(ChatArgs),
    /// Serve a model over HTTP, as OpenAI's clients expect it, with a page to try it out.
    #[command(after_help = controllers::help())]
    Serve(Box<ServeArgs>),
    /// Show what a model file holds and whether it can run.
    Inspect(InspectArgs),
    /// Write a model file with other weight types.
    Quantize(QuantizeArgs),
    /// Turn text into token ids, or ids into text.
    Tokenize(TokenizeArgs),
    /// Show the likeliest next tokens after each of the given tokens.
    Score(ScoreArgs),
    /// Measure how well a model predicts a text, and how far it is from a reference.
    Perplexity(PerplexityArgs),
    /// Compare controllers and fixed gammas with plain decoding on this machine, or measure what
    /// passes cost.
    #[command(after_help = controllers::help())]
    Bench(Box<BenchArgs>),
    /// Check on this machine that speculation changes no token of greedy decoding.
    Identity(IdentityArgs),
    /// Record a pair on a workload: every position for training and replay, or the paper's grid of
    /// gammas.
    Profile(Box<ProfileArgs>),
    /// Fit the predictor of acceptance to recorded traces.
    Train(TrainArgs),
    /// Replay controllers over recorded traces, token for token, in modelled time.
    Replay(ReplayArgs),
    /// Compare controllers with a baseline, prompt by prompt, with tests and intervals; or two
    /// saved evaluations.
    #[command(after_help = controllers::help())]
    Evaluate(Box<EvaluateArgs>),
    /// Put recordings and measurements together into one HTML file with figures.
    Report(ReportArgs),
    /// Turn measurements into draft-length tables for vLLM and TensorRT-LLM.
    Export(Box<ExportArgs>),
    /// Repeat the SpecKV paper on its public data, and audit it in tokens per second.
    Paper(PaperArgs),
    /// Print a script that completes commands and options in a shell.
    Completions(CompletionsArgs),
    /// Print the manual page, or write one for each command into a folder.
    Man(ManArgs),
}

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// What to answer.
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Which models.
    #[command(flatten)]
    pub models: ModelOptions,
    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingOptions,
    /// What the answer may be.
    #[command(flatten)]
    pub grammar: GrammarOptions,
    /// Measure joules per token with the machine's own counters; the idle machine is measured for a
    /// second first and subtracted.
    #[arg(long)]
    pub energy: bool,
    /// Print one JSON object at the end in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `chat`.
#[derive(Debug, clap::Args)]
pub struct ChatArgs {
    /// Which models.
    #[command(flatten)]
    pub models: ModelOptions,
    /// How tokens are chosen.
    #[command(flatten)]
    pub sampling: SamplingOptions,
}

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// A catalogue name, the path of a GGUF file or a Hugging Face folder, or
    /// `hf:USER/REPO[:QUANT]`.
    pub model: ModelName,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `quantize`.
#[derive(Debug, clap::Args)]
pub struct QuantizeArgs {
    /// A catalogue name, the path of a GGUF file or a Hugging Face folder, or
    /// `hf:USER/REPO[:QUANT]`.
    pub model: ModelName,
    /// The GGUF file to write.
    pub output: PathBuf,
    /// What the matrices become: fp16, int8, compact, or a type such as q4_0 or q6_k
    #[arg(long = "type", value_name = "TYPE", value_parser = compression)]
    pub to: Compression,
    /// A LoRA adapter to merge into the weights: a PEFT folder, or a safetensors file with GGUF's
    /// names; its mask embeddings make a draft that proposes several tokens in one pass
    #[arg(long, value_name = "PATH")]
    pub adapter: Option<PathBuf>,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `tokenize`.
#[derive(Debug, clap::Args)]
pub struct TokenizeArgs {
    /// A catalogue name, the path of a GGUF file or a Hugging Face folder, or
    /// `hf:USER/REPO[:QUANT]`.
    pub model: ModelName,
    /// The text; `-` reads it from standard input. Control tokens are found by their spelling, none
    /// are added.
    #[arg(required_unless_present = "ids", conflicts_with = "ids")]
    pub text: Option<String>,
    /// Token ids to turn into text: 1,2,3.
    #[arg(long)]
    pub ids: Option<TokenList>,
    /// Print one JSON object: ids and pieces, or text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `score`.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// A catalogue name, the path of a GGUF file or a Hugging Face folder, or
    /// `hf:USER/REPO[:QUANT]`.
    pub model: ModelName,
    /// Token ids to read: 1,2,3.
    #[arg(long, required = true)]
    pub ids: Option<TokenList>,
    /// Device of the model: cpu, gpu, gpu:N, or auto
    #[arg(long, value_name = "DEVICE", default_value = "cpu", value_parser = common::device)]
    pub device: DeviceChoice,
    /// Threads that compute [default: one per performance core]
    #[arg(long, value_name = "N", value_parser = threads())]
    pub threads: Option<usize>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `identity`.
#[derive(Debug, clap::Args)]
pub struct IdentityArgs {
    /// Target: a catalogue name, the path of a GGUF file or a Hugging Face folder, or
    /// `hf:USER/REPO[:QUANT]` [default: qwen2.5-coder-1.5b]
    #[arg(long, short, value_name = "MODEL")]
    pub model: Option<ModelName>,
    /// Draft: a catalogue name, a path, `self:TYPE` (the target's own weights compressed to TYPE),
    /// or `ngram` [default: qwen2.5-coder-0.5b with the default target, else ngram]
    #[arg(long, short, value_name = "MODEL|self:TYPE|ngram", value_parser = draft())]
    pub draft: Option<DraftChoice>,
    /// What the weights become.
    #[command(flatten)]
    pub weights: WeightArgs,
    /// How keys and values are stored.
    #[command(flatten)]
    pub cache: CacheOptions,
    /// Which devices run the models.
    #[command(flatten)]
    pub devices: DeviceOptions,
    /// How many of the built-in prompts to use.
    #[arg(long, value_name = "N", default_value = "12", value_parser = prompts())]
    pub prompts: usize,
    /// Gammas to compare with plain decoding.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2,4,8,16", value_parser = gamma())]
    pub gammas: Vec<usize>,
    /// Controllers to compare with plain decoding: names as for --controller, or `all`.
    #[arg(long, value_name = "LIST", default_value = "speckv", value_parser = controller_list)]
    pub controllers: ControllerList,
    /// Whose weights the controllers' predictors have.
    #[command(flatten)]
    pub predictors: PredictorOptions,
    /// Numbers of threads to try.
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2", value_parser = threads())]
    pub threads_list: Vec<usize>,
    /// Tokens of each answer.
    #[arg(long, short = 'n', value_name = "N", default_value = "128", value_parser = identity_tokens())]
    pub max_tokens: usize,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
pub struct PullArgs {
    /// Catalogue names (see `speckv models`) or repositories of the Hugging Face Hub:
    /// `hf:USER/REPO`, `hf:USER/REPO:QUANT` or `USER/REPO:QUANT`.
    pub names: Vec<String>,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `models`.
#[derive(Debug, clap::Args)]
pub struct ModelsArgs {
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `devices`.
#[cfg(feature = "gpu")]
#[derive(Debug, clap::Args)]
pub struct DevicesArgs {
    /// Also open each device, measure its read rate, and compare products bit for bit.
    #[arg(long)]
    pub test: bool,
    /// Print one JSON object in place of text.
    #[arg(long)]
    pub json: bool,
}

/// Where a prompt comes from: the argument, a file, or standard input.
#[derive(Debug, clap::Args)]
pub struct PromptArgs {
    /// The prompt; `-`, or no prompt at all where the input is a pipe, reads it from standard
    /// input. Text that is piped in beside a prompt is appended to it.
    #[arg(conflicts_with = "file")]
    pub prompt: Option<String>,
    /// Read the prompt from a file.
    #[arg(long, short, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Reads arguments. Help and version go to standard output with status 0; mistakes to standard
/// error with a hint and status 2. Options may stand before the command.
///
/// # Errors
/// The exit status, when there is nothing more to do.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = Cli::try_parse_from(&arguments);
    let parsed = parsed.or_else(|error| match command_first(&arguments) {
        Some(cli) if error.kind() == ErrorKind::UnknownArgument => Ok(cli),
        _ => Err(error),
    });
    parsed.map_err(|error| {
        if error.use_stderr() {
            eprint_all(&mistake(&error, &arguments));
            ExitCode::from(2)
        } else {
            // A closed pipe is no reason to complain about help.
            let _ = error.print();
            ExitCode::SUCCESS
        }
    })
}

/// The arguments with the command moved before options that stand in front of it, if they can be
/// read so: `speckv -m FILE run` as `speckv run -m FILE`.
fn command_first(arguments: &[OsString]) -> Option<Cli> {
    let (program, rest) = arguments.split_first()?;
    if !rest.first()?.as_encoded_bytes().starts_with(b"-") {
        return None;
    }
    let command = Cli::command();
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let places = (1..rest.len()).filter(|&at| names.iter().any(|name| rest[at] == *name));
    let parsed = places.filter_map(|at| {
        let moved = [program, &rest[at]].into_iter().chain(&rest[..at]).chain(&rest[at + 1..]);
        Cli::try_parse_from(moved).ok()
    });
    parsed.into_iter().next()
}

/// The parser's message with its pointer to `--help` turned into a hint, unless the message has a
/// better one.
fn mistake(error: &clap::Error, arguments: &[OsString]) -> String {
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr()) && printer::colour_allowed();
    let rendered = error.render();
    let text = if colour { rendered.ansi().to_string() } else { rendered.to_string() };
    let mut kept: Vec<&str> =
        text.lines().filter(|line| !line.contains("For more information, try")).collect();
    // A hint out of a value's parser stands in the middle; the end is its place.
    let hints: Vec<&str> =
        kept.extract_if(.., |line| line.trim_start().starts_with("hint: ")).collect();
    let tips: Vec<&str> = kept.extract_if(.., |line| line.contains("tip: ")).collect();
    let body = kept.join("\n");
    let hint = match (hints.first(), own_hint(error, arguments)) {
        (Some(hint), _) => hint.trim_start().to_owned(),
        (None, Some(hint)) => format!("hint: {hint}"),
        (None, None) => match tips.first().and_then(|tip| tip.split_once("tip: ")) {
            Some((_, tip)) => format!("hint: {}", tip.trim()),
            None => "hint: `speckv help` lists the commands, `speckv COMMAND --help` the options \
                     of one"
                .into(),
        },
    };
    format!("{}\n{hint}\n", body.trim_end())
}

/// A better hint than the parser's, where the mistake is a common one.
fn own_hint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let command = Cli::command();
            let names = command.get_subcommands().map(clap::Command::get_name);
            let meant = suggest::closest(text(ContextKind::InvalidSubcommand)?, names)?;
            Some(format!("did you mean `speckv {meant}`? `speckv help` lists the commands"))
        }
        // A word after the prompt: the shell has split it.
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg)?;
            let usage = match error.get(ContextKind::Usage) {
                Some(ContextValue::StyledStr(usage)) => usage.to_string(),
                _ => String::new(),
            };
            let of_prompt = usage.contains("speckv run") && !word.starts_with('-');
            let before = of_prompt.then(|| model_before(word, arguments)).flatten();
            if let Some(model) = before {
                return Some(format!("-m names the model: speckv run -m {model} \"{word}\""));
            }
            if names_model(word) {
                return Some(format!("-m names the model: -m {word}"));
            }
            of_prompt.then(|| format!("put the prompt in quotes: speckv run \"... {word} ...\""))
        }
        _ => None,
    }
}

/// Whether a word can only be the name of a model: a repository, or a GGUF file.
#[must_use]
pub fn names_model(word: &str) -> bool {
    let repository = word.strip_prefix("hf:").is_some_and(|name| name.contains('/'));
    (repository || word.ends_with(".gguf")) && !word.contains(char::is_whitespace)
}

/// The name of a model that stands, without an option, before `word`.
fn model_before<'a>(word: &str, arguments: &'a [OsString]) -> Option<&'a str> {
    let before = arguments.iter().map_while(|argument| argument.to_str().filter(|it| *it != word));
    let words: Vec<&str> = before.collect();
    let pairs = words.windows(2).filter(|pair| !pair[0].starts_with('-'));
    pairs.map(|pair| pair[1]).find(|word| names_model(word))
}

fn eprint_all(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_may_stand_before_the_command() {
        let read = |words: &str| {
            parse(words.split_whitespace().map(OsString::from)).map(|cli| match cli.command {
                Command::Run(args) => {
                    (args.models.model.map(|name| name.to_string()), args.prompt.prompt)
                }
                other => panic!("expected run, got {other:?}"),
            })
        };
        let expected = (Some("m.gguf".to_owned()), Some("hi".to_owned()));
        assert_eq!(read("speckv -m m.gguf run hi").expect("read"), expected);
        assert_eq!(read("speckv --model m.gguf --json run hi").expect("read"), expected);
        assert_eq!(
            read("speckv -m run run hi").expect("read"),
            (Some("run".into()), Some("hi".into())),
            "a value may be the name of a command"
        );
        assert!(read("speckv --wrong run hi").is_err());
    }

    #[test]
    fn a_model_without_its_option_is_told_the_option() {
        let hint = |words: &[&str]| {
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            let error = Cli::try_parse_from(&arguments).expect_err("a mistake");
            mistake(&error, &arguments).lines().last().expect("a hint").to_owned()
        };
        for (words, expected) in [
            (&["speckv", "run", "hf:a/b", "Why?"][..], "run -m hf:a/b \"Why?\""),
            (&["speckv", "run", "-n", "8", "hf:a/b:Q8_0", "Why?"], "run -m hf:a/b:Q8_0"),
            (&["speckv", "run", "m.gguf", "Why?"], "run -m m.gguf"),
            (&["speckv", "run", "Why?", "hf:a/b"], "-m names the model: -m hf:a/b"),
            (&["speckv", "chat", "hf:a/b"], "-m names the model: -m hf:a/b"),
            (&["speckv", "serve", "m.gguf"], "-m names the model: -m m.gguf"),
            (&["speckv", "run", "-m", "m.gguf", "Why", "not?"], "put the prompt in quotes"),
            (&["speckv", "run", "hf:", "Why?"], "put the prompt in quotes"),
        ] {
            let said = hint(words);
            assert!(said.starts_with("hint: ") && said.contains(expected), "{words:?}: {said}");
        }
    }
}
